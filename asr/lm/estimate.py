"""Texts -> counts of n-grams -> a language model, by interpolated modified Kneser-Ney smoothing (Chen and Goodman 1999,
section 3 and appendix A).

    p(w | h) = max(a(hw) - D(a(hw)), 0) / a(h·) + gamma(h) p(w | h')      h' is h without its first word

The highest order counts occurrences: a = c. Lower orders count the different words to the left of an n-gram, but
occurrences of those that begin a sentence, which have none. The lowest order is interpolated with the uniform
distribution over all words but <s>, <unk> included. D depends on whether a is 1, 2 or more; gamma(h) makes the sum one.
Pruned n-grams give their counts to gamma, as in KenLM (Heafield et al. 2013).

Counting sorts packed integers: no step is taken word by word in Python.
"""

from __future__ import annotations

import logging
import math
from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from asr.errors import ConfigError, TextError
from asr.lm.model import UNITS, LanguageModel, join_units, split_sentences
from asr.lm.trie import END_ID, SPECIAL, START_ID, UNKNOWN_ID, Level, build
from asr.text import NORMALIZERS, Oddities, normalize, without_marks
from asr.util.files import file_sha256, read_lines
from asr.util.format import plural

logger = logging.getLogger(__name__)

SHARED = 7  # words in a row that are no chance: one text quotes the other
FALLBACK = (0.5, 1.0, 1.5)  # discounts where the counts do not follow the law they are estimated by: as in KenLM
START_LOG_PROB = -99 * math.log(10)  # ln probability of <s>, by the convention of ARPA files


@dataclass(frozen=True)
class LmConfig:
    """unit: word or character; prune: see `estimate`; vocabulary: that many of the most frequent words;
    min_count: only words that occur so often; bits: of each packed probability and backoff weight; drop_marks: see
    asr.text.without_marks."""

    order: int = 3
    unit: str = "word"
    normalizer: str = "basic"
    prune: tuple[int, ...] = ()
    vocabulary: int | None = None
    min_count: int = 1
    bits: int = 8
    drop_marks: bool = False

    def __post_init__(self) -> None:
        for name, known in (("unit", UNITS), ("normalizer", NORMALIZERS)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name}={getattr(self, name)}: there are {', '.join(known)}")
        ranges = {"order": (1, 10), "bits": (2, 16), "min_count": (1, 10**9), "vocabulary": (1, 10**9)}
        for name, (minimum, maximum) in ranges.items():
            value = getattr(self, name)
            if value is not None and not minimum <= value <= maximum:
                raise ConfigError(f"{name}={value}: expected {minimum} to {maximum:,}")


def train(
    texts: Sequence[Path], config: LmConfig, heldout: Path | None = None, without: Iterable[str] = ()
) -> tuple[LanguageModel, list[Level]]:
    """Estimate a model; the levels are its n-grams before they are packed, for an ARPA file.

    texts, heldout: files of one sentence a line; the perplexity is measured on the latter. without: texts that the
    model must not know, since weights are tuned on them: sentences that share SHARED words in a row are left out.
    Raises TextError, ConfigError.
    """
    barred = barred_runs(without, config.normalizer)
    corpus = read_corpus(texts, config.unit, config.normalizer, config.drop_marks, barred)
    different = len(corpus.words) - len(SPECIAL)
    logger.info(
        f"{plural(corpus.units, config.unit)} in {plural(corpus.sentences, 'sentence')}, {different:,} different"
    )
    sources = [{"file": path.name, "sha256": file_sha256(path)} for path in texts]
    record = {"sources": sources, "sentences": corpus.sentences, "units": corpus.units, "prune": config.prune}
    corpus = limit_vocabulary(corpus, config.vocabulary, config.min_count)
    counts = count_ngrams(corpus, config.order)
    levels, discounts = estimate(counts, config.prune)
    for order, (all_of, kept) in enumerate(zip(counts, levels, strict=True), 1):
        logger.info(f"{order}-grams: {len(all_of):,}" + (f", {len(kept):,} kept" if len(kept) < len(all_of) else ""))
    record["discounts"] = discounts
    model = LanguageModel(build(levels, config.bits), corpus.words, config.unit, config.normalizer, record)
    if barred:
        record["without"] = len(barred)
    if heldout is not None:
        measured = model.perplexity(line.decode(errors="replace") for line in read_lines(heldout))
        record["perplexity"] = {"file": heldout.name, "sha256": file_sha256(heldout), **vars(measured)}
    return model, levels


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


