"""The training loop: one function to read from top to bottom. It is handed its batches, its loss and its validation."""

from __future__ import annotations

import math
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asr.config import TrainConfig
from asr.data.dataset import Batch
from asr.errors import TrainError
from asr.evaluate.score import Scores
from asr.model.ctc import Loss
from asr.model.recognizer import Recognizer
from asr.train.checkpoint import Progress, load_checkpoint, restore_rng, save_checkpoint
from asr.train.log import RunLog

BAD_STEPS_IN_A_ROW = 20


@dataclass
class Task:
    """What is to be learned.

    batches(epoch, first) -> (number of batches in the epoch, iterator from batch `first` on), always the same.
    loss(batch, epoch, number): forward pass with augmentation keyed by epoch and batch number.
    validate(recognizer): scores on the development part.
    keep: tensors and plain values that identify what is trained on; a checkpoint with others is refused.
    """

    batches: Callable[[int, int], tuple[int, Iterator[Batch]]]
    loss: Callable[[Batch, int, int], Loss]
    validate: Callable[[Recognizer], Scores]
    keep: dict[str, Any]


def learning_rate(done: float, config: TrainConfig) -> float:
    """The rate when the share `done` of the training lies behind: linear warm-up, then half a cosine."""
    if done < config.warmup:
        return config.lr * max(done / config.warmup, 0.01)
    angle = math.pi * (done - config.warmup) / (1.0 - config.warmup)
    return config.lr * (config.final_lr + (1.0 - config.final_lr) * 0.5 * (1.0 + math.cos(angle)))


def fit(recognizer: Recognizer, task: Task, config: TrainConfig, folder: Any, log: Callable[[Progress], RunLog]) -> str:
    """Train until the last epoch, `max_minutes`, or a signal. Checkpoints go to `folder`, from where it also resumes.

    Returns "finished", "out of time" or "interrupted"; in all cases `last.pt` is where the next start goes on.
    """
    device = recognizer.device
    optimizer = make_optimizer(recognizer, config)
    averaged = AveragedModel(recognizer, multi_avg_fn=get_ema_multi_avg_fn(config.ema)) if config.ema else None
    progress = Progress()
    if (folder / "last.pt").exists():
        progress, states = load_checkpoint(folder / "last.pt")
        if states["keep"] != task.keep:
            changed = [key for key in task.keep if states["keep"].get(key) != task.keep[key]]
            raise TrainError(
                f"{folder}: was trained on other data ({', '.join(changed)} changed); choose another run= or delete it"
            )
        recognizer.load_state_dict(states["model"])
        optimizer.load_state_dict(states["optimizer"])
        if averaged is not None:
            averaged.load_state_dict(states["averaged"])
        restore_rng(states)

    def save() -> None:
        states = {"model": recognizer.state_dict(), "optimizer": optimizer.state_dict(), "keep": task.keep}
        if averaged is not None:
            states["averaged"] = averaged.state_dict()
        save_checkpoint(folder / "last.pt", progress, states)

    began = saved = time.monotonic()
    seconds_before = progress.seconds
    bad_steps = 0
    with StopSignals() as stop, log(progress) as out:
        while progress.epoch < config.epochs:
            recognizer.train()
            count, batches = task.batches(progress.epoch, progress.batch)
            sums = Counter(progress.sums)
            tick = time.monotonic()
            for batch in batches:
                waited = time.monotonic() - tick
                done = (progress.epoch + progress.batch / count) / config.epochs
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(done, config)

                loss = task.loss(batch.to(device), progress.epoch, progress.batch)
                optimizer.zero_grad(set_to_none=True)
                (loss.total / loss.utterances).backward()
                norm = float(torch.nn.utils.clip_grad_norm_(recognizer.parameters(), config.clip))
                if math.isfinite(norm):
                    optimizer.step()
                    if averaged is not None:
                        averaged.update_parameters(recognizer)
                    bad_steps = 0
                else:  # the step is skipped; a run of them means something is broken
                    bad_steps += 1
                    if bad_steps == BAD_STEPS_IN_A_ROW:
                        raise TrainError(
                            f"{bad_steps} steps in a row without a finite gradient (loss {float(loss.total.detach())});"
                            " lower train.lr or train.clip, and look at the audio for extreme levels"
                        )

                progress.batch += 1
                progress.step += 1
                now = time.monotonic()
                progress.seconds = seconds_before + now - began
                step_sums = {
                    "loss": float(loss.total.detach()) if math.isfinite(norm) else 0.0,
                    "utterances": loss.utterances,
                    "infeasible": loss.infeasible,
                    "blank": loss.blank_share,
                    "norm": norm if math.isfinite(norm) else 0.0,
                    "skipped": 0 if math.isfinite(norm) else 1,
                    "samples": int(batch.waveform_lengths.sum()),
                    "padded": batch.waveforms.numel(),
                    "waited": waited,
                    "seconds": now - tick,
                    "steps": 1,
                }
                sums.update(step_sums)
                out.progress(progress.epoch + progress.batch / count)
                if progress.step % config.log_every == 0:
                    out.write("step", progress.step, **summarise(Counter(step_sums), recognizer, optimizer))
                tick = now

                out_of_time = config.max_minutes is not None and now - began > config.max_minutes * 60
                if progress.batch < count and (stop.asked or out_of_time or now - saved > config.save_minutes * 60):
                    progress.sums = dict(sums)
                    save()
                    saved = now
                    if stop.asked or out_of_time:
                        return "interrupted" if stop.asked else "out of time"

            progress.epoch, progress.batch, progress.sums = progress.epoch + 1, 0, {}
            record = summarise(sums, recognizer, optimizer)
            if progress.epoch % config.validate_every == 0 or progress.epoch == config.epochs:
                candidate = averaged.module if averaged is not None else recognizer
                candidate.eval()
                scores = task.validate(candidate)
                record |= {"dev_wer": scores.wer, "dev_cer": scores.cer, "dev_errors": scores.errors}
                wer = math.inf if scores.wer is None else scores.wer
                # Of equals the later: it has learned from more, at a lower rate.
                if progress.best_wer is None or wer <= progress.best_wer:
                    progress.best_wer, progress.best_epoch = wer, progress.epoch
                    save_checkpoint(folder / "best.pt", progress, {"model": candidate.state_dict()})
            progress.seconds = seconds_before + time.monotonic() - began
            out.write("epoch", progress.step, epoch=progress.epoch, elapsed_s=progress.seconds, **record)
            out.say(describe(progress, config, record, out.left(progress.epoch, config.epochs)))
            save()
            saved = time.monotonic()
            if progress.epoch < config.epochs:
                if stop.asked:
                    return "interrupted"
                if config.max_minutes is not None and saved - began > config.max_minutes * 60:
                    return "out of time"
    return "finished"


