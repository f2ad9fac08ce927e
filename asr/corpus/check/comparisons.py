"""The checks that compare utterances: with each other, with the corpus as a whole, with other manifests."""

from __future__ import annotations

import os
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterator

import numpy as np

from asr.corpus.check.findings import ERROR, WARNING, WORST, Finding, of_things, of_utterances
from asr.corpus.check.lines import CheckSettings, LineInfo

NONE = -1  # the hash of nothing: Python's hashes are other numbers
LEFT_OVER_S = 0.25  # seconds, the shortest words: what a whole file may hold beyond its line's duration
OVERLAP_S = 0.1  # seconds that parts of one file may share: less than a word
# Seconds. Below, no word; above, memory: LibriSpeech's longest has 35.2 s.
DURATION_S = (0.1, 40.0)
# Deviations of log duration, shorter and longer: titles are short on purpose, one recording among words is a mistake.
DURATION_DEVIATIONS = (float("inf"), 7.0)
# Characters a second. The slowest and fastest speech in any script; one word in a second of silence has 3.
CHARACTERS_PER_S = (0.3, 40.0)
# Deviations of its logarithm, slower and faster. Pauses slow speech down, nothing makes it twice as fast.
PACE_DEVIATIONS = (8.0, 4.5)
MIN_VALUES = 20  # values, below which there is no median to speak of
# Of logarithms: read speech of one kind differs by less, and its stray values are no mistakes.
MIN_DEVIATION = 0.25
# A symbol is rare that makes up less than this share of the characters and is seen less often than this.
RARE_FRACTION, RARE_TIMES = 1e-4, 100
# With more symbols than this (Chinese, Korean) most are rare, and meant.
ALPHABET = 300
# A script that holds less than this share of the letters is not the corpus's own.
SCRIPT_FRACTION = 5e-3
# Times that a sentence may occur in a corpus whose sentences mostly differ: several people read the same list.
SENTENCE_TIMES = 20


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
        self.symbols, self.speakers, self.rates, self.layouts = Counter(), Counter(), Counter(), Counter()

    def add(self, facts: LineInfo) -> None:
        line, text, sound = facts.line, facts.text, facts.sound
        self.rows.append(facts.row)
        self.ids.append(hash(facts.id) if "id" in line else NONE)
        self.texts.append(hash(text) if text else NONE)
        self.files.append(hash(_real_path(facts.audio)) if self.compare_files else NONE)
        self.channels.append(hash(line["channel"]) if "channel" in line else NONE)  # a hash, however large the number
        self.starts.append(facts.start)
        self.durations.append(facts.duration)
        self.paces.append(len(text) / max(facts.duration, 1e-3) if text else np.nan)
        self.symbols.update(text or "")
        if "speaker" in line:
            self.speakers[str(line["speaker"])] += 1
        self.sounds.append(sound.key if sound is not None and sound.key else NONE)
        heard = sound if sound is not None and not sound.fault else None
        self.left_s.append(heard.file_s - facts.duration if heard is not None and not facts.start else 0.0)
        if heard is not None:
            self.rates[heard.sample_rate] += 1
            if "channel" not in line:
                self.layouts["mono" if heard.channels == 1 else f"{heard.channels} channels"] += 1


def compare(corpus: Corpus, others: Corpus, rules: CheckSettings) -> Iterator[Finding | None]:
    """What is found of the utterances taken together, and of what they share with others that should share nothing."""
    rows, durations = np.array(corpus.rows), np.array(corpus.durations)
    ids, texts, sounds = np.array(corpus.ids), np.array(corpus.texts), np.array(corpus.sounds)
    sentences = texts if _varied(texts) else np.full_like(texts, NONE)

    def repeated(name: str, level: str, remedy: str, keys: np.ndarray, least: int = 2) -> Finding | None:
        later, first, counts = _repeats(keys, least)
        worst = ((rows[row], f"× {count:,}") for row, count in zip(first, counts, strict=True))
        return of_utterances(name, level, remedy, rows[later], worst)

    def shared(what: str, level: str, remedy: str, found: np.ndarray) -> Finding | None:
        worst = ((row, "") for row in rows[found][:WORST])
        return of_utterances(f"{what} shared with --against", level, remedy, rows[found], worst)

    def odd(what: str, remedy: str, unit: str, values: np.ndarray, *limits: tuple[float, float]) -> Finding | None:
        found, worst = _outliers(values, *limits)
        return of_utterances(
            f"odd {what}", WARNING, remedy, rows[found], ((rows[i], f"{values[i]:.3g} {unit}") for i in worst)
        )

    yield repeated("duplicate id", ERROR, "give each utterance an id of its own", ids)
    same_audio = _known_to(others.sounds, sounds) | _overlapping(corpus, others)
    yield shared("audio", ERROR, "leave it out of one: the test is not honest", same_audio)
    yield shared("id", ERROR, "leave it out of one, or rename it if it is another", _known_to(others.ids, ids))
    yield of_things(
        "speaker shared with --against",
        "keep speakers apart, or the test tells how well the model knows these",
        "speaker",
        [(name, count) for name, count in corpus.speakers.most_common() if name in others.speakers],
    )
    yield shared("sentence", WARNING, "the model may know it by heart", _known_to(others.texts, sentences))
    digits = [(symbol, count) for symbol, count in corpus.symbols.most_common() if re.match(r"\d", symbol)]
    yield of_things("digits in text", "spell numbers out as they are spoken", "digit", digits)
    rare = _rare_symbols(corpus.symbols, rules.kind)
    yield of_things("rare symbol", "correct or replace it: a model cannot learn it", "symbol", rare)
    yield odd("duration", "cut it, or correct it", "s", durations, DURATION_S, DURATION_DEVIATIONS)
    paces = np.array(corpus.paces)
    yield odd("pace", "hear whether it says its text", "characters/s", paces, CHARACTERS_PER_S, PACE_DEVIATIONS)
    yield repeated("sentence repeated", WARNING, "keep fewer of them", sentences, SENTENCE_TIMES + 1)
    yield repeated("duplicate audio", WARNING, "keep one of each: sometimes their texts differ", sounds)
    cut, left_s = _cut_short(corpus)
    yield of_utterances(
        "audio longer than its line says",
        WARNING,
        "correct duration: words may be cut away",
        rows[cut],
        ((rows[i], f"{left_s[i]:.2f} s left over") for i in cut[np.argsort(-left_s[cut], kind="stable")[:WORST]]),
    )
    rates = [(f"{rate} Hz", count) for rate, count in corpus.rates.most_common() if len(corpus.rates) > 1]
    yield of_things("sample rates differ", "all are converted; is any mislabeled?", "rate", rates)
    layouts = corpus.layouts.most_common() if set(corpus.layouts) - {"mono"} else []
    yield of_things("several channels", "they are averaged, unless the line names a channel", "layout", layouts)


