"""Metrics of a training: sums over the steps of an epoch, the line printed for it, the diagnosis of a failed step."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from asr.config import TrainConfig
from asr.data.batches import Batch
from asr.model.ctc import Loss
from asr.model.recognizer import Recognizer
from asr.train.checkpoint import Progress
from asr.train.distributed import Processes
from asr.util.format import some

# Summed over steps and processes. Summed over steps alone: norm, steps, seconds and waited.
SUMMED = (
    *("loss", "utterances", "seen", "skipped", "infeasible", "blank", "symbols"),
    *("samples", "padded", "unreadable", "cuts"),
)


class EpochMetrics:
    """Sums over the steps of an epoch and over all processes. last: the figures of the latest step."""

    def __init__(self, sums: dict[str, float], processes: Processes) -> None:
        self.sums, self.last = Counter(sums), Counter[str]()
        self._processes = processes
        self._tick = time.monotonic()
        self._waited = 0.0

    def load(self, batches: Iterator[Batch], count: int) -> list[Batch]:
        """Up to `count` next batches; measures how long they took to arrive."""
        began = time.monotonic()
        loaded = list(islice(batches, count))
        self._waited = time.monotonic() - began
        return loaded

    def add(self, batches: Sequence[Batch], losses: Sequence[Loss], norm: Tensor | None) -> Counter[str]:
        """Add a step's figures, and return them. norm: of its gradient; None where it has no utterances.

        If the loss or gradient of one process is not finite, all of them skip the step: "skipped" is 1.
        """
        step = Counter(
            samples=sum(int(batch.waveform_lengths.sum()) for batch in batches),
            padded=sum(batch.waveforms.numel() for batch in batches),
            unreadable=sum(len(batch.unreadable) for batch in batches),
        )
        if norm is not None:
            step.update(measure(losses, norm), cuts=len(losses) - sum(bool(batch.indices) for batch in batches))
        totals = dict(zip(SUMMED, self._processes.total([step[key] for key in SUMMED]), strict=True))
        now = time.monotonic()
        times = {"waited": self._waited, "seconds": now - self._tick}
        self._tick = now
        self.last = Counter(step | totals | times | {"skipped": min(totals["skipped"], 1)})
        self.sums.update(self.last)
        return self.last

    def summarize(self, sums: Counter[str], lr: float, sample_rate: int) -> dict[str, Any]:
        """The steps in `sums` as metrics.jsonl has them: averages over utterances, steps or time; None over nothing."""
        seen, seconds = max(sums["seen"], 1), max(sums["seconds"], 1e-9)
        taken = sums["steps"] - sums["skipped"]
        return {
            "loss": sums["loss"] / sums["utterances"] if sums["utterances"] else None,
            "lr": lr,
            "gradient_norm": sums["norm"] / taken if taken else None,
            "blank_fraction": sums["blank"] / seen,
            "symbols_per_frame": sums["symbols"] / seen,
            "infeasible": round(sums["infeasible"]),
            "unreadable": round(sums["unreadable"]),
            "skipped_steps": round(sums["skipped"]),
            "cut_batches": round(sums["cuts"]),
            "padding_fraction": 1.0 - sums["samples"] / max(sums["padded"], 1),
            "data_wait_fraction": sums["waited"] / seconds,
            "audio_per_s": sums["samples"] / sample_rate / seconds,
        }


def measure(losses: Sequence[Loss], norm: Tensor) -> dict[str, float]:
    """The figures of a step; if loss or gradient is not finite, "skipped" in place of them. Waits once for the device.

    losses: empty if this process's share of the batch is.
    """
    rows = [
        torch.stack([x.total, x.infeasible, x.utterances * x.blank_fraction, x.utterances * x.symbols_per_frame])
        for x in losses
    ]
    sums = torch.stack([norm.new_zeros(4), *rows]).double().sum(0)
    loss, infeasible, blank, symbols, size = torch.cat([sums, norm.detach().double()[None]]).tolist()
    seen = sum(x.utterances for x in losses)
    step = {"seen": seen, "infeasible": infeasible, "blank": blank, "symbols": symbols, "steps": 1}
    finite = math.isfinite(size) and math.isfinite(loss)
    return step | ({"loss": loss, "utterances": seen, "norm": size} if finite else {"skipped": 1})


def describe(progress: Progress, config: TrainConfig, record: dict[str, Any], left: str) -> str:
    """The line that is printed for an epoch."""
    loss = "–" if record["loss"] is None else f"{record['loss']:.3f}"
    line = f"epoch {progress.epoch}/{config.epochs}  loss {loss}"
    rate, best = record.get(f"dev_{config.select}"), progress.best(config.select)
    if rate is not None and best is not None:
        line += f"  dev {config.select.upper()} {100 * rate:.2f} % (best {100 * best:.2f} %)"
    line += f"  blank {100 * record['blank_fraction']:.0f} %  {record['audio_per_s']:.0f} × real time"
    for key, what in (
        ("skipped_steps", "steps skipped"),
        ("unreadable", "unreadable"),
        ("cut_batches", "batches split"),
    ):
        if record[key]:
            line += f"  {record[key]} {what}"
    return line + (f"  {left} left" if progress.epoch < config.epochs else "")


def diagnosis(recognizer: Recognizer, losses: Sequence[Loss], names: Sequence[str]) -> str:
    """The likely reason why a step has no finite gradient, and what to try. names: the ids of its utterances."""
    broken = [name for name, tensor in recognizer.state_dict().items() if not torch.isfinite(tensor).all()]
    loss = sum(float(loss.total) for loss in losses) / max(sum(loss.utterances for loss in losses), 1)
    if broken:
        return f"the weights themselves are not finite ({some(broken, 2)}); begin again with a lower train.lr"
    if not math.isfinite(loss):
        return f"the loss is {loss} though the weights are finite; look at the audio of {some(names)} (asr data check)"
    remedy = "lower train.lr or train.max_grad_norm, or set train.precision=fp32"
    return f"the loss is {loss:.4g}, its gradient is not finite; {remedy}"
