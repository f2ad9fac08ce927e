"""What results have in common: the same names in Python and in JSON, and subtitles."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MAX_LINE = 42  # characters of a subtitle
MAX_PAUSE_S = 0.7  # a longer pause begins a new subtitle
MAX_SUBTITLE_S = 7.0
DIGITS = {"start": 3, "end": 3, "duration": 3, "confidence": 4, "score": 4}  # after the point, in JSON


@dataclass(frozen=True)
class TimedText:
    """A piece of text; start and end in seconds from the beginning of the recording."""

    text: str
    start: float
    end: float


def as_dict(result: Any) -> dict[str, Any]:
    """A result's fields under their names, with what they hold, seconds in whole milliseconds."""
    return asdict(result, dict_factory=_rounded)


def _rounded(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: round(value, DIGITS[name]) if name in DIGITS else value for name, value in fields}


def srt(words: Sequence[TimedText]) -> str:
    """SubRip subtitles."""
    return "\n".join(f"{number}\n{_cue(line, ',')}\n" for number, line in enumerate(subtitles(words), 1))


def vtt(words: Sequence[TimedText]) -> str:
    """WebVTT subtitles (W3C 2019)."""
    escape = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})
    return "\n".join(["WEBVTT\n", *(f"{_cue(line, '.', escape)}\n" for line in subtitles(words))])


def tsv(words: Sequence[TimedText]) -> str:
    """Subtitles as a table: start and end in milliseconds, text. Its columns are those of other recognizers' tables."""
    rows = [f"{round(1000 * line.start)}\t{round(1000 * line.end)}\t{line.text}" for line in subtitles(words)]
    return "\n".join(["start\tend\ttext", *rows])


def subtitles(words: Sequence[TimedText]) -> Iterator[TimedText]:
    """Words as subtitles of one line each: a new one begins after a pause, after a sentence, when a line is full, and
    when it has stood for MAX_SUBTITLE_S."""
    line: list[TimedText] = []
    for word in words:
        if line and (
            word.start - line[-1].end > MAX_PAUSE_S
            or line[-1].text.rstrip("\"')»”’").endswith((".", "!", "?", "…", "。", "！", "？"))
            or sum(len(other.text) + 1 for other in line) + len(word.text) > MAX_LINE
            or word.end - line[0].start > MAX_SUBTITLE_S
        ):
            yield _joined(line)
            line = []
        line.append(word)
    if line:
        yield _joined(line)


def _joined(words: Sequence[TimedText]) -> TimedText:
    return TimedText(" ".join(word.text for word in words), words[0].start, words[-1].end)


def _cue(line: TimedText, point: str, escape: Mapping[int, str] | None = None) -> str:
    return f"{_clock(line.start, point)} --> {_clock(line.end, point)}\n{line.text.translate(escape or {})}"


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{point}{rest % 1000:03}"