def word_runs(text: str) -> Iterator[tuple[str, ...]]:
    """Every SHARED words in a row of a normalized text."""
    words = text.split()
    return zip(*(words[first:] for first in range(SHARED)), strict=False)


def barred_runs(texts: Iterable[str], normalizer: str) -> set[tuple[str, ...]]:
    """What no sentence may hold that a model learns from, see `read_corpus`."""
    return {run for text in texts for run in word_runs(normalize(text, normalizer))}


def read_corpus(
    paths: Sequence[Path],
    unit: str,
    normalizer: str,
    drop_marks: bool = False,
    barred: Set[tuple[str, ...]] = frozenset(),
) -> Corpus:
    """Texts, one sentence a line, with or without <s> and </s> around. What they should not hold is logged.

    barred: sentences with one of these `word_runs` are left out. Raises TextError naming the file and the line.
    """
    index = defaultdict[str, int](None, {word: number for number, word in enumerate(SPECIAL)})
    index.default_factory = index.__len__  # a new word gets the next number
    numbers = array("i")
    sentences, left_out, told, oddities = 0, 0, 10_000_000, Oddities()
    for path in paths:
        for row, line in enumerate(read_lines(path), 1):
            try:
                text = line.decode()
            except UnicodeDecodeError as error:
                raise TextError(f"{path}: line {row} is not UTF-8 ({error.reason}); convert the file first") from None
            for pieces in split_sentences(text):
                if drop_marks:
                    pieces = list(map(without_marks, pieces))
                for piece in pieces:
                    oddities.add(piece)
                units = join_units(pieces, unit, normalizer)
                if not units:
                    continue
                if barred and not barred.isdisjoint(word_runs(normalize(" ".join(pieces), normalizer))):
                    left_out += 1
                    continue
                numbers.append(START_ID)
                numbers.extend(map(index.__getitem__, units))
                numbers.append(END_ID)
                sentences += 1
            if len(numbers) >= told:
                logger.info(f"{told // 1_000_000} million {unit}s read")
                told += 10_000_000
    if not sentences:
        raise TextError(f"{', '.join(map(str, paths))}: no text to learn from")
    if barred:
        logger.info(f"{plural(left_out, 'sentence')} left out, with {SHARED} words in a row that must not be known")
    for told_line in oddities.lines(normalizer):
        logger.warning(told_line)
    return Corpus(np.frombuffer(numbers, np.int32), list(index), sentences)


def limit_vocabulary(corpus: Corpus, max_words: int | None = None, min_count: int = 1) -> Corpus:
    """Words sorted; those that occur less than min_count times, or not among max_words frequent ones, become <unk>."""
    counts = np.bincount(corpus.numbers, minlength=len(corpus.words))
    ordinary = range(len(SPECIAL), len(corpus.words))
    kept = [number for number in ordinary if counts[number] >= min_count]
    if not kept:
        raise TextError(f"no word occurs {min_count} times or more: lower min_count, or add text")
    kept.sort(key=lambda number: (-counts[number], corpus.words[number]))
    kept = sorted(kept[:max_words], key=corpus.words.__getitem__)
    renumbered = np.full(len(corpus.words), UNKNOWN_ID, np.int32)
    renumbered[: len(SPECIAL)] = range(len(SPECIAL))
    renumbered[kept] = np.arange(len(SPECIAL), len(SPECIAL) + len(kept))
    words = [*SPECIAL, *(corpus.words[number] for number in kept)]
    return Corpus(renumbered[corpus.numbers], words, corpus.sentences)


def count_ngrams(corpus: Corpus, order: int) -> list[Counts]:
    """The n-grams of orders 1 to `order` that lie within a sentence; fewer orders where no sentence is that long. Needs
    about 50 bytes a word of text."""
    numbers, size = corpus.numbers, len(corpus.words)
    single = np.zeros(size, np.int32)
    levels = [Counts(np.arange(size, dtype=np.int32), single, single, np.bincount(numbers, minlength=size))]
    rows = numbers  # of the n-gram that ends at each place of the text; -1 where it would cross a border
    for _ in range(order - 1):
        ends = 1 + np.flatnonzero((rows[:-1] >= 0) & (numbers[1:] != START_ID))
        if not len(ends):
            break
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


