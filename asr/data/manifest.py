"""Manifests: JSON Lines, one utterance a line. Lines stay on disk; offsets and durations are arrays in memory."""

from __future__ import annotations

import json
import math
import os
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from asr.errors import ManifestError
from asr.util.files import atomic_write, require_file

UNKNOWN = math.nan  # a duration that has to be read from the audio
MAX_SECONDS = 1e9  # thirty years: what is beyond is NaN, infinity or a mistake
Record = dict[str, Any]  # a line's keys and values


@dataclass(frozen=True)
class Utterance:
    """A manifest line. start and duration are in seconds within `audio`; other: the keys this class does not name.

    A speaker's name is spelled as `speaker_name` does.
    """

    id: str
    audio: Path
    duration: float
    text: str | None = None
    speaker: str | None = None
    start: float = 0.0
    channel: int | None = None
    lang: str | None = None
    other: Record = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.speaker is not None:
            object.__setattr__(self, "speaker", speaker_name(self.speaker))

    @classmethod
    def from_record(cls, record: Record, folder: Path) -> Utterance:
        """The utterance of a record that `check_record` accepts; its audio, unless absolute, lies below the folder."""
        return cls(
            id=record_id(record),
            audio=folder / record["audio"],
            duration=float(record.get("duration", UNKNOWN)),
            text=record.get("text"),
            speaker=str(record["speaker"]) if "speaker" in record else None,
            start=float(record.get("start", 0.0)),
            channel=record.get("channel"),
            lang=record.get("lang"),
            other={key: value for key, value in record.items() if key not in RULES},
        )

    def to_record(self, folder: Path) -> Record:
        """What is written to a manifest in the folder; the path of audio below that folder is relative to it."""
        audio, home = Path(os.path.abspath(self.audio)), os.path.abspath(folder)  # a link keeps the name it has here
        inside = audio.relative_to(home) if audio.is_relative_to(home) else audio
        record: Record = {"id": self.id, "audio": inside.as_posix(), "duration": round(self.duration, 6)}
        if self.start:
            record["start"] = round(self.start, 6)
        for key in ("channel", "text", "speaker", "lang"):
            if getattr(self, key) is not None:
                record[key] = getattr(self, key)
        return record | self.other


class ManifestLine(NamedTuple):
    """A line as it stands in a file. number: from 1; offset: bytes before it."""

    path: Path
    number: int
    offset: int
    content: bytes

    @property
    def place(self) -> str:
        return f"{self.path}, line {self.number}"

    def parse(self) -> Record:
        """Its checked keys and values. Raises ManifestError naming the line."""
        try:
            return parse_record(self.content)
        except ManifestError as error:
            raise ManifestError(f"{self.place}: {error}") from None


def is_manifest(path: str) -> bool:
    """Whether a file is a manifest, or the like of other toolkits: by its name, or as it begins as JSON does."""
    if path.lower().removesuffix(".gz").endswith((".jsonl", ".ndjson", ".json")):
        return True
    try:
        require_file(path, ManifestError)
        with open(path, "rb") as file:
            return file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()[:2] in (b'{"', b"[{")
    except (OSError, ValueError, ManifestError):  # ValueError: no path can be like this
        return False


def read_lines(path: str | Path) -> Iterator[ManifestLine]:
    """Every line that is not blank, not parsed yet. Raises ManifestError for a file that cannot be read."""
    path, offset = Path(path), 0
    require_file(path, ManifestError)
    try:
        with path.open("rb") as file:
            for number, content in enumerate(file, 1):
                if content.startswith(b"\x1f\x8b") and number == 1:
                    raise ManifestError(f"{path}: is gzipped; {CONVERT}")
                if not content.isspace():
                    yield ManifestLine(path, number, offset, content)
                offset += len(content)
    except (OSError, ValueError) as error:  # ValueError: no path can be like this
        raise ManifestError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


class Manifest:
    """Random access to a manifest's utterances: `manifest[i]`, `len(manifest)`, `manifest.durations` (seconds).

    Reading the file checks every line: an object with audio, a duration, and values of the right kinds. Raises
    ManifestError naming the line. Meanwhile `visit(row, record)` is called with each line's keys and values, which
    saves a second pass. A line without id gets one, see `record_id`.
    """

    def __init__(self, path: str | Path, visit: Callable[[int, Record], None] | None = None) -> None:
        self.path = Path(path)
        offsets, durations = array("q"), array("d")
        for row, line in enumerate(read_lines(self.path)):
            record = line.parse()
            if visit is not None:
                visit(row, record)
            offsets.append(line.offset)
            durations.append(record["duration"])
        self._offsets, self.durations = np.array(offsets), np.array(durations)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Utterance:
        with self.path.open("rb") as file:
            file.seek(self._offsets[index])
            try:
                record = parse_record(file.readline())
            except ManifestError as error:
                raise ManifestError(f"{self.path}, changed since it was first read: {error}") from None
        return Utterance.from_record(record, self.path.parent)

    def __iter__(self) -> Iterator[Utterance]:
        return (Utterance.from_record(line.parse(), self.path.parent) for line in read_lines(self.path))


