"""Texts -> counts of n-grams -> a language model, by interpolated modified Kneser-Ney smoothing (Chen and Goodman 1999,
section 3 and appendix A).

    p(w | h) = max(a(hw) - D(a(hw)), 0) / a(h·) + gamma(h) p(w | h')      h' is h without its first word

The highest order counts occurrences: a = c. Lower orders count the different words to the left of an n-gram, but
occurrences of those that begin a sentence, which have none. The lowest order is interpolated with the uniform
distribution over all words but <s>, <unk> included. D depends on whether a is 1, 2 or more; gamma(h) makes the sum one.
N-grams that are left out give their counts to gamma, as in KenLM (Heafield et al. 2013). The order below has to predict
them then, so it counts each of their occurrences (Siivola et al. 2007).

Counting sorts packed integers: no step is taken word by word in Python.
"""

from __future__ import annotations

import logging
import math
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from asr.data.manifest import Manifest, is_manifest
from asr.errors import ConfigError, TextError
from asr.lm.model import UNITS, LanguageModel, join_units, split_sentences
from asr.lm.trie import END_ID, SPECIAL, START_ID, UNKNOWN_ID, Level, build, stored_bytes
from asr.text import NORMALIZERS, Oddities, normalize, without_marks
from asr.util.files import file_sha256, read_lines
from asr.util.format import plural

logger = logging.getLogger(__name__)

SHARED = 7  # words in a row that are no chance: one text quotes the other
FALLBACK = (0.5, 1.0, 1.5)  # discounts where the counts do not follow the law they are estimated by: as in KenLM
ABOUT_BYTES = 10_000  # for what a model's folder holds beside its words and n-grams
START_LOG_PROB = -99 * math.log(10)  # ln probability of <s>, by the convention of ARPA files


@dataclass(frozen=True)
class LmConfig:
    """unit: word or character; prune: see `frequent`; megabytes: what the folder may take, see `most_useful`;
    vocabulary: that many of the most frequent words; min_count: only words that occur so often; bits: of each packed
    probability and backoff weight; drop_marks: see asr.text.without_marks."""

    order: int = 3
    unit: str = "word"
    normalizer: str = "basic"
    prune: tuple[int, ...] = ()
    megabytes: float | None = None
    vocabulary: int | None = None
    min_count: int = 1
    bits: int = 8
    drop_marks: bool = False

    def __post_init__(self) -> None:
        for name, known in (("unit", UNITS), ("normalizer", NORMALIZERS)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name}={getattr(self, name)}: there are {', '.join(known)}")
        ranges: dict[str, tuple[float, float]] = {
            **{"order": (1, 10), "bits": (2, 16), "min_count": (1, 10**9), "vocabulary": (1, 10**9)},
            "megabytes": (0.001, 10**6),
        }
        for name, (minimum, maximum) in ranges.items():
            value = getattr(self, name)
            if value is not None and not minimum <= value <= maximum:
                raise ConfigError(f"{name}={value}: expected {minimum} to {maximum:,}")
        if any(self.prune) and self.megabytes is not None:
            raise ConfigError("prune and megabytes both say what to leave out: give one of them")


