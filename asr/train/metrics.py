"""How a training goes: sums over its steps, the line of an epoch, what to say of a step that went wrong."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from asr.config import TrainConfig
from asr.data.dataset import Batch
from asr.model.ctc import Loss
from asr.model.recognizer import Recognizer
from asr.train.checkpoint import Progress
from asr.train.distributed import Processes

# What a step adds to the sums of its epoch, besides its norm, times and number: sums over processes.
MEASURED = ("loss", "utterances", "seen", "skipped", "infeasible", "blank", "symbols")
MEASURED += ("samples", "padded", "unreadable", "cuts")


def measure(losses: Sequence[Loss], norm: Tensor) -> dict[str, float]:
    """Of a step; a loss or gradient that is not finite counts only as `skipped`. Waits once for the device.

    losses: none where all of the batch is other processes' share.
    """
    rows = [
        torch.stack([x.total, x.infeasible, x.utterances * x.blank_fraction, x.utterances * x.symbols_per_frame])
        for x in losses
    ]
    sums = torch.stack([norm.new_zeros(4), *rows]).double().sum(0)
    loss, infeasible, blank, symbols, size = torch.cat([sums, norm.detach().double()[None]]).tolist()
    seen = sum(x.utterances for x in losses)
    step = {"seen": seen, "infeasible": infeasible, "blank": blank, "symbols": symbols, "steps": 1}
    sound = math.isfinite(size) and math.isfinite(loss)
    return step | ({"loss": loss, "utterances": seen, "norm": size} if sound else {"skipped": 1})


def measure_audio(batches: Sequence[Batch]) -> dict[str, float]:
    """Of the batches of a step."""
    return {
        "samples": sum(int(batch.waveform_lengths.sum()) for batch in batches),
        "padded": sum(batch.waveforms.numel() for batch in batches),
        "unreadable": sum(len(batch.unreadable) for batch in batches),
    }


def sum_over_processes(step: Counter[str], processes: Processes) -> Counter[str]:
    """A step's measurements over all processes. One that must skip it makes all of them skip it."""
    totals = dict(zip(MEASURED, processes.total([step[key] for key in MEASURED]), strict=True))
    return Counter(step | totals | {"skipped": min(totals["skipped"], 1)})


def summarize(sums: Counter[str], recognizer: Recognizer, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Averages over the steps that `sums` add up: by utterance, step or time; None if none was taken."""
    seen, seconds = max(sums["seen"], 1), max(sums["seconds"], 1e-9)
    taken = sums["steps"] - sums["skipped"]
    return {
        "loss": sums["loss"] / sums["utterances"] if sums["utterances"] else None,
        "lr": optimizer.param_groups[0]["lr"],
        "gradient_norm": sums["norm"] / taken if taken else None,
        "blank_fraction": sums["blank"] / seen,
        "symbols_per_frame": sums["symbols"] / seen,
        "infeasible": round(sums["infeasible"]),
        "unreadable": round(sums["unreadable"]),
        "skipped_steps": round(sums["skipped"]),
        "cut_batches": round(sums["cuts"]),
        "padding_fraction": 1.0 - sums["samples"] / max(sums["padded"], 1),
        "data_wait_fraction": sums["waited"] / seconds,
        "audio_per_s": sums["samples"] / recognizer.sample_rate / seconds,
    }


def describe(progress: Progress, config: TrainConfig, record: dict[str, Any], left: str) -> str:
    """The line of an epoch, for people."""
    loss = "–" if record["loss"] is None else f"{record['loss']:.3f}"
    line = f"epoch {progress.epoch}/{config.epochs}  loss {loss}"
    rate, best = record.get(f"dev_{config.select}"), progress.best(config.select)
    if rate is not None:
        line += f"  dev {config.select.upper()} {100 * rate:.2f} % (best {100 * best:.2f} %)"
    line += f"  blank {100 * record['blank_fraction']:.0f} %  {record['audio_per_s']:.0f} × real time"
    for key, what in (("skipped_steps", "steps skipped"), ("unreadable", "unreadable"), ("cut_batches", "batches cut")):
        if record[key]:
            line += f"  {record[key]} {what}"
    return line + (f"  {left} left" if progress.epoch < config.epochs else "")


def some(names: Sequence[str], most: int = 5) -> str:
    """The first names, and how many there are beyond."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def diagnosis(recognizer: Recognizer, losses: Sequence[Loss], names: Sequence[str]) -> str:
    """Why a step has no finite gradient, as far as it shows, and what to try. names: of its utterances."""
    broken = [name for name, tensor in recognizer.state_dict().items() if not torch.isfinite(tensor).all()]
    loss = sum(float(loss.total) for loss in losses) / max(sum(loss.utterances for loss in losses), 1)
    if broken:
        return f"the weights themselves are not finite ({some(broken, 2)}); begin again with a lower train.lr"
    if not math.isfinite(loss):
        return f"the loss is {loss} though the weights are finite; look at the audio of {some(names)} (asr data check)"
    remedy = "lower train.lr or train.max_grad_norm, or set train.precision=fp32"
    return f"the loss is {loss:.4g}, its gradient is not finite; {remedy}"
