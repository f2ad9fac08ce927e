"""The training loop: forward, backward, clip, step, in one function to read from top to bottom."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from enum import Enum

from torch.nn.utils import clip_grad_norm_

from asr.config import TrainConfig
from asr.data.batches import Batch
from asr.errors import TrainError
from asr.model.ctc import Loss
from asr.model.recognizer import Recognizer
from asr.train.checkpoint import CheckpointFolder
from asr.train.distributed import ALONE, Processes
from asr.train.log import RunLog
from asr.train.metrics import EpochMetrics, describe, diagnosis
from asr.train.optimizer import compute_gradient
from asr.train.state import Data, TrainingState, Validate
from asr.util.format import percent, some
from asr.util.signals import StopSignals

logger = logging.getLogger(__name__)

MAX_BAD_STEPS = 20  # in a row
NAMED_UNREADABLE = 5  # in an epoch


class Outcome(Enum):
    """How a call of `fit` ended."""

    FINISHED = "finished"
    ALREADY_FINISHED = "already finished"
    OUT_OF_TIME = "out of time"
    ENOUGH_EPOCHS = "enough epochs"
    INTERRUPTED = "interrupted"


def fit(
    recognizer: Recognizer,
    data: Data,
    loss: Callable[[Batch, int, int], Loss],
    validate: Validate,
    config: TrainConfig,
    checkpoints: CheckpointFolder,
    log: RunLog,
    processes: Processes = ALONE,
) -> Outcome:
    """Train, from the last checkpoint on, until the last epoch, `max_epochs`, `max_minutes` or a signal.

    loss(batch, epoch, number): the forward pass of a batch; epoch and number determine what is random in it. If there
    are several processes, `data` gives each its share of every batch, and the first validates and writes. The next
    start continues from `last.pt`. Raises TrainError when training cannot continue.
    """
    run = TrainingState(recognizer, config, checkpoints, processes)
    with StopSignals() as stop, log.opened(run.progress.step):
        validate_start(run, validate, log)
        while run.progress.epoch < run.last_epoch and not run.out_of_patience:
            recognizer.train()
            count, loaded = data.batches(run.progress.epoch, run.progress.batch)
            metrics = EpochMetrics(run.progress.sums, processes)
            while batches := metrics.load(loaded, config.grad_accum_steps):
                run.set_learning_rate(count)
                losses, norm = [], None
                utterances = round(processes.total([sum(len(batch.indices) for batch in batches)])[0])
                if utterances:
                    numbered = list(enumerate(batches, run.progress.batch))
                    losses = compute_gradient(recognizer, loss, numbered, run.progress.epoch, utterances)
                    processes.add_gradients(recognizer)
                    norm = clip_grad_norm_(recognizer.parameters(), config.max_grad_norm)
                step = metrics.add(batches, losses, norm)
                if step["skipped"]:
                    report_skipped_step(run, data, losses, batches, log)
                elif utterances:
                    run.optimizer.step()
                    run.update_average()
                    run.progress.bad_steps = 0

                run.advance(len(batches))
                report_unreadable(run, data, metrics, batches, log)
                log.progress(run.progress.epoch + run.progress.batch / count)
                if run.progress.step % config.log_every == 0:
                    log.write("step", run.progress.step, **metrics.summarize(step, run.lr, recognizer.sample_rate))
                outcome = stop_reason(run, stop)
                if run.progress.batch < count and (outcome or run.save_is_due):
                    run.save(metrics.sums)
                    if outcome:
                        return outcome

            record = metrics.summarize(metrics.sums, run.lr, recognizer.sample_rate) | run.end_epoch(validate)
            log.write("epoch", run.progress.step, epoch=run.progress.epoch, elapsed_s=run.progress.seconds, **record)
            logger.info(describe(run.progress, config, record, log.left(run.progress.epoch, config.epochs)))
            run.save({})
            outcome = stop_reason(run, stop)
            if outcome and run.progress.epoch < config.epochs:
                return outcome
        return finish(run, validate, log)


def stop_reason(run: TrainingState, stop: StopSignals) -> Outcome | None:
    """INTERRUPTED or OUT_OF_TIME if that is so in any process, else None."""
    asked, late = run.processes.any(stop.asked, run.out_of_time)
    return Outcome.INTERRUPTED if asked else Outcome.OUT_OF_TIME if late else None


def validate_start(run: TrainingState, validate: Validate, log: RunLog) -> None:
    """Validate the model that the training starts from, if there is one, and log its scores."""
    if scores := run.validate_start(validate):
        log.write("start", run.progress.step, **scores)
        rate, select = run.progress.best(run.config.select), run.config.select.upper()
        logger.info(f"before the first epoch: dev {select} {percent(rate)}")


def finish(run: TrainingState, validate: Validate, log: RunLog) -> Outcome:
    """After the last epoch of this start: average the best epochs, if the training is complete."""
    config = run.config
    if run.progress.epoch < config.epochs:
        if not run.out_of_patience:
            return Outcome.ENOUGH_EPOCHS
        logger.info(f"stopped early: no better development {config.select.upper()} for {config.patience} epochs")
    averaged = run.average_best(validate) if config.average and run.processes.first else None
    if averaged:
        log.write("average", run.progress.step, **averaged)
    if run.progress.best_epoch == 0 and not (averaged and averaged["kept"]):
        logger.warning(
            f"no epoch has a lower development {config.select.upper()} than {config.init}: the model is that,"
            " unchanged; try a lower train.lr, or record more for data.dev if it is small"
        )
    return Outcome.FINISHED


def report_skipped_step(
    run: TrainingState, data: Data, losses: Sequence[Loss], batches: Sequence[Batch], log: RunLog
) -> None:
    """Log why a step left the weights as they are. Raises TrainError after MAX_BAD_STEPS of them in a row."""
    progress = run.progress
    progress.bad_steps += 1
    names = data.names(progress.epoch, [index for batch in batches for index in batch.indices])
    why = diagnosis(run.recognizer, losses, names)
    log.write("skipped", progress.step + 1, why=why, utterances=names)
    logger.warning(f"step {progress.step + 1} is skipped ({some(names)}): {why}")
    if progress.bad_steps == MAX_BAD_STEPS:
        raise TrainError(f"{progress.bad_steps} steps in a row without a finite gradient: {why}")


def report_unreadable(
    run: TrainingState, data: Data, metrics: EpochMetrics, batches: Sequence[Batch], log: RunLog
) -> None:
    """Log the utterances of a step that could not be read, the first few of an epoch as warnings.

    Raises TrainError when an epoch has more of them than data.max_unreadable allows.
    """
    if not metrics.last["unreadable"]:
        return
    missing = round(metrics.sums["unreadable"])
    failures = run.processes.gather([failure for batch in batches for failure in batch.unreadable])
    log.write("unreadable", run.progress.step, utterances=failures)
    for failure in failures[: max(NAMED_UNREADABLE + len(failures) - missing, 0)]:
        logger.warning(f"left out: {failure}")
    if missing > data.max_unreadable:
        raise TrainError(
            f"{missing} utterances of epoch {run.progress.epoch + 1} could not be read, {data.max_unreadable} may be"
            f" missing (data.max_unreadable); the last: {failures[-1]}; asr data check lists them all"
        )
