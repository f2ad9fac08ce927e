"""Functions compiled by numba when they are first called, with the machine code kept on disk where that is possible.

Importing this takes a second, so only beam search and n-gram models do.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba

from asr import __version__

COMPILED = ("decode", "lexicon", "lm")  # the packages that hold compiled functions


def inlined(function: Callable[..., Any]) -> Any:
    """Decorator: compile as a part of whatever calls it."""
    return numba.njit(nogil=True, inline="always")(function)


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """Decorator: compile for the types of the first call. The compiled function lets other threads run."""
    folder = cache_folder()
    if folder is None:
        return numba.njit(nogil=True, **options)(function)
    config: Any = numba.config
    usual, config.CACHE_DIR = config.CACHE_DIR, str(folder)
    try:
        return numba.njit(nogil=True, cache=True, **options)(function)
    except RuntimeError:  # what numba raises for a folder that it cannot write to
        return numba.njit(nogil=True, **options)(function)
    finally:
        config.CACHE_DIR = usual


def njit_no_refcount(function: Callable[..., Any]) -> Any:
    """Decorator: `jit` without reference counting, for functions that create no arrays. Counting references for every
    array that is looked up in a tuple takes longer than the work on the array."""
    return jit(function, _nrt=False)


def is_compiled(function: Any) -> bool:
    """Whether a `jit` function is compiled already, in memory or in the cache."""
    folder = function.stats.cache_path
    stored = folder is not None and any(Path(folder).glob(f"*.{function.__name__}-*.nbi"))
    return stored or bool(function.signatures)


@lru_cache(maxsize=1)
def cache_folder() -> Path | None:
    """Where machine code is kept: below NUMBA_CACHE_DIR or the user's cache, by version and source; None: nowhere.

    numba's own check looks only at the file of a function, not at what that calls from other files. A folder for every
    state of the source cannot be stale. The package's own folder is often not writable.
    """
    files = sorted(path for name in COMPILED for path in (Path(__file__).parents[1] / name).glob("*.py"))
    digest = sha256(b"".join(map(Path.read_bytes, files))).hexdigest()[:12]
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    try:
        folder = (Path(base) if base else Path.home() / ".cache") / "asr" / f"{__version__}-{digest}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: there is no home
        return None
    return folder if os.access(folder, os.W_OK) else None
