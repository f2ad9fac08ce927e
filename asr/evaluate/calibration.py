"""Calibration of word confidences: measured, corrected by Platt scaling, and drawn; and curves as SVG.

A confidence of 0.8 is calibrated if eight in ten such words are right. Curves are drawn without a library, because
training draws some after every epoch and a plotting library is slow to load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from asr.evaluate.score import Pair, right_words

BINS = 15  # with equal numbers of words, but words of equal confidence share one
MIN_VALUES = 20  # right words, and wrong words, that Platt scaling needs at least
EDGE = 1e-6  # probabilities are clipped to this distance from 0 and 1
LEFT, RIGHT, TOP, BOTTOM = 48, 392, 10, 194  # of the area that curves are drawn in
COLORS = ("#8aa4c8", "#d9660f")


def word_correctness(pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Of the words of all hypotheses, their confidences, (words,) float64, and whether each is right, (words,) bool."""
    known = [pair for pair in pairs if pair.confidence and len(pair.confidence) == len(pair.hypothesis.split())]
    confidence = np.array([value for pair in known for value in pair.confidence], dtype=np.float64)
    return confidence, np.array([right for pair in known for right in right_words(pair)], dtype=bool)


def measure(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any] | None:
    """What `wer.json` holds of confidences; None without words.

    ece: the expected calibration error (Naeini et al. 2015), the mean over words of how far their bin's mean confidence
    is from its fraction of right words. nce: NIST's normalized cross entropy: 1 for an oracle, 0 for a
    confidence that is always the fraction of right words; None if all words are right, or none.
    """
    if not len(confidence):
        return None
    edges = np.quantile(confidence, np.arange(1, BINS) / BINS)
    bin_of = np.searchsorted(edges, confidence, side="right")
    bins = []
    for part in (bin_of == i for i in np.unique(bin_of)):
        means = float(confidence[part].mean()), float(right[part].mean())
        bins.append({"words": int(part.sum()), "confidence": means[0], "right": means[1]})
    ece = sum(each["words"] * abs(each["confidence"] - each["right"]) for each in bins) / len(confidence)
    nce = None
    if 0 < right.mean() < 1:
        nce = 1.0 - _entropy(confidence, right) / _entropy(np.full(len(right), right.mean()), right)
    return {"ece": ece, "nce": nce, "bins": bins}


def fit_platt_scaling(confidence: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Slope and offset with which σ(slope · logit(confidence) + offset) is the most likely probability of being right
    (Platt 1999, with his smoothed targets). (1, 0), which changes nothing, if there are too few words.

    confidence: (words,) in [0, 1]; right: (words,) bool.
    """
    from scipy.optimize import minimize

    count = int(right.sum())
    if min(count, len(right) - count) < MIN_VALUES:
        return 1.0, 0.0
    clipped = confidence.clip(EDGE, 1.0 - EDGE)
    logits = np.log(clipped) - np.log1p(-clipped)
    target = np.where(right, (count + 1) / (count + 2), 1 / (len(right) - count + 2))

    def loss(parameters: np.ndarray) -> float:
        scores = parameters[0] * logits + parameters[1]
        return float(np.mean(target * np.logaddexp(0, -scores) + (1 - target) * np.logaddexp(0, scores)))

    slope, offset = minimize(loss, [1.0, 0.0], bounds=[(0.0, 100.0), (-100.0, 100.0)]).x
    return float(slope), float(offset)


def _entropy(probability: np.ndarray, right: np.ndarray) -> float:
    """Cross entropy in nats: the mean negative log-probability of what happened."""
    clipped = probability.clip(EDGE, 1.0 - EDGE)
    return float(-np.mean(np.where(right, np.log(clipped), np.log1p(-clipped))))


def diagram(measured: dict[str, Any]) -> str:
    """A reliability diagram, SVG: the fraction of right words over the mean confidence of their bin."""
    bins = np.array([(each["confidence"], each["right"]) for each in measured["bins"]])
    curves = {"ideal": np.array([(0.0, 0.0), (1.0, 1.0)]), "fraction of right words": bins}
    along = f"confidence (ECE {100 * measured['ece']:.1f} %)"
    return f"{draw('confidence', along, curves)}\n".replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"')


def draw(title: str, along: str, curves: dict[str, np.ndarray], logarithmic: bool = False) -> str | None:
    """An SVG of one or two curves, name: (points, 2) of x and y; None without points. along: label of the x axis.

    On a logarithmic axis, values that are not positive are left out.
    """
    if logarithmic:
        curves = {name: points[points[:, 1] > 0] for name, points in curves.items()}
    curves = {name: points for name, points in curves.items() if len(points)}
    if not curves:
        return None
    x, y = np.concatenate(list(curves.values())).T
    steps, levels = ticks(x.max()), decades(y.min(), y.max()) if logarithmic else ticks(y.max())
    scale = math.log10 if logarithmic else float
    bottom, top = scale(levels[0]), scale(levels[-1])

    def across(step: float) -> float:
        return LEFT + (RIGHT - LEFT) * step / steps[-1]

    def up(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (scale(value) - bottom) / (top - bottom)

    out = [f'<svg viewBox="0 0 400 220" role="img" aria-label="{escape(title)}" font-size="11" fill="#888">']
    for level in levels:
        place = up(level)
        out.append(f'<line x1="{LEFT}" x2="{RIGHT}" y1="{place:.1f}" y2="{place:.1f}" stroke="#888" opacity=".3"/>')
        out.append(f'<text x="{LEFT - 5}" y="{place + 4:.1f}" text-anchor="end">{number(level)}</text>')
    for step in steps:
        anchor = "end" if step == steps[-1] else "middle"
        out.append(f'<text x="{across(step):.1f}" y="{BOTTOM + 16}" text-anchor="{anchor}">{number(step)}</text>')
    names = ""
    for (name, points), color in zip(curves.items(), COLORS, strict=False):
        places = [f"{across(step):.1f},{up(value):.1f}" for step, value in points]
        places += places[: len(places) == 1]  # SVG draws a single point only as a line to itself
        pen = f'fill="none" stroke="{color}" stroke-width="1.8" stroke-linejoin="round" stroke-linecap="round"'
        out.append(f'<polyline {pen} points="{" ".join(places)}"/>')
        names += f'<tspan fill="{color}" dx="10">{name} {number(points[-1][1])}</tspan>'
    out.append(f'<text x="{LEFT}" y="218">{along}{names}</text></svg>')
    return "\n".join(out)


def ticks(top: float) -> list[float]:
    """From 0 to at least `top` in at most five round steps."""
    top = top if top > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(top / 5))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.999999 * top / 5)
    return [i * step for i in range(math.ceil(0.999999 * top / step) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten, or of their roots, from at most `low` to at least `high`."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high)) + 1
    return np.logspace(first, last, max(last - first, 3) + 1).tolist() if last - first < 9 else [low, high]


def number(value: float) -> str:
    """To three digits, thousands apart: 12,000 and 0.00125."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
