"""The weights of the best epochs: kept as checkpoints of their own, and averaged at the end."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.config import TrainConfig
from asr.evaluate.score import Scores
from asr.model.recognizer import Recognizer
from asr.train.checkpoint import Progress, load_checkpoint, save_checkpoint
from asr.train.log import RunLog


def rates(scores: Scores) -> dict[str, float]:
    """WER and CER of the development part; inf where it has no words."""
    return {
        "wer": math.inf if scores.wer is None else scores.wer,
        "cer": math.inf if scores.cer is None else scores.cer,
    }


def keep_if_good(folder: Path, progress: Progress, scores: Scores, states: dict[str, Any], config: TrainConfig) -> None:
    """Write best.pt, and epoch-NNN.pt of the best epochs, if this one is among them; notes it in `progress`.

    Of equals the later is better: it has learned from more, at a lower rate.
    """
    rate = rates(scores)
    chosen = rate[config.select]
    best = progress.best(config.select)
    if best is None or chosen <= best:
        progress.best_wer, progress.best_cer, progress.best_epoch = rate["wer"], rate["cer"], progress.epoch
        save_checkpoint(folder / "best.pt", progress, states)
    ranked = sorted([*progress.kept, [chosen, progress.epoch]], key=lambda kept: (kept[0], -kept[1]))
    progress.kept = ranked[: max(config.keep_checkpoints, config.average)]
    if [chosen, progress.epoch] in progress.kept:
        save_checkpoint(epoch_path(folder, progress.epoch), progress, states)


def drop_others(folder: Path, progress: Progress) -> None:
    """Delete the checkpoints of epochs that are no longer among the best."""
    kept = {epoch_path(folder, int(epoch)) for _, epoch in progress.kept}
    for path in set(folder.glob("epoch-*.pt")) - kept:
        path.unlink(missing_ok=True)


def epoch_path(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:03}.pt"


def average_best(
    folder: Path,
    progress: Progress,
    recognizer: Recognizer,
    validate: Callable[[Recognizer], Scores],
    states: dict[str, Any],
    config: TrainConfig,
    log: RunLog,
) -> None:
    """Average the best epochs' weights; averaged.pt is written if that is better than the best of them."""
    paths = {int(epoch): epoch_path(folder, int(epoch)) for _, epoch in progress.kept[: config.average]}
    epochs = sorted(epoch for epoch, path in paths.items() if path.exists())
    if len(epochs) < 2:
        return
    candidate = copy.deepcopy(recognizer).eval()
    candidate.load_state_dict(mean_weights([load_checkpoint(paths[epoch])[1]["model"] for epoch in epochs]))
    scores = validate(candidate)
    rate = rates(scores)
    best = progress.best(config.select)
    better = best is None or rate[config.select] < best
    if better:
        averaged = replace(progress, best_wer=rate["wer"], best_cer=rate["cer"])
        about = {**states.get("about", {}), "averaged": epochs}
        save_checkpoint(
            folder / "averaged.pt", averaged, {**states, "model": candidate.state_dict(), "about": about, "dev": rate}
        )
    log.write("average", progress.step, epochs=epochs, dev_wer=scores.wer, dev_cer=scores.cer, kept=better)
    verdict = "kept" if better else f"not better than {100 * best:.2f} %: not kept"
    listed = ", ".join(map(str, epochs))
    log.say(f"average of epochs {listed}: dev {config.select.upper()} {100 * rate[config.select]:.2f} %, {verdict}")


def mean_weights(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor; of numbers that are not fractional, the last."""
    return {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(last.dtype)
        if last.is_floating_point()
        else last
        for name, last in states[-1].items()
    }
