"""Utterances made of several recordings of one speaker: digit strings from single digits, long from short."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from asr.augment import NOISE_EXPONENTS, add_noise, colored_noise, decibels
from asr.config import ComposeConfig
from asr.data.subset import Subset


@dataclass(frozen=True)
class Composition:
    """One utterance to be made: `rows` of the manifest in order, and len(rows) + 1 pauses (seconds) around them."""

    rows: tuple[int, ...]
    pauses: tuple[float, ...]


class Composer:
    """An UtteranceSource that composes new utterances from a subset's recordings in every epoch."""

    def __init__(self, subset: Subset, config: ComposeConfig) -> None:
        self.subset, self.config = subset, config

    def __len__(self) -> int:
        return self.config.utterances_per_epoch

    def draw(self, rng: np.random.Generator) -> Compositions:
        rows, speakers, durations = self.subset.rows, self.subset.speakers, self.subset.manifest.durations
        drawn = draw_compositions(rows, speakers, self.config, len(self), rng, durations)
        return Compositions(drawn, self.subset, self.config)


class Compositions:
    """The composed utterances of one epoch. Their lengths are known before any audio is read, to plan batches.

    durations: (utterances,) seconds, before trimming; needed: (utterances,) frames that CTC needs.
    """

    def __init__(self, drawn: Sequence[Composition], subset: Subset, config: ComposeConfig) -> None:
        self.drawn, self.config = drawn, config
        needed = np.zeros(len(subset.manifest), np.int64)
        needed[subset.rows] = subset.needed
        rows = np.concatenate([composition.rows for composition in drawn])
        pauses = np.concatenate([composition.pauses for composition in drawn])
        lengths = np.array([len(composition.rows) for composition in drawn])
        firsts = np.cumsum(lengths) - lengths  # where in `rows` each composition begins
        self.durations = np.add.reduceat(subset.manifest.durations[rows], firsts)
        self.durations += np.add.reduceat(pauses, firsts + np.arange(len(drawn)))
        # Between two texts CTC needs one frame more: the space, or the blank if they end and begin alike.
        self.needed = np.add.reduceat(needed[rows], firsts) + lengths - 1

    def __len__(self) -> int:
        return len(self.drawn)

    def rows(self, number: int) -> tuple[int, ...]:
        return self.drawn[number].rows

    def join(
        self, number: int, waveforms: Sequence[np.ndarray], sample_rate: int, rng: np.random.Generator
    ) -> np.ndarray:
        return compose_waveforms(waveforms, self.drawn[number], sample_rate, self.config, rng)


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

    rows, speakers: the rows of a manifest to choose from, and who speaks in each. durations: seconds of every row of
    the manifest, needed if config.max_s is set: recordings that do not fit into it are left out. The pauses before the
    first and after the last recording are each left out with probability config.no_pause_prob.
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

    With config.noise_prob some utterances sound as if their recordings had been noisy before they were joined: the
    noise begins and ends with each recording. A model that never heard this takes such edges for consonants.
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
    """Cut off the frames of 10 ms at both ends that are quieter than the loudest by more than threshold_db (negative).

    Tools that cut recordings automatically do the same: with a high threshold they lose weak consonants.
    """
    frame = sample_rate // 100
    frames = waveform[: len(waveform) // frame * frame].reshape(-1, frame)
    power = np.square(frames, dtype=np.float64).mean(1)
    loud = np.flatnonzero(power >= power.max(initial=0.0) * 10 ** (threshold_db / 10))
    return waveform[loud[0] * frame : (loud[-1] + 1) * frame] if len(loud) else waveform
