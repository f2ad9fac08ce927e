"""Checkpoint files: what a run needs to continue as if it had never stopped. A crash leaves the old file or the new."""

from __future__ import annotations

import io
import os
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.errors import TrainError
from asr.util.files import atomic_write

FORMAT_VERSION = 1


class DamagedCheckpoint(TrainError):
    """A checkpoint that cannot be read."""


@dataclass(frozen=True)
class CheckpointFolder:
    """Where the checkpoints of a run are, and what is stored in each of them about the data.

    identity: plain values that identify the data; a checkpoint of other data is refused. about: facts for the model
    card.
    """

    folder: Path
    identity: dict[str, Any]
    about: dict[str, Any]


@dataclass(frozen=True)
class KeptEpoch:
    """An epoch whose weights are kept in epoch-NNN.pt: its WER or CER on the development set, and its number from 1."""

    rate: float
    epoch: int


@dataclass
class Progress:
    """How far a run has come: `epoch` epochs are done, and `batch` batches of the next one.

    sums: the metrics of that epoch, see `EpochMetrics`; best_epoch: its number from 1, 0 for the model that the
    training starts from; kept: the epochs whose weights are kept, the best first.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0  # of training, over all starts
    best_wer: float | None = None  # of the best checkpoint; inf if the development set has no words
    best_cer: float | None = None
    best_epoch: int | None = None
    bad_steps: int = 0  # skipped, in a row up to now
    kept: list[KeptEpoch] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)

    def best(self, select: str) -> float | None:
        """The best checkpoint's error rate. select: "wer" or "cer"."""
        return self.best_cer if select == "cer" else self.best_wer


def save_checkpoint(path: Path, progress: Progress, states: dict[str, Any], previous: Path | None = None) -> None:
    """Write atomically: to a temporary name, flushed to disk, then renamed. What was there becomes `previous`.

    states: what is stored beside the progress, such as "model" and "optimizer". Raises TrainError for a full disk.
    """
    contents = {"format_version": FORMAT_VERSION, "progress": asdict(progress), "rng": _rng_state(), **states}
    buffer = io.BytesIO()  # torch.save to a file would hide why it could not be written
    torch.save(contents, buffer)
    try:
        with atomic_write(path) as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
            if previous is not None and path.exists():
                path.replace(previous)
    except OSError as error:
        raise TrainError(
            f"{path}: could not be written: {error.strerror}; the checkpoint before it is intact;"
            " fix this and rerun to resume"
        ) from None


def load_checkpoint(path: Path) -> tuple[Progress, dict[str, Any]]:
    """Read a checkpoint without running code (`weights_only=True`). The caller restores the states; see `restore_rng`.

    Raises DamagedCheckpoint when the file is not whole, TrainError for a format of another version.
    """
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
        if contents["format_version"] != FORMAT_VERSION:
            raise TrainError(f"{path}: format version {contents['format_version']}, this asr reads {FORMAT_VERSION}")
        progress = Progress(**contents.pop("progress"))
        progress.kept = [KeptEpoch(**kept) for kept in progress.kept]  # type: ignore[arg-type]
        return progress, contents
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError) as error:
        first = str(error).strip().splitlines() or [repr(error)]
        raise DamagedCheckpoint(f"{path}: damaged checkpoint ({first[0]})") from None


def newest_checkpoint(folder: Path) -> tuple[Progress, dict[str, Any], str | None]:
    """Where a run in `folder` continues: at `last.pt`, at `previous.pt` if that is damaged or missing, or at the start.

    Returns progress, states (empty at the start), and a warning if a damaged file had to be set aside.
    Raises TrainError when no checkpoint is whole.
    """
    damages = []
    for path in (folder / "last.pt", folder / "previous.pt"):
        if not path.exists():
            continue
        try:
            progress, states = load_checkpoint(path)
        except DamagedCheckpoint as error:
            damages.append(str(error))
            continue
        if not damages:
            return progress, states, None
        (folder / "last.pt").replace(
            folder / "last.pt.damaged"
        )  # or the next checkpoint would make it the previous one
        return progress, states, f"{damages[0]}; continuing from {path.name}, up to one checkpoint earlier"
    if damages:
        raise TrainError(f"{'; and '.join(damages)}; delete {folder} to begin again")
    return Progress(), {}, None


def restore_rng(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["rng"]["cpu"])
    if "cuda" in states["rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["rng"]["cuda"])


def _rng_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state
