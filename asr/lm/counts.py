"""Text -> counts of n-grams, by sorting packed integers: no step is taken word by word in Python."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.errors import TextError
from asr.lm.textfile import read_lines
from asr.lm.units import END, END_ID, SPECIAL, START, START_ID, UNKNOWN_ID, units_of
from asr.text import normalize


@dataclass
class Corpus:
    """numbers: (units,) int32, every sentence as <s> … </s>; words: what they stand for; sentences: how many."""

    numbers: np.ndarray
    words: list[str]
    sentences: int

    @property
    def units(self) -> int:
        """Without the marks of the sentences' borders."""
        return len(self.numbers) - 2 * self.sentences


@dataclass
class Counts:
    """All n-grams of one order, sorted by (parent, word).

    words: the last word; parents, suffixes: the first and the last n - 1 words, as rows of the order below (0 where
    n = 1); counts: how often each occurs. All (n-grams,).
    """

    words: np.ndarray
    parents: np.ndarray
    suffixes: np.ndarray
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.words)


def read_corpus(paths: Sequence[Path], unit: str, normalizer: str, say: Callable[[str], None]) -> Corpus:
    """Texts, one sentence a line. Raises TextError naming the file and the line."""
    index = defaultdict[str, int](None, {word: number for number, word in enumerate(SPECIAL)})
    index.default_factory = index.__len__  # a new word gets the next number
    numbers = array("i")
    sentences, told = 0, 10_000_000
    for path in paths:
        for row, line in enumerate(read_lines(path), 1):
            try:
                text = normalize(line.decode(), normalizer)
            except UnicodeDecodeError as error:
                raise TextError(f"{path}: line {row} is not UTF-8 ({error.reason}); convert the file first") from None
            units = units_of(unit, text)
            if not units:
                continue
            if unit == "word" and "s>" in text and (START in units or END in units):
                raise TextError(f"{path}: line {row} holds {START} or {END}, which mark the borders of sentences")
            numbers.append(START_ID)
            numbers.extend(map(index.__getitem__, units))
            numbers.append(END_ID)
            sentences += 1
            if len(numbers) >= told:
                say(f"{told // 1_000_000} million {unit}s read")
                told += 10_000_000
    if not sentences:
        raise TextError(f"{', '.join(map(str, paths))}: no text to learn from")
    return Corpus(np.frombuffer(numbers, np.int32), list(index), sentences)


def limit_vocabulary(corpus: Corpus, most: int | None = None, min_count: int = 1) -> Corpus:
    """Words sorted; those that occur less than min_count times, and all but the `most` frequent, become <unk>."""
    counts = np.bincount(corpus.numbers, minlength=len(corpus.words))
    ordinary = range(len(SPECIAL), len(corpus.words))
    kept = [number for number in ordinary if counts[number] >= min_count]
    kept.sort(key=lambda number: (-counts[number], corpus.words[number]))
    kept = sorted(kept[:most], key=corpus.words.__getitem__)
    renumbered = np.full(len(corpus.words), UNKNOWN_ID, np.int32)
    renumbered[: len(SPECIAL)] = range(len(SPECIAL))
    renumbered[kept] = np.arange(len(SPECIAL), len(SPECIAL) + len(kept))
    words = [*SPECIAL, *(corpus.words[number] for number in kept)]
    return Corpus(renumbered[corpus.numbers], words, corpus.sentences)


def count_ngrams(corpus: Corpus, order: int) -> list[Counts]:
    """The n-grams of orders 1 to `order` that lie within a sentence. Needs about 50 bytes a word of text."""
    numbers, size = corpus.numbers, len(corpus.words)
    single = np.zeros(size, np.int32)
    levels = [Counts(np.arange(size, dtype=np.int32), single, single, np.bincount(numbers, minlength=size))]
    rows = numbers  # of the n-gram that ends at each place of the text; -1 where it would cross a border
    for _ in range(order - 1):
        ends = 1 + np.flatnonzero((rows[:-1] >= 0) & (numbers[1:] != START_ID))
        keys, inverse, counts = _distinct(rows[ends - 1].astype(np.int64) * size + numbers[ends])
        suffixes = np.empty(len(keys), np.int32)
        suffixes[inverse] = rows[ends]
        parents, words = np.divmod(keys, size)
        levels.append(Counts(words.astype(np.int32), parents.astype(np.int32), suffixes, counts))
        rows = np.full(len(numbers), -1, np.int32)
        rows[ends] = inverse
    return levels


def _distinct(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """np.unique with inverse and counts, in a third less memory: rows are int32."""
    by_key = np.argsort(keys)
    ordered = keys[by_key]
    first = np.append(True, ordered[1:] != ordered[:-1])
    inverse = np.empty(len(keys), np.int32)
    inverse[by_key] = np.cumsum(first, dtype=np.int32) - 1
    places = np.flatnonzero(first)
    return ordered[places], inverse, np.diff(np.append(places, len(keys)))
