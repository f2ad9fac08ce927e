"""The checks that compare utterances: with each other, with the corpus as a whole, with other manifests."""

from __future__ import annotations

import os
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from asr.corpus.check.lines import CheckSettings, LineInfo
from asr.corpus.check.rules import ERROR, MAX_EXAMPLES, WARNING, Finding
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
# A symbol is rare when it makes up less than this share of the characters and occurs less often than this.
RARE_FRACTION, RARE_TIMES = 1e-4, 100
# With more symbols than this (Chinese, Korean) most are rare, and that is fine.
ALPHABET = 300
# A script that holds less than this share of the letters is not the corpus's own.
SCRIPT_FRACTION = 5e-3
# Times that a sentence may occur in a corpus whose sentences mostly differ: several people read the same list.
MAX_REPEATS = 20


class Corpus:
    """What is compared of the lines that are not malformed: arrays, of 8 bytes an utterance, and counts.

    ids, texts, sounds, files: hashes, NONE where there is none; files only where they are compared; channels: NONE for
    all; left_s: seconds that a file holds beyond a line that is its beginning.
    """

    def __init__(self, files: bool) -> None:
        self.compare_files = files
        self.rows, self.ids, self.texts, self.sounds = array("q"), array("q"), array("q"), array("q")
        self.files, self.channels = array("q"), array("q")
        self.starts, self.durations, self.paces, self.left_s = array("d"), array("d"), array("d"), array("d")
        self.symbols: Counter[str] = Counter()
        self.oddities = Oddities()
        self.speakers: Counter[str] = Counter()
        self.rates: Counter[int] = Counter()
        self.layouts: Counter[str] = Counter()

    def add(self, info: LineInfo) -> None:
        """Take in a line, unless it is malformed."""
        utterance, text, audio = info.utterance, info.text, info.audio
        if utterance is None:
            return
        self.rows.append(info.row)
        self.ids.append(hash(utterance.id) if info.named else NONE)
        self.texts.append(hash(text) if text else NONE)
        self.files.append(hash(_real_path(utterance.audio)) if self.compare_files else NONE)
        # A hash, however large the number.
        self.channels.append(NONE if utterance.channel is None else hash(utterance.channel))
        self.starts.append(utterance.start)
        self.durations.append(utterance.duration)
        self.paces.append(len(text) / max(utterance.duration, 1e-3) if text else np.nan)
        self.symbols.update(text or "")
        self.oddities.add(utterance.text or "", utterance.lang)
        if utterance.speaker is not None:
            self.speakers[utterance.speaker] += 1
        self.sounds.append(audio.key if audio is not None and audio.key else NONE)
        if audio is None or audio.fault is not None:
            self.left_s.append(0.0)
            return
        self.left_s.append(0.0 if utterance.start else audio.file_s - utterance.duration)
        self.rates[audio.sample_rate] += 1
        if utterance.channel is None:
            self.layouts["mono" if audio.channels == 1 else f"{audio.channels} channels"] += 1

    @property
    def sentences(self) -> array[int]:
        """The texts, unless they repeat on purpose, as in a corpus of commands: at least half of them must differ."""
        known = np.array(self.texts)[np.array(self.texts) != NONE]
        return self.texts if 2 * len(np.unique(known)) >= len(known) else array("q", [NONE]) * len(self.texts)


