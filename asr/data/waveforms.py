"""The samples of a manifest's utterances, kept in memory as far as there is room, and pieces of recorded noise."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from threading import Lock

import numpy as np

from asr.audio import read_audio
from asr.data.manifest import Manifest, Utterance
from asr.errors import AudioError, ManifestError
from asr.util.files import require_file


def read_utterance(utterance: Utterance, sample_rate: int) -> np.ndarray:
    """(samples,) float32 at sample_rate, the part of the file that the manifest line names. Raises AudioError."""
    require_file(utterance.audio, AudioError)
    audio = read_audio(
        utterance.audio,
        sample_rate,
        start=utterance.start,
        duration=utterance.duration,
        channel=utterance.channel,
    )
    return audio.samples


class WaveformCache:
    """Decoded audio by manifest row, at most `megabytes` of it: the least recently used goes first. Thread-safe."""

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

    def read(self, rows: Sequence[int] | np.ndarray) -> Iterator[tuple[Utterance, np.ndarray]]:
        """What is at these rows, in order. Raises AudioError."""
        return (self[int(row)] for row in rows)

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
    with np.errstate(invalid="ignore"):  # full scale overflows; the comparison notices
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

        It starts where there is sound, as recordings are often padded with silence. A silent recording gives zeros.
        """
        recording = self.recordings[int(rng.integers(len(self.recordings.manifest)))][1]
        sounding = np.flatnonzero(np.abs(recording) > 0.01 * np.abs(recording).max(initial=0.0))
        first = int(rng.choice(sounding)) if len(sounding) else 0
        piece = recording.take(np.arange(first, first + samples), mode="wrap")
        return piece / np.float32(max(float(np.sqrt(np.mean(np.square(piece, dtype=np.float64)))), 1e-9))
