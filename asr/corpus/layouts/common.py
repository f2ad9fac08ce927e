"""What the layouts share: lines of text files, names of columns, audio wherever it lies, lengths from headers, ids from
paths."""

from __future__ import annotations

import gzip
import logging
import math
import os
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache, lru_cache
from itertools import chain, islice, product
from pathlib import Path
from typing import NoReturn, TypeVar

from asr.audio import AUDIO_SUFFIXES, AudioInfo, audio_info
from asr.data.manifest import MAX_SECONDS, Record, Utterance, check_record, default_id, with_own_keys
from asr.errors import AsrError, AudioError, AudioFault, ManifestError, error_context
from asr.util.files import require_file
from asr.util.format import plural, some
from asr.util.runtime import map_ahead

logger = logging.getLogger(__name__)

Row = TypeVar("Row")
Item = TypeVar("Item")
Result = TypeVar("Result")
Failed = Callable[[AsrError], None]  # takes what is wrong with an utterance that is left out

THREADS = min(4, os.cpu_count() or 1)
CHUNK = 64  # headers that a thread reads in one go: handing work over takes time too
ROUNDING_S = 0.01  # seconds by which an utterance may end after its recording: durations are rounded
OVERSHOOT_S = 0.5  # seconds: up to here it is cut to the recording's end, as Kaldi's extract-segments does

# What columns and keys are called in corpora at large, the likeliest first; compared in lower case, with _ for spaces.
NAMES = {
    "audio": (
        *("audio", "audio_filepath", "audio_path", "audio_file", "path", "file", "file_name", "filename", "file_path"),
        *("filepath", "wav", "wav_filename", "wav_path", "wav_file", "clip", "recording"),
    ),
    "text": (
        *("text", "sentence", "transcript", "transcription", "normalized_text", "normalised_text", "words", "wrd"),
        *("utterance_text", "raw_text", "raw_transcription", "txt", "text_path", "text_file", "text_filepath"),
        *("transcript_path", "transcript_file", "txt_path", "txt_file"),
    ),
    "speaker": ("speaker", "speaker_id", "client_id", "spk", "spk_id", "spkid", "speaker_name", "user_id", "reader"),
    "id": ("id", "utt_id", "utterance_id", "uttid", "utt", "segment_id", "key"),
    "start": ("start", "start_s", "start_time", "begin", "begin_time", "offset"),
    "end": ("end", "end_s", "end_time", "stop"),
    "duration": ("duration", "duration_s"),
    "lang": ("lang", "language", "locale"),
}
# Extensions of files that hold what is said and nothing else, and of others that stand where a text should.
TEXT_SUFFIXES = frozenset({".txt", ".text", ".lab", ".trn"})
OTHER_SUFFIXES = AUDIO_SUFFIXES | {".json", ".srt", ".vtt", ".textgrid", ".ctm", ".stm", ".wrd", ".phn", ".eaf"}


def refuse(error: AsrError) -> NoReturn:
    """The Failed of callers that need every utterance: raise the first error."""
    raise error


def text_lines(path: Path, blank: bool = False, failed: Failed = refuse) -> Iterator[tuple[int, str]]:
    """Number from 1 and content of every line; of blank ones only where they are asked for. The file may be gzipped
    (.gz). UTF-8, with or without a byte order mark, any line ends.

    A line that is not UTF-8 is left out. Raises ManifestError where it is the first: then the whole file is not; and
    for a file that cannot be read."""
    require_file(path, ManifestError)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, content in enumerate(file, 1):
                try:
                    line = content.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    problem = f"{path}, line {number}: not UTF-8 ({error.reason}); convert the file to it"
                    (refuse if number == 1 else failed)(ManifestError(problem))
                    continue
                if blank or line.strip():
                    yield number, line
    except (OSError, ValueError, EOFError, zlib.error) as error:  # ValueError: no path can be like this
        raise ManifestError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def file_text(path: Path) -> str:
    """All that a text file says, on one line. Raises ManifestError."""
    return " ".join(" ".join(line.split()) for _, line in text_lines(path))


class AudioFinder:
    """Finds the audio that a file of a corpus names: below one of `folders`, tried in order, or absolute; with the
    extension given, another one or none at all, as corpora are re-encoded; and whichever way its letters are composed
    in Unicode, as archives made on a Mac have their own.

    Where a file is there with several extensions and the one given is not, it is the first by name.
    """

    def __init__(self, *folders: Path) -> None:
        self._folders = list(folders)
        self._listing = cache(_audio_by_stem)
        self._text_files = False

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

    def text(self, said: str) -> str:
        """What is said; where the name of a text file stands instead, below one of the folders, what is in that.

        Raises ManifestError for the name of another file, or of one that is not there.
        """
        suffix = os.path.splitext(said)[1].lower()
        is_name = suffix in TEXT_SUFFIXES or suffix in OTHER_SUFFIXES
        one_word = len(said.split()) == 1
        if not is_name and not (one_word and "/" in said):
            return said
        paths = (os.path.join(folder, said) for folder in self._folders)
        path = next(filter(os.path.isfile, paths), None)
        if path is None and not (is_name and one_word):  # "open readme.txt" and "and/or" are what people say
            return said
        if path is None or suffix in OTHER_SUFFIXES:
            what = "that is not there" if path is None else "which is no plain text"
            raise ManifestError(f"the text is {said!r}, the name of a file {what}; put what is said in its place")
        if not self._text_files:
            logger.info(f"texts are in files, such as {path}")
        self._text_files = True
        return file_text(Path(path))

    def _in(self, path: str) -> str | None:
        folder, name = os.path.split(path)
        if "\0" in path or not name:
            return None
        if os.path.isfile(path):
            return path
        listing = self._listing(folder)
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
    if not 0 <= number <= MAX_SECONDS or isinstance(value, bool):
        raise ManifestError(f"{what} is {value!r}, not seconds")
    return number


