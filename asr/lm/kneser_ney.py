"""Interpolated modified Kneser-Ney smoothing (Chen and Goodman 1999, section 3 and appendix A).

    p(w | h) = max(a(hw) - D(a(hw)), 0) / a(h·) + gamma(h) p(w | h')      h' is h without its first word

The highest order counts occurrences: a = c. Lower orders count the different words to the left of an n-gram, but
occurrences of those that begin a sentence, which have none. The lowest order is interpolated with the uniform
distribution over all words but <s>, <unk> included. D depends on whether a is 1, 2 or more; gamma(h) makes the sum one.
Pruned n-grams give their counts to gamma, as in KenLM (Heafield et al. 2013).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from asr.errors import ConfigError
from asr.lm.counts import Counts
from asr.lm.trie import Level
from asr.lm.units import START_ID

FALLBACK = (0.5, 1.0, 1.5)  # discounts where the counts do not follow the law they are estimated by: as in KenLM
NEVER = -99 * math.log(10)  # ln probability of <s>, by the convention of ARPA files


def estimate(counts: list[Counts], prune: Sequence[int] = ()) -> tuple[list[Level], list[tuple[float, ...]]]:
    """Probabilities and backoff weights of all n-grams, and the discounts D1, D2, D3+ of each order.

    prune: for each order, leave out n-grams that occur so often or less. It starts with 0 and must not fall, so that
    the beginning and the end of every n-gram kept are kept; orders without a number use the last one.
    """
    limits = [*prune, *[prune[-1] if prune else 0] * (len(counts) - len(prune))]
    if limits[0] != 0 or limits != sorted(limits) or len(limits) > len(counts):
        raise ConfigError(f"prune={limits}: one number for each order, the first 0, none less than the one before it")
    discounts = []
    levels: list[Level] = []
    lower = np.array([1 / (len(counts[0]) - 1)])
    places = np.zeros(1, np.int64)  # rows of the order below -> rows among those kept
    for level, adjusted, limit in zip(counts, _adjusted(counts), limits, strict=True):
        discounts.append(discounts_of(adjusted))
        taken = np.array([0.0, *discounts[-1]])[np.minimum(adjusted, 3)]
        kept = level.counts > (limit if levels else -1)  # <unk> may never occur
        total = np.bincount(level.parents, adjusted, len(lower))
        freed = np.bincount(level.parents, np.where(kept, taken, adjusted), len(lower))
        gamma = np.divide(freed, total, out=np.ones_like(total), where=total > 0)
        probs = (adjusted - taken) / total[level.parents] + gamma[level.parents] * lower[level.suffixes]
        if levels:
            levels[-1].log_backoffs = np.log(gamma[places >= 0])
        levels.append(
            Level(
                words=level.words[kept],
                parents=places[level.parents[kept]],
                log_probs=np.log(probs[kept]),
                log_backoffs=np.zeros(np.count_nonzero(kept)),
            )
        )
        lower = probs
        places = np.where(kept, np.cumsum(kept) - 1, -1)
    levels[0].log_probs[START_ID] = NEVER
    return levels, discounts


def discounts_of(adjusted: np.ndarray) -> tuple[float, float, float]:
    """D1, D2, D3+ of one order, from the numbers of n-grams counted 1, 2, 3 and 4 times; FALLBACK where these give
    nothing sensible, as for single characters, none of which is rare."""
    _, t1, t2, t3, t4 = np.bincount(np.minimum(adjusted, 5), minlength=6)[:5].tolist()
    if t1 and t2 and t3:
        y = t1 / (t1 + 2 * t2)
        d1, d2, d3 = 1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3
        if d1 > 0 and d2 > 0 and d3 > 0:
            return d1, d2, d3
    return FALLBACK


def _adjusted(counts: list[Counts]) -> list[np.ndarray]:
    adjusted = []
    begins = counts[0].words == START_ID
    for n, level in enumerate(counts):
        begins = begins[level.parents] if n else begins
        lefts = np.bincount(counts[n + 1].suffixes, minlength=len(level)) if n + 1 < len(counts) else level.counts
        adjusted.append(np.where(begins, level.counts if n else 0, lefts))  # <s> alone follows nothing
    return adjusted
