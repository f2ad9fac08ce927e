"""CTM, TextGrid, SRT and JSON read back by small parsers that follow the formats' own descriptions."""

import itertools
import json
import re

import pytest

from asr.decode.align import AlignedToken as Token
from asr.decode.align import AlignedWord, Alignment, Word
from asr.decode.results import srt, tsv, vtt
from asr.transcribe import Segment, Transcript
from asr.writers import SUFFIXES, ctm, format_result, textgrid

WORDS = [
    Token('"Four",', 0.28, 0.6404, 0.99996),
    Token("one.", 0.6404, 1.0, 0.5),
    Token("na\u00efve", 2.0, 2.5, 0.0),
]


def aligned(words, duration=3.0):
    whole = [AlignedWord(w.text, w.start, w.end, w.score, (w,)) for w in words]
    return Alignment(whole, duration, "digits", ("hm",))


def read_ctm(text):
    rows = [line.split(" ") for line in text.splitlines() if not line.startswith(";;")]
    assert all(len(row) == 6 for row in rows)
    return [(file, channel, float(a), float(b), word, float(c)) for file, channel, a, b, word, c in rows]


def read_textgrid(text):
    """Praat reads strings in doubled quotes, numbers and <flags> in order, and skips all other words."""
    values = [
        match[1].replace('""', '"') if match[1] is not None else float(match[2])
        for match in re.finditer(r'"((?:[^"]|"")*)"|(?<![\w\[])(-?\d+(?:\.\d+)?)(?![\w\]])', text)
    ]
    assert values[:2] == ["ooTextFile", "TextGrid"]
    assert "<exists>" in text
    place = iter(values[2:])
    start, end, tiers = next(place), next(place), {}
    for _ in range(int(next(place))):
        assert next(place) == "IntervalTier"
        name = next(place)
        assert (next(place), next(place)) == (start, end)
        tiers[name] = [(next(place), next(place), next(place)) for _ in range(int(next(place)))]
    assert next(place, None) is None
    return end, tiers


def read_cue(times, line, point):
    found = re.fullmatch(r"(\d\d):(\d\d):(\d\d)P(\d{3}) --> (\d\d):(\d\d):(\d\d)P(\d{3})".replace("P", point), times)
    h, m, s, ms, h2, m2, s2, ms2 = map(int, found.groups())
    return 3600 * h + 60 * m + s + ms / 1000, 3600 * h2 + 60 * m2 + s2 + ms2 / 1000, line


def read_srt(text):
    cues = []
    for number, block in enumerate(text.strip().split("\n\n"), 1):
        count, times, line = block.split("\n")
        assert int(count) == number
        cues.append(read_cue(times, line, ","))
    return cues


def read_vtt(text):
    head, *blocks = text.strip().split("\n\n")
    assert head == "WEBVTT"
    return [read_cue(*block.split("\n"), ".") for block in blocks]


def read_tsv(text):
    head, *rows = text.split("\n")
    assert head == "start\tend\ttext"
    return [(int(start) / 1000, int(end) / 1000, said) for start, end, said in (row.split("\t") for row in rows)]


def test_ctm():
    rows = read_ctm(ctm(WORDS, "tape one"))
    assert rows[0] == ("tape_one", "1", 0.28, 0.36, '"Four",', 1.0)
    assert [row[4] for row in rows] == [word.text for word in WORDS]
    # A word that touches the next one does so after rounding.
    assert rows[0][2] + rows[0][3] == pytest.approx(rows[1][2], abs=1e-9)


@pytest.mark.parametrize("name", [";;comment", "  ", "a\tb\nc"])
def test_ctm_stays_six_columns_for_any_name(name):
    assert len(read_ctm(ctm(WORDS, name))) == 3


def test_textgrid_fills_the_gaps_and_escapes_quotes():
    end, tiers = read_textgrid(format_result(aligned(WORDS), "x", "textgrid"))
    assert end == 3.0
    assert list(tiers) == ["words", "tokens"]
    for intervals in tiers.values():
        assert [text for _, _, text in intervals] == ["", '"Four",', "one.", "", "naïve", ""]
        assert (intervals[0][0], intervals[-1][1]) == (0.0, 3.0)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(intervals))
        assert all(start < stop for start, stop, _ in intervals)


def test_textgrid_without_gaps_and_without_words():
    _, tiers = read_textgrid(textgrid({"a": [Token("x", 0.0, 1 / 3, 1.0), Token("y", 1 / 3, 1.0, 1.0)], "b": []}, 1.0))
    assert tiers == {"a": [(0.0, 0.333333, "x"), (0.333333, 1.0, "y")], "b": [(0.0, 1.0, "")]}


