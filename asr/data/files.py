"""What a corpus is read from: files, not pipes or devices."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from asr.audio import AudioInfo, audio_info
from asr.errors import AsrError, AudioError


def require_file(path: str | Path, error: type[AsrError]) -> None:
    """Raise `error` for a pipe or a device: nobody may ever write to it, it may never end, and manifests are read more
    than once. What is not there at all is left to whoever opens it."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # ValueError: no path can be like this
        return
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise error(f"{path}: is a pipe or a device; let it be written to a file first")


def read_header(path: str | Path) -> AudioInfo:
    """What the header of an audio file says. Raises AudioError."""
    require_file(path, AudioError)
    return audio_info(path)
