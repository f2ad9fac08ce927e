"""The checks that compare utterances: with each other, with the corpus as a whole, with other manifests."""

from __future__ import annotations

import os
import re
import unicodedata
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np

from asr.corpus.check.findings import MAX_EXAMPLES, Finding
from asr.corpus.check.lines import CheckSettings, LineInfo
from asr.data.manifest import Utterance
from asr.text import Oddities

NONE = -1  # stands for no value: no hash of Python's is -1
LEFT_OVER_S = 0.25  # seconds, the shortest words: what a whole file may hold beyond its line's duration
OVERLAP_S = 0.1  # seconds that parts of one file may share: less than a word
# Seconds. Below, no word; above, memory: LibriSpeech's longest has 35.2 s.
DURATION_S = (0.1, 40.0)
# Deviations of log duration, below and above: titles are short on purpose, a long recording among words is a mistake.
DURATION_DEVIATIONS = (float("inf"), 7.0)
# Characters a second. The slowest and fastest speech in any script; one word in a second of silence has 3.
CHARACTERS_PER_S = (0.3, 40.0)
# Deviations of its logarithm, slower and faster. Pauses slow speech down, nothing makes it twice as fast.
PACE_DEVIATIONS = (8.0, 4.5)
MIN_VALUES = 20  # values, below which there is no median to speak of
# Of logarithms: read speech of one kind differs by less, and its stray values are no mistakes.
MIN_DEVIATION = 0.25
# A symbol is rare when it occurs once, or makes up less than this share of the characters and occurs less often than
# this.
RARE_FRACTION, RARE_TIMES = 1e-4, 100
MIN_CHARACTERS = 200  # in fewer, letters that everybody uses occur once
# With more symbols than this (Chinese, Korean) most are rare, and that is fine.
ALPHABET = 300
# A script that holds less than this share of the letters is not the corpus's own.
SCRIPT_FRACTION = 5e-3
# Nor is one of fewer letters than this share, where it is in so few utterances or in less than that share of them.
MINOR_FRACTION, MINOR_UTTERANCES, MINOR_UTTERANCE_FRACTION = 0.25, 2, 0.01
# Times that a sentence may occur in a corpus whose sentences mostly differ: several people read the same list.
MAX_REPEATS = 20


# A hash is NONE where there is nothing, a file's where files are not compared; a channel is NONE for all of them.
# left_s: seconds that a file holds beyond a line that is its beginning.
COLUMNS = np.dtype(
    [(name, np.int64) for name in ("row", "id", "text", "sound", "file", "channel")]
    + [(name, np.float64) for name in ("start", "duration", "pace", "left_s")]
)


