"""Transcripts and alignments -> text, JSON, and the formats of other programs: CTM, TextGrid, SRT. One function a
format; each returns text without a line break at its end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from asr.decode.align import AlignedToken, Alignment, TimedText, Word
from asr.transcribe import Segment, Transcript

SUFFIXES = {"json": ".json", "ctm": ".ctm", "textgrid": ".TextGrid", "srt": ".srt"}

MAX_LINE = 42  # characters of a subtitle
MAX_PAUSE_S = 0.7  # a longer pause begins a new subtitle


def format_transcript(transcript: Transcript, name: str, form: str) -> str:
    """A line: the text ("txt") or an object ("json"). name: what the recording is called."""
    if form == "txt":
        return transcript.text
    segments = [
        _times(each) | {"text": each.text, "words": [_word(word) for word in each.words]}
        for each in transcript.segments
    ]
    return _json(name, transcript, text=transcript.text, segments=segments)


def format_alignment(alignment: Alignment, name: str, form: str) -> str:
    """An alignment in one of SUFFIXES' formats; a score is a mean probability, see `AlignedWord`."""
    if form == "ctm":
        return ctm(alignment.words, name)
    if form == "textgrid":
        tokens = [token for word in alignment.words for token in word.tokens]
        return textgrid({"words": alignment.words, "tokens": tokens}, alignment.duration)
    if form == "srt":
        return srt(alignment.words)
    words = [
        {
            "word": word.text,
            **_scored(word),
            "tokens": [{"token": token.text, **_scored(token)} for token in word.tokens],
        }
        for word in alignment.words
    ]
    return _json(name, alignment, words=words, skipped=alignment.skipped)


def _json(name: str, result: Transcript | Alignment, **rest: object) -> str:
    head = {"audio": name, "duration": round(result.duration, 3), "model": result.model}
    return json.dumps(head | rest, ensure_ascii=False)


def _times(part: TimedText | Segment) -> dict[str, object]:
    return {"start": round(part.start, 3), "end": round(part.end, 3)}


def _word(word: Word) -> dict[str, object]:
    return {"word": word.text, **_times(word), "confidence": round(word.confidence, 4)}


def _scored(part: AlignedToken) -> dict[str, object]:
    return {**_times(part), "score": round(part.score, 4)}


def ctm(words: Sequence[AlignedToken], name: str, channel: str = "1") -> str:
    """NIST's time-marked conversation: a line a word with file, channel, start, duration, word, and a score as
    its confidence."""
    file = "_".join(name.split()).lstrip(";") or "_"  # two semicolons would begin a comment
    lines = []
    for word in words:
        start, end = round(word.start, 3), round(word.end, 3)
        lines.append(f"{file} {channel} {start:.3f} {end - start:.3f} {word.text} {word.score:.4f}")
    return "\n".join(lines)


def textgrid(tiers: Mapping[str, Sequence[TimedText]], duration: float) -> str:
    """Praat's TextGrid, long form: an interval tier for each name; gaps between words are empty intervals."""
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', ""]
    lines += ["xmin = 0", f"xmax = {_seconds(duration)}", "tiers? <exists>", f"size = {len(tiers)}", "item []:"]
    for number, (name, words) in enumerate(tiers.items(), 1):
        intervals = list(_intervals(words, duration))
        lines += [f"    item [{number}]:", '        class = "IntervalTier"', f"        name = {_quoted(name)}"]
        lines += ["        xmin = 0", f"        xmax = {_seconds(duration)}"]
        lines.append(f"        intervals: size = {len(intervals)}")
        for place, (start, end, text) in enumerate(intervals, 1):
            lines += [f"        intervals [{place}]:", f"            xmin = {start}", f"            xmax = {end}"]
            lines.append(f"            text = {_quoted(text)}")
    return "\n".join(lines)


def _intervals(words: Sequence[TimedText], duration: float) -> Iterator[tuple[str, str, str]]:
    """Words and the gaps between them, without overlap, from 0 to the end."""
    at = _seconds(0.0)
    for word in words:
        start, end = _seconds(word.start), _seconds(word.end)
        if start != at:
            yield at, start, ""
        yield start, end, word.text
        at = end
    if at != _seconds(duration):
        yield at, _seconds(duration), ""


def _seconds(value: float) -> str:
    return f"{value:.6f}"


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


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