def test_srt_breaks_at_sentences_and_pauses():
    cues = read_srt(srt(WORDS))
    assert cues == [(0.28, 1.0, '"Four", one.'), (2.0, 2.5, "naïve")]
    paused = [Token("a", 0.0, 0.2, 1.0), Token("b", 0.5, 0.6, 1.0), Token("c", 1.5, 1.6, 1.0)]
    assert [text for _, _, text in read_srt(srt(paused))] == ["a b", "c"]


def test_srt_lines_are_short_and_in_order():
    words = [Token("abcdefg"[: 1 + i % 7], 3590 + 0.3 * i, 3590.3 + 0.3 * i, 1.0) for i in range(200)]
    cues = read_srt(srt([*words, Token("long" * 20, 3700.0, 3701.0, 1.0)]))
    assert " ".join(text for _, _, text in cues).split() == [word.text for word in words] + ["long" * 20]
    assert all(len(text) <= 42 for _, _, text in cues[:-1])
    assert all(start < stop <= after for (start, stop, _), (after, _, _) in itertools.pairwise(cues))
    assert cues[-1][0] == 3700.0


def test_vtt_and_tsv_hold_what_srt_does():
    words = [Token(f"w{i}", 3590 + 0.7 * i, 3590.65 + 0.7 * i, 1.0) for i in range(90)]
    assert read_vtt(vtt(words)) == read_srt(srt(words)) == read_tsv(tsv(words))
    assert max(end - start for start, end, _ in read_tsv(tsv(words))) <= 7.0
    special = [Token("a<b&c>", 0.0, 1.0, 1.0)]
    assert read_vtt(vtt(special)) == [(0.0, 1.0, "a&lt;b&amp;c&gt;")]
    assert read_srt(srt(special)) == [(0.0, 1.0, "a<b&c>")]
    assert (srt([]), vtt([]), tsv([])) == ("", "WEBVTT\n", "start\tend\ttext")


def test_a_transcript_has_the_formats_of_an_alignment():
    words = [Word("one", 0.125, 0.5, 0.98765), Word("two", 0.5, 1.0, 0.5)]
    transcript = Transcript("one two", [Segment(0.0, 1.5, "one two", words)], 1.5, "digits")
    assert format_result(transcript, "a", "txt") == format_result(aligned(words[:0]), "a", "txt") + "one two"
    assert read_ctm(format_result(transcript, "a", "ctm"))[0] == ("a", "1", 0.125, 0.375, "one", 0.9877)
    end, tiers = read_textgrid(format_result(transcript, "a", "textgrid"))
    assert (end, list(tiers)) == (1.5, ["words"])
    assert read_vtt(format_result(transcript, "a", "vtt")) == [(0.125, 1.0, "one two")]


def test_json():
    record = json.loads(format_result(aligned(WORDS), "tape", "json"))
    assert (record["audio"], record["duration"], record["model"]) == ("tape", 3.0, "digits")
    assert record["skipped"] == ["hm"]
    token = {"text": '"Four",', "start": 0.28, "end": 0.64, "score": 1.0}
    assert record["words"][0] == {"text": '"Four",', "start": 0.28, "end": 0.64, "score": 1.0, "tokens": [token]}


def test_names_are_the_same_in_python_and_json():
    """Whatever JSON holds can be asked of the result by the same names, but for the digits."""
    words = [Word("one", 0.12345, 0.5, 0.98765), Word("two.", 0.6, 1.0, 0.5)]
    transcript = Transcript("one two.", [Segment(0.0, 1.5, "one two.", words)], 1.5, "digits", ("a note",))
    for result, text in (
        (transcript, format_result(transcript, "a.wav", "json")),
        (aligned(WORDS), format_result(aligned(WORDS), "a.wav", "json")),
    ):
        record = json.loads(text)
        assert record.pop("audio") == "a.wav"
        assert record == json.loads(json.dumps(result.to_dict()))
        same(record, result)
    assert transcript.to_dict()["segments"][0]["words"][0] == {
        "text": "one", "start": 0.123, "end": 0.5, "confidence": 0.9877
    }  # fmt: skip
    assert read_srt(transcript.to_srt()) == [(0.123, 1.0, "one two.")]
    assert aligned(WORDS).to_srt() == format_result(aligned(WORDS), "x", "srt")


def same(record, result):
    for name, value in record.items():
        held = getattr(result, name)
        if isinstance(value, list):
            for part, whole in zip(value, held, strict=True):
                if isinstance(part, dict):
                    same(part, whole)
                else:
                    assert part == whole
        else:
            assert value == (pytest.approx(held, abs=6e-4) if isinstance(held, float) else held)


def test_every_format_is_one_that_can_be_written():
    for form in SUFFIXES:
        assert not format_result(aligned(WORDS), "x", form).endswith("\n\n")