def record_id(record: Record) -> str:
    """A line's id; where it has none, one made of its audio's path as it stands there, and its start."""
    return str(record["id"]) if "id" in record else default_id(record["audio"], record.get("start", 0.0))


def default_id(audio: str, start: float = 0.0) -> str:
    """wav/a.flac -> wav-a: a path without extension, `-` for separators; with the start in milliseconds where that is
    not the file's beginning, wav-a-0001500."""
    path = PurePath(os.path.splitext(audio)[0])
    name = "-".join(path.relative_to(path.anchor).parts)
    return name if not start else f"{name}-{round(1000 * start):07d}"


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> int:
    """Write utterances, whole or not at all. Returns how many."""
    count = 0
    with atomic_write(path) as file:
        for utterance in utterances:
            file.write(encode_record(utterance.to_record(path.parent)))
            count += 1
    return count


def write_manifests(folder: Path, utterances: Iterable[tuple[str, Utterance]]) -> dict[str, tuple[int, float]]:
    """Write (part, utterance) to `folder/PART.jsonl`, all parts or none. Returns how many utterances and seconds each
    part has."""
    found: dict[str, tuple[int, float]] = {}
    files: dict[str, BinaryIO] = {}
    with ExitStack() as stack:
        for part, utterance in utterances:
            if part not in files:
                files[part] = stack.enter_context(atomic_write(folder / f"{part}.jsonl"))
            files[part].write(encode_record(utterance.to_record(folder)))
            count, seconds = found.get(part, (0, 0.0))
            found[part] = count + 1, seconds + utterance.duration
        for file in files.values():  # a full disk is noticed before any file gets its final name
            file.flush()
    return found


def speaker_name(name: str) -> str:
    """Names that look the same become equal: `é` may be one character or two; white space around is removed."""
    return unicodedata.normalize("NFC", name).strip()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= MAX_SECONDS


def _is_name(value: Any) -> bool:
    return isinstance(value, str) or _is_number(value)


# What a key must hold when it is there, and how to say so.
RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "audio": (lambda v: isinstance(v, str) and bool(v) and "\0" not in v, "the path of an audio file"),
    "duration": (_is_seconds, "seconds"),
    "start": (_is_seconds, "seconds"),
    "id": (_is_name, "a string or a number"),
    "speaker": (_is_name, "a string or a number"),
    "text": (lambda v: isinstance(v, str), "a string"),
    "channel": (lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0, "a channel number from 0"),
    "lang": (lambda v: isinstance(v, str), "a string"),
}
CONVERT = "'asr data import FILE --output NEW.jsonl' makes a manifest of what other toolkits write"
NEMO_KEYS = {"audio": "audio_filepath", "start": "offset"}  # ours -> NeMo's


def parse_record(content: bytes) -> Record:
    """A line as a record with this project's names for keys, checked. Raises ManifestError without a place."""
    try:
        record = json.loads(content.rstrip())
    except json.JSONDecodeError as error:
        whole = f"; {CONVERT}" if content.strip() == b"[" else ""  # of a file that is one array
        raise ManifestError(f"not JSON ({error.msg.lower()}, column {error.colno}){whole}") from None
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"not JSON ({error})") from None
    if not isinstance(record, dict):
        raise ManifestError(f"not a JSON object; {CONVERT}")
    record = with_own_keys(record)
    for key in ("audio", "duration"):
        if key not in record:
            raise ManifestError(f"no '{key}'; {CONVERT}")
    check_record(record)
    return record


def with_own_keys(record: Record) -> Record:
    """The record with this project's names in place of NeMo's, and without those of its keys that hold null."""
    for ours, nemo in NEMO_KEYS.items():
        alias = record.pop(nemo, None)
        if record.get(ours) is None:
            record[ours] = alias
    return {key: value for key, value in record.items() if value is not None or key not in RULES}


def check_record(record: Record) -> None:
    """Raise ManifestError for a value that is not of its key's kind. Spells the speaker as `speaker_name` does."""
    for key, (holds, meaning) in RULES.items():
        if key in record and not holds(record[key]):
            raise ManifestError(f"{key} is {record[key]!r}, not {meaning}")
    if isinstance(record.get("speaker"), str):
        record["speaker"] = speaker_name(record["speaker"])


def encode_record(record: Record) -> bytes:
    """A line of a manifest, in UTF-8. File names may hold bytes that are not UTF-8: these become JSON escapes."""
    return json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
