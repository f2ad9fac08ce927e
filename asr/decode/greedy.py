"""Greedy CTC decoding: the best symbol of every frame, repeats merged, blanks removed (Graves et al. 2006)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Hypothesis:
    """Tokens of one utterance; token i was read off frames first[i] up to, not including, end[i] of log_probs.

    confidence: of each word, in [0, 1], where asr.decode.timing.with_confidence has added it.
    """

    tokens: list[int]
    first: list[int]
    end: list[int]
    confidence: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Word:
    """A word with start and end in seconds from the beginning of the audio, and a confidence in [0, 1]."""

    text: str
    start: float
    end: float
    confidence: float


def greedy(log_probs: Tensor, lengths: Tensor) -> list[Hypothesis]:
    """log_probs: (batch, frames, vocabulary), lengths: (batch,) -> one hypothesis an utterance."""
    symbols = log_probs.argmax(dim=-1).cpu()
    return [_collapse(row[:n]) for row, n in zip(symbols, lengths.tolist(), strict=True)]


def _collapse(symbols: Tensor) -> Hypothesis:
    values, runs = torch.unique_consecutive(symbols, return_counts=True)
    ends, spoken = runs.cumsum(0), values != 0
    return Hypothesis(values[spoken].tolist(), (ends - runs)[spoken].tolist(), ends[spoken].tolist())
