"""Recordings from disk to batches of waveforms: this project's data set next to other readers, in PyTorch's loader."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

from asr.audio import audio_info
from asr.data.batches import duration_batches
from asr.data.dataset import EpochDataset, Recordings
from asr.data.manifest import Manifest
from asr.data.subset import Subset
from asr.data.waveforms import WaveformCache
from asr.errors import ManifestError
from asr.text import Tokenizer, normalize
from bench.record import median_ratio, take_turns

Read = Callable[[str, float, float], Tensor]  # path, start and duration in seconds -> (samples,) float32, channel 0
Loader = Callable[[int], Iterable[Any]]  # number of workers -> batches
BATCH_S = 120.0


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


def read_lhotse() -> Read:
    from lhotse import Recording

    recording = cache(Recording.from_file)  # made once, as its manifests are

    def read(path: str, start: float, duration: float) -> Tensor:
        return torch.from_numpy(recording(path).load_audio(offset=start, duration=duration)[0])

    return read


PEERS = {"soundfile": read_soundfile, "torchaudio": read_torchaudio, "lhotse": read_lhotse}


def measure(path: Path, workers: tuple[int, ...], repeat: int) -> Iterator[dict[str, Any]]:
    """Rows of manifest, reader, workers, and audio_per_s (seconds of audio a second) with its ratio to plain soundfile:
    medians over repetitions in which the readers take turns. A reader that is missing has a row that says why.
    """
    manifest = Manifest(path)
    if not len(manifest):
        raise ManifestError(f"{path}: no utterances")
    batches = duration_batches(manifest.durations, BATCH_S)
    loaders = {"asr": own_batches(manifest, batches)}
    for peer, make in PEERS.items():
        try:
            read = make()
            for utterance in manifest:
                read(str(utterance.audio), utterance.start, utterance.duration)
        except Exception as error:  # whatever a toolkit does that is not complete
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]
            yield {"manifest": path.name, "reader": peer, "missing": reason}
            continue
        loaders[peer] = partial(peer_batches, manifest, batches, read)
    ways = {(reader, count): partial(seconds, load, count) for count in workers for reader, load in loaders.items()}
    audio_s = float(manifest.durations.sum())
    times = take_turns(ways, repeat)
    for (reader, count), own in times.items():
        yield {
            "manifest": path.name,
            "reader": reader,
            "workers": count,
            "audio_s": round(audio_s, 1),
            "audio_per_s": round(audio_s / statistics.median(own), 1),
            "ratio": median_ratio(times["soundfile", count], own),
        }


def seconds(load: Loader, workers: int) -> float:
    began = time.perf_counter()
    for _ in load(workers):
        pass
    return time.perf_counter() - began


def peer_batches(manifest: Manifest, batches: list[list[int]], read: Read, workers: int) -> Iterable[Any]:
    places = [(str(utterance.audio), utterance.start, utterance.duration) for utterance in manifest]

    def collate(group: list[tuple[str, float, float]]) -> Tensor:
        return pad_sequence([read(*place) for place in group], batch_first=True)

    return DataLoader(places, batch_sampler=batches, num_workers=workers, collate_fn=collate)


def own_batches(manifest: Manifest, batches: list[list[int]]) -> Loader:
    """The data set of a training without augmentation, nothing kept in memory."""
    texts = (normalize(utterance.text or "", "basic") for utterance in manifest)
    zeros = np.zeros(len(manifest), np.int64)  # what CTC needs and who speaks is not asked for
    subset = Subset(manifest, np.arange(len(manifest)), Counter(), zeros, zeros)
    examples = EpochDataset(
        waveforms=WaveformCache(manifest, audio_info(manifest[0].audio).sample_rate, megabytes=0),
        utterances=Recordings(subset),
        speeds=np.ones(len(subset)),
        tokenizer=Tokenizer.build("characters", texts),
        normalizer="basic",
        augmentations=(),
        seed=0,
        epoch=0,
    )
    return partial(examples.batches, batches)
