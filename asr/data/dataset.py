"""The utterances of an epoch, from a source of them, as batches of waveforms and tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from asr.augment import Augmentation, augment_waveform, change_speed, generator
from asr.data.batches import Batch, collate
from asr.data.subset import Subset
from asr.data.waveforms import WaveformCache
from asr.errors import AudioError
from asr.text import Tokenizer, normalize
from asr.util.runtime import map_ahead


class Utterances(Protocol):
    """The utterances of one epoch, by number.

    durations: (utterances,) seconds; needed: (utterances,) frames that CTC needs for their texts.
    """

    durations: np.ndarray
    needed: np.ndarray

    def __len__(self) -> int: ...

    def rows(self, number: int) -> Sequence[int]:
        """What an utterance is made of: rows of the manifest."""
        ...

    def join(
        self, number: int, waveforms: Sequence[np.ndarray], sample_rate: int, rng: np.random.Generator
    ) -> np.ndarray:
        """The samples of an utterance, (samples,) float32, of those of its rows."""
        ...


class Source(Protocol):
    """Where the utterances of every epoch come from."""

    def __len__(self) -> int:
        """Utterances of an epoch."""
        ...

    def draw(self, rng: np.random.Generator) -> Utterances: ...


class Recordings:
    """Both, where every recording of a subset is an utterance: in every epoch the same."""

    def __init__(self, subset: Subset) -> None:
        self.subset, self.durations, self.needed = subset, subset.durations, subset.needed

    def __len__(self) -> int:
        return len(self.subset)

    def draw(self, rng: np.random.Generator) -> Recordings:
        return self

    def rows(self, number: int) -> Sequence[int]:
        return (int(self.subset.rows[number]),)

    def join(
        self, number: int, waveforms: Sequence[np.ndarray], sample_rate: int, rng: np.random.Generator
    ) -> np.ndarray:
        return waveforms[0]


@dataclass
class EpochDataset:
    """The utterances of an epoch, joined, each at its own speed, and augmented by draws keyed (seed, epoch, number).

    speeds: (utterances,) factors; pin: batches lie in memory from which CUDA copies while it computes.
    """

    waveforms: WaveformCache
    utterances: Utterances
    speeds: np.ndarray
    tokenizer: Tokenizer
    normalizer: str
    augmentations: Sequence[Augmentation]
    seed: int
    epoch: int
    pin: bool = False

    @property
    def durations(self) -> np.ndarray:
        """(utterances,) seconds at their speeds."""
        return self.utterances.durations / self.speeds

    def __getitem__(self, number: int) -> tuple[int, np.ndarray, list[int]] | str:
        """An utterance's number, waveform and tokens; if it cannot be read, why."""
        try:
            return self._example(number)
        except AudioError as error:
            return str(error)

    def _example(self, number: int) -> tuple[int, np.ndarray, list[int]]:
        rng, rate = generator(self.seed, self.epoch, number), self.waveforms.sample_rate
        recorded, waveforms = zip(*self.waveforms.read(self.utterances.rows(number)), strict=True)
        samples = self.utterances.join(number, waveforms, rate, rng)
        samples = change_speed(samples, rate, float(self.speeds[number]))
        samples = augment_waveform(samples, rate, self.augmentations, rng)
        text = " ".join(filter(None, (normalize(each.text or "", self.normalizer, each.lang) for each in recorded)))
        return number, samples, self.tokenizer.encode(text)

    def batches(self, groups: Sequence[list[int]], workers: int) -> Iterator[Batch]:
        """Load the given groups of utterances in order; so many threads load ahead of what is asked for.

        Decoders and numpy compute outside of Python's lock, so threads do what processes would, and share the cache.
        """
        if workers:
            yield from map_ahead(self._batch, groups, workers, ahead=2 * workers)
        else:
            yield from map(self._batch, groups)

    def _batch(self, group: list[int]) -> Batch:
        batch = collate([self[number] for number in group])
        return batch.pinned() if self.pin else batch
