"""Manifests: JSON Lines, one utterance a line. Lines stay on disk; offsets and durations are arrays in memory."""

from __future__ import annotations

import json
import os
import unicodedata
from array import array
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np

from asr.errors import ManifestError
from asr.util.files import require_file, written


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
    other: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.speaker is not None:
            object.__setattr__(self, "speaker", speaker_name(self.speaker))

    def to_json(self, folder: Path) -> dict[str, Any]:
        """The line's object; audio below the manifest's folder is written relative to it."""
        audio, home = Path(os.path.abspath(self.audio)), os.path.abspath(folder)  # a link keeps the name it has here
        written = audio.relative_to(home) if audio.is_relative_to(home) else audio
        line: dict[str, Any] = {"id": self.id, "audio": written.as_posix(), "duration": round(self.duration, 6)}
        if self.start:
            line["start"] = round(self.start, 6)
        for key in ("channel", "text", "speaker", "lang"):
            if getattr(self, key) is not None:
                line[key] = getattr(self, key)
        return line | self.other


def read_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any] | ManifestError]]:
    """Every line that is not blank, with its number from 1: its checked keys and values, or what is wrong with it.

    NeMo's names of keys have become this project's. Raises ManifestError for a file that cannot be read.
    """
    for number, _, line in numbered_lines(Path(path)):
        try:
            yield number, _parse(line, f"{path}, line {number}")
        except ManifestError as error:
            yield number, error


class Manifest:
    """Random access to a manifest's utterances: `manifest[i]`, `len(manifest)`, `manifest.durations` (seconds).

    Reading the file checks every line: an object with audio, a duration, and values of the right kinds. Raises
    ManifestError naming the line. `visit(row, line)` sees each line's keys and values then, and need not read again.
    A line without id gets one, see `line_id`.
    """

    def __init__(self, path: str | Path, visit: Callable[[int, dict[str, Any]], None] | None = None) -> None:
        self.path = Path(path)
        offsets, durations = array("q"), array("d")
        for number, offset, line in numbered_lines(self.path):
            parsed = _parse(line, f"{self.path}, line {number}")
            if visit is not None:
                visit(len(offsets), parsed)
            offsets.append(offset)
            durations.append(parsed["duration"])
        self._offsets = np.frombuffer(offsets, dtype=np.int64) if offsets else np.empty(0, np.int64)
        self.durations = np.frombuffer(durations, dtype=np.float64) if durations else np.empty(0)

    def __len__(self) -> int:
        return len(self._offsets)

    def __getitem__(self, index: int) -> Utterance:
        with self.path.open("rb") as file:
            file.seek(self._offsets[index])
            return self._utterance(file.readline())

    def __iter__(self) -> Iterator[Utterance]:
        with self.path.open("rb") as file:
            for offset in self._offsets:
                file.seek(offset)
                yield self._utterance(file.readline())

    def _utterance(self, line: bytes) -> Utterance:
        raw = _parse(line, f"{self.path}, changed since it was first read")
        raw["id"] = line_id(raw)
        audio = Path(raw.pop("audio"))
        return Utterance(
            id=raw.pop("id"),
            audio=audio if audio.is_absolute() else self.path.parent / audio,
            duration=float(raw.pop("duration")),
            text=raw.pop("text", None),
            speaker=_optional_str(raw.pop("speaker", None)),
            start=float(raw.pop("start", 0.0)),
            channel=raw.pop("channel", None),
            lang=raw.pop("lang", None),
            other=raw,
        )


def line_id(line: dict[str, Any]) -> str:
    """A line's id; where it has none, one made of its audio's path as it stands there, and its start."""
    return str(line["id"]) if "id" in line else default_id(line["audio"], line.get("start", 0.0))


def default_id(audio: str, start: float = 0.0) -> str:
    """wav/a.flac -> wav-a: a path without extension, `-` for separators; with the start in milliseconds where that is
    not the file's beginning, wav-a-0001500."""
    path = PurePath(os.path.splitext(audio)[0])
    name = "-".join(path.relative_to(path.anchor).parts)
    return name if not start else f"{name}-{round(1000 * start):07d}"


def write_manifest(path: Path, utterances: Iterable[Utterance]) -> int:
    """Write utterances, whole or not at all. Returns how many."""
    count = 0
    with written(path) as file:
        for utterance in utterances:
            file.write(_line(utterance, path.parent))
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
                files[part] = stack.enter_context(written(folder / f"{part}.jsonl"))
            files[part].write(_line(utterance, folder))
            count, seconds = found.get(part, (0, 0.0))
            found[part] = count + 1, seconds + utterance.duration
        for file in files.values():  # a full disk is noticed before the first has its name
            file.flush()
    return found


def numbered_lines(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """Number from 1, offset in bytes and content of every line that is not blank."""
    offset = 0
    require_file(path, ManifestError)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.isspace():
                    yield number, offset, line
                offset += len(line)
    except (OSError, ValueError) as error:  # ValueError: no path can be like this
        raise ManifestError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _line(utterance: Utterance, folder: Path) -> bytes:
    line = utterance.to_json(folder)
    try:
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:  # a file name that is not UTF-8: escaped, it finds its file again
        return json.dumps(line).encode() + b"\n"


def speaker_name(name: str) -> str:
    """One spelling of a name for all that look the same: `é` may be one character or two, white space is none."""
    return unicodedata.normalize("NFC", name).strip()


def _optional_str(value: Any) -> str | None:
    return None if value is None else str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_seconds(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1e9  # thirty years: beyond is NaN, infinity or a mistake


def _is_name(value: Any) -> bool:
    return isinstance(value, str) or _is_number(value)


# What a key must hold when it is there, and how to say so.
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "audio": (lambda v: isinstance(v, str) and bool(v) and "\0" not in v, "the path of an audio file"),
    "duration": (_is_seconds, "seconds"),
    "start": (_is_seconds, "seconds"),
    "id": (_is_name, "a string or a number"),
    "speaker": (_is_name, "a string or a number"),
    "text": (lambda v: isinstance(v, str), "a string"),
    "channel": (lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= 0, "a channel number from 0"),
    "lang": (lambda v: isinstance(v, str), "a string"),
}


def _parse(line: bytes, place: str) -> dict[str, Any]:
    """A line as a dictionary with this project's names for keys, checked; `place` is what errors call it."""
    try:
        raw = json.loads(line.rstrip())
    except json.JSONDecodeError as error:
        raise ManifestError(f"{place}: not JSON ({error.msg.lower()}, column {error.colno})") from None
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"{place}: not JSON ({error})") from None
    if not isinstance(raw, dict):
        raise ManifestError(f"{place}: not a JSON object")
    for ours, nemo in (("audio", "audio_filepath"), ("start", "offset")):
        alias = raw.pop(nemo, None)
        if raw.get(ours) is None:
            raw[ours] = alias
    raw = {key: value for key, value in raw.items() if value is not None or key not in _RULES}
    for key in ("audio", "duration"):
        if key not in raw:
            raise ManifestError(f"{place}: no '{key}'")
    for key, (holds, meaning) in _RULES.items():
        if key in raw and not holds(raw[key]):
            raise ManifestError(f"{place}: {key} is {raw[key]!r}, not {meaning}")
    if isinstance(raw.get("speaker"), str):
        raw["speaker"] = speaker_name(raw["speaker"])
    return raw
