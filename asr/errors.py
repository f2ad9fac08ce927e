"""What goes wrong for a reason the user can fix. Each message names the file, the value and the remedy in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum


class AsrError(Exception):
    """Base of every error this package raises on purpose."""


class AudioFault(Enum):
    """What can be wrong with audio, and how to say so."""

    MISSING = "missing audio"
    UNREADABLE = "unreadable audio"
    TOO_SHORT = "audio shorter than its line says"
    EMPTY = "audio without samples"
    NOT_FINITE = "NaN or infinite samples"


class AudioError(AsrError):
    """Audio that cannot be read, or that no recognizer should be fed; `fault` says which kind of wrong it is."""

    def __init__(self, message: str, fault: AudioFault = AudioFault.UNREADABLE) -> None:
        super().__init__(message)
        self.fault = fault


class TextError(AsrError):
    """Text that the tokenizer cannot express."""


class ConfigError(AsrError):
    """An unknown key, a wrong value, or settings that contradict each other."""


class ManifestError(AsrError):
    """A manifest line that does not say what it must."""


class DownloadError(AsrError):
    """An archive that could not be had, or is not what was published."""


class ModelError(AsrError):
    """A model folder that is missing, damaged or from an unknown version."""


class TrainError(AsrError):
    """Training that cannot start or cannot go on."""


class LibraryError(AsrError):
    """A library underneath that is missing or does not load."""


@contextmanager
def error_context(place: str) -> Iterator[None]:
    """Put the place, such as a file's name and line, in front of errors raised inside; "" leaves them as they are."""
    try:
        yield
    except AsrError as error:
        error.args = (f"{place}: {error}" if place else str(error),)
        raise
