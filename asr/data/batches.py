"""Which utterances go together: batches of similar duration, filled to a number of seconds, shuffled reproducibly."""

from __future__ import annotations

import numpy as np


def duration_batches(durations: np.ndarray, batch_s: float, rng: np.random.Generator | None = None) -> list[list[int]]:
    """Group indices so that (utterances × longest) stays within `batch_s` seconds; a longer utterance is alone.

    Without `rng`, in order of duration. With it, durations are jittered by up to 5 % before sorting, so that neighbors
    change from epoch to epoch at little cost in padding, and the batches come in random order.
    """
    keys = durations if rng is None else durations * rng.uniform(1.0, 1.05, len(durations))
    order = np.argsort(keys, kind="stable")
    batches: list[list[int]] = []
    longest = 0.0
    for index, duration in zip(order.tolist(), durations[order].tolist(), strict=True):
        longest = max(longest, duration)
        if not batches or (len(batches[-1]) + 1) * longest > batch_s:
            batches.append([])
            longest = duration
        batches[-1].append(index)
    if rng is not None:
        rng.shuffle(batches)
    return batches


def padding_fraction(durations: np.ndarray, batches: list[list[int]]) -> float:
    """Share of the batches' seconds that is padding."""
    filled = sum(len(batch) * durations[batch].max() for batch in batches)
    return 1.0 - float(sum(durations[batch].sum() for batch in batches)) / filled if filled else 0.0
