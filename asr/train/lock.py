"""One training at a time in a run folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from asr.errors import TrainError


@contextmanager
def run_lock(run: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold `run/.lock` until the process and its workers end, however they do. Raises TrainError when another holds it.

    Where the file system knows no locks, nothing is locked, and `say` is told so.
    """
    run.mkdir(parents=True, exist_ok=True)
    with (run / ".lock").open("w") as file:
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            raise TrainError(
                f"{run}: another training is running in it; wait for it, or choose another run folder"
                " (run=DIR, or RUN=DIR before a recipe's command)"
            ) from None
        except OSError as error:
            say(f"warning: {run}: cannot be locked here ({error.strerror}); start no second training in it")
        yield


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
