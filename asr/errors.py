"""What goes wrong for a reason the user can mend. Each message names the file, the value and the remedy in one line."""


class AsrError(Exception):
    """Base of every error this package raises on purpose."""


class AudioError(AsrError):
    """Audio that cannot be read, or that no recognizer should be fed."""


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
