"""References and hypotheses -> error counts, rates with intervals, and whether two systems differ by more than chance.

The alignment is jiwer's. A rate without an interval is half a result.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.errors import AsrError
from asr.text import Phones, split_phones

BOOTSTRAP_DRAWS = 10_000
MIN_SPEAKERS = 4  # with fewer the interval is over utterances
MIN_UNITS = 20  # below this a bootstrap over speakers or utterances is too narrow
FEW_ERRORS = 10  # with fewer the units' spread says little: an interval may come out narrower than with no error at all
LINE = re.compile(r"(.*?) ?\(([^()\s]+)\)")  # of a trn file: text (id)


@dataclass(frozen=True)
class Pair:
    """One scored utterance: normalized texts. confidence: of each word of the hypothesis, where it is known."""

    id: str
    reference: str
    hypothesis: str
    speaker: str | None = None
    confidence: tuple[float, ...] = ()


@dataclass(frozen=True)
class Interval:
    """95 % interval of a rate (fractions), how it was made and what was taken as independent: "speaker", "utterance",
    or "word" where no word is wrong, or all are."""

    low: float
    high: float
    method: str
    unit: str


@dataclass(frozen=True)
class Scores:
    """Counts over a test set. Rates are fractions, None where there are no reference words (characters, utterances);
    ser: of utterances with any error."""

    utterances: int
    words: int
    hits: int
    substitutions: int
    deletions: int
    insertions: int
    wer: float | None
    cer: float | None
    ser: float | None
    interval: Interval | None
    empty_hypotheses: int

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions


def score(pairs: Sequence[Pair], seed: int = 0, phones: bool = False) -> Scores:
    """Word and character errors of a test set. An empty reference costs one insertion a word of its hypothesis.

    phones: the texts are words as they sound, and `cer` is the error rate of phones; see asr.text.join_phones.
    """
    counts = np.array([_counts(pair) for pair in pairs], dtype=int).reshape(-1, 4)
    hits, substitutions, deletions, insertions = counts.sum(0).tolist()
    errors, words = counts[:, 1:].sum(1).tolist(), counts[:, :3].sum(1).tolist()
    return Scores(
        utterances=len(pairs),
        words=sum(words),
        hits=hits,
        substitutions=substitutions,
        deletions=deletions,
        insertions=insertions,
        wer=sum(errors) / sum(words) if sum(words) else None,
        cer=_cer(pairs, split_phones if phones else str),
        ser=sum(count > 0 for count in errors) / len(pairs) if pairs else None,
        interval=rate_interval(errors, words, [pair.speaker for pair in pairs], seed),
        empty_hypotheses=sum(not pair.hypothesis for pair in pairs),
    )


def _counts(pair: Pair) -> tuple[int, int, int, int]:
    """Hits, substitutions, deletions, insertions."""
    import jiwer

    if not pair.reference:
        return 0, 0, 0, len(pair.hypothesis.split())
    found = jiwer.process_words(pair.reference, pair.hypothesis)
    return found.hits, found.substitutions, found.deletions, found.insertions


def count_homophones(pairs: Sequence[Pair], pronounce: Callable[[str], Sequence[Phones]]) -> int:
    """How many of the substitutions are by a word that sounds the same, in one of its pronunciations."""
    import jiwer

    count = 0
    for pair in pairs:
        if not pair.reference or not pair.hypothesis:
            continue
        said, heard = pair.reference.split(), pair.hypothesis.split()
        for chunk in jiwer.process_words(pair.reference, pair.hypothesis).alignments[0]:
            if chunk.type == "substitute":
                words = slice(chunk.ref_start_idx, chunk.ref_end_idx), slice(chunk.hyp_start_idx, chunk.hyp_end_idx)
                for word, other in zip(said[words[0]], heard[words[1]], strict=True):
                    count += any(phones in pronounce(other) for phones in pronounce(word))
    return count


def right_words(pair: Pair) -> list[bool]:
    """Of each word of the hypothesis, whether it stands against the same word of the reference."""
    import jiwer

    right = [False] * len(pair.hypothesis.split())
    if pair.reference and right:
        for chunk in jiwer.process_words(pair.reference, pair.hypothesis).alignments[0]:
            for i in range(chunk.hyp_start_idx, chunk.hyp_end_idx):
                right[i] = chunk.type == "equal"
    return right


def diagnose(scores: Scores) -> str | None:
    """What to look at when a result is too bad to be about accuracy; None otherwise."""
    if scores.utterances == 0 or scores.words == 0:
        return None
    if scores.empty_hypotheses == scores.utterances:
        return (
            "every hypothesis is empty: the model emits only blanks. Either it is not trained far enough (CTC learns"
            " blanks first: train longer, try train.overfit=10), or the audio is not what it was trained on"
            " (sample rate, level)"
        )
    if scores.hits == 0:
        return (
            "not one word is right: compare ref.trn and hyp.trn (--output-dir). Common causes: the texts belong to"
            " other audio, another language or spelling than the model's, or the wrong normalizer"
        )
    return None


def _cer(pairs: Sequence[Pair], split: Callable[[str], Sequence[str]]) -> float | None:
    from rapidfuzz.distance import Levenshtein  # jiwer's own edit distance, without an alignment

    texts = [(split(pair.reference), split(pair.hypothesis)) for pair in pairs]
    characters = sum(len(reference) for reference, _ in texts)
    return sum(Levenshtein.distance(*both) for both in texts) / characters if characters else None


def rate_interval(
    errors: Sequence[int], words: Sequence[int], speakers: Sequence[str | None], seed: int = 0
) -> Interval | None:
    """Interval of sum(errors) / sum(words), one entry an utterance. None where there are no words.

    No error at all, or as many as words in every utterance: the exact binomial bound over words (Clopper and Pearson
    1934). Otherwise the units are speakers, where four or more are known, or else utterances. From 20 units on:
    bootstrap (Efron 1979). Below: the cluster-robust standard error of the ratio with Student's t of units − 1 degrees
    of freedom. With fewer than 20 units, or fewer than 10 words wrong or right, it is at least as wide as the exact
    interval over words. It ends at 1 unless some unit has more errors than words.
    """
    e: np.ndarray = np.asarray(errors, dtype=np.float64)
    w: np.ndarray = np.asarray(words, dtype=np.float64)
    if w.sum() == 0:
        return None
    # Two or three speakers say nothing of a fourth: t(1) and t(2) give intervals beyond all sense.
    known = all(speaker is not None for speaker in speakers) and len(set(speakers)) >= MIN_SPEAKERS
    unit = "speaker" if known else "utterance"
    if e.sum() == 0:
        return Interval(0.0, 1.0 - 0.025 ** (1.0 / w.sum()), "exact binomial (no errors)", "word")
    if (e == w).all():
        return Interval(0.025 ** (1.0 / w.sum()), 1.0, "exact binomial (as many errors as words)", "word")
    if known:
        _, group = np.unique(np.asarray(speakers, dtype=str), return_inverse=True)
        e, w = np.bincount(group, e), np.bincount(group, w)
    if len(e) == 1:
        return Interval(0.0, max(1.0, float(e[0] / w[0])), "none possible (one utterance)", unit)
    if len(e) < MIN_UNITS:
        rate, _, reach = linearized_ratio(e, w)
        low, high, method = max(0.0, rate - reach), rate + reach, f"cluster-robust, t({len(e) - 1})"
    else:
        low, high = _bootstrap(e, w, seed)
        method = f"bootstrap, {BOOTSTRAP_DRAWS} draws"
    if min(e.sum(), abs(w.sum() - e.sum())) < FEW_ERRORS or len(e) < MIN_UNITS or low == high:
        exact_low, exact_high, exact = _exact(float(e.sum()), float(w.sum()))
        low, high, method = min(low, exact_low), max(high, exact_high), f"{method}, no narrower than exact {exact}"
    return Interval(low, min(high, _highest(e, w)), method, unit)


def _highest(e: np.ndarray, w: np.ndarray) -> float:
    """What the rate can be: beyond 1 only where some unit has more errors than words, which takes insertions."""
    return 1.0 if (e <= w).all() else math.inf


def _bootstrap(e: np.ndarray, w: np.ndarray, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(0, BOOTSTRAP_DRAWS, 500):  # in blocks: (500, units) fits in memory for any test set
        drawn = rng.integers(len(e), size=(500, len(e)))
        totals = w[drawn].sum(1)
        rates.append(e[drawn].sum(1)[totals > 0] / totals[totals > 0])
    low, high = np.quantile(np.concatenate(rates), [0.025, 0.975])
    return float(low), float(high)


def _exact(errors: float, words: float) -> tuple[float, float, str]:
    """Binomial, over words of which each is right or wrong; where insertions are more than that, of Poisson (Garwood
    1936)."""
    from scipy.stats import beta, gamma

    if errors > words:
        return float(gamma.ppf(0.025, errors)) / words, float(gamma.ppf(0.975, errors + 1)) / words, "Poisson"
    high = 1.0 if errors == words else float(beta.ppf(0.975, errors + 1, words - errors))
    return float(beta.ppf(0.025, errors, words - errors + 1)), high, "binomial"


def linearized_ratio(e: np.ndarray, w: np.ndarray) -> tuple[float, float, float]:
    """sum(e) / sum(w) over two units or more, its standard deviation (Cochran 1977, section 6.3), and how far its 95 %
    interval reaches, by Student's t."""
    from scipy.special import stdtrit

    count = len(e)
    rate = float(e.sum() / w.sum())
    deviation = math.sqrt(count / (count - 1) * float(np.square(e - rate * w).sum())) / float(w.sum())
    return rate, deviation, float(stdtrit(count - 1, 0.975)) * deviation


