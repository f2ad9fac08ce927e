"""What results have in common: the same names in Python and in JSON, and subtitles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

MAX_LINE = 42  # characters of a subtitle
MAX_PAUSE_S = 0.7  # a longer pause begins a new subtitle
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
    """SubRip subtitles of one line each: a new one begins after a pause, after a sentence, and when a line is full."""
    cues = []
    for number, line in enumerate(_lines(words), 1):
        times = f"{_clock(line[0].start)} --> {_clock(line[-1].end)}"
        cues.append(f"{number}\n{times}\n{' '.join(word.text for word in line)}\n")
    return "\n".join(cues)


def _lines(words: Sequence[TimedText]) -> Iterator[list[TimedText]]:
    line: list[TimedText] = []
    for word in words:
        if line and (
            word.start - line[-1].end > MAX_PAUSE_S
            or line[-1].text.rstrip("\"')»”’").endswith((".", "!", "?", "…", "。", "！", "？"))
            or sum(len(other.text) + 1 for other in line) + len(word.text) > MAX_LINE
        ):
            yield line
            line = []
        line.append(word)
    if line:
        yield line


def _clock(seconds: float) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02},{rest % 1000:03}"