class Corpus:
    """What is compared of the lines that are not malformed. lines: an array of COLUMNS, a few bytes an utterance."""

    def __init__(self, infos: Iterable[LineInfo], files: bool) -> None:
        self.symbols: Counter[str] = Counter()
        self.oddities = Oddities()
        self.speakers: Counter[str] = Counter()
        self.rates: Counter[int] = Counter()
        self.layouts: Counter[str] = Counter()
        # Of every script, the rows of the utterances that have it, and the first words: row and word.
        self.scripts: dict[str, tuple[array[int], list[tuple[int, str]]]] = defaultdict(lambda: (array("q"), []))
        self.lines = np.fromiter(
            (self._columns(info, info.utterance, files) for info in infos if info.utterance is not None), COLUMNS
        )

    def _columns(self, info: LineInfo, utterance: Utterance, files: bool) -> tuple[float, ...]:
        """The COLUMNS of a line, which is counted."""
        text, audio, left_s = info.text, info.audio, 0.0
        self.symbols.update(text or "")
        self.oddities.add(utterance.text or "", utterance.lang)
        self._add_scripts(info.row, text or "")
        if utterance.speaker is not None:
            self.speakers[utterance.speaker] += 1
        if audio is not None and audio.sample_rate:
            left_s = 0.0 if utterance.start else audio.file_s - utterance.duration
            self.rates[audio.sample_rate] += 1
            if utterance.channel is None:
                self.layouts["mono" if audio.channels == 1 else f"{audio.channels} channels"] += 1
        return (
            info.row,
            hash(utterance.id) if info.named else NONE,
            hash(text) if text else NONE,
            audio.key if audio is not None and audio.key else NONE,
            hash(_real_path(utterance.audio)) if files else NONE,
            NONE if utterance.channel is None else hash(utterance.channel),  # a hash, however large the number
            utterance.start,
            utterance.duration,
            len(text) / max(utterance.duration, 1e-3) if text else np.nan,
            left_s,
        )

    def _add_scripts(self, row: int, text: str) -> None:
        for script in {_script(symbol) for symbol in set(text)} - {""}:
            rows, words = self.scripts[script]
            rows.append(row)
            if len(words) < MAX_EXAMPLES:
                words.append((row, next(word for word in text.split() if script in map(_script, word))))

    def foreign_scripts(self) -> set[str]:
        """Those that are not the corpus's own: next to nothing is written in them."""
        letters: Counter[str] = Counter()
        for symbol, count in self.symbols.items():
            letters[_script(symbol)] += count
        all_letters = letters.total() - letters.pop("", 0)
        few = max(MINOR_UTTERANCES, MINOR_UTTERANCE_FRACTION * len(self.lines))
        return {
            script
            for script, count in letters.items()
            if count < SCRIPT_FRACTION * all_letters
            or (count < MINOR_FRACTION * all_letters and len(self.scripts[script][0]) <= few)
        }

    def sentences(self) -> np.ndarray:
        """The texts, unless they repeat on purpose, as in a corpus of commands: at least half of them must differ."""
        texts = self.lines["text"]
        known = texts[texts != NONE]
        return texts if 2 * len(np.unique(known)) >= len(known) else np.full(len(texts), NONE)


def compare(corpus: Corpus, others: Corpus, settings: CheckSettings, findings: dict[str, Finding]) -> None:
    """Add to the findings, by name, what is wrong with the utterances taken together, and what they share with others
    that should share nothing."""
    lines, known, sentences = corpus.lines, others.lines, corpus.sentences()
    shared = {
        "audio": _known_to(known["sound"], lines["sound"]) | _overlapping(lines, known),
        "id": _known_to(known["id"], lines["id"]),
        "sentence": _known_to(known["text"], sentences),
    }
    for what, found in shared.items():
        for row in lines["row"][found].tolist():
            findings[f"{what} shared with --against"].add(row)
    _add_repeated(findings["duplicate id"], lines, lines["id"])
    _add_repeated(findings["sentence repeated"], lines, sentences, MAX_REPEATS + 1)
    _add_repeated(findings["duplicate audio"], lines, lines["sound"])
    _add_odd(findings["odd duration"], lines, "duration", "s", DURATION_S, DURATION_DEVIATIONS)
    _add_odd(findings["odd pace"], lines, "pace", "characters/s", CHARACTERS_PER_S, PACE_DEVIATIONS)
    _add_cut_short(findings["audio longer than its line says"], lines)
    foreign = corpus.foreign_scripts()
    for script in sorted(foreign):
        rows, words = corpus.scripts[script]
        findings["word in another script"].rows.extend(rows)
        for row, word in words:
            findings["word in another script"].show(row, f"{word}: {script.lower()}", 0)
    rates = [(f"{rate} Hz", count) for rate, count in corpus.rates.most_common()]
    counts = {
        "speaker shared with --against": [pair for pair in corpus.speakers.most_common() if pair[0] in others.speakers],
        "digits in text": [pair for pair in corpus.symbols.most_common() if re.match(r"\d", pair[0])],
        "rare symbol": _rare_symbols(corpus.symbols, settings.config.text.tokens, foreign),
        **{name: found.most_common() for name, found in corpus.oddities.found(settings.config.text.normalizer).items()},
        "sample rates differ": rates if len(rates) > 1 else [],
        "several channels": corpus.layouts.most_common() if set(corpus.layouts) - {"mono"} else [],
    }
    for name, things in counts.items():  # the worst first
        for place, (thing, count) in enumerate(things):
            findings[name].show(thing, f"× {count:,}", -place)