@dataclass(frozen=True)
class Comparison:
    """WERs as fractions; difference: second minus first, with its 95 % interval and the probability of one as large
    where both are equally good (two-sided); None where there are too few units to tell. unit: what was paired."""

    words: int
    first: float
    second: float
    low: float | None
    high: float | None
    p_value: float | None
    unit: str

    @property
    def difference(self) -> float:
        return self.second - self.first

    @property
    def relative(self) -> float | None:
        """Share of the first's errors that the second has more."""
        return self.difference / self.first if self.first else None


def compare(first: Path, second: Path) -> Comparison:
    """first, second: folders that `asr evaluate --output-dir` wrote.

    Paired by speaker, or by utterance with fewer than four speakers: the linearized ratio's t-test on the differences
    in errors; by word where these are the same everywhere. The interval ends at ±1 where those of the rates end at 1.
    Raises AsrError for folders without texts, or of other test sets.
    """
    from scipy.special import stdtr

    ours, theirs = read_pairs(first), read_pairs(second)
    references = [{name: pair.reference for name, pair in side.items()} for side in (ours, theirs)]
    differing = [name for name in ours | theirs if references[0].get(name) != references[1].get(name)]
    if differing:
        raise AsrError(f"{first} and {second} are not of the same test set: utterance {differing[0]} differs")
    errors = np.array([[sum(_counts(side[name])[1:]) for side in (ours, theirs)] for name in ours], dtype=np.float64)
    words: np.ndarray = np.array([len(pair.reference.split()) for pair in ours.values()], dtype=np.float64)
    if not words.sum():
        raise AsrError(f"{first}: no words to compare with")
    speakers, group = np.unique([re.split("[-_]", name)[0] for name in ours], return_inverse=True)
    before, after = (errors.sum(0) / words.sum()).tolist()
    old, new = errors.T
    unit = "utterance"
    if MIN_SPEAKERS <= len(speakers) < len(ours):
        old, new, words = (np.bincount(group, counts) for counts in (old, new, words))
        unit = "speaker"
    low = high = p_value = None
    if len(old) > 1:
        rate, deviation, reach = linearized_ratio(new - old, words)
        low, high = rate - reach, rate + reach
        if deviation > 1e-9:  # which is none, but for rounding
            p_value = float(2.0 * stdtr(len(old) - 1, -abs(rate) / deviation))
        else:
            low, high, p_value, unit = *_even_change(float((new - old).sum()), float(words.sum())), "word"
        low, high = max(low, -_highest(old, words)), min(high, _highest(new, words))
    return Comparison(int(words.sum()), before, after, low, high, p_value, unit)


def _even_change(change: float, words: float) -> tuple[float, float, float]:
    """Low, high and p-value of a change of so many errors that is the same everywhere, so that only the words' number
    tells of chance: the exact interval and the sign test."""
    if not change:
        return 0.0, 0.0, 1.0
    low, high, _ = _exact(abs(change), words)
    return *((low, high) if change > 0 else (-high, -low)), min(1.0, 2.0 ** (1.0 - abs(change)))


def read_pairs(folder: Path) -> dict[str, Pair]:
    """{id: references and hypotheses} from ref.trn and hyp.trn."""
    texts = []
    for name in ("ref.trn", "hyp.trn"):
        path = folder / name
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise AsrError(f"{path}: {error}; asr evaluate --output-dir {folder} writes it") from None
        found = [LINE.fullmatch(line) for line in lines]
        if None in found:
            raise AsrError(f"{path}, line {found.index(None) + 1}: not 'text (id)'")
        texts.append({match[2]: match[1] for match in found if match is not None})
    references, hypotheses = texts
    if references.keys() != hypotheses.keys():
        raise AsrError(f"{folder}: ref.trn and hyp.trn hold other utterances")
    return {name: Pair(name, text, hypotheses[name]) for name, text in references.items()}
