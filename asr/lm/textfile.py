"""Lines of text files, plain or packed by gzip, bzip2 or xz."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from asr.errors import AsrError, TextError

_BY_START = {b"\xfd7zXZ\x00": lzma.open, b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
_BY_NAME = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}


def read_lines(path: Path, error: type[AsrError] = TextError) -> Iterator[bytes]:
    """The lines of a file; how it is packed is told by its first bytes. Raises `error`, naming the line."""
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


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines, whole or not at all, packed as the name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    opener: Any = _BY_NAME.get(path.suffix, open)
    try:
        with opener(part, "wt", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