def compare(corpus: Corpus, others: Corpus, settings: CheckSettings) -> Iterator[Finding]:
    """What is found of the utterances taken together, and of what they share with others that should share nothing.
    Findings may be empty."""
    against = "shared with --against"
    yield _repeated(Finding("duplicate id", ERROR, "give each utterance an id of its own"), corpus, corpus.ids)
    same_audio = _known_to(others.sounds, corpus.sounds) | _overlapping(corpus, others)
    yield _shared(Finding(f"audio {against}", ERROR, "remove it from one: the test is not honest"), corpus, same_audio)
    finding = Finding(f"id {against}", ERROR, "remove it from one, or rename it if it is another")
    yield _shared(finding, corpus, _known_to(others.ids, corpus.ids))
    yield _counted(
        Finding(
            f"speaker {against}",
            WARNING,
            "keep speakers apart: the test should be about new voices",
            "speaker",
        ),
        ((name, count) for name, count in corpus.speakers.most_common() if name in others.speakers),
    )
    finding = Finding(f"sentence {against}", WARNING, "the model may have memorized it")
    yield _shared(finding, corpus, _known_to(others.texts, corpus.sentences))
    yield _counted(
        Finding("digits in text", WARNING, "spell numbers out as they are spoken", "digit"),
        ((symbol, count) for symbol, count in corpus.symbols.most_common() if re.match(r"\d", symbol)),
    )
    yield _counted(
        Finding("rare symbol", WARNING, "correct or replace it: a model cannot learn it", "symbol"),
        _rare_symbols(corpus.symbols, settings.kind),
    )
    for name, remedy, unit, counts in corpus.oddities.found(settings.normalizer):
        yield _counted(Finding(name, WARNING, remedy, unit), counts.most_common())
    finding = Finding("odd duration", WARNING, "split it, or correct the line")
    yield _odd(finding, corpus, corpus.durations, "s", DURATION_S, DURATION_DEVIATIONS)
    finding = Finding("odd pace", WARNING, "listen: does it say its text?")
    yield _odd(finding, corpus, corpus.paces, "characters/s", CHARACTERS_PER_S, PACE_DEVIATIONS)
    finding = Finding("sentence repeated", WARNING, "keep fewer of them")
    yield _repeated(finding, corpus, corpus.sentences, MAX_REPEATS + 1)
    finding = Finding("duplicate audio", WARNING, "keep one of each: sometimes their texts differ")
    yield _repeated(finding, corpus, corpus.sounds)
    yield _cut_short(
        Finding("audio longer than its line says", WARNING, "correct duration: words may be cut off"), corpus
    )
    yield _counted(
        Finding("sample rates differ", WARNING, "all are converted; is any mislabeled?", "rate"),
        ((f"{rate} Hz", count) for rate, count in corpus.rates.most_common() if len(corpus.rates) > 1),
    )
    yield _counted(
        Finding("several channels", WARNING, "they are averaged, unless the line names a channel", "layout"),
        corpus.layouts.most_common() if set(corpus.layouts) - {"mono"} else (),
    )


def _repeated(finding: Finding, corpus: Corpus, keys: array[int], min_count: int = 2) -> Finding:
    """Utterances with a key that stood before, and is there at least `min_count` times; examples are the first."""
    known = np.flatnonzero(np.array(keys) != NONE)
    _, first, group, counts = np.unique(
        np.array(keys)[known], return_index=True, return_inverse=True, return_counts=True
    )
    later = counts[group] >= min_count
    later[first] = False
    rows = np.array(corpus.rows)[known]
    finding.rows.extend(rows[later].tolist())
    for i in np.lexsort((first, -counts)).tolist()[:MAX_EXAMPLES]:
        if counts[i] >= min_count:
            finding.show(int(rows[first[i]]), f"× {counts[i]:,}", counts[i])
    return finding


def _shared(finding: Finding, corpus: Corpus, found: np.ndarray) -> Finding:
    """found: (utterances,) bool."""
    for row in np.array(corpus.rows)[found].tolist():
        finding.add(row)
    return finding


def _counted(finding: Finding, things: Iterable[tuple[str, int]]) -> Finding:
    """Symbols, rates … and how often they occur, the worst first."""
    for place, (thing, count) in enumerate(things):
        finding.show(thing, f"× {count:,}", -place)
    return finding


