"""The stages of scripts/gpu.py: the GPU tests, the speed of training and of decoding, and a training."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import torch
from torch.profiler import ProfilerActivity

import asr
from asr.config import load_config
from asr.data.manifest import Manifest, write_manifest
from asr.data.waveforms import WaveformCache
from asr.decode.decoder import decode_waveforms, greedy
from asr.train.model_folder import make_model
from asr.train.report import read_metrics
from asr.train.run import train as run_training
from asr.util.runtime import resolve_device
from bench import train
from bench.corpus import MADE_UP, RATE, write_corpus
from bench.record import machine

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "recipes" / "english" / "english_gpu.yaml"
CELLS = ("lstm", "gru", "rnn")
SPEECH = {"cuda": 12.0, "cpu": 0.2}  # minutes that are made up in nine minutes, less in less
COPIES = {"cuda": 4, "cpu": 1}  # of every utterance: making them up takes longer than training on them
REPEAT = {"cuda": 3, "cpu": 1}  # measurements of everything
PROFILED_S = {"cuda": 20, "cpu": 1}
SORTED = {"cuda": ("self_cuda_time_total", "self_cpu_time_total"), "cpu": ("self_cpu_time_total",)}
START_S = 20.0  # in which a training reads its data
SAVE_S = 30.0  # in which a training saves, and writes its model
END_S = 10.0  # in which all ends


@dataclass
class Setup:
    """What every stage knows. deadline: in seconds of time.monotonic(); settings: key=value of the training."""

    output: Path
    device: str
    minutes: float
    data: Path
    settings: list[str]
    deadline: float

    @property
    def left_s(self) -> float:
        return self.deadline - time.monotonic()

    @property
    def kind(self) -> str:
        return self.device.partition(":")[0]

    @property
    def made_up(self) -> Path:
        """Made-up speech, for as long as the script runs; the same every time."""
        return self.output / "made_up"

    @property
    def rehearsal(self) -> bool:
        """Whether the training has no corpus."""
        given = any(setting.startswith("data.train=") for setting in self.settings)
        return not (given or (self.data / "train_words.jsonl").is_file())

    def measured(self, workers: int) -> train.Setup:
        """What is measured: layers as the training is told to have, otherwise the usual ones."""
        for key, value in (setting.split("=", 1) for setting in self.settings):
            if key in ("model.layers", "model.hidden_size"):
                train.SIZES[self.kind][key.removeprefix("model.")] = int(value)
        return train.Setup(self.device, CELLS, None, workers, REPEAT[self.kind])


Keep = Callable[[dict[str, Any]], None]  # takes figures of a stage, and writes them at once: they outlive it


def device(setup: Setup, keep: Keep) -> None:
    """Versions, and the device. Raises ConfigError where there is none of that name."""
    found = resolve_device(setup.device)
    keep({"machine": machine(), "device": str(found)})
    if found.type == "cuda":
        about = torch.cuda.get_device_properties(found)
        keep({"gpu": about.name, "memory_gb": round(about.total_memory / 2**30, 1), "cuda": torch.version.cuda})
        keep({"cudnn": torch.backends.cudnn.version(), "sum": torch.ones(9, device=found).sum().item()})


def tests(setup: Setup, keep: Keep) -> None:
    """The tests that are marked as needing a GPU."""
    import pytest

    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text("utf-8")]
    results = setup.output / "tests.xml"
    options = ["-m", "gpu", "-p", "no:cacheprovider", "--rootdir", str(ROOT), f"--junitxml={results}"]
    status = pytest.main([*options, *map(str, files)])
    suite = next(ElementTree.parse(results).iter("testsuite")).attrib
    keep({name: int(suite[name]) for name in ("tests", "failures", "errors", "skipped")})
    if status:
        raise RuntimeError(f"pytest ended with status {int(status)}; tests.log says more")


def speech(setup: Setup, keep: Keep) -> None:
    """Made-up speech, on which the next stages are measured."""
    setup.made_up.mkdir(exist_ok=True)
    seconds = write_corpus(setup.made_up, 60 * SPEECH[setup.kind] * min(setup.minutes / 9, 1.0))
    for path in (setup.made_up / f"{kind}.jsonl" for kind in MADE_UP):
        utterances = list(Manifest(path))
        copies = range(COPIES[setup.kind])
        write_manifest(path, [replace(each, id=f"{each.id}-{copy}") for copy in copies for each in utterances])
    keep({"made_up_s": round(seconds, 1), "copies": COPIES[setup.kind]})


def speed(setup: Setup, keep: Keep) -> None:
    """Seconds of audio a second: bare training steps, with CTC-CRF, and whole pipelines; a profile of each cell."""
    measured = setup.measured(workers=min(12, os.cpu_count() or 1))
    audio_s = float(Manifest(setup.made_up / "flac.jsonl").durations.sum())
    keep({"audio_s": audio_s, "batch_s": train.BATCH_S[setup.kind], **train.SIZES[setup.kind]})
    cells: dict[str, Any] = {}
    for cell in CELLS:
        cells[cell] = train.measure(train.ways(cell, measured, setup.made_up), audio_s, measured.repeat)
        if setup.kind == "cuda":
            cells[cell]["peak_gb"] = round(torch.cuda.max_memory_allocated(setup.device) / 2**30, 2)
            torch.cuda.reset_peak_memory_stats(setup.device)
        keep({"cells": cells})
    for cell in CELLS:
        profile(cell, measured, setup)


def profile(cell: str, measured: train.Setup, setup: Setup) -> None:
    """Write down where the time of one training step with CTC-CRF goes."""
    made = train.prepared("flac", cell, measured, setup.made_up, loss="ctc_crf")
    whole, longest = next(made.data.batches(0)[1]), PROFILED_S[setup.kind] * RATE
    lengths = whole.waveform_lengths.clamp(max=longest)
    batch = [replace(whole, waveforms=whole.waveforms[:, :longest], waveform_lengths=lengths)]
    train.bare_epoch(made, batch)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if setup.kind == "cuda" else [])
    with torch.profiler.profile(activities=activities) as profiled:
        train.bare_epoch(made, batch)
    events = profiled.key_averages()
    tables = [events.table(sort_by=key, row_limit=25, max_name_column_width=60) for key in SORTED[setup.kind]]
    (setup.output / f"profile_{cell}.txt").write_text("\n".join(tables), encoding="utf-8")


def decoding(setup: Setup, keep: Keep) -> None:
    """Seconds of audio a second: waveforms in memory, decoded greedily, and files, by the built-in model."""
    measured, manifest = setup.measured(workers=0), Manifest(setup.made_up / "flac.jsonl")
    waveforms = [samples for _, samples in WaveformCache(manifest, RATE, 0).read(range(len(manifest)))]
    audio_s, rates = float(manifest.durations.sum()), {}
    for cell in CELLS:
        recognizer = train.prepared("flac", cell, measured, setup.made_up).recognizer.eval()
        rates[f"{cell}, greedy"] = rate(audio_s, measured.repeat, decode_waveforms, recognizer, waveforms, greedy)
        keep({"audio_s": audio_s, "audio_per_s": rates})
    model, files = asr.load(device=setup.device), [utterance.audio for utterance in manifest]
    rates[f"{model.recognizer.name}, from files"] = rate(audio_s, measured.repeat, model.transcribe, files)
    keep({"audio_per_s": rates})


def rate(audio_s: float, repeat: int, run: Callable[..., object], *arguments: Any) -> float:
    """Seconds of audio a second, the median, after one run to warm up."""
    times = []
    for _ in range(repeat + 1):
        began = time.perf_counter()
        run(*arguments)
        times.append(time.perf_counter() - began)
    return round(audio_s / statistics.median(times[1:]), 1)


def training(setup: Setup, keep: Keep) -> None:
    """`asr train` on english, or on made-up speech where that is missing; begun or resumed, until the time is over."""
    run, data = setup.output / "english", setup.data
    if setup.rehearsal:
        made_up = setup.made_up / "flac.jsonl"
        corpus = [f"data.train={made_up}", f"data.dev={made_up}", "data.lexicon=null", "text.tokens=characters"]
    else:
        corpus = [f"data.train={data / 'train_words.jsonl'}", f"data.dev={data / 'dev.jsonl'}"]
        corpus += [f"data.lexicon={data / 'lexicon.dict'}"]
    # Validated by phones, without a language model: the search for words would take longer than the training.
    own = [f"run={run}", f"device={setup.device}", "data.lm=null", "data.g2p=null", "train.validate_every=1"]
    minutes = max(setup.left_s - START_S - SAVE_S - END_S, 1.0) / 60
    config = load_config(CONFIG, [*corpus, *own, f"train.max_minutes={minutes:.3f}", *setup.settings])
    keep({"corpus": "made-up speech, a rehearsal" if setup.rehearsal else str(config.data.train)})
    try:
        keep({"ended": run_training(config).value})
    finally:
        keep(learned(read_metrics(run / "metrics.jsonl")))
    checkpoints = [run / "checkpoints" / name for name in ("best.pt", "last.pt")]
    if found := [path for path in checkpoints if path.is_file()]:
        shutil.rmtree(setup.output / "model", ignore_errors=True)
        make_model(found[0], setup.output / "model")


def learned(records: list[dict[str, Any]]) -> dict[str, Any]:
    """How far a training has come, by its log. best_dev_rate: errors of phones, or of words in a rehearsal."""
    epochs = [record for record in records if record["kind"] == "epoch"]
    figures: dict[str, Any] = {"epochs": len(epochs), "steps": max((record["step"] for record in records), default=0)}
    if epochs:
        rates = [record["dev_wer"] for record in epochs if record.get("dev_wer") is not None]
        figures |= {"best_dev_rate": min(rates, default=None)}
        figures |= {name: epochs[-1][name] for name in ("loss", "audio_per_s", "data_wait_fraction", "elapsed_s")}
    return figures


STAGES = {stage.__name__: stage for stage in (device, tests, speech, speed, decoding, training)}
