"""What the layouts share: lines of text files, audio wherever it lies, lengths from headers, ids from paths."""

from __future__ import annotations

import gzip
import logging
import math
import os
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from itertools import islice, product
from pathlib import Path
from typing import NoReturn, TypeVar

from asr.audio import AUDIO_SUFFIXES, audio_info
from asr.audiofile import TOLERANCE_S
from asr.data.manifest import Record, Utterance, check_record, default_id, with_own_keys
from asr.errors import AsrError, AudioError, AudioFault, ManifestError, error_context
from asr.util.files import require_file
from asr.util.format import some

logger = logging.getLogger(__name__)

Failed = Callable[[AsrError], None]  # takes what is wrong with an utterance that is left out

THREADS = min(4, os.cpu_count() or 1)  # reading headers means waiting for disks
CHUNK = 256
OVERSHOOT_S = 0.5  # by so much Kaldi lets a segment end after its recording, and cuts it


def refuse(error: AsrError) -> NoReturn:
    """The Failed of callers that need every utterance: raise the first error."""
    raise error


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number from 1 and content of every line that is not blank; the file may be gzipped (.gz). UTF-8, with or without
    a byte order mark, any line ends. Raises ManifestError naming the line."""
    return ((number, line) for number, line in all_lines(path) if line and not line.isspace())


def all_lines(path: Path) -> Iterator[tuple[int, str]]:
    """As `text_lines`, with the blank ones."""
    number = 0
    require_file(path, ManifestError)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}, line {number}: not UTF-8 ({error.reason}); convert the file to it") from None
    except (OSError, ValueError, EOFError, zlib.error) as error:  # ValueError: no path can be like this
        raise ManifestError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


class AudioFinder:
    """Finds the audio that a file of a corpus names: below one of `folders`, tried in order, or absolute; with the
    extension given, another one or none at all, as corpora are re-encoded; and whichever way its letters are composed
    in Unicode, as archives made on a Mac have their own.

    Where a file is there with several extensions and the one given is not, it is the first by name.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = list(folders)
        self._listings: dict[str, dict[str, str]] = {}

    def __call__(self, name: str) -> Path:
        """The path of an existing file. Raises AudioError saying where it was looked for."""
        spellings = dict.fromkeys((name, *(unicodedata.normalize(form, name) for form in ("NFC", "NFD"))))
        for folder, spelling in product(self._folders, spellings):
            found = self._in(os.path.join(folder, spelling))
            if found is not None:
                self._folders.sort(key=lambda other: other is not folder)  # the rest is most likely there too
                return Path(found)
        places = "" if os.path.isabs(name) else f" in {some(self._folders, 3)}"
        raise AudioError(f"{name!r}: no such audio file{places}, with this extension or another", AudioFault.MISSING)

    def _in(self, path: str) -> str | None:
        folder, name = os.path.split(path)
        if "\0" in path or not name:
            return None
        if os.path.isfile(path):
            return path
        if folder not in self._listings:
            self._listings[folder] = _audio_by_stem(folder)
        listing = self._listings[folder]
        name = unicodedata.normalize("NFC", name)
        stem, suffix = os.path.splitext(name)
        # "take.1" and "talk.part2" are names without extension: "take" and "talk" are other ones.
        found = listing.get(name) or (listing.get(stem) if suffix.lower() in AUDIO_SUFFIXES else None)
        return found and os.path.join(folder, found)


def _audio_by_stem(folder: str) -> dict[str, str]:
    """Names of the audio files in a folder by their names without extension, these in NFC."""
    try:
        names = sorted(os.listdir(folder), reverse=True)
    except (OSError, ValueError):  # ValueError: no path can be like this
        return {}
    parts = ((os.path.splitext(unicodedata.normalize("NFC", name)), name) for name in names)
    return {stem: name for (stem, suffix), name in parts if suffix.lower() in AUDIO_SUFFIXES}


def path_id(audio: Path, root: Path, start: float = 0.0) -> str:
    """An id for an utterance that has none: the default one of its path below root."""
    return default_id(str(audio.relative_to(root)) if audio.is_relative_to(root) else audio.name, start)


