"""The training of a whole pipeline next to its bare steps, and those next to packed sequences and to CTC-CRF."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from asr import __version__
from asr.config import parse_config
from asr.data.batches import Batch
from asr.evaluate.score import Pair, Scores, score
from asr.model.recognizer import Recognizer
from asr.model.recurrent import RecurrentLayer
from asr.train.checkpoint import CheckpointFolder
from asr.train.log import RunLog
from asr.train.loop import Outcome, fit
from asr.train.optimizer import make_optimizer
from asr.train.run import Prepared, TrainingLoss, prepare
from asr.util.runtime import resolve_device
from bench.corpus import MADE_UP, write_corpus
from bench.record import Epoch, Say, machine, median_ratio, print_table, take_turns

FORMAT = "asr-bench-train-1"
CELLS = ("rnn", "lstm", "gru")
SOURCES = {"cache": "flac", "flac": "flac", "opus": "opus"}  # where the pipeline's audio comes from -> files
WAYS = ("bare", "ctc_crf", "packed", *SOURCES)
SIZES = {"cpu": {"layers": 3, "hidden_size": 256}, "cuda": {"layers": 5, "hidden_size": 512}}
BATCH_S = {"cpu": 60.0, "cuda": 600.0}
MINUTES = {"cpu": 6.0, "cuda": 90.0}


@dataclass(frozen=True)
class Setup:
    """One measurement. minutes: of audio; None: what is enough for the device. threads: of the CPU, for all that is
    compared; 0: one for each core."""

    device: str
    cells: Sequence[str]
    minutes: float | None
    workers: int
    repeat: int
    threads: int = 0

    @property
    def kind(self) -> str:
        return resolve_device(self.device).type


def bench(setup: Setup, say: Say) -> dict[str, Any]:
    """The record: per cell the seconds of audio a second of every way, and their ratios. Raises ConfigError."""
    kind = setup.kind
    threads = setup.threads or os.cpu_count() or 1
    record: dict[str, Any] = {"format": FORMAT, "asr_version": __version__, "machine": machine()}
    record |= {"device": kind, "threads": threads, "workers": setup.workers, "repeat": setup.repeat}
    record |= SIZES[kind] | {"batch_s": BATCH_S[kind], "cells": {}}
    if kind == "cuda":
        record["gpu"] = torch.cuda.get_device_name(setup.device)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with TemporaryDirectory() as temporary:
            folder = Path(temporary)
            minutes = setup.minutes or MINUTES[kind]
            say(f"{minutes:g} min of speech are made up, in {' and in '.join(MADE_UP)}")
            record["audio_s"] = round(write_corpus(folder, 60 * minutes), 2)
            for cell in setup.cells:
                say(f"{cell}: {setup.repeat} times each way, after one to warm up")
                record["cells"][cell] = measure(ways(cell, setup, folder), record["audio_s"], setup.repeat)
    finally:
        torch.set_num_threads(before)
    return record


def ways(cell: str, setup: Setup, folder: Path) -> dict[str, Epoch]:
    """Every way to train on the corpus once: the same model from the same weights, the same batches."""
    sources = {source: prepared(source, cell, setup, folder) for source in SOURCES}
    batches = list(sources["flac"].data.batches(0)[1])
    bare = partial(bare_epoch, sources["flac"], batches)
    crf = partial(bare_epoch, prepared("flac", cell, setup, folder, loss="ctc_crf"), batches)
    pipelines = {source: partial(pipeline_epoch, made) for source, made in sources.items()}
    return {"bare": bare, "ctc_crf": crf, "packed": partial(packed_epoch, bare, sources["flac"].recognizer)} | pipelines


def prepared(source: str, cell: str, setup: Setup, folder: Path, loss: str = "ctc") -> Prepared:
    """What a training is made of. What is cached is the training process's own, so no others decode it."""
    manifest = str(folder / f"{SOURCES[source]}.jsonl")
    cached = source == "cache"
    raw: dict[str, Any] = {
        "device": setup.device,
        "data": {"train": manifest, "dev": manifest, "cache_mb": 100_000 if cached else 0},
        "model": {"cell": cell, **SIZES[setup.kind]},
        "augment": {"time_mask": {"count": 2}, "frequency_mask": {"count": 2}},
        "train": {"epochs": 1, "batch_seconds": BATCH_S[setup.kind], "loss": loss, "ctc_epochs": 0},
    }
    raw["data"]["workers"] = 0 if cached else setup.workers
    return prepare(parse_config(raw, "bench"))


