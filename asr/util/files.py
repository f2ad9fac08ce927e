"""Finding files, reading compressed ones, writing them atomically, hashing them, and locking folders."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import logging
import lzma
import os
import re
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any, BinaryIO

from asr import __version__
from asr.errors import AsrError, ModelError, TextError

logger = logging.getLogger(__name__)

BLOCK = 2**20
_BY_START = {b"\xfd7zXZ\x00": lzma.open, b"\x1f\x8b": gzip.open, b"BZh": bz2.open}


def walk(folder: str | Path, pattern: str = "*", failed: Callable[[OSError], object] | None = None) -> Iterator[Path]:
    """Every file below a folder whose path ends like `pattern` ("*.wav", "clips/*.*"), as Path.rglob finds them, but
    through links to folders too, each folder once; a real folder before a link to it.

    Names that begin with "._" are left out: macOS stores attributes of other files in them. failed: is told of folders
    that cannot be read.
    """
    folder = Path(folder)
    seen = set()
    tops = [folder]
    for top in tops:  # grows while it is gone through
        for place, folders, names in os.walk(top, onerror=failed):
            status = os.stat(place)
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            folders.sort()
            tops += [path for path in (Path(place, name) for name in folders) if path.is_symlink()]
            for path in (Path(place, name) for name in sorted(names) if not name.startswith("._")):
                if pattern == "*" or path.relative_to(folder).match(pattern):
                    yield path


def read_lines(path: Path, error: type[AsrError] = TextError) -> Iterator[bytes]:
    """The lines of a file; its first bytes tell how it is compressed. Raises `error`, naming the line."""
    number = 0
    try:
        with path.open("rb") as file:
            start = file.read(6)
        opener: Any = next((opener for magic, opener in _BY_START.items() if start.startswith(magic)), open)
        with opener(path, "rb") as file:
            for line in file:
                number += 1
                yield line
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as caught:
        where = f"damaged after line {number:,}: " if number else ""
        raise error(f"{path}: {where}{getattr(caught, 'strerror', None) or caught}") from None


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file that has a name of its own until the block ends: another process may write the same file. If the
    block fails, nothing is left of it.

    Missing parent folders are made.
    """
    part = path.with_name(f"{path.stem[:20]}.{token_hex(4)}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def replace_file(path: Path, contents: str | bytes) -> None:
    """Write a file atomically: all of it or nothing."""
    with atomic_write(path) as file:
        file.write(contents.encode() if isinstance(contents, str) else contents)


def safe_name(name: str) -> Path:
    """A file name for any id, without path separators: nothing can be written outside the output folder."""
    return Path(re.sub(r"[^\w.-]+", "_", name)[:200].lstrip(".") or "recording")


def require_file(path: str | Path, error: type[AsrError]) -> None:
    """Raise `error` for a pipe or a device: reading it may block or never end, and manifests are read more than once.

    A path that does not exist passes: opening it will fail.
    """
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # ValueError: no path can be like this
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise error(f"{path}: is a pipe or a device; let it be written to a file first")


def file_sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    return file_digest(path, "sha256")


def file_digest(path: Path, algorithm: str) -> str:
    """Hexadecimal digest of a file's bytes."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def folder_lock(folder: Path, busy: AsrError) -> Iterator[None]:
    """Hold `folder/.lock` until the process and its workers end, however they do. Raises `busy` when another holds it.

    On a file system without locks nothing is locked, and a warning says so.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise busy from None
        except OSError as error:
            logger.warning(
                f"{folder}: this file system has no locks ({error.strerror}); do not start a second command on it"
            )
        yield


def read_record(path: Path, format_version: int, missing: str) -> dict[str, Any]:
    """Read the JSON object that describes a model or a language model.

    Raises ModelError when there is no such file (with the message `missing`), or when it is damaged or of another
    format version.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{path.parent}: {missing} (no {path.name})") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: unreadable: {error}") from None
    version = record.get("format_version") if isinstance(record, dict) else None
    if version != format_version:
        raise ModelError(
            f"{path}: format_version is {version!r}, this asr {__version__} reads {format_version};"
            " a newer asr may be needed"
        )
    return record
