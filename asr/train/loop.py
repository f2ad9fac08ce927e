"""The training loop: one function to read from top to bottom. It is handed its batches, its loss and its validation."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asr.config import TrainConfig
from asr.data.dataset import Batch
from asr.errors import TrainError
from asr.evaluate.score import Scores
from asr.model.ctc import Loss
from asr.model.recognizer import Recognizer
from asr.train.averaging import average_best, drop_others, keep_if_good, rates
from asr.train.checkpoint import Progress, newest_checkpoint, restore_rng, save_checkpoint
from asr.train.distributed import ALONE, Processes
from asr.train.gradient import compute_gradient
from asr.train.log import NoLog, RunLog
from asr.train.metrics import describe, diagnosis, measure, measure_audio, some, sum_over_processes, summarize
from asr.train.optimizer import learning_rate, make_optimizer
from asr.util.signals import StopSignals

BAD_STEPS_IN_A_ROW = 20
NAMED_UNREADABLE = 5  # in an epoch


@dataclass
class Task:
    """What is to be learned.

    batches(epoch, first) -> (number of batches in the epoch, iterator from batch `first` on), always the same.
    loss(batch, epoch, number): forward pass with augmentation keyed by epoch and batch number.
    validate(recognizer): scores on the development part.
    keep: tensors and plain values that identify what is trained on; a checkpoint with others is refused.
    names(epoch, indices): the utterances of a batch, for people. about: what is stored with every checkpoint.
    max_unreadable: so many utterances of an epoch may be missing, more end the training.
    """

    batches: Callable[[int, int], tuple[int, Iterator[Batch]]]
    loss: Callable[[Batch, int, int], Loss]
    validate: Callable[[Recognizer], Scores]
    keep: dict[str, Any]
    names: Callable[[int, Sequence[int]], list[str]] = lambda epoch, indices: [str(index) for index in indices]
    about: dict[str, Any] = field(default_factory=dict)
    max_unreadable: int = 0


def fit(
    recognizer: Recognizer,
    task: Task,
    config: TrainConfig,
    folder: Path,
    log: Callable[[Progress], RunLog | NoLog],
    processes: Processes = ALONE,
) -> str:
    """Train until the last epoch, `max_epochs`, `max_minutes` or a signal, from where `folder`'s checkpoints end.

    Of several processes (`processes`) each is handed its share of every batch; the first validates and writes.
    Returns "finished", "out of time", "enough epochs" or "interrupted"; `last.pt` is where the next start goes on.
    """
    optimizer = make_optimizer(recognizer, config)
    averaged = (
        AveragedModel(recognizer, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay)) if config.ema_decay else None
    )
    candidate = averaged.module if averaged is not None else recognizer  # what is validated and kept
    progress, states, damage = processes.from_first(
        newest_checkpoint(folder) if processes.first else (Progress(), {}, None)
    )
    if states:
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
    processes.seed_apart(config.seed, progress.step)
    always = {"keep": task.keep, "about": task.about}

    def save() -> None:
        if not processes.first:
            return
        states = {"model": recognizer.state_dict(), "optimizer": optimizer.state_dict(), **always}
        if averaged is not None:
            states["averaged"] = averaged.state_dict()
        save_checkpoint(folder / "last.pt", progress, states, previous=folder / "previous.pt")

    def why_to_stop() -> str | None:
        late = time.monotonic() - began > 60 * (config.max_minutes or math.inf)
        asked, late = processes.any(stop.asked, late)
        return "interrupted" if asked else "out of time" if late else None

    began = saved = time.monotonic()
    seconds_before = progress.seconds
    with StopSignals() as stop, log(progress) as out:
        if damage is not None:
            out.say(f"warning: {damage}")
        last = min(config.epochs, config.max_epochs or config.epochs)
        while progress.epoch < last and not out_of_patience(progress, config):
            recognizer.train()
            count, loaded = task.batches(progress.epoch, progress.batch)
            sums = Counter(progress.sums)
            tick = time.monotonic()
            while batches := list(islice(loaded, config.grad_accum_steps)):
                waited = time.monotonic() - tick
                done = (progress.epoch + progress.batch / count) / config.epochs
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(done, config)

                step = Counter(measure_audio(batches))
                numbered = [(progress.batch + i, batch) for i, batch in enumerate(batches) if batch.indices]
                utterances = round(processes.total([sum(len(batch.indices) for batch in batches)])[0])
                if utterances:
                    losses, step["cuts"] = compute_gradient(recognizer, task.loss, numbered, progress.epoch, utterances)
                    processes.add_gradients(recognizer)
                    norm = torch.nn.utils.clip_grad_norm_(recognizer.parameters(), config.max_grad_norm)
                    step.update(measure(losses, norm))
                step = sum_over_processes(step, processes)
                if step["skipped"]:
                    skip_step(recognizer, task, progress, losses, batches, out)
                elif utterances:
                    optimizer.step()
                    if averaged is not None:
                        averaged.update_parameters(recognizer)
                    progress.bad_steps = 0

                progress.batch += len(batches)
                progress.step += 1
                now = time.monotonic()
                progress.seconds = seconds_before + now - began
                step.update({"waited": waited, "seconds": now - tick})
                sums.update(step)
                if step["unreadable"]:
                    failures = processes.gather([failure for batch in batches for failure in batch.unreadable])
                    leave_out(task, progress, round(sums["unreadable"]), failures, out)
                out.progress(progress.epoch + progress.batch / count)
                if progress.step % config.log_every == 0:
                    out.write("step", progress.step, **summarize(step, recognizer, optimizer))
                tick = now

                why = why_to_stop()
                if progress.batch < count and (why or now - saved > config.save_minutes * 60):
                    progress.sums = dict(sums)
                    save()
                    saved = now
                    if why:
                        return why

            progress.epoch, progress.batch, progress.sums = progress.epoch + 1, 0, {}
            record = summarize(sums, recognizer, optimizer)
            if progress.epoch % config.validate_every == 0 or progress.epoch == config.epochs:
                if processes.first:
                    candidate.eval()
                    scores = task.validate(candidate)
                    record |= {"dev_wer": scores.wer, "dev_cer": scores.cer, "dev_errors": scores.errors}
                    states = {"model": candidate.state_dict(), "dev": rates(scores), **always}
                    keep_if_good(folder, progress, scores, states, config)
                progress = processes.from_first(progress)  # others wait here
            progress.seconds = seconds_before + time.monotonic() - began
            out.write("epoch", progress.step, epoch=progress.epoch, elapsed_s=progress.seconds, **record)
            out.say(describe(progress, config, record, out.left(progress.epoch, config.epochs)))
            save()
            if processes.first:
                drop_others(folder, progress)
            saved = time.monotonic()
            why = why_to_stop()
            if progress.epoch < config.epochs and why:
                return why
        if progress.epoch < config.epochs:
            if not out_of_patience(progress, config):
                return "enough epochs"
            out.say(f"no better development {config.select.upper()} for {config.patience} epochs: this is the end")
        if config.average and processes.first:
            average_best(folder, progress, recognizer, task.validate, always, config, out)
    return "finished"


def out_of_patience(progress: Progress, config: TrainConfig) -> bool:
    """Whether validation has found nothing better for `patience` epochs."""
    validated = progress.epoch // config.validate_every * config.validate_every
    return bool(config.patience) and validated - (progress.best_epoch or validated) >= config.patience


def skip_step(
    recognizer: Recognizer,
    task: Task,
    progress: Progress,
    losses: Sequence[Loss],
    batches: Sequence[Batch],
    out: RunLog | NoLog,
) -> None:
    """Tell why the weights stay as they are. Raises TrainError after a run of such steps: something is broken."""
    progress.bad_steps += 1
    names = task.names(progress.epoch, [index for batch in batches for index in batch.indices])
    why = diagnosis(recognizer, losses, names)
    out.write("skipped", progress.step + 1, why=why, utterances=names)
    out.say(f"warning: step {progress.step + 1} is skipped ({some(names)}): {why}")
    if progress.bad_steps == BAD_STEPS_IN_A_ROW:
        raise TrainError(f"{progress.bad_steps} steps in a row without a finite gradient: {why}")


def leave_out(task: Task, progress: Progress, missing: int, failures: Sequence[str], out: RunLog | NoLog) -> None:
    """Name utterances that could not be read, the first of an epoch. Raises TrainError when too many are `missing`."""
    out.write("unreadable", progress.step, utterances=failures)
    for failure in failures[: max(NAMED_UNREADABLE + len(failures) - missing, 0)]:
        out.say(f"warning: left out: {failure}")
    if missing > task.max_unreadable:
        raise TrainError(
            f"{missing} utterances of epoch {progress.epoch + 1} could not be read, {task.max_unreadable} may be"
            f" missing (data.max_unreadable); the last: {failures[-1]}; asr data check lists them all"
        )
