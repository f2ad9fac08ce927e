"""Manifest -> batches of waveforms and tokens, for training and for validation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
import torch
from torch import Tensor

from asr.audio import read_audio
from asr.augment import Augmentation, augment_waveform, change_speed, generator
from asr.config import ComposeConfig
from asr.data.compose import Composition, compose_waveforms
from asr.data.manifest import Manifest, Utterance
from asr.errors import AudioError, ManifestError
from asr.text import Tokenizer, normalize
from asr.util.files import require_file
from asr.util.runtime import map_ahead


@dataclass(frozen=True)
class Batch:
    """Utterances to learn from.

    indices: their numbers in their epoch; unreadable: why each utterance that would be here is not.
    """

    indices: list[int]
    waveforms: Tensor  # (B, samples), zero-padded
    waveform_lengths: Tensor  # (B,)
    tokens: Tensor  # (B, max_tokens), zero-padded
    token_lengths: Tensor  # (B,)
    unreadable: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Batch:
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        return self._mapped(Tensor.pin_memory)

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            waveforms=change(self.waveforms),
            waveform_lengths=change(self.waveform_lengths),
            tokens=change(self.tokens),
            token_lengths=change(self.token_lengths),
        )


class WaveformCache:
    """Decoded audio by manifest row, the least recently used dropped beyond `megabytes`. Threads may share it."""

    def __init__(self, manifest: Manifest, sample_rate: int, megabytes: int) -> None:
        self.manifest = manifest
        self.sample_rate = sample_rate
        self.room = megabytes * 2**20
        self._kept: OrderedDict[int, tuple[Utterance, np.ndarray]] = OrderedDict()
        self._lock = Lock()

    def __getitem__(self, row: int) -> tuple[Utterance, np.ndarray]:
        """The utterance and its samples, (samples,) float32. Raises AudioError."""
        with self._lock:
            found = self._kept.get(row)
            if found is not None:
                self._kept.move_to_end(row)
        if found is not None:
            return found[0], _unpacked(found[1])
        utterance = self.manifest[row]
        try:
            samples = read_utterance(utterance, self.sample_rate)
        except AudioError as error:
            raise AudioError(f"{self.manifest.path}, utterance {utterance.id}: {error}", error.fault) from None
        if self.room > 0 or self._kept:
            self._keep(row, utterance, _packed(samples))
        return utterance, samples

    def _keep(self, row: int, utterance: Utterance, packed: np.ndarray) -> None:
        with self._lock:
            if row in self._kept:  # by another thread meanwhile
                return
            self._kept[row] = utterance, packed
            self.room -= packed.nbytes
            while self.room < 0 and self._kept:
                self.room += self._kept.popitem(last=False)[1][1].nbytes


def _packed(samples: np.ndarray) -> np.ndarray:
    """As int16, half the size, where that loses nothing: as decoded from 16-bit files of one channel."""
    scaled = samples * np.float32(2**15)
    with np.errstate(invalid="ignore"):  # full scale does not fit, and is found out by the comparison
        packed = scaled.astype(np.int16)
    return packed if np.array_equal(packed, scaled) else samples


def _unpacked(packed: np.ndarray) -> np.ndarray:
    return packed if packed.dtype == np.float32 else packed * np.float32(2**-15)


class RecordedNoise:
    """Pieces of recorded noise, drawn from a manifest's recordings."""

    def __init__(self, recordings: WaveformCache) -> None:
        if not len(recordings.manifest):
            raise ManifestError(f"{recordings.manifest.path}: no recordings of noise in it")
        self.recordings = recordings

    def __call__(self, samples: int, rng: np.random.Generator) -> np.ndarray:
        """(samples,) float32 of unit power: a recording from a random place on, repeated where it is too short.

        The place has sound: recordings are often padded with silence. Of silence alone nothing can be made: zeros.
        """
        recording = self.recordings[int(rng.integers(len(self.recordings.manifest)))][1]
        sounding = np.flatnonzero(np.abs(recording) > 0.01 * np.abs(recording).max(initial=0.0))
        first = int(rng.choice(sounding)) if len(sounding) else 0
        piece = recording.take(np.arange(first, first + samples), mode="wrap")
        return piece / np.float32(max(float(np.sqrt(np.mean(np.square(piece, dtype=np.float64)))), 1e-9))


