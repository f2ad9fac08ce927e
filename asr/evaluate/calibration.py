"""Do words of confidence 0.8 turn out right eight times in ten? Measured, drawn, and mended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from asr.evaluate.score import Pair, right_words

BINS = 15  # of equal numbers of words, those of equal confidence together
FEWEST = 20  # words right, and words wrong, that a map is fitted to
EDGE = 1e-6


def judged(pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """The words of all hypotheses: (words,) confidences, and whether the alignment with the reference says right."""
    known = [pair for pair in pairs if pair.confidence and len(pair.confidence) == len(pair.hypothesis.split())]
    confidence = np.array([value for pair in known for value in pair.confidence], dtype=np.float64)
    return confidence, np.array([right for pair in known for right in right_words(pair)], dtype=bool)


def measure(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any] | None:
    """What `wer.json` holds of confidences; None without words.

    ece: the expected calibration error (Naeini et al. 2015), the mean over words of how far their bin's mean confidence
    is from its share of right words. nce: NIST's normalised cross entropy, 1 for an oracle, 0 for telling everywhere
    the share of right words; None where all words are right, or none.
    """
    if not len(confidence):
        return None
    edges = np.quantile(confidence, np.arange(1, BINS) / BINS)
    number = np.searchsorted(edges, confidence, side="right")
    parts = [np.flatnonzero(number == i) for i in np.unique(number)]
    bins = [
        {"words": len(part), "confidence": float(confidence[part].mean()), "right": float(right[part].mean())}
        for part in parts
    ]
    ece = sum(each["words"] * abs(each["confidence"] - each["right"]) for each in bins) / len(confidence)
    share = right.mean()
    nce = None if share in (0, 1) else 1.0 - _entropy(confidence, right) / _entropy(np.full(len(right), share), right)
    return {"ece": ece, "nce": nce, "bins": bins}


def fit_map(confidence: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Slope and offset that make σ(slope · logit(confidence) + offset) likeliest to be right (Platt 1999, with his
    smoothed targets); (1, 0), which changes nothing, where there are too few words to tell."""
    from scipy.optimize import minimize

    count = int(right.sum())
    if min(count, len(right) - count) < FEWEST:
        return 1.0, 0.0
    clipped = confidence.clip(EDGE, 1.0 - EDGE)
    logits = np.log(clipped) - np.log1p(-clipped)
    target = np.where(right, (count + 1) / (count + 2), 1 / (len(right) - count + 2))

    def loss(parameters: np.ndarray) -> float:
        scores = parameters[0] * logits + parameters[1]
        return float(np.mean(target * np.logaddexp(0, -scores) + (1 - target) * np.logaddexp(0, scores)))

    slope, offset = minimize(loss, [1.0, 0.0], bounds=[(0.0, 100.0), (-100.0, 100.0)]).x
    return float(slope), float(offset)


def draw(measured: dict[str, Any]) -> str:
    """A reliability diagram, SVG: the share of right words over the mean confidence, a dot a bin."""
    place = [(40 + 240 * each["confidence"], 250 - 240 * each["right"], each) for each in measured["bins"]]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in place)
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"><title>{each["words"]} words of confidence'
        f" {each['confidence']:.3f}: {each['right']:.3f} right</title></circle>"
        for x, y, each in place
    ]
    ticks = [
        f'<text x="{40 + 240 * tick}" y="266" text-anchor="middle">{tick:g}</text>'
        f'<text x="34" y="{254 - 240 * tick}" text-anchor="end">{tick:g}</text>'
        for tick in (0, 0.5, 1)
    ]
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 290" font-family="sans-serif" font-size="11">',
            '<rect width="300" height="290" fill="white"/>',
            '<path d="M40 10V250H280M40 250L280 10" fill="none" stroke="#bbb"/>',
            *ticks,
            f'<polyline points="{line}" fill="none" stroke="#1f6fd0" stroke-width="1.8"/>',
            f'<g fill="#1f6fd0">{"".join(dots)}</g>',
            f'<text x="160" y="284" text-anchor="middle">confidence (ECE {100 * measured["ece"]:.1f} %)</text>',
            '<text x="12" y="130" transform="rotate(-90 12 130)" text-anchor="middle">share of right words</text>',
            "</svg>\n",
        ]
    )


def _entropy(probability: np.ndarray, right: np.ndarray) -> float:
    """Mean negative log-probability of what happened, in nats."""
    clipped = probability.clip(EDGE, 1.0 - EDGE)
    return float(-np.mean(np.where(right, np.log(clipped), np.log1p(-clipped))))