def _odd(
    finding: Finding,
    corpus: Corpus,
    values: array[float],
    unit: str,
    bounds: tuple[float, float],
    deviations: tuple[float, float],
) -> Finding:
    """Utterances with positive values beyond absolute bounds, or beyond so many deviations below and above the median
    (1.4826 × the median absolute deviation, of logarithms). NaN is no value."""
    logs = np.log(np.maximum(np.array(values), 1e-9))
    known = logs[~np.isnan(logs)]
    middle = float(np.median(known)) if len(known) else 0.0
    low, high = np.log(bounds)
    if len(known) >= MIN_VALUES:
        deviation = max(1.4826 * float(np.median(np.abs(known - middle))), MIN_DEVIATION)
        low = max(low, middle - deviations[0] * deviation)
        high = min(high, middle + deviations[1] * deviation)
    for i in np.flatnonzero((logs < low) | (logs > high)).tolist():
        finding.add(corpus.rows[i], f"{values[i]:.3g} {unit}", abs(logs[i] - middle))
    return finding


def _cut_short(finding: Finding, corpus: Corpus) -> Finding:
    """Whole files of which a line takes only the beginning, and no other line the rest."""
    _, group, counts = np.unique(corpus.files, return_inverse=True, return_counts=True)
    left_s = np.array(corpus.left_s)
    for i in np.flatnonzero((counts[group] == 1) & (left_s > LEFT_OVER_S)).tolist():
        finding.add(corpus.rows[i], f"{left_s[i]:.2f} s left over", left_s[i])
    return finding


def _real_path(path: Path) -> str:
    """Links followed."""
    try:
        return os.path.realpath(path)
    except ValueError:  # no path can be like this
        return str(path)


def _known_to(others: array[int], keys: array[int]) -> np.ndarray:
    """(keys,) bool: which of them the others have."""
    return (np.array(keys) != NONE) & np.isin(np.array(keys), np.array(others))


def _overlapping(corpus: Corpus, others: Corpus) -> np.ndarray:
    """Whether more than OVERLAP_S of each utterance, or of a short one half, is part of others' files too."""
    order = np.argsort(others.files, kind="stable")
    columns = (others.files, others.starts, others.durations, others.channels)
    known, starts, durations, channels = (np.array(column)[order] for column in columns)
    found = _known_to(others.files, corpus.files)
    for i in np.flatnonzero(found).tolist():
        start, duration, channel = corpus.starts[i], corpus.durations[i], corpus.channels[i]
        there = slice(*(np.searchsorted(known, corpus.files[i], side=side) for side in ("left", "right")))
        ends = np.minimum(start + duration, starts[there] + durations[there])
        common_s = ends - np.maximum(start, starts[there])
        heard = (channel == NONE) | (channels[there] == NONE) | (channels[there] == channel)
        found[i] = (heard & (common_s > min(OVERLAP_S, duration / 2))).any()
    return found


def _rare_symbols(counts: Counter[str], kind: str) -> list[tuple[str, int]]:
    """Characters too rare to be learned, or letters of another script."""
    letters: Counter[str] = Counter()
    for symbol, count in counts.items():
        letters[_script(symbol)] += count
    all_letters = letters.total() - letters[""]
    own = {name for name, count in letters.items() if count >= SCRIPT_FRACTION * all_letters} | {""}
    learned = kind == "characters" and len(counts) <= ALPHABET
    enough = min(RARE_FRACTION * counts.total(), RARE_TIMES) if learned else 0
    found = {
        f"{symbol!r} {unicodedata.name(symbol, '')}": count
        for symbol, count in counts.items()
        if not symbol.isdigit() and (count < enough or _script(symbol) not in own)
    }
    return Counter(found).most_common()[::-1]


def _script(symbol: str) -> str:
    """LATIN, CYRILLIC, CJK …: the first word of a letter's name in Unicode; "" for what is no letter."""
    first = re.split(r"[ -]", unicodedata.name(symbol, "UNNAMED"))[0] if symbol.isalpha() else ""
    return "CJK" if first == "IDEOGRAPHIC" else first