@dataclass
class EpochDataset:
    """The utterances of one epoch. Item i is composition i, joined and augmented by draws keyed (seed, epoch, i).

    pin: batches lie in memory from which CUDA copies while it computes.
    """

    waveforms: WaveformCache
    compositions: Sequence[Composition]
    tokenizer: Tokenizer
    normalizer: str
    compose: ComposeConfig
    augmentations: Sequence[Augmentation]
    seed: int
    epoch: int
    pin: bool = False

    def __getitem__(self, index: int) -> tuple[int, np.ndarray, list[int]] | str:
        """Composition number, waveform and tokens; for an utterance that cannot be read, why."""
        try:
            return self._example(index)
        except AudioError as error:
            return str(error)

    def _example(self, index: int) -> tuple[int, np.ndarray, list[int]]:
        composition = self.compositions[index]
        rng = generator(self.seed, self.epoch, index)
        utterances, samples = zip(*(self.waveforms[row] for row in composition.rows), strict=True)
        joined = (
            samples[0]
            if not composition.pauses
            else compose_waveforms(samples, composition, self.waveforms.sample_rate, self.compose, rng)
        )
        joined = change_speed(joined, self.waveforms.sample_rate, composition.speed)
        joined = augment_waveform(joined, self.waveforms.sample_rate, self.augmentations, rng)
        text = " ".join(filter(None, (normalize(utterance.text or "", self.normalizer) for utterance in utterances)))
        return index, joined, self.tokenizer.encode(text)

    def batches(self, groups: Sequence[list[int]], workers: int) -> Iterator[Batch]:
        """Load the given groups of compositions in order; so many threads load ahead of what is asked for.

        Decoders and numpy compute outside of Python's lock, so threads do what processes would, and share the cache.
        """
        if workers:
            yield from map_ahead(self._batch, groups, workers, ahead=2 * workers)
        else:
            yield from map(self._batch, groups)

    def _batch(self, group: list[int]) -> Batch:
        batch = collate([self[index] for index in group])
        return batch.pinned() if self.pin else batch


def collate(examples: list[tuple[int, np.ndarray, list[int]] | str]) -> Batch:
    """A batch of what could be read; without indices where that is nothing."""
    unreadable = tuple(example for example in examples if isinstance(example, str))
    readable = [example for example in examples if not isinstance(example, str)]
    waveforms = _padded([waveform for _, waveform, _ in readable], np.float32)
    tokens = _padded([symbols for _, _, symbols in readable], np.int64)
    return Batch([index for index, _, _ in readable], *waveforms, *tokens, unreadable)


def _padded(rows: Sequence[np.ndarray | list[int]], kind: type) -> tuple[Tensor, Tensor]:
    """(rows, longest) with zeros behind each, and their lengths.

    By numpy: PyTorch would copy with threads of its own in each thread that calls it, which then wait busily and take
    the cores from the training.
    """
    lengths = [len(row) for row in rows]
    out: np.ndarray = np.zeros((len(rows), max(lengths, default=0)), kind)
    for padded, row in zip(out, rows, strict=True):
        padded[: len(row)] = row
    return torch.from_numpy(out), torch.tensor(lengths, dtype=torch.long)


def read_utterance(utterance: Utterance, sample_rate: int) -> np.ndarray:
    """(samples,) float32 at sample_rate, the part of the file that the manifest line names."""
    require_file(utterance.audio, AudioError)
    audio = read_audio(
        utterance.audio,
        sample_rate,
        start=utterance.start,
        duration=utterance.duration,
        channel=utterance.channel,
    )
    return audio.samples