def make_optimizer(recognizer: Recognizer, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019); biases and norms do not decay."""
    matrices = [p for p in recognizer.parameters() if p.ndim > 1]
    vectors = [p for p in recognizer.parameters() if p.ndim <= 1]
    groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)


def summarise(sums: Counter[str], recognizer: Recognizer, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Averages over the steps that `sums` add up: per utterance, per step, or shares."""
    steps, seconds = sums["steps"], max(sums["seconds"], 1e-9)
    return {
        "loss": sums["loss"] / max(sums["utterances"], 1),
        "lr": optimizer.param_groups[0]["lr"],
        "gradient_norm": sums["norm"] / steps,
        "blank_share": sums["blank"] / steps,
        "infeasible": sums["infeasible"],
        "skipped_steps": sums["skipped"],
        "padding_share": 1.0 - sums["samples"] / sums["padded"],
        "data_wait_share": sums["waited"] / seconds,
        "audio_per_s": sums["samples"] / recognizer.sample_rate / seconds,
    }


def describe(progress: Progress, config: TrainConfig, record: dict[str, Any], left: str) -> str:
    line = f"epoch {progress.epoch}/{config.epochs}  loss {record['loss']:.3f}"
    if record.get("dev_wer") is not None:
        line += f"  dev WER {100 * record['dev_wer']:.2f} % (best {100 * progress.best_wer:.2f} %)"
    line += f"  blank {100 * record['blank_share']:.0f} %  {record['audio_per_s']:.0f} × real time"
    if record["skipped_steps"]:
        line += f"  {record['skipped_steps']} steps skipped"
    return line + (f"  {left} left" if progress.epoch < config.epochs else "")


class StopSignals:
    """Turns the first SIGINT or SIGTERM into a request (`asked`) to save and stop; a second SIGINT stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        except ValueError:  # not the main thread: whoever runs us there handles signals
            pass
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
