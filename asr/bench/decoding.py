"""Recordings from disk to batches of waveforms: this project's data set next to other readers, in the same loader."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from asr.audio import audio_info
from asr.config import JoinConfig
from asr.data.batches import duration_batches
from asr.data.dataset import Examples, WaveformCache
from asr.data.join import Plans
from asr.data.manifest import Manifest, Utterance, write_manifest
from asr.errors import ManifestError
from asr.text import Tokenizer, normalise

Read = Callable[[str, float, float], Tensor]  # path, start and duration in seconds -> (samples,) float32, channel 0
Epoch = Callable[[int], Iterable[Any]]  # number of workers -> batches
BATCH_S = 120.0
MADE_UP = {"flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}


def write_recordings(folder: Path, suffix: str, count: int, seconds: float = 12.0, rate: int = 16_000) -> Path:
    """The path of a manifest of made-up voices: harmonics of a gliding pitch, syllables, a little noise."""
    form, subtype = MADE_UP[suffix]
    utterances = []
    for number in range(count):
        path = folder / suffix / f"{number}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, made_up_voice(number, seconds, rate), rate, format=form, subtype=subtype)
        utterances.append(Utterance(path.stem, path, seconds))
    write_manifest(folder / f"{suffix}.jsonl", utterances)
    return folder / f"{suffix}.jsonl"


def made_up_voice(number: int, seconds: float, rate: int) -> np.ndarray:
    """(samples,) float32, another for each number."""
    rng = np.random.default_rng(number)
    t = np.arange(round(seconds * rate)) / rate
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 0.4 * t + number)) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    samples = 0.1 * voice * np.sin(2 * np.pi * 2 * t) ** 2 + 0.002 * rng.standard_normal(len(t))
    return samples.astype(np.float32)


def read_soundfile() -> Read:
    """libsndfile with nothing around it: the bound."""

    def read(path: str, start: float, duration: float) -> Tensor:
        with soundfile.SoundFile(path) as file:
            file.seek(round(start * file.samplerate))
            return torch.from_numpy(file.read(round(duration * file.samplerate), "float32", always_2d=True)[:, 0])

    return read


def read_torchaudio() -> Read:
    import torchaudio

    rate = cache(lambda path: audio_info(path).sample_rate)

    def read(path: str, start: float, duration: float) -> Tensor:
        return torchaudio.load(path, round(start * rate(path)), round(duration * rate(path)))[0][0]

    return read


def read_torchcodec() -> Read:
    from torchcodec.decoders import AudioDecoder

    return lambda path, start, duration: AudioDecoder(path).get_samples_played_in_range(start, start + duration).data[0]


def read_lhotse() -> Read:
    from lhotse import Recording

    recording = cache(Recording.from_file)  # made once, as its manifests are

    def read(path: str, start: float, duration: float) -> Tensor:
        return torch.from_numpy(recording(path).load_audio(offset=start, duration=duration)[0])

    return read


PEERS: dict[str, Callable[[], Read]] = {
    "soundfile": read_soundfile,
    "torchaudio": read_torchaudio,
    "torchcodec": read_torchcodec,
    "lhotse": read_lhotse,
}


class Recordings(Dataset):
    """Waveforms of utterances by a given reader, nothing else."""

    def __init__(self, utterances: list[Utterance], read: Read) -> None:
        self.places = [(str(each.audio), each.start, each.duration) for each in utterances]
        self.read = read

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Tensor:
        return self.read(*self.places[index])


def measure(path: Path, workers: tuple[int, ...], repeat: int) -> Iterator[dict[str, Any]]:
    """Rows of manifest, reader, workers, and audio_per_s (seconds of audio a second) with its ratio to plain soundfile:
    medians over repetitions in which the readers take turns. A reader that is missing has a row that says why.
    """
    manifest = Manifest(path)
    if not len(manifest):
        raise ManifestError(f"{path}: no utterances")
    batches = duration_batches(manifest.durations, BATCH_S)
    epochs, missing = _epochs(manifest, batches)
    for peer, reason in missing.items():
        yield {"manifest": path.name, "reader": peer, "missing": reason}
    times: dict[tuple[str, int], list[float]] = {}
    for repetition in range(repeat):
        turns = list(epochs.items())[:: -1 if repetition % 2 else 1]
        for count in workers:
            for reader, epoch in turns:
                began = time.perf_counter()
                for _ in epoch(count):
                    pass
                times.setdefault((reader, count), []).append(time.perf_counter() - began)
    audio_s = float(manifest.durations.sum())
    for (reader, count), seconds in times.items():
        pairs = zip(times["soundfile", count], seconds, strict=True)
        yield {
            "manifest": path.name,
            "reader": reader,
            "workers": count,
            "audio_s": round(audio_s, 1),
            "audio_per_s": round(audio_s / statistics.median(seconds), 1),
            "ratio": round(statistics.median(bound / own for bound, own in pairs), 3),
        }


def _epochs(manifest: Manifest, batches: list[list[int]]) -> tuple[dict[str, Epoch], dict[str, str]]:
    """Every reader's way to go through all batches, tried once without workers; and why others are missing."""
    utterances = list(manifest)
    epochs: dict[str, Epoch] = {"asr": own_batches(manifest, batches)}
    missing: dict[str, str] = {}
    for peer, make in PEERS.items():
        try:
            recordings = Recordings(utterances, make())
            for index in range(len(recordings)):
                recordings[index]
        except Exception as error:  # whatever a toolkit does that is not complete
            missing[peer] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
            continue
        epochs[peer] = lambda workers, of=recordings: DataLoader(
            of, batch_sampler=batches, num_workers=workers, collate_fn=_pad
        )
    for _ in epochs["asr"](0):  # the others have warmed up as well
        pass
    return epochs, missing


def own_batches(manifest: Manifest, batches: list[list[int]]) -> Epoch:
    """The data set of a training without augmentation, nothing kept in memory."""
    texts = (normalise(utterance.text or "", "basic") for utterance in manifest)
    examples = Examples(
        waveforms=WaveformCache(manifest, audio_info(manifest[0].audio).sample_rate, megabytes=0),
        plans=Plans.singles(np.arange(len(manifest))),
        tokenizer=Tokenizer.build("characters", texts),
        normaliser="basic",
        join=JoinConfig(),
        augment=None,
        noise=None,
        seed=0,
        epoch=0,
    )
    return lambda workers: examples.batches(batches, workers)


def _pad(waveforms: list[Tensor]) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(waveforms, batch_first=True)
