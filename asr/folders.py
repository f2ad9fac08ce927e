"""What lies below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


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
