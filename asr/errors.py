"""Errors that the user can fix. Each message names the file, the value and the remedy in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum


class AsrError(Exception):
    """Base of every error this package raises on purpose."""


class AudioFault(Enum):
    """What can be wrong with audio; the value is how it is called in messages."""

    MISSING = "missing audio"
    UNREADABLE = "unreadable audio"
    TOO_SHORT = "audio shorter than its line says"
    EMPTY = "audio without samples"
    NOT_FINITE = "NaN or infinite samples"


class AudioError(AsrError):
    """Audio that cannot be read, or that no recognizer should get. fault: what is wrong with it."""

    def __init__(self, message: str, fault: AudioFault = AudioFault.UNREADABLE) -> None:
        super().__init__(message)
        self.fault = fault


class TextError(AsrError):
    """Text that the tokenizer cannot express."""


class ConfigError(AsrError):
    """An unknown key, a wrong value, or settings that contradict each other."""


class ManifestError(AsrError):
    """A manifest or another description of a corpus that is missing, damaged or incomplete."""


class DownloadError(AsrError):
    """An archive that could not be downloaded or unpacked, or that differs from the published one."""


class ModelError(AsrError):
    """A model or language model that is missing, damaged, from an unknown version, or does not fit."""


class TrainError(AsrError):
    """Training that cannot start or cannot go on."""


class LibraryError(AsrError):
    """A required library that is missing or does not load."""


@contextmanager
def error_context(place: str) -> Iterator[None]:
    """Put the place, such as a file's name and line, in front of errors raised inside; "" leaves them as they are."""
    try:
        yield
    except AsrError as error:
        error.args = (f"{place}: {error}" if place else str(error),)
        raise