def train(
    texts: Sequence[Path], config: LmConfig, heldout: Path | None = None, without: Iterable[str] = ()
) -> tuple[LanguageModel, list[Level]]:
    """Estimate a model; the levels are its n-grams before they are packed, for an ARPA file.

    texts, heldout: see `read_sentences`; the perplexity is measured on the latter. without: texts that the
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
    if config.megabytes is not None:
        record["megabytes"] = config.megabytes
    corpus = limit_vocabulary(corpus, config.vocabulary, config.min_count)
    counts = count_ngrams(corpus, config.order)
    kept = frequent(counts, config.prune)
    if config.megabytes is not None:
        words = sum(len(word.encode()) + 1 for word in corpus.words)
        kept = most_useful(counts, round(config.megabytes * 1e6) - words - ABOUT_BYTES, config.bits)
    levels, discounts = estimate(counts, kept)
    for order, (all_of, level) in enumerate(zip(counts, levels, strict=True), 1):
        logger.info(f"{order}-grams: {len(all_of):,}" + (f", {len(level):,} kept" if len(level) < len(all_of) else ""))
    record["discounts"] = discounts
    model = LanguageModel(build(levels, config.bits), corpus.words, config.unit, config.normalizer, record)
    if barred:
        record["without"] = len(barred)
    if heldout is not None:
        measured = model.perplexity(line.decode(errors="replace") for line in read_sentences(heldout))
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


def read_sentences(path: Path) -> Iterator[bytes]:
    """The lines of a text, one sentence each, with or without <s> and </s> around; of a manifest, its texts."""
    if is_manifest(str(path)):
        return ((utterance.text or "").encode(errors="surrogatepass") for utterance in Manifest(path))
    return read_lines(path)


def read_corpus(
    paths: Sequence[Path],
    unit: str,
    normalizer: str,
    drop_marks: bool = False,
    barred: Set[tuple[str, ...]] = frozenset(),
) -> Corpus:
    """Texts, see `read_sentences`. What they should not hold is logged.

    barred: sentences with one of these `word_runs` are left out. Raises TextError naming the file and the line.
    """
    index = defaultdict[str, int](None, {word: number for number, word in enumerate(SPECIAL)})
    index.default_factory = index.__len__  # a new word gets the next number
    numbers = array("i")
    sentences, left_out, told, oddities = 0, 0, 10_000_000, Oddities()
    for path in paths:
        for row, line in enumerate(read_sentences(path), 1):
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


def frequent(counts: list[Counts], prune: Sequence[int] = ()) -> list[np.ndarray]:
    """Which n-grams `estimate` is to keep: of each order, those that occur more often than a limit.

    prune: the limits. The first is 0 and none is less than the one before it, so that the beginning of every n-gram
    kept is kept; orders without a number use the last one.
    """
    limits = [*prune, *[prune[-1] if prune else 0] * (len(counts) - len(prune))]
    if limits[0] != 0 or limits != sorted(limits) or len(limits) > len(counts):
        raise ConfigError(f"prune={limits}: one number for each order, the first 0, none less than the one before it")
    return [level.counts > (limit if n else -1) for n, (level, limit) in enumerate(zip(counts, limits, strict=True))]


def most_useful(counts: list[Counts], size: int, bits: int) -> list[np.ndarray]:
    """Which n-grams `estimate` is to keep so that a packed model takes at most `size` bytes: those worth most.

    An n-gram is worth what the text loses in likelihood without it, c(h) p(w | h) ln(p(w | h) / p'(w | h)), p' from
    the shorter n-gram (Seymore and Rosenfeld 1996; the main term of Stolcke 1998), but no less than any that begins
    with it. Here all orders count occurrences: what Kneser-Ney leaves to the lower ones is too little for the many
    n-grams that are left out (Chelba et al. 2010). Raises ConfigError where the single words alone take more.
    """
    worth: list[np.ndarray] = []
    lower = np.array([1 / (len(counts[0]) - 1)])
    for level in counts:
        occurrences = np.where(level.words == START_ID, 0, level.counts)  # <s> is never predicted
        taken = np.array([0.0, *discounts_of(occurrences)])[np.minimum(occurrences, 3)]
        total = np.bincount(level.parents, occurrences, len(lower))[level.parents]
        gamma = np.bincount(level.parents, taken, len(lower))[level.parents] / total
        own = (occurrences - taken) / total
        backed_off = lower[level.suffixes]
        lower = own + gamma * backed_off
        worth.append(total * lower * np.log(lower / ((gamma + own) * backed_off)))
    for n in range(len(counts) - 1, 1, -1):
        np.maximum.at(worth[n - 1], counts[n].parents, worth[n])
    orders = np.repeat(np.arange(len(counts)), [len(level) for level in counts])
    ranks = np.argsort(-np.concatenate([np.full(len(worth[0]), np.inf), *worth[1:]]), kind="stable")  # beginnings first
    ranked = orders[ranks]

    def too_large(count: int) -> bool:
        return stored_bytes(np.bincount(ranked[:count], minlength=len(counts)).tolist(), bits) > size

    singles = len(counts[0])
    if too_large(singles):
        least = stored_bytes([singles, *[0] * (len(counts) - 1)], bits)
        raise ConfigError(f"megabytes: {singles:,} words alone take {least / 1e6:.2g} MB: allow more, or fewer words")
    fitting = bisect_left(range(singles, len(ranked) + 1), True, key=too_large) - 1 + singles
    kept = np.zeros(len(ranked), bool)
    kept[ranks[:fitting]] = True
    return np.split(kept, np.cumsum([len(level) for level in counts])[:-1])


def estimate(
    counts: list[Counts], kept: list[np.ndarray] | None = None
) -> tuple[list[Level], list[tuple[float, float, float]]]:
    """Probabilities and backoff weights of n-grams, and the discounts D1, D2, D3+ of each order.

    kept: (n-grams,) bool for each order, the n-grams not to leave out: all single words, and the beginning of every
    n-gram kept. By default all.
    """
    kept = kept or frequent(counts)
    discounts = []
    levels: list[Level] = []
    lower = np.array([1 / (len(counts[0]) - 1)])
    places = np.zeros(1, np.int64)  # rows of the order below -> rows among those kept
    for level, adjusted, keep in zip(counts, _adjusted(counts, kept), kept, strict=True):
        discounts.append(discounts_of(adjusted))
        taken = np.where(keep, np.array([0.0, *discounts[-1]])[np.minimum(adjusted, 3)], adjusted)
        total = np.bincount(level.parents, adjusted, len(lower))
        freed = np.bincount(level.parents, taken, len(lower))
        gamma = np.divide(freed, total, out=np.ones_like(total), where=total > 0)
        probs = (adjusted - taken) / total[level.parents] + gamma[level.parents] * lower[level.suffixes]
        if levels:
            levels[-1].log_backoffs = np.log(gamma[places >= 0])
        backoffs = np.zeros(np.count_nonzero(keep))
        levels.append(Level(level.words[keep], places[level.parents[keep]], np.log(probs[keep]), backoffs))
        lower = probs
        places = np.where(keep, np.cumsum(keep) - 1, -1)
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


def _adjusted(counts: list[Counts], kept: list[np.ndarray]) -> list[np.ndarray]:
    adjusted = []
    begins = counts[0].words == START_ID
    for n, level in enumerate(counts):
        begins = begins[level.parents] if n else begins
        lefts = level.counts
        if n + 1 < len(counts):
            longer, once = counts[n + 1], kept[n + 1]
            lefts = np.bincount(longer.suffixes, np.where(once, 1, longer.counts), len(level)).astype(np.int64)
        adjusted.append(np.where(begins, level.counts if n else 0, lefts))  # <s> alone follows nothing
    return adjusted
