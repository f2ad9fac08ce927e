"""What a run must remember to go on as if it had never stopped; a crash leaves the old file or the new."""

from __future__ import annotations

import os
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr.errors import TrainError

FORMAT_VERSION = 1


@dataclass
class Progress:
    """Where a run stands: `batch` batches of epoch `epoch` (from 0) are done. sums: of this epoch, for its log line."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0  # of training, over all starts
    best_wer: float | None = None
    best_epoch: int | None = None
    sums: dict[str, float] = field(default_factory=dict)


def save_checkpoint(path: Path, progress: Progress, states: dict[str, Any]) -> None:
    """Write atomically: to a temporary name, flushed to disk, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    contents = {"format_version": FORMAT_VERSION, "progress": asdict(progress), "rng": _rng_state(), **states}
    try:
        with part.open("wb") as file:
            torch.save(contents, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise TrainError(
            f"{path}: could not be written: {error.strerror}; the checkpoint before it is intact"
        ) from None


def load_checkpoint(path: Path) -> tuple[Progress, dict[str, Any]]:
    """Read a checkpoint without running code (`weights_only=True`). The caller restores `states`; see `restore_rng`."""
    try:
        contents = torch.load(path, map_location="cpu", weights_only=True)
        if contents["format_version"] != FORMAT_VERSION:
            raise TrainError(f"{path}: format version {contents['format_version']}, this asr reads {FORMAT_VERSION}")
        return Progress(**contents.pop("progress")), contents
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, KeyError, TypeError, ValueError) as error:
        first = str(error).strip().splitlines() or [repr(error)]
        raise TrainError(f"{path}: damaged checkpoint ({first[0]}); delete it to begin again") from None


def restore_rng(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["rng"]["cpu"])
    if "cuda" in states["rng"] and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["rng"]["cuda"])


def _rng_state() -> dict[str, Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state