def _add_repeated(finding: Finding, lines: np.ndarray, keys: np.ndarray, min_count: int = 2) -> None:
    """Utterances with a key that stood before, and is there at least `min_count` times; examples are the first."""
    rows, keys = lines["row"][keys != NONE], keys[keys != NONE]
    _, first, group, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
    later = counts[group] >= min_count
    later[first] = False
    finding.rows.extend(rows[later].tolist())
    for i in np.lexsort((first, -counts)).tolist()[:MAX_EXAMPLES]:
        if counts[i] >= min_count:
            finding.show(int(rows[first[i]]), f"× {counts[i]:,}", counts[i])


def _add_odd(
    finding: Finding,
    lines: np.ndarray,
    column: str,
    unit: str,
    bounds: tuple[float, float],
    deviations: tuple[float, float],
) -> None:
    """Utterances with positive values beyond absolute bounds, or beyond so many deviations below and above the median
    (1.4826 × the median absolute deviation, of logarithms). NaN is no value."""
    logs = np.log(np.maximum(lines[column], 1e-9))
    known = logs[~np.isnan(logs)]
    middle = float(np.median(known)) if len(known) else 0.0
    low, high = np.log(bounds)
    if len(known) >= MIN_VALUES:
        deviation = max(1.4826 * float(np.median(np.abs(known - middle))), MIN_DEVIATION)
        low = max(low, middle - deviations[0] * deviation)
        high = min(high, middle + deviations[1] * deviation)
    for i in np.flatnonzero((logs < low) | (logs > high)).tolist():
        finding.add(int(lines["row"][i]), f"{lines[column][i]:.3g} {unit}", abs(logs[i] - middle))


def _add_cut_short(finding: Finding, lines: np.ndarray) -> None:
    """Whole files of which a line takes only the beginning, and no other line the rest."""
    _, group, counts = np.unique(lines["file"], return_inverse=True, return_counts=True)
    for line in lines[(counts[group] == 1) & (lines["left_s"] > LEFT_OVER_S)]:
        finding.add(int(line["row"]), f"{line['left_s']:.2f} s left over", line["left_s"])


def _real_path(path: Path) -> str:
    """Links followed."""
    try:
        return os.path.realpath(path)
    except ValueError:  # no path can be like this
        return str(path)


def _known_to(others: np.ndarray, keys: np.ndarray) -> np.ndarray:
    """(keys,) bool: which of them the others have."""
    return (keys != NONE) & np.isin(keys, others)


def _overlapping(lines: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(lines,) bool: whether more than OVERLAP_S of each utterance, or of a short one half, is part of others' files
    too."""
    others = others[np.argsort(others["file"], kind="stable")]
    found = _known_to(others["file"], lines["file"])
    for i in np.flatnonzero(found).tolist():
        line = lines[i]
        same = others[slice(*(np.searchsorted(others["file"], line["file"], side=side) for side in ("left", "right")))]
        ends = np.minimum(line["start"] + line["duration"], same["start"] + same["duration"])
        common_s = ends - np.maximum(line["start"], same["start"])
        heard = (line["channel"] == NONE) | (same["channel"] == NONE) | (same["channel"] == line["channel"])
        found[i] = (heard & (common_s > min(OVERLAP_S, line["duration"] / 2))).any()
    return found


def _rare_symbols(counts: Counter[str], kind: str, foreign: set[str]) -> list[tuple[str, int]]:
    """Characters too rare to be learned, without letters of foreign scripts."""
    if kind == "words" or len(counts) > ALPHABET or counts.total() < MIN_CHARACTERS:
        return []
    enough = max(2.0, min(RARE_FRACTION * counts.total(), RARE_TIMES))
    found = {
        f"{symbol!r} {unicodedata.name(symbol, '')}": count
        for symbol, count in counts.items()
        if count < enough and not symbol.isdigit() and _script(symbol) not in foreign
    }
    return Counter(found).most_common()[::-1]


@cache
def _script(symbol: str) -> str:
    """LATIN, CYRILLIC, CJK …: the first word of a letter's name in Unicode; "" for what is no letter. Japanese writes
    in three scripts at once: they are one."""
    first = re.split(r"[ -]", unicodedata.name(symbol, "UNNAMED"))[0] if symbol.isalpha() else ""
    return "CJK" if first in ("IDEOGRAPHIC", "HIRAGANA", "KATAKANA") else first
