"""Do words of confidence 0.8 turn out right eight times in ten? Measured, drawn, and mended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from asr.evaluate.chart import draw
from asr.evaluate.score import Pair, right_words

BINS = 15  # of equal numbers of words, those of equal confidence together
MIN_VALUES = 20  # words right, and words wrong, that a map is fitted to
EDGE = 1e-6


def word_correctness(pairs: Sequence[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """The words of all hypotheses: (words,) confidences, and whether the alignment with the reference says right."""
    known = [pair for pair in pairs if pair.confidence and len(pair.confidence) == len(pair.hypothesis.split())]
    confidence = np.array([value for pair in known for value in pair.confidence], dtype=np.float64)
    return confidence, np.array([right for pair in known for right in right_words(pair)], dtype=bool)


def measure(confidence: np.ndarray, right: np.ndarray) -> dict[str, Any] | None:
    """What `wer.json` holds of confidences; None without words.

    ece: the expected calibration error (Naeini et al. 2015), the mean over words of how far their bin's mean confidence
    is from its fraction of right words. nce: NIST's normalized cross entropy, 1 for an oracle, 0 for telling everywhere
    the fraction of right words; None where all words are right, or none.
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
    accuracy = right.mean()
    nce = (
        None
        if accuracy in (0, 1)
        else 1.0 - _entropy(confidence, right) / _entropy(np.full(len(right), accuracy), right)
    )
    return {"ece": ece, "nce": nce, "bins": bins}


def fit_platt_scaling(confidence: np.ndarray, right: np.ndarray) -> tuple[float, float]:
    """Slope and offset that make σ(slope · logit(confidence) + offset) likeliest to be right (Platt 1999, with his
    smoothed targets); (1, 0), which changes nothing, where there are too few words to tell."""
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


def diagram(measured: dict[str, Any]) -> str:
    """A reliability diagram, SVG: the fraction of right words over the mean confidence of their bin."""
    bins = np.array([(each["confidence"], each["right"]) for each in measured["bins"]])
    curves = {"as it should be": np.array([(0.0, 0.0), (1.0, 1.0)]), "fraction of right words": bins}
    along = f"confidence (ECE {100 * measured['ece']:.1f} %)"
    return f"{draw('confidence', along, curves)}\n".replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"')


def _entropy(probability: np.ndarray, right: np.ndarray) -> float:
    """Mean negative log-probability of what happened, in nats."""
    clipped = probability.clip(EDGE, 1.0 - EDGE)
    return float(-np.mean(np.where(right, np.log(clipped), np.log1p(-clipped))))
