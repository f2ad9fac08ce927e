"""Confidence intervals of an error rate. A rate without one is half a result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BOOTSTRAP_DRAWS = 10_000
MIN_SPEAKERS = 4  # with fewer the interval is over utterances
MIN_UNITS = 20  # below this a bootstrap over speakers or utterances is too narrow
FEW_ERRORS = 10  # with fewer the units' spread says little: an interval may come out narrower than with no error at all


@dataclass(frozen=True)
class Interval:
    """95 % interval of a rate (fractions), how it was made and what was taken as independent: "speaker", "utterance",
    or "word" where there is no error."""

    low: float
    high: float
    method: str
    unit: str


def rate_interval(
    errors: Sequence[int], words: Sequence[int], speakers: Sequence[str | None], seed: int = 0
) -> Interval | None:
    """Interval of sum(errors) / sum(words), one entry an utterance. None where there are no words.

    No error at all: the exact binomial bound over words (Clopper and Pearson 1934). Otherwise the units are speakers,
    where four or more are known, or else utterances. From 20 units on: bootstrap (Efron 1979). Below:
    the cluster-robust standard error of the ratio with Student's t of units − 1 degrees of freedom. With fewer
    than 20 units or 10 errors it is at least as wide as the exact binomial interval over words.
    """
    e: np.ndarray = np.asarray(errors, dtype=np.float64)
    w: np.ndarray = np.asarray(words, dtype=np.float64)
    if w.sum() == 0:
        return None
    # Two or three speakers say nothing of a fourth: t(1) and t(2) give intervals beyond all sense.
    known = all(speaker is not None for speaker in speakers) and len(set(speakers)) >= MIN_SPEAKERS
    unit = "speaker" if known else "utterance"
    if e.sum() == 0:
        return Interval(0.0, 1.0 - 0.025 ** (1.0 / w.sum()), "exact binomial (no errors)", "word")
    if known:
        _, group = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
        e, w = np.bincount(group, e), np.bincount(group, w)
    if len(e) == 1:
        return Interval(0.0, max(1.0, float(e[0] / w[0])), "none possible (one utterance)", unit)
    interval = _cluster_robust(e, w, unit) if len(e) < MIN_UNITS else _bootstrap(e, w, unit, seed)
    few = e.sum() < FEW_ERRORS or len(e) < MIN_UNITS or interval.low == interval.high
    return _no_narrower_than_binomial(interval, e.sum(), w.sum()) if few else interval


def _no_narrower_than_binomial(interval: Interval, errors: float, words: float) -> Interval:
    from scipy.stats import beta

    low = float(beta.ppf(0.025, errors, words - errors + 1)) if errors < words else 0.0
    high = float(beta.ppf(0.975, errors + 1, words - errors)) if errors < words else errors / words
    method = f"{interval.method}, no narrower than exact binomial"
    return Interval(min(interval.low, low), max(interval.high, high), method, interval.unit)


def _bootstrap(e: np.ndarray, w: np.ndarray, unit: str, seed: int) -> Interval:
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(0, BOOTSTRAP_DRAWS, 500):  # in blocks: (500, units) fits in memory for any test set
        drawn = rng.integers(len(e), size=(500, len(e)))
        totals = w[drawn].sum(1)
        rates.append(e[drawn].sum(1)[totals > 0] / totals[totals > 0])
    low, high = np.quantile(np.concatenate(rates), [0.025, 0.975])
    return Interval(float(low), float(high), f"bootstrap, {BOOTSTRAP_DRAWS} draws", unit)


def _cluster_robust(e: np.ndarray, w: np.ndarray, unit: str) -> Interval:
    rate, _, reach = linearized_ratio(e, w)
    return Interval(max(0.0, rate - reach), rate + reach, f"cluster-robust, t({len(e) - 1})", unit)


def linearized_ratio(e: np.ndarray, w: np.ndarray) -> tuple[float, float, float]:
    """sum(e) / sum(w) over two units or more, its standard deviation (Cochran 1977, section 6.3), and how far its 95 %
    interval reaches, by Student's t."""
    from scipy.special import stdtrit

    count = len(e)
    rate = float(e.sum() / w.sum())
    deviation = math.sqrt(count / (count - 1) * float(np.square(e - rate * w).sum())) / float(w.sum())
    return rate, deviation, float(stdtrit(count - 1, 0.975)) * deviation
