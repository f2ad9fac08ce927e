"""Utterances made of several recordings of one speaker: digit strings from single digits, long from short."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from asr.augment import NOISE_EXPONENTS, add_noise, colored_noise, decibels
from asr.config import ComposeConfig


@dataclass(frozen=True)
class Composition:
    """One utterance to be made: `rows` of the manifest in order, len(rows) + 1 pauses (seconds) around them or none at
    all, and a factor on speed. Planned ahead, so that batches are filled by true lengths (trimming shortens them)."""

    rows: tuple[int, ...]
    pauses: tuple[float, ...] = ()
    speed: float = 1.0

    def duration(self, durations: np.ndarray) -> float:
        return (float(durations[list(self.rows)].sum()) + sum(self.pauses)) / self.speed


@dataclass(frozen=True, eq=False)
class Compositions(Sequence[Composition]):
    """Compositions as arrays: a million of one recording each take 24 MB, not one GB.

    rows: the rows of all compositions, one after the other; lengths: how many rows each has;
    pauses: (len(rows) + len(lengths),), or none.
    """

    rows: np.ndarray
    lengths: np.ndarray
    pauses: np.ndarray
    speeds: np.ndarray

    @classmethod
    def singles(cls, rows: np.ndarray) -> Compositions:
        """Every row a composition of its own."""
        return cls(rows, np.ones(len(rows), np.int32), np.empty(0), np.ones(len(rows)))

    @classmethod
    def joined(cls, compositions: Iterable[Composition]) -> Compositions:
        """Of compositions that all have pauses."""
        rows, pauses, speeds = zip(
            *((composition.rows, composition.pauses, composition.speed) for composition in compositions), strict=True
        )
        lengths = np.array([len(each) for each in rows], np.int32)
        return cls(np.concatenate(rows), lengths, np.concatenate(pauses), np.array(speeds))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Composition:  # type: ignore[override]
        index = range(len(self))[index]
        first, length = self.firsts[index], self.lengths[index]
        rows, pauses = self.rows[first:][:length], self.pauses[first + index :][: length + 1]
        return Composition(tuple(rows.tolist()), tuple(pauses.tolist()), float(self.speeds[index]))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Compositions) and list(self) == list(other)

    @cached_property
    def firsts(self) -> np.ndarray:
        """Where in `rows` each composition begins."""
        return np.cumsum(self.lengths, dtype=np.int64) - self.lengths

    def total(self, values: np.ndarray) -> np.ndarray:
        """(compositions,) the sum over each composition's rows of `values`, which has one for every row there is."""
        return np.add.reduceat(values[self.rows], self.firsts) if len(self) else values[:0]

    def durations(self, durations: np.ndarray) -> np.ndarray:
        """(compositions,) seconds, as Composition.duration gives them."""
        seconds = self.total(durations)
        if len(self.pauses):
            seconds = seconds + np.add.reduceat(self.pauses, self.firsts + np.arange(len(self)))
        return seconds / self.speeds

    def kept(self, keep: np.ndarray) -> Compositions:
        """Those compositions where the boolean `keep` is true."""
        pauses = self.pauses[np.repeat(keep, self.lengths + 1)] if len(self.pauses) else self.pauses
        return Compositions(self.rows[np.repeat(keep, self.lengths)], self.lengths[keep], pauses, self.speeds[keep])


def draw_compositions(
    rows: Sequence[int] | np.ndarray,
    speakers: Sequence[Any] | np.ndarray,
    config: ComposeConfig,
    count: int,
    rng: np.random.Generator,
    durations: np.ndarray | None = None,
) -> list[Composition]:
    """Draw `count` compositions: a speaker in proportion to their recordings, a length uniform from 1 to
    config.max_recordings, rows at random.

    rows, speakers: of a manifest those to choose from, and who speaks in each. durations: seconds of every row of the
    manifest, wanted where config.max_s leaves out the recordings that do not fit. The pauses before the first and after
    the last recording are each left out with probability config.no_pause_prob.
    """
    if config.max_s is not None and durations is None:
        raise ValueError("max_s needs durations")
    rows_of: dict[str | None, list[int]] = defaultdict(list)
    for row, speaker in zip(rows, speakers, strict=True):
        rows_of[speaker].append(int(row))
    compositions = []
    for _ in range(count):
        candidates = rows_of[speakers[int(rng.integers(len(speakers)))]]
        length = int(rng.integers(1, config.max_recordings + 1))
        chosen = tuple(candidates[i] for i in rng.integers(len(candidates), size=length).tolist())
        pauses = rng.uniform(*config.pause_s, size=length + 1)
        if config.max_s is not None and durations is not None:
            ends = np.cumsum(durations[list(chosen)] + pauses[1:]) + pauses[0]
            fitting = max(1, int(np.searchsorted(ends, config.max_s, side="right")))
            chosen, pauses = chosen[:fitting], pauses[: fitting + 1]
        pauses[[0, -1]] *= rng.random(2) >= config.no_pause_prob
        compositions.append(Composition(chosen, tuple(pauses.tolist())))
    return compositions


def compose_waveforms(
    waveforms: Sequence[np.ndarray],
    composition: Composition,
    sample_rate: int,
    config: ComposeConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """The recordings of a composition one after the other, silence between, each at its own level ± gain_db.

    With config.noise_prob some sound as if recorded in a noisy room or by a poor microphone and joined afterwards: the
    noise begins and ends with each recording, which without that can be taken for a consonant.
    """
    noise: tuple[str, float] | None = None
    if config.noise_prob and rng.random() < config.noise_prob:
        noise = str(rng.choice(list(NOISE_EXPONENTS))), rng.uniform(*config.noise_snr_db)
    pieces = []
    for pause, waveform in zip(composition.pauses, waveforms, strict=False):
        pieces.append(np.zeros(round(pause * sample_rate), np.float32))
        if config.trim_prob and rng.random() < config.trim_prob:
            waveform = trim(waveform, sample_rate, rng.uniform(*config.trim_db))
        if noise is not None and len(waveform):
            color, snr_db = noise
            waveform = add_noise(waveform, colored_noise(len(waveform), color, rng), snr_db)
        pieces.append(waveform * np.float32(decibels(rng.uniform(-config.gain_db, config.gain_db))))
    pieces.append(np.zeros(round(composition.pauses[-1] * sample_rate), np.float32))
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
