"""One epoch's utterances: drawn from a source, loaded, augmented, and made into batches of waveforms and tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from asr.augment import Augmentation, augment_waveform, change_speed, generator
from asr.data.batches import Batch, collate
from asr.data.manifest import Utterance
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
        """Make an utterance's samples, (samples,) float32, from the waveforms of its rows."""
        ...


class UtteranceSource(Protocol):
    """Where the utterances of every epoch come from."""

    def __len__(self) -> int:
        """The number of utterances in an epoch."""
        ...

    def draw(self, rng: np.random.Generator) -> Utterances:
        """The utterances of the next epoch."""
        ...


class Recordings:
    """UtteranceSource and Utterances in one: every recording of a subset is an utterance, the same in every epoch."""

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
    """The examples of an epoch: waveforms, each at its own speed and augmented, and tokens.

    What is random about an utterance depends on (seed, epoch, number) alone. speeds: (utterances,) factors; pin: put
    batches into pinned memory, from which CUDA copies while it computes.
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
        """An utterance's number, its (samples,) float32 and its token ids; if it cannot be read, the error message."""
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
        return number, samples, self._encode(recorded)

    def tokens(self, number: int) -> list[int]:
        """The token ids of an utterance, without its audio."""
        return self._encode(self.waveforms.manifest[row] for row in self.utterances.rows(number))

    def _encode(self, recorded: Iterable[Utterance]) -> list[int]:
        text = " ".join(filter(None, (normalize(each.text or "", self.normalizer, each.lang) for each in recorded)))
        return self.tokenizer.encode(text)

    def batches(self, groups: Sequence[list[int]], workers: int) -> Iterator[Batch]:
        """A batch of each group of utterance numbers, in order. workers: threads that load ahead; 0: load on demand.

        Threads are enough, and can share the cache: audio decoders and numpy release Python's global lock.
        """
        if workers:
            yield from map_ahead(self._batch, groups, workers, ahead=2 * workers)
        else:
            yield from map(self._batch, groups)

    def _batch(self, group: list[int]) -> Batch:
        batch = collate([self[number] for number in group])
        return batch.pinned() if self.pin else batch
