"""References and hypotheses -> error counts, rates, interval. The alignment is jiwer's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from asr.evaluate.interval import Interval, rate_interval


@dataclass(frozen=True)
class Pair:
    """One scored utterance: normalized texts. confidence: of each word of the hypothesis, where it is known."""

    id: str
    reference: str
    hypothesis: str
    speaker: str | None = None
    confidence: tuple[float, ...] = ()


@dataclass(frozen=True)
class Scores:
    """Counts over a test set. Rates are fractions, None where there are no reference words (characters)."""

    utterances: int
    words: int
    hits: int
    substitutions: int
    deletions: int
    insertions: int
    wrong_utterances: int
    wer: float | None
    cer: float | None
    interval: Interval | None
    empty_hypotheses: int

    @property
    def ser(self) -> float | None:
        """Share of utterances with any error."""
        return self.wrong_utterances / self.utterances if self.utterances else None

    @property
    def errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions


def score(pairs: Sequence[Pair], seed: int = 0) -> Scores:
    """Word and character errors of a test set. An empty reference costs one insertion a word of its hypothesis."""
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
        wrong_utterances=sum(count > 0 for count in errors),
        wer=sum(errors) / sum(words) if sum(words) else None,
        cer=_cer(pairs),
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


def _cer(pairs: Sequence[Pair]) -> float | None:
    from rapidfuzz.distance import Levenshtein  # jiwer's own edit distance, without an alignment

    characters = sum(len(pair.reference) for pair in pairs)
    if characters == 0:
        return None
    return sum(Levenshtein.distance(pair.reference, pair.hypothesis) for pair in pairs) / characters
