"""What lies below a folder, and files that are written whole."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


def walk(folder: str | Path, pattern: str = "*") -> Iterator[Path]:
    """Every file below a folder whose path ends like `pattern` ("*.wav", "clips/*.*"), as Path.rglob finds them, but
    through links to folders too, each folder once; a real folder before a link to it.

    Names that begin with "._" are left out: there macOS keeps attributes of the files beside.
    """
    folder = Path(folder)
    seen = set()
    tops = [folder]
    for top in tops:  # grows while it is gone through
        for place, folders, names in os.walk(top):
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


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file to write to, called `path.part` until the block ends, and nothing is left of it where the block fails.
    The folders above it are made."""
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, contents: str | bytes) -> None:
    """Write a file: all of it or nothing."""
    with written(path) as file:
        file.write(contents.encode() if isinstance(contents, str) else contents)
