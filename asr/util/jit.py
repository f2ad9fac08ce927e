"""Functions compiled by numba when they are first called, with the machine code kept on disk where that is possible.

Importing this takes a second, so only beam search and n-gram models do.
"""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import CompileResultCacheImpl, FunctionCache, UserProvidedCacheLocator
from numba.core.runtime import rtsys

from asr import __version__

COMPILED = ("decode", "lexicon", "lm")  # the packages that hold compiled functions


def inlined(function: Callable[..., Any]) -> Any:
    """Decorator: compile as a part of whatever calls it."""
    return numba.njit(nogil=True, inline="always")(function)


def jit(function: Callable[..., Any], **options: Any) -> Any:
    """Decorator: compile for the types of the first call. The compiled function lets other threads run."""
    compiled = numba.njit(nogil=True, **options)(function)
    for folder in cache_folders():
        compiled._cache = _Cache(function, folder, compiled._cache, options.get("_nrt", True))
    return compiled


def njit_no_refcount(function: Callable[..., Any]) -> Any:
    """Decorator: `jit` without reference counting, for functions that create no arrays. Counting references for every
    array that is looked up in a tuple takes longer than the work on the array."""
    return jit(function, _nrt=False)


def is_compiled(function: Any) -> bool:
    """Whether a `jit` function is compiled already, in memory or in the cache."""
    name = f"*/*.{function.__name__}-*.nbi"
    return bool(function.signatures) or any(any(folder.glob(name)) for folder in cache_folders())


class _Locator(UserProvidedCacheLocator):
    """A folder, even one that does not exist yet or can only be read."""

    @classmethod
    def from_function(cls, function: Any, file: str) -> Any:
        return cls(function, file)


class _Implementation(CompileResultCacheImpl):
    _locator_classes: Any = (_Locator,)


class _Cache(FunctionCache):
    """Machine code of a function in a folder. What is not there may be in the next cache, and what cannot be written is
    not kept."""

    _impl_class = _Implementation

    def __init__(self, function: Callable[..., Any], folder: Path, following: Any, counts_references: bool) -> None:
        config: Any = numba.config
        usual, config.CACHE_DIR = config.CACHE_DIR, str(folder)
        try:
            super().__init__(function)
        finally:
            config.CACHE_DIR = usual
        self.following, self.counts_references = following, counts_references

    def load_overload(self, signature: Any, target: Any) -> Any:
        # numba's own method would load all that compiling needs, which takes half a second.
        if self.counts_references:
            rtsys.initialize(target)
        with suppress(OSError):
            if (found := self._load_overload(signature, target)) is not None:
                return found
        return self.following.load_overload(signature, target)

    def save_overload(self, signature: Any, compiled: Any) -> None:
        with suppress(OSError):
            self._save_overload(signature, compiled)


@lru_cache(maxsize=1)
def cache_folders() -> list[Path]:
    """Where machine code is looked for, by version and source; the last folder is the first one asked, and keeps more.

    That is below NUMBA_CACHE_DIR or the user's cache. Where this cannot be written to, what is there is used all the
    same, and a folder among the temporary files keeps the rest. The package's own folder is often not writable.

    numba's own check looks only at the file of a function, not at what that calls from other files. A folder for every
    state of the source cannot be stale.
    """
    files = sorted(path for name in COMPILED for path in (Path(__file__).parents[1] / name).glob("*.py"))
    digest = sha256(b"".join(map(Path.read_bytes, files))).hexdigest()[:12]
    base = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    name, folders = f"{__version__}-{digest}", []
    with suppress(OSError, RuntimeError):  # RuntimeError: there is no home
        folder = (Path(base) if base else Path.home() / ".cache") / "asr" / name
        folders.append(folder)
        folder.mkdir(parents=True, exist_ok=True)
    if folders and os.access(folders[0], os.W_OK):
        return folders
    folders = [folder for folder in folders if _is_safe(folder)]
    with suppress(OSError):
        folders.append(_temporary_folder() / name)
    return folders


def _temporary_folder() -> Path:
    """One that belongs to this user alone, since code that is loaded from it is run. Raises OSError if it does not."""
    user = os.getuid() if hasattr(os, "getuid") else None  # Windows has temporary files for each user
    folder = Path(tempfile.gettempdir()) / ("asr" if user is None else f"asr-{user}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if not _is_safe(folder):
        raise PermissionError(f"{folder}: others may write to it")
    return folder


def _is_safe(folder: Path) -> bool:
    """Whether it is a folder, no link, that nobody but this user and root may write to."""
    with suppress(OSError):
        found = folder.lstat()
        own = not hasattr(os, "getuid") or (found.st_uid in (os.getuid(), 0) and not found.st_mode & 0o022)
        return stat.S_ISDIR(found.st_mode) and own
    return False