def bare_epoch(made: Prepared, batches: list[Batch]) -> float:
    """Features, masks, forward, backward and optimizer, on waveforms in the device's memory."""
    recognizer, train = made.recognizer, made.config.train
    loss, optimizer = TrainingLoss(recognizer, made.config), make_optimizer(recognizer, train)
    ready = [batch.to(recognizer.device) for batch in batches]
    recognizer.train()
    began = now(recognizer.device)
    for number, batch in enumerate(ready):
        recognizer.zero_grad(set_to_none=True)
        (loss(batch, 0, number).total / len(batch.indices)).backward()
        torch.nn.utils.clip_grad_norm_(recognizer.parameters(), train.max_grad_norm)
        optimizer.step()
    return now(recognizer.device) - began


def packed_epoch(bare: Epoch, recognizer: Recognizer) -> float:
    with packed_layers(recognizer.encoder.layers):
        return bare()


def pipeline_epoch(made: Prepared) -> float:
    """`asr train`'s own loop, data set and workers, from the first look at the files to the last step."""
    device, recognizer, timed = made.recognizer.device, made.recognizer, TimedData(made)
    ended = []

    def validate(candidate: Recognizer) -> Scores:
        ended.append(now(device))
        return score([Pair("none", "a", "a")])

    with TemporaryDirectory() as folder:
        loss, checkpoints = TrainingLoss(recognizer, made.config), CheckpointFolder(Path(folder), {}, {})
        outcome = fit(recognizer, timed, loss, validate, made.config.train, checkpoints, RunLog(None))
        if outcome is not Outcome.FINISHED:
            raise KeyboardInterrupt  # the loop takes it for a wish to save and go on later
    return ended[0] - timed.began


class TimedData:
    """Training data that notes when its batches are asked for."""

    def __init__(self, made: Prepared) -> None:
        self.made, self.max_unreadable, self.names = made, made.data.max_unreadable, made.data.names
        self.began = 0.0

    def batches(self, epoch: int, first: int) -> tuple[int, Iterator[Batch]]:
        self.began = now(self.made.recognizer.device)
        return self.made.data.batches(epoch, first)


@contextmanager
def packed_layers(layers: Iterable[RecurrentLayer]) -> Iterator[None]:
    """The recurrent layers the usual way, as packed sequences through their own nn.LSTM, GRU or RNN."""
    for layer in layers:
        layer.forward = partial(_packed, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _packed(layer: RecurrentLayer, x: Tensor, lengths: Tensor) -> Tensor:
    sequence = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(layer.rnn(sequence)[0], batch_first=True, total_length=x.shape[1])[0]


def now(device: torch.device) -> float:
    """Seconds, when the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def measure(epochs: dict[str, Epoch], audio_s: float, repeat: int) -> dict[str, Any]:
    """Medians over repetitions in which the ways take turns; a ratio is the median of the ratios within repetitions."""
    times = take_turns(epochs, repeat)
    return {
        "audio_per_s": {way: round(audio_s / statistics.median(seconds), 1) for way, seconds in times.items()},
        "pipeline_over_bare": {source: median_ratio(times["bare"], times[source]) for source in SOURCES},
        "bare_over_packed": median_ratio(times["packed"], times["bare"]),
        "time_of_ctc_crf": median_ratio(times["ctc_crf"], times["bare"]),
        "seconds": {way: [round(value, 4) for value in seconds] for way, seconds in times.items()},
    }


def print_tables(record: dict[str, Any]) -> None:
    title = (
        f"{record['layers']} × {record['hidden_size']} bidirectional, {record['device']}, {record['threads']} threads"
    )
    cells = record["cells"].values()
    rows = [[f"{way}, audio s / s", *[f"{x['audio_per_s'][way]:.0f}" for x in cells]] for way in WAYS]
    rows += [[f"{source} over bare", *[f"{x['pipeline_over_bare'][source]:.2f}" for x in cells]] for source in SOURCES]
    rows += [["bare over packed", *[f"{x['bare_over_packed']:.2f}" for x in cells]]]
    rows += [["time of ctc_crf over bare", *[f"{x['time_of_ctc_crf']:.2f}" for x in cells]]]
    print_table(title, ["", *record["cells"]], rows)
