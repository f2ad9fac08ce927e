"""Greedy CTC decoding: the best symbol of every frame, repeats merged, blanks removed (Graves et al. 2006)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from asr.text import Tokenizer


@dataclass(frozen=True)
class Hypothesis:
    """Tokens of one utterance; token i was read off frames first[i] up to, not including, end[i] of log_probs.

    confidence[i] is the highest probability the token has in its frames, in [0, 1].
    blank_share: share of frames whose best symbol is the blank.
    """

    tokens: list[int]
    first: list[int]
    end: list[int]
    confidence: list[float]
    blank_share: float


@dataclass(frozen=True)
class Word:
    """A word with start and end in seconds from the beginning of the audio, and a confidence in [0, 1]."""

    text: str
    start: float
    end: float
    confidence: float


def greedy(log_probs: Tensor, lengths: Tensor) -> list[Hypothesis]:
    """log_probs: (batch, frames, vocabulary), lengths: (batch,) -> one hypothesis an utterance."""
    best, symbols = log_probs.max(dim=-1)
    best, symbols, counts = best.exp().cpu(), symbols.cpu(), lengths.tolist()
    return [_collapse(symbols[i, :n], best[i, :n]) for i, n in enumerate(counts)]


def _collapse(symbols: Tensor, probabilities: Tensor) -> Hypothesis:
    values, runs = torch.unique_consecutive(symbols, return_counts=True)
    ends = runs.cumsum(0)
    hypothesis = Hypothesis([], [], [], [], float((symbols == 0).float().mean()) if len(symbols) else 1.0)
    for token, run, end in zip(values.tolist(), runs.tolist(), ends.tolist(), strict=True):
        if token != 0:
            hypothesis.tokens.append(token)
            hypothesis.first.append(end - run)
            hypothesis.end.append(end)
            hypothesis.confidence.append(float(probabilities[end - run : end].max()))
    return hypothesis


def words(hypothesis: Hypothesis, tokenizer: Tokenizer, frame_s: float, start_s: float, end_s: float) -> list[Word]:
    """Group tokens into words. A frame covers frame_s seconds around its centre; frame 0 is centred on start_s, and
    no word ends after end_s.

    A word's confidence is the geometric mean over its tokens.
    """
    groups: list[list[int]] = [[]]
    for position, token in enumerate(hypothesis.tokens):
        if tokenizer.kind == "words":
            groups.append([position])
        elif tokenizer.tokens[token] == " ":
            groups.append([])
        else:
            groups[-1].append(position)
    out = []
    for group in filter(None, groups):
        confidence = torch.tensor([hypothesis.confidence[i] for i in group], dtype=torch.float64)
        out.append(
            Word(
                text="".join(tokenizer.tokens[hypothesis.tokens[i]] for i in group),
                start=start_s + max(0.0, (hypothesis.first[group[0]] - 0.5) * frame_s),
                end=min(end_s, start_s + (hypothesis.end[group[-1]] - 0.5) * frame_s),
                confidence=float(confidence.log().mean().exp().clamp(0.0, 1.0)),
            )
        )
    return out
