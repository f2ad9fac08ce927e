"""The state of a run: weights, optimizer, running average, progress, checkpoints, and which epochs are the best."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from asr.config import TrainConfig
from asr.data.batches import Batch
from asr.errors import TrainError
from asr.evaluate.score import Scores
from asr.model.recognizer import Recognizer
from asr.train.checkpoint import (
    CheckpointFolder,
    KeptEpoch,
    Progress,
    load_checkpoint,
    newest_checkpoint,
    restore_rng,
    save_checkpoint,
)
from asr.train.distributed import Processes
from asr.train.optimizer import learning_rate, make_optimizer

logger = logging.getLogger(__name__)


class Data(Protocol):
    """What `fit` learns from; see `asr.data.training.TrainingData`.

    max_unreadable: how many utterances of an epoch may be missing; more end the training.
    """

    @property
    def max_unreadable(self) -> int: ...

    def batches(self, epoch: int, first: int) -> tuple[int, Iterator[Batch]]:
        """The number of batches in an epoch, and those from number `first` on: always the same ones."""
        ...

    def names(self, epoch: int, indices: Sequence[int]) -> list[str]:
        """The ids of a batch's utterances, for messages."""
        ...


Validate = Callable[[Recognizer], Scores]  # scores on the development set


class TrainingState:
    """Everything that training changes. It is restored from the last checkpoint, where there is one.

    Raises TrainError for a checkpoint that was trained on other data, and if no checkpoint is whole.
    """

    def __init__(
        self, recognizer: Recognizer, config: TrainConfig, checkpoints: CheckpointFolder, processes: Processes
    ) -> None:
        self.recognizer, self.config, self.folder, self.processes = recognizer, config, checkpoints.folder, processes
        self.optimizer = make_optimizer(recognizer, config)
        average = get_ema_multi_avg_fn(config.ema_decay)
        self.averaged = AveragedModel(recognizer, multi_avg_fn=average) if config.ema_decay else None
        self.metadata = {"identity": checkpoints.identity, "about": checkpoints.about}  # stored with every checkpoint
        found = newest_checkpoint(self.folder) if processes.first else (Progress(), {}, None)
        self.progress, states, damage = processes.from_first(found)
        if damage is not None:
            logger.warning(damage)
        if states:
            self._restore(states)
        processes.seed_apart(config.seed, self.progress.step)
        self._started = self._saved = time.monotonic()
        self._seconds_before = self.progress.seconds

    def _restore(self, states: dict[str, Any]) -> None:
        identity = self.metadata["identity"]
        if states["identity"] != identity:
            changed = ", ".join(key for key, value in identity.items() if states["identity"].get(key) != value)
            raise TrainError(
                f"{self.folder}: was trained on other data ({changed} changed); choose another run folder (run=DIR) or"
                " delete this one"
            )
        self.recognizer.load_state_dict(states["model"])
        self.optimizer.load_state_dict(states["optimizer"])
        if self.averaged is not None:
            self.averaged.load_state_dict(states["averaged"])
        restore_rng(states)
        logger.info(f"resuming at epoch {self.progress.epoch + 1}, batch {self.progress.batch + 1}")

    @property
    def last_epoch(self) -> int:
        """The epoch, from 1, after which this start ends: `epochs`, or `max_epochs` if that is less."""
        return min(self.config.epochs, self.config.max_epochs or self.config.epochs)

    @property
    def out_of_time(self) -> bool:
        return time.monotonic() - self._started > 60 * (self.config.max_minutes or math.inf)

    @property
    def save_is_due(self) -> bool:
        return time.monotonic() - self._saved > 60 * self.config.save_minutes

    @property
    def validation_is_due(self) -> bool:
        """Whether the epoch that was just completed is one to validate."""
        return self.progress.epoch % self.config.validate_every == 0 or self.progress.epoch == self.config.epochs

    @property
    def out_of_patience(self) -> bool:
        """Whether the development rate has not improved for `patience` epochs."""
        validated = self.progress.epoch // self.config.validate_every * self.config.validate_every
        waited = 0 if self.progress.best_epoch is None else validated - self.progress.best_epoch
        return bool(self.config.patience) and waited >= self.config.patience

    @property
    def lr(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def set_learning_rate(self, batches: int) -> None:
        """Set the rate for the next step. batches: how many the current epoch has."""
        done = (self.progress.epoch + self.progress.batch / batches) / self.config.epochs
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(done, self.config)

    def update_average(self) -> None:
        """Update the exponential moving average (EMA) with the weights after a step."""
        if self.averaged is not None:
            self.averaged.update_parameters(self.recognizer)

    def advance(self, batches: int) -> None:
        """Count a step of `batches` batches."""
        self.progress.batch += batches
        self.progress.step += 1
        self.count_time()

    def count_time(self) -> None:
        self.progress.seconds = self._seconds_before + time.monotonic() - self._started

    def save(self, sums: Mapping[str, float]) -> None:
        """Write last.pt; the old one becomes previous.pt. sums: the metrics of the current epoch so far."""
        self.progress.sums = dict(sums)
        if self.processes.first:
            states = {"model": self.recognizer.state_dict(), "optimizer": self.optimizer.state_dict(), **self.metadata}
            if self.averaged is not None:
                states["averaged"] = self.averaged.state_dict()
            save_checkpoint(self.folder / "last.pt", self.progress, states, previous=self.folder / "previous.pt")
            kept = {epoch_path(self.folder, kept.epoch) for kept in self.progress.kept}
            for path in set(self.folder.glob("epoch-*.pt")) - kept:
                path.unlink(missing_ok=True)
        self._saved = time.monotonic()

    def validate_start(self, validate: Validate) -> dict[str, Any]:
        """Before the first step of a training that starts from another model, validate that: it counts as epoch 0.
        Returns its scores, {} where there is no such model."""
        return self._validate(validate) if self.config.init is not None and self.progress.step == 0 else {}

    def end_epoch(self, validate: Validate) -> dict[str, Any]:
        """Count the epoch; validate, if that is due. Returns scores for the epoch's record."""
        self.progress.epoch, self.progress.batch, self.progress.sums = self.progress.epoch + 1, 0, {}
        record = self._validate(validate) if self.validation_is_due else {}
        self.count_time()
        return record

    def _validate(self, validate: Validate) -> dict[str, Any]:
        """The first process validates, the others wait and have no scores to return."""
        record: dict[str, Any] = {}
        if self.processes.first:
            candidate = self.recognizer if self.averaged is None else cast(Recognizer, self.averaged.module)
            scores = validate(candidate.eval())
            record = {"dev_wer": scores.wer, "dev_cer": scores.cer, "dev_errors": scores.errors}
            self._keep_if_good(scores, {"model": candidate.state_dict(), "dev": rates(scores), **self.metadata})
        self.progress = self.processes.from_first(self.progress)
        return record

    def _keep_if_good(self, scores: Scores, states: dict[str, Any]) -> None:
        """Write best.pt, and epoch-NNN.pt of the best epochs, if this one is among them.

        Of equally good epochs the later one wins: it has learned from more data, at a lower learning rate. Epochs of
        plain CTC no longer count after the first of CTC-CRF, whose greedy output is worse at first, and never against
        epoch 0, the model that the training starts from. That is not averaged with others.
        """
        progress, rate = self.progress, rates(scores)
        plain = range(1, self.config.ctc_epochs + 1 if self.config.loss == "ctc_crf" else 1)  # epochs of plain CTC
        if progress.epoch in plain and progress.best_epoch == 0:
            return
        if progress.epoch not in plain and progress.best_epoch in plain:
            progress.best_wer = progress.best_cer = progress.best_epoch = None
            progress.kept = []
        this = KeptEpoch(rate[self.config.select], progress.epoch)
        best = progress.best(self.config.select)
        if best is None or this.rate <= best:
            progress.best_wer, progress.best_cer, progress.best_epoch = rate["wer"], rate["cer"], progress.epoch
            save_checkpoint(self.folder / "best.pt", progress, states)
        if this.epoch == 0:
            return
        ranked = sorted([*progress.kept, this], key=lambda kept: (kept.rate, -kept.epoch))
        progress.kept = ranked[: max(self.config.keep_checkpoints, self.config.average)]
        if this in progress.kept:
            save_checkpoint(epoch_path(self.folder, this.epoch), progress, states)

    def average_best(self, validate: Validate) -> dict[str, Any] | None:
        """Average the weights of the best epochs, and write averaged.pt if that has a lower rate than the best of them.

        Returns the scores for the log, None if there are fewer than two epochs.
        """
        paths = {kept.epoch: epoch_path(self.folder, kept.epoch) for kept in self.progress.kept[: self.config.average]}
        epochs = sorted(epoch for epoch, path in paths.items() if path.exists())
        if len(epochs) < 2:
            return None
        candidate = copy.deepcopy(self.recognizer).eval()
        candidate.load_state_dict(mean_weights([load_checkpoint(paths[epoch])[1]["model"] for epoch in epochs]))
        scores = validate(candidate)
        rate, select = rates(scores), self.config.select
        best = self.progress.best(select)
        better = best is None or rate[select] < best
        if better:
            progress = replace(self.progress, best_wer=rate["wer"], best_cer=rate["cer"])
            about = {**self.metadata["about"], "averaged": epochs}
            states = {**self.metadata, "model": candidate.state_dict(), "about": about, "dev": rate}
            save_checkpoint(self.folder / "averaged.pt", progress, states)
        verdict = "kept" if better else f"not better than {100 * (best or 0.0):.2f} %: not kept"
        listed = ", ".join(map(str, epochs))
        logger.info(f"average of epochs {listed}: dev {select.upper()} {100 * rate[select]:.2f} %, {verdict}")
        return {"epochs": epochs, "dev_wer": scores.wer, "dev_cer": scores.cer, "kept": better}


def rates(scores: Scores) -> dict[str, float]:
    """WER and CER, as fractions; inf if the development set has no words."""
    return {
        "wer": math.inf if scores.wer is None else scores.wer,
        "cer": math.inf if scores.cer is None else scores.cer,
    }


def epoch_path(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:03}.pt"


def mean_weights(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each floating-point tensor; of any other, the last."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(last.dtype)
        if last.is_floating_point()
        else last
        for name, last in states[-1].items()
    }
