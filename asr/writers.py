"""Transcripts and alignments -> text, JSON, and the formats of other programs: CTM, TextGrid, SRT. One function a
format; each returns text without a line break at its end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from asr.decode.align import AlignedToken, Alignment
from asr.decode.results import TimedText
from asr.transcribe import Transcript

SUFFIXES = {"json": ".json", "ctm": ".ctm", "textgrid": ".TextGrid", "srt": ".srt"}


def format_transcript(transcript: Transcript, name: str, form: str) -> str:
    """A line: the text ("txt") or an object ("json"). name: what the recording is called."""
    if form == "txt":
        return transcript.text
    return _json(name, transcript)


def format_alignment(alignment: Alignment, name: str, form: str) -> str:
    """An alignment in one of SUFFIXES' formats; a score is a mean probability, see `AlignedWord`."""
    if form == "ctm":
        return ctm(alignment.words, name)
    if form == "textgrid":
        tokens = [token for word in alignment.words for token in word.tokens]
        return textgrid({"words": alignment.words, "tokens": tokens}, alignment.duration)
    if form == "srt":
        return alignment.to_srt()
    return _json(name, alignment)


def _json(name: str, result: Transcript | Alignment) -> str:
    return json.dumps({"audio": name} | result.to_dict(), ensure_ascii=False)


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
