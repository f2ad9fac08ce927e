"""What decoding gives: hypotheses of tokens, words with times; and what a decoder is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor


@dataclass(frozen=True)
class Hypothesis:
    """What was read in one utterance: token i lies in frames start_frames[i] up to, not including, end_frames[i].

    confidence: of each word, in [0, 1], where asr.decode.timing.with_confidence has added it.
    """

    token_ids: list[int]
    start_frames: list[int]
    end_frames: list[int]
    confidence: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class TimedText:
    """A piece of text; start and end in seconds from the beginning of the recording."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Word(TimedText):
    """A word that was heard. confidence: the calibrated probability, in [0, 1], that it is right."""

    confidence: float


@dataclass(frozen=True)
class AlignedToken(TimedText):
    """A token of a text that was given. score: its mean probability in its frames, in [0, 1] and not calibrated: low
    where something else was said."""

    score: float


@dataclass(frozen=True)
class AlignedWord(AlignedToken):
    """A word as the text writes it, its score as of a token, and the tokens that the model knows it by."""

    tokens: tuple[AlignedToken, ...]


class Decoder(Protocol):
    """Turns log-probabilities into hypotheses: asr.decode.greedy.greedy, or an asr.decode.beam.BeamSearch."""

    @property
    def platt_scaling(self) -> tuple[float, float] | None:
        """Slope and offset that calibrate the confidence of what this decoder finds; None: those of the recognizer."""

    def __call__(self, log_probs: Tensor, lengths: Tensor, /) -> list[Hypothesis]:
        """log_probs: (B, T, V), lengths: (B,) -> one hypothesis an utterance."""
