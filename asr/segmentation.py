"""Long audio -> segments that are decoded one by one: what is said between long pauses, and the pauses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

MAX_SEGMENT_S = 30.0
MIN_SEGMENT_S = 5.0  # where longer speech has to be cut
FRAME_S = 0.01
PAUSE_S = 0.2  # the closure of a plosive is shorter
# A longer pause is a segment of its own, but for what is left of it on either side: features are normalized over a
# segment, and a model has not learned from speech with ten seconds of silence around it.
LONG_PAUSE_S, MARGIN_S = 2.0, 0.5
FLOOR_DB = -90.0  # of full scale: below that is silence, of whatever depth
# A pause is quieter than a point between the level of the noise and that of the speech; where there is hardly any
# noise, what is so far below the vowels is breath.
NOISE_TO_SPEECH = 0.3
BREATH_DB = -30.0


def cut_at_pauses(samples: np.ndarray, sample_rate: int) -> list[tuple[int, int]]:
    """(samples,) -> [(first, end), …] covering it all, none longer than MAX_SEGMENT_S.

    Pauses are segments too, since very quiet speech may be taken for one. A bidirectional model must not carry state
    from one segment to the next, and a word cut in two is two errors.
    """
    size = int(FRAME_S * sample_rate)
    cuts = [0, *frame_cuts(frame_levels(samples, size))]
    return [(first * size, end * size) for first, end in pairwise(cuts)] + [(cuts[-1] * size, len(samples))]


def frame_levels(samples: np.ndarray, size: int) -> np.ndarray:
    """(samples,) -> (frames,) the level of each frame in dB of full scale, FLOOR_DB at least."""
    frames = samples[: len(samples) // size * size].reshape(-1, size)
    power = np.einsum("ts,ts->t", frames, frames, dtype=np.float64) / size
    return np.maximum(10 * np.log10(np.maximum(power, 1e-12)), FLOOR_DB)


def find_pauses(levels: np.ndarray) -> np.ndarray:
    """(frames,) dB -> (pauses, 2) the first frame of each stretch that is quiet, and the one after its last.

    What is quiet, the minute and a half around tells: rooms and voices change.
    """
    block = round(MAX_SEGMENT_S / FRAME_S)
    quiet = np.zeros(len(levels), bool)
    for first in range(0, len(levels), block):
        noise, speech = np.percentile(levels[max(0, first - block) : first + 2 * block], (5, 95))
        threshold = max(noise + NOISE_TO_SPEECH * (speech - noise), speech + BREATH_DB)
        quiet[first : first + block] = levels[first : first + block] < threshold
    pauses = np.flatnonzero(np.diff(quiet, prepend=False, append=False)).reshape(-1, 2)
    return pauses[pauses[:, 1] - pauses[:, 0] >= round(PAUSE_S / FRAME_S)]


def frame_cuts(levels: np.ndarray) -> Iterator[int]:
    """(frames,) dB -> the frames to cut at, rising."""
    pauses = find_pauses(levels)
    longest, margin = round(MAX_SEGMENT_S / FRAME_S), round(MARGIN_S / FRAME_S)
    long = pauses[pauses[:, 1] - pauses[:, 0] >= round(LONG_PAUSE_S / FRAME_S)]
    edges = [edge for edge in np.ravel(long + np.array([margin, -margin])) if margin < edge < len(levels) - margin]
    first = 0
    for end in [*(quietest(levels, edge - margin // 2, edge + margin // 2) for edge in map(int, edges)), len(levels)]:
        while end - first > longest:
            first = best_cut(levels, pauses, first, first + longest)
            yield first
        if end < len(levels):
            first = end
            yield first


def best_cut(levels: np.ndarray, pauses: np.ndarray, first: int, end: int) -> int:
    """The quietest frame of the longest pause from first to end, MIN_SEGMENT_S left out, or, where there is none, of
    the second half. Very quiet speech may be taken for a pause: in it too there are quieter moments."""
    within = np.clip(pauses, first + round(MIN_SEGMENT_S / FRAME_S), end)
    lengths = within[:, 1] - within[:, 0]
    if lengths.max(initial=0) >= round(PAUSE_S / FRAME_S):
        return quietest(levels, *within[len(lengths) - 1 - lengths[::-1].argmax()].tolist())
    return quietest(levels, (first + end) // 2, end)


def quietest(levels: np.ndarray, low: int, high: int) -> int:
    """The frame in the middle of PAUSE_S with the lowest mean level, from low to high."""
    width = round(PAUSE_S / FRAME_S)
    total = np.concatenate([[0.0], np.cumsum(levels[low:high])])
    return low + int((total[width:] - total[:-width]).argmin()) + width // 2