def seconds(value: object, what: str) -> float:
    """A time or duration as a number. Raises ManifestError when it is none that audio can have."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= 1e9 or isinstance(value, bool):
        raise ManifestError(f"{what} is {value!r}, not seconds")
    return number


def make_utterance(record: Record, find: AudioFinder, root: Path) -> Utterance:
    """The utterance of a record as a corpus has it: keys as in a manifest, numbers perhaps as text, None for nothing.

    Without id it gets one of its audio's path below root; without duration that is UNKNOWN. Raises ManifestError for a
    value of the wrong kind, AudioError for audio that is not there.
    """
    record = with_own_keys(record)
    for key in ("start", "duration"):
        if key in record:
            record[key] = seconds(record[key], key)
    for key in ("id", "text", "speaker", "lang"):
        if isinstance(record.get(key), (int, float)) and not isinstance(record[key], bool):
            record[key] = str(record[key])
    if "audio" not in record:
        raise ManifestError("no audio")
    check_record(record)
    audio = find(record["audio"])
    record["id"] = record.get("id") or path_id(audio, root, record.get("start", 0.0))
    return Utterance.from_record(record | {"audio": audio}, Path())


def span(start: object, end: object) -> tuple[float, float]:
    """Start and duration in seconds of what goes from start to end. Raises ManifestError."""
    first, last = seconds(start, "start"), seconds(end, "end")
    if last <= first:
        raise ManifestError(f"ends at {last:g} s, which is not after its start at {first:g} s")
    return first, round(last - first, 6)


Row = TypeVar("Row")


def build_utterances(
    rows: Iterable[tuple[str, Row]], make: Callable[[Row], Utterance], failed: Failed
) -> Iterator[Utterance]:
    """An utterance of every row, which comes with its place for errors. Those of UNKNOWN duration end where their audio
    does, and so do those that end a little later."""

    def parsed() -> Iterator[Utterance]:
        for place, row in rows:
            try:
                with error_context(place):
                    utterance = make(row)
            except AsrError as error:
                failed(error)
            else:
                yield utterance

    remaining = parsed()
    with ThreadPoolExecutor(THREADS) as pool:
        while chunk := list(islice(remaining, CHUNK)):
            for found in pool.map(_measured, chunk):
                if isinstance(found, AsrError):
                    failed(found)
                else:
                    yield found


def _measured(utterance: Utterance) -> Utterance | AsrError:
    """The utterance, which ends where its file does at the latest."""
    try:
        end = _file_s(utterance.audio)
    except AudioError as error:
        return error
    over = utterance.start + utterance.duration - end
    if utterance.start >= end or over > OVERSHOOT_S:
        what = "starts" if utterance.start >= end else "ends"
        at = utterance.start if utterance.start >= end else utterance.start + utterance.duration
        return AudioError(
            f"{utterance.audio}: utterance {utterance.id} {what} at {at:g} s, but the file ends at {end:.3f} s",
            AudioFault.TOO_SHORT,
        )
    if over > TOLERANCE_S:
        logger.warning(f"{utterance.audio}: utterance {utterance.id} ends {over:.2f} s after its file; cut to its end")
    elif not math.isnan(utterance.duration):
        return utterance
    return replace(utterance, duration=round(end - utterance.start, 6))


@lru_cache(CHUNK)
def _file_s(path: Path) -> float:
    """Seconds of a file, which may hold many utterances."""
    return audio_info(path).duration


def require_unique_ids(utterances: Iterable[Utterance]) -> Iterator[Utterance]:
    """The utterances as they come. Raises ManifestError at the end when there were none, or when ids repeat: results
    are compared, exported and aligned by id, so a number appended in silence would hide a mistake in the corpus."""
    seen: set[str] = set()
    repeated: dict[str, Path] = {}
    for utterance in utterances:
        if utterance.id in seen:
            repeated.setdefault(utterance.id, utterance.audio)
        seen.add(utterance.id)
        yield utterance
    if not seen:
        raise ManifestError("no utterance could be read; nothing is written")
    if repeated:
        examples = some((f"'{name}' ({audio})" for name, audio in repeated.items()), 3)
        raise ManifestError(f"ids given to more than one utterance: {examples}; nothing is written")
