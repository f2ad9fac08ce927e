"""Two evaluations of the same test set: is one better, or was it chance?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.errors import AsrError
from asr.evaluate.interval import MIN_SPEAKERS, linearized_ratio
from asr.evaluate.score import Pair, score

LINE = re.compile(r"(.*?) ?\(([^()\s]+)\)")  # of a trn file: text (id)


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
    in errors. Raises AsrError for folders without texts, or of other test sets.
    """
    ours, theirs = read_pairs(first), read_pairs(second)
    if {pair.id: pair.reference for pair in ours.values()} != {pair.id: pair.reference for pair in theirs.values()}:
        other = next(name for name in [*ours, *theirs] if _reference(ours, name) != _reference(theirs, name))
        raise AsrError(f"{first} and {second} are not of the same test set: utterance {other} differs")
    errors = np.array([[score([side[name]]).errors for side in (ours, theirs)] for name in ours], dtype=np.float64)
    words: np.ndarray = np.array([len(pair.reference.split()) for pair in ours.values()], dtype=np.float64)
    if not words.sum():
        raise AsrError(f"{first}: no words to compare with")
    speakers, group = np.unique([re.split("[-_]", name)[0] for name in ours], return_inverse=True)
    before, after = (errors.sum(0) / words.sum()).tolist()
    change: np.ndarray = errors[:, 1] - errors[:, 0]
    unit = "utterance"
    if MIN_SPEAKERS <= len(speakers) < len(ours):
        change, words, unit = np.bincount(group, change), np.bincount(group, words), "speaker"
    return Comparison(int(words.sum()), before, after, *_paired(change, words), unit)


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


def _reference(pairs: dict[str, Pair], name: str) -> str | None:
    return pairs[name].reference if name in pairs else None


def _paired(change: np.ndarray, words: np.ndarray) -> tuple[float | None, float | None, float | None]:
    """95 % interval of sum(change) / sum(words), and the two-sided p-value of its being 0."""
    from scipy.special import stdtr

    if len(change) < 2:
        return None, None, None
    rate, deviation, reach = linearized_ratio(change, words)
    p_value = float(2.0 * stdtr(len(change) - 1, -abs(rate) / deviation)) if deviation else float(rate == 0.0)
    return rate - reach, rate + reach, p_value
