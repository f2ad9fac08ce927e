"""Recurrent speech recognition with CTC.

    import asr
    model = asr.load("digits")              # a built-in model's name or a model folder
    print(model.transcribe("call.wav").text)

Importing this package is cheap: torch is loaded by what needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asr.errors import AsrError
from asr.util.libraries import library_errors

if TYPE_CHECKING:
    from pathlib import Path

    from asr.transcribe import Transcriber

__version__ = "0.1.0"
__all__ = ["AsrError", "__version__", "load"]


def load(model: str | Path | None = None, device: str = "auto") -> Transcriber:
    """Load a model ready to transcribe: `model` is a model folder, a run folder or a built-in model's name; None is the
    default model.

    Raises ModelError when there is no such model or its folder is damaged, LibraryError when torch or another library
    is missing or does not load.
    """
    with library_errors():
        from asr.transcribe import Transcriber

        return Transcriber.load(model, device)
