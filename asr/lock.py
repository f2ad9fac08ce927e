"""One process at a time in a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from asr.errors import AsrError


@contextmanager
def folder_lock(folder: Path, busy: AsrError, say: Callable[[str], None]) -> Iterator[None]:
    """Hold `folder/.lock` until the process and its workers end, however they do. Raises `busy` when another holds it.

    Where the file system knows no locks, nothing is locked, and `say` is told so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            _lock(file)
        except (BlockingIOError, PermissionError):
            raise busy from None
        except OSError as error:
            say(f"warning: {folder}: cannot be locked here ({error.strerror}); start no second command on it")
        yield


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
