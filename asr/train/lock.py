"""One training at a time in a run folder."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from asr.errors import TrainError
from asr.lock import folder_lock


def run_lock(run: Path, say: Callable[[str], None]) -> AbstractContextManager[None]:
    """Hold the run folder for this training. Raises TrainError when another is running in it."""
    busy = TrainError(
        f"{run}: another training is running in it; wait for it, or choose another run folder"
        " (run=DIR, or RUN=DIR before a recipe's command)"
    )
    return folder_lock(run, busy, say)
