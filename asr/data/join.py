"""Utterances made of several recordings of one speaker: digit strings from single digits, long from short."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.augment import decibels
from asr.config import JoinConfig


@dataclass(frozen=True)
class Plan:
    """One utterance to be made: `rows` of the manifest in order, len(rows) + 1 pauses (seconds) around them or none at
    all, and a factor on speed. Planned ahead, so that batches are filled by true lengths (trimming shortens them)."""

    rows: tuple[int, ...]
    pauses: tuple[float, ...] = ()
    speed: float = 1.0

    def duration(self, durations: np.ndarray) -> float:
        return (float(durations[list(self.rows)].sum()) + sum(self.pauses)) / self.speed


def plan_joins(
    speakers: Sequence[str | None],
    config: JoinConfig,
    count: int,
    rng: np.random.Generator,
    durations: np.ndarray | None = None,
) -> list[Plan]:
    """Draw `count` plans: a speaker in proportion to their recordings, a length uniform in 1..most, rows at random.

    The pauses before the first and after the last recording are each left out with probability config.bare_edges.
    With config.longest_s those that do not fit are left out; durations: the recordings', in seconds.
    """
    if config.longest_s is not None and durations is None:
        raise ValueError("longest_s needs durations")
    rows_of: dict[str | None, list[int]] = defaultdict(list)
    for row, speaker in enumerate(speakers):
        rows_of[speaker].append(row)
    plans = []
    for _ in range(count):
        rows = rows_of[speakers[rng.integers(len(speakers))]]
        length = int(rng.integers(1, config.most + 1))
        chosen = tuple(rows[i] for i in rng.integers(len(rows), size=length))
        pauses = rng.uniform(*config.pause_s, size=length + 1)
        if config.longest_s is not None and durations is not None:
            ends = np.cumsum(durations[list(chosen)] + pauses[1:]) + pauses[0]
            fitting = max(1, int(np.searchsorted(ends, config.longest_s, side="right")))
            chosen, pauses = chosen[:fitting], pauses[: fitting + 1]
        pauses[[0, -1]] *= rng.random(2) >= config.bare_edges
        plans.append(Plan(chosen, tuple(pauses.tolist())))
    return plans


def join_waveforms(
    waveforms: Sequence[np.ndarray], plan: Plan, sample_rate: int, config: JoinConfig, rng: np.random.Generator
) -> np.ndarray:
    """The recordings of a plan one after the other, silence between them, each at its own level within ± gain_db."""
    pieces = []
    for pause, waveform in zip(plan.pauses, waveforms, strict=False):
        pieces.append(np.zeros(round(pause * sample_rate), np.float32))
        if config.trim_share and rng.random() < config.trim_share:
            waveform = trim(waveform, sample_rate, rng.uniform(*config.trim_db))
        pieces.append(waveform * np.float32(decibels(rng.uniform(-config.gain_db, config.gain_db))))
    pieces.append(np.zeros(round(plan.pauses[-1] * sample_rate), np.float32))
    return np.concatenate(pieces)


def trim(waveform: np.ndarray, sample_rate: int, threshold_db: float) -> np.ndarray:
    """Without the frames of 10 ms at both ends that are quieter than the loudest by more than threshold_db (negative).

    What automatic cutting does to recordings: with a high threshold it takes weak consonants away.
    """
    frame = sample_rate // 100
    frames = waveform[: len(waveform) // frame * frame].reshape(-1, frame)
    power = np.square(frames, dtype=np.float64).mean(1)
    loud = np.flatnonzero(power >= power.max(initial=0.0) * 10 ** (threshold_db / 10))
    return waveform[loud[0] * frame : (loud[-1] + 1) * frame] if len(loud) else waveform
