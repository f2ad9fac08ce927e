"""Transcripts and alignments -> text, JSON, subtitles, and the formats of other programs: CTM, TextGrid. Each function
returns text without a line break at its end."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from asr.decode.align import AlignedToken, Alignment, Word
from asr.decode.results import TimedText, srt, tsv, vtt
from asr.transcribe import Transcript

# Format -> how its files end.
SUFFIXES = {name: f".{name}" for name in ("txt", "json", "srt", "vtt", "tsv", "ctm")} | {"textgrid": ".TextGrid"}
ONE_A_FILE = ("srt", "vtt", "tsv", "textgrid")  # formats in which there is no second recording


def format_result(result: Transcript | Alignment, name: str, form: str) -> str:
    """A transcript or an alignment in one of SUFFIXES' formats. name: what the recording is called."""
    match form:
        case "txt":
            return result.text if isinstance(result, Transcript) else " ".join(word.text for word in result.words)
        case "json":
            return json.dumps({"audio": name} | result.to_dict(), ensure_ascii=False)
        case "ctm":
            return ctm(result.words, name)
        case "textgrid":
            tiers: dict[str, Sequence[TimedText]] = {"words": result.words}
            if isinstance(result, Alignment):
                tiers["tokens"] = [token for word in result.words for token in word.tokens]
            return textgrid(tiers, result.duration)
    return {"srt": srt, "vtt": vtt, "tsv": tsv}[form](result.words)


def ctm(words: Sequence[Word | AlignedToken], name: str, channel: str = "1") -> str:
    """NIST's time-marked conversation: a line a word with file, channel, start, duration, word, and its confidence, for
    words of a given text their score."""
    file = "_".join(name.split()).lstrip(";") or "_"  # two semicolons would begin a comment
    lines = []
    for word in words:
        start, end = round(word.start, 3), round(word.end, 3)
        sure = word.confidence if isinstance(word, Word) else word.score
        lines.append(f"{file} {channel} {start:.3f} {end - start:.3f} {word.text} {sure:.4f}")
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
