"""Manifest -> batches of waveforms and tokens, for training and for validation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asr.audio import read_audio
from asr.augment import augment_waveform, change_speed, generator
from asr.config import AugmentConfig, JoinConfig
from asr.data.join import Plan, join_waveforms
from asr.data.manifest import Manifest, Utterance
from asr.errors import AudioError, ManifestError
from asr.text import Tokenizer, normalise


class Batch(NamedTuple):
    """waveforms: (batch, samples) zero-padded, waveform_lengths: (batch,), tokens: (batch, most tokens) zero-padded,
    token_lengths: (batch,); indices: the plans' numbers in their epoch."""

    indices: list[int]
    waveforms: Tensor
    waveform_lengths: Tensor
    tokens: Tensor
    token_lengths: Tensor

    def to(self, device: torch.device) -> Batch:
        return Batch(self.indices, *(tensor.to(device, non_blocking=True) for tensor in self[1:]))


class WaveformCache:
    """Decoded audio by manifest row, the least recently used dropped beyond `megabytes`."""

    def __init__(self, manifest: Manifest, sample_rate: int, megabytes: int) -> None:
        self.manifest = manifest
        self.sample_rate = sample_rate
        self.room = megabytes * 2**20
        self._kept: OrderedDict[int, tuple[Utterance, np.ndarray]] = OrderedDict()

    def __getitem__(self, row: int) -> tuple[Utterance, np.ndarray]:
        if row in self._kept:
            self._kept.move_to_end(row)
            return self._kept[row]
        utterance = self.manifest[row]
        try:
            samples = read_utterance(utterance, self.sample_rate)
        except AudioError as error:
            raise AudioError(f"{self.manifest.path}, utterance {utterance.id}: {error}") from None
        self._kept[row] = utterance, samples
        self.room -= samples.nbytes
        while self.room < 0 and self._kept:
            self.room += self._kept.popitem(last=False)[1][1].nbytes
        return utterance, samples


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
class Examples(Dataset):
    """The utterances of one epoch. Item i is plan i, joined and augmented by draws keyed (seed, epoch, i)."""

    waveforms: WaveformCache
    plans: list[Plan]
    tokenizer: Tokenizer
    normaliser: str
    join: JoinConfig
    augment: AugmentConfig | None
    noise: RecordedNoise | None
    seed: int
    epoch: int

    def __len__(self) -> int:
        return len(self.plans)

    def __getitem__(self, index: int) -> tuple[int, Tensor, Tensor]:
        plan = self.plans[index]
        rng = generator(self.seed, self.epoch, index)
        utterances, samples = zip(*(self.waveforms[row] for row in plan.rows), strict=True)
        joined = (
            samples[0] if not plan.pauses else join_waveforms(samples, plan, self.waveforms.sample_rate, self.join, rng)
        )
        joined = change_speed(joined, self.waveforms.sample_rate, plan.speed)
        if self.augment is not None:
            joined = augment_waveform(joined, self.waveforms.sample_rate, self.augment, rng, self.noise)
        text = " ".join(filter(None, (normalise(utterance.text or "", self.normaliser) for utterance in utterances)))
        return index, torch.from_numpy(joined), torch.tensor(self.tokenizer.encode(text), dtype=torch.long)

    def batches(self, batches: list[list[int]], workers: int) -> Iterator[Batch]:
        """Load the given groups of plans in order."""
        # A generator of its own: a loader draws a number when it starts, which must not shift dropout's after a resume.
        own = torch.Generator().manual_seed(self.seed)
        return iter(DataLoader(self, batch_sampler=batches, num_workers=workers, collate_fn=collate, generator=own))


def collate(examples: list[tuple[int, Tensor, Tensor]]) -> Batch:
    indices, waveforms, tokens = zip(*examples, strict=True)
    return Batch(
        list(indices),
        torch.nn.utils.rnn.pad_sequence(list(waveforms), batch_first=True),
        torch.tensor([len(w) for w in waveforms]),
        torch.nn.utils.rnn.pad_sequence(list(tokens), batch_first=True),
        torch.tensor([len(t) for t in tokens]),
    )


def read_utterance(utterance: Utterance, sample_rate: int) -> np.ndarray:
    """(samples,) float32 at sample_rate, the part of the file that the manifest line names."""
    audio = read_audio(
        utterance.audio,
        sample_rate,
        start=utterance.start,
        duration=utterance.duration,
        channel=utterance.channel,
    )
    return audio.samples