def _real_path(path: str) -> str:
    """Links followed."""
    try:
        return os.path.realpath(path)
    except ValueError:  # no path can be like this
        return path


def _varied(keys: np.ndarray) -> bool:
    """Whether at least half of them differ: in a corpus of commands the few sentences repeat on purpose."""
    known = keys[keys != NONE]
    return 2 * len(np.unique(known)) >= len(known)


def _repeats(keys: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Places where a key is that stood before, and is there at least `least` times; of the most frequent ones the first
    place and the count."""
    known = np.flatnonzero(keys != NONE)
    _, first, group, counts = np.unique(keys[known], return_index=True, return_inverse=True, return_counts=True)
    later = counts[group] >= least
    later[first] = False
    most = [i for i in np.lexsort((first, -counts))[:WORST] if counts[i] >= least]
    return known[later], known[first[most]], counts[most].tolist()


def _known_to(others: array[int], keys: np.ndarray) -> np.ndarray:
    return (keys != NONE) & np.isin(keys, np.array(others))


def _overlapping(corpus: Corpus, others: Corpus) -> np.ndarray:
    """Whether more than OVERLAP_S of each utterance, or of a short one half, is part of others' files too."""
    order = np.argsort(others.files, kind="stable")
    columns = (others.files, others.starts, others.durations, others.channels)
    known, starts, durations, channels = (np.array(column)[order] for column in columns)
    found = _known_to(others.files, np.array(corpus.files))
    for i in np.flatnonzero(found).tolist():
        start, duration, channel = corpus.starts[i], corpus.durations[i], corpus.channels[i]
        there = slice(*(np.searchsorted(known, corpus.files[i], side=side) for side in ("left", "right")))
        ends = np.minimum(start + duration, starts[there] + durations[there])
        common_s = ends - np.maximum(start, starts[there])
        heard = (channel == NONE) | (channels[there] == NONE) | (channels[there] == channel)
        found[i] = (heard & (common_s > min(OVERLAP_S, duration / 2))).any()
    return found


def _cut_short(corpus: Corpus) -> tuple[np.ndarray, np.ndarray]:
    """Places of whole files of which a line takes only the beginning and no other line the rest; and seconds left over
    at every place."""
    _, group, counts = np.unique(corpus.files, return_inverse=True, return_counts=True)
    left_s = np.array(corpus.left_s)
    return np.flatnonzero((counts[group] == 1) & (left_s > LEFT_OVER_S)), left_s


def _outliers(
    values: np.ndarray, bounds: tuple[float, float], deviations: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Places of positive values beyond absolute bounds, or beyond so many deviations below and above the median
    (1.4826 × the median absolute deviation, of logarithms); and the worst of them. NaN is no value."""
    logs = np.log(np.maximum(values, 1e-9))
    known = logs[~np.isnan(logs)]
    middle = float(np.median(known)) if len(known) else 0.0
    low, high = np.log(bounds)
    if len(known) >= MIN_VALUES:
        deviation = max(1.4826 * float(np.median(np.abs(known - middle))), MIN_DEVIATION)
        low = max(low, middle - deviations[0] * deviation)
        high = min(high, middle + deviations[1] * deviation)
    odd = np.flatnonzero((logs < low) | (logs > high))
    return odd, odd[np.argsort(-np.abs(logs[odd] - middle), kind="stable")[:WORST]]


def _rare_symbols(counts: Counter[str], kind: str) -> list[tuple[str, int]]:
    """Characters that make a tokenizer odd: seen too seldom to be learned, or letters of another script."""
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