def estimate(counts: list[Counts], prune: Sequence[int] = ()) -> tuple[list[Level], list[tuple[float, float, float]]]:
    """Probabilities and backoff weights of all n-grams, and the discounts D1, D2, D3+ of each order.

    prune: for each order, leave out n-grams that occur so often or less. It starts with 0 and must not fall, so that
    the beginning and the end of every n-gram kept are kept; orders without a number use the last one.
    """
    limits = [*prune, *[prune[-1] if prune else 0] * (len(counts) - len(prune))]
    if limits[0] != 0 or limits != sorted(limits) or len(limits) > len(counts):
        raise ConfigError(f"prune={limits}: one number for each order, the first 0, none less than the one before it")
    discounts = []
    levels: list[Level] = []
    lower = np.array([1 / (len(counts[0]) - 1)])
    places = np.zeros(1, np.int64)  # rows of the order below -> rows among those kept
    for level, adjusted, limit in zip(counts, _adjusted(counts), limits, strict=True):
        discounts.append(discounts_of(adjusted))
        taken = np.array([0.0, *discounts[-1]])[np.minimum(adjusted, 3)]
        kept = level.counts > (limit if levels else -1)  # <unk> may never occur
        total = np.bincount(level.parents, adjusted, len(lower))
        freed = np.bincount(level.parents, np.where(kept, taken, adjusted), len(lower))
        gamma = np.divide(freed, total, out=np.ones_like(total), where=total > 0)
        probs = (adjusted - taken) / total[level.parents] + gamma[level.parents] * lower[level.suffixes]
        if levels:
            levels[-1].log_backoffs = np.log(gamma[places >= 0])
        backoffs = np.zeros(np.count_nonzero(kept))
        levels.append(Level(level.words[kept], places[level.parents[kept]], np.log(probs[kept]), backoffs))
        lower = probs
        places = np.where(kept, np.cumsum(kept) - 1, -1)
    levels[0].log_probs[START_ID] = START_LOG_PROB
    return levels, discounts


def dense_table(sequences: Iterable[Sequence[int]], size: int, order: int) -> np.ndarray:
    """p(last number | those before it), (size,) * order, of an n-gram estimated from sequences of 1 to size − 1.

    A 0 before is the beginning of a sequence, a 0 as the last number its end. All are positive; numbers that the
    sequences lack are as likely as <unk> elsewhere. A history with a 0 after another number does not occur.
    """
    shift = len(SPECIAL) - 1
    numbers = array("i")
    for sequence in sequences:
        numbers.extend((START_ID, *(number + shift for number in sequence), END_ID))
    words = size + shift
    corpus = Corpus(np.frombuffer(numbers, np.int32), [""] * words, 0)
    levels, _ = estimate(count_ngrams(corpus, order))
    table, rows = np.exp(levels[0].log_probs), (np.arange(words),)
    for contexts, level in pairwise(levels):
        backoffs = np.ones((words,) * len(rows))
        backoffs[rows] = np.exp(contexts.log_backoffs)
        table = backoffs[..., None] * table
        rows = (*(row[level.parents] for row in rows), level.words)
        table[rows] = np.exp(level.log_probs)
    ordinary = range(len(SPECIAL), words)
    before, last = [START_ID, *ordinary], [END_ID, *ordinary]
    table = table[np.ix_(*[before] * (order - 1), last)]
    return table / table.sum(-1, keepdims=True)  # without <unk>


def discounts_of(adjusted: np.ndarray) -> tuple[float, float, float]:
    """D1, D2, D3+ of one order, from the numbers of n-grams counted 1, 2, 3 and 4 times; FALLBACK where these give
    nothing sensible, as for single characters, none of which is rare."""
    _, t1, t2, t3, t4 = np.bincount(np.minimum(adjusted, 5), minlength=6)[:5].tolist()
    if t1 and t2 and t3:
        y = t1 / (t1 + 2 * t2)
        d1, d2, d3 = 1 - 2 * y * t2 / t1, 2 - 3 * y * t3 / t2, 3 - 4 * y * t4 / t3
        if d1 > 0 and d2 > 0 and d3 > 0:
            return d1, d2, d3
    return FALLBACK


def _adjusted(counts: list[Counts]) -> list[np.ndarray]:
    adjusted = []
    begins = counts[0].words == START_ID
    for n, level in enumerate(counts):
        begins = begins[level.parents] if n else begins
        lefts = np.bincount(counts[n + 1].suffixes, minlength=len(level)) if n + 1 < len(counts) else level.counts
        adjusted.append(np.where(begins, level.counts if n else 0, lefts))  # <s> alone follows nothing
    return adjusted