def make_utterance(record: Record, find: AudioFinder, root: Path) -> Utterance:
    """The utterance of a record as a corpus has it: keys as in a manifest, numbers perhaps as text, None for nothing.

    "end", seconds, counts where there is no duration. A text that names a text file is what that holds. Without id it
    gets one of its audio's path below root; without duration and end its duration is UNKNOWN. Raises ManifestError for
    a value of the wrong kind, AudioError for audio that is not there.
    """
    record = with_own_keys(record)
    if "duration" not in record and record.get("end") is not None:
        record["start"], record["duration"] = span(record.get("start", 0.0), record.pop("end"))
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
    if "text" in record:
        record["text"] = find.text(record["text"])
    record["id"] = record.get("id") or path_id(audio, root, record.get("start", 0.0))
    return Utterance.from_record(record | {"audio": audio}, Path())


def span(start: object, end: object) -> tuple[float, float]:
    """Start and duration in seconds of what goes from start to end. Raises ManifestError."""
    first, last = seconds(start, "start"), seconds(end, "end")
    if last <= first:
        raise ManifestError(f"ends at {last:g} s, which is not after its start at {first:g} s")
    return first, round(last - first, 6)


def map_headers(read: Callable[[Item], Result], items: Iterable[Item], failed: Failed) -> Iterator[tuple[Item, Result]]:
    """Every item, in order, with what is read for it, in threads: to read headers means to wait for disks."""

    def attempt(chunk: list[Item]) -> list[tuple[Item, Result | AsrError]]:
        found: list[tuple[Item, Result | AsrError]] = []
        for item in chunk:
            try:
                found.append((item, read(item)))
            except AsrError as error:
                found.append((item, error))
        return found

    remaining = iter(items)
    chunks = iter(lambda: list(islice(remaining, CHUNK)), [])
    for item, result in chain.from_iterable(map_ahead(attempt, chunks, THREADS, ahead=THREADS)):
        if isinstance(result, AsrError):
            failed(result)
        else:
            yield item, result


def build_utterances(
    rows: Iterable[tuple[str, Row]], make: Callable[[Row], Utterance], failed: Failed
) -> Iterator[Utterance]:
    """An utterance of every row, which comes with its place for errors. The header of its audio is read: one of UNKNOWN
    duration goes on to the end, one that ends a little later is cut there, which is logged."""
    header = lru_cache(maxsize=1000)(audio_info)  # one recording may hold many utterances

    def made() -> Iterator[Utterance]:
        for place, row in rows:
            try:
                with error_context(place):
                    utterance = make(row)
            except AsrError as error:
                failed(error)
            else:
                yield utterance

    count, max_s, example = 0, 0.0, ""
    for before, utterance in map_headers(lambda each: _within_audio(each, header(each.audio)), made(), failed):
        if utterance.duration < before.duration:
            count, over_s = count + 1, before.duration - utterance.duration
            max_s, example = max((max_s, example), (over_s, utterance.id))
        yield utterance
    if count:
        logger.info(
            f"cut to the end of the recording: {plural(count, 'utterance')} ended up to {max_s:.2f} s later, {example}"
            " the most"
        )


def _within_audio(utterance: Utterance, info: AudioInfo) -> Utterance:
    """The utterance, ending where its file does if it had no end, or a slightly later one. Raises AudioError for one
    that starts or ends behind the file's end, or has a channel that the file lacks."""
    place, length_s = f"{utterance.audio}: utterance {utterance.id}", info.duration
    if utterance.start >= length_s:
        raise AudioError(
            f"{place} starts at {utterance.start:g} s, but the file ends at {length_s:.3f} s", AudioFault.TOO_SHORT
        )
    if utterance.channel is not None and utterance.channel >= info.channels:
        raise AudioError(f"{place} has channel {utterance.channel}, but the file has {info.channels}, numbered from 0")
    end_s = utterance.start + utterance.duration
    if end_s > length_s + OVERSHOOT_S:
        raise AudioError(f"{place} ends at {end_s:g} s, but the file at {length_s:.3f} s", AudioFault.TOO_SHORT)
    if math.isnan(end_s) or end_s > length_s + ROUNDING_S:
        return replace(utterance, duration=round(length_s - utterance.start, 6))
    return utterance


def require_unique_ids(utterances: Iterable[Utterance], failed: Failed = refuse) -> Iterator[Utterance]:
    """The utterances as they come, without those whose id another had before: results are compared, exported and
    aligned by id, so a number appended in silence would hide a mistake in the corpus. Raises ManifestError at the end
    when there were none."""
    seen: set[str] = set()
    for utterance in utterances:
        if utterance.id in seen:
            problem = f"{utterance.audio}: the id '{utterance.id}' is that of an utterance before it; give it its own"
            failed(ManifestError(problem))
            continue
        seen.add(utterance.id)
        yield utterance
    if not seen:
        raise ManifestError("no utterance could be read; nothing is written")
