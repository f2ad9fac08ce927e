"""Tokens of a hypothesis -> words: where they are in the audio, and how likely they are right."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import ctc_loss
from torch.nn.utils.rnn import pad_sequence

from asr.decode.align import seconds_of, word_edges
from asr.decode.batch import Decoder
from asr.decode.greedy import Hypothesis, Word
from asr.model.recognizer import Recognizer
from asr.text import Tokenizer

MAX_LOGIT = 13.8  # of a raw confidence: 1 − 1e-6


def word_spans(tokens: list[int], tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """A word is tokens[first:end], without the spaces around it."""
    if tokenizer.kind == "words":
        return [(i, i + 1) for i in range(len(tokens))]
    spaces = [-1, *(i for i, token in enumerate(tokens) if token == tokenizer.space), len(tokens)]
    return [(a + 1, b) for a, b in pairwise(spaces) if b > a + 1]


def with_confidence(
    decoder: Decoder, recognizer: Recognizer, platt_scaling: tuple[float, float] | None = None
) -> Decoder:
    """The same decoder, its hypotheses with a confidence for every word, calibrated as the language model says that the
    decoder uses, or else the recognizer, or by the map given."""
    slope, offset = platt_scaling or getattr(decoder, "platt_scaling", None) or recognizer.platt_scaling

    def decode(log_probs: Tensor, lengths: Tensor) -> list[Hypothesis]:
        out = []
        for rows, hypothesis in zip(log_probs.double().cpu(), decoder(log_probs, lengths), strict=True):
            raw = word_posteriors(rows, hypothesis, recognizer.tokenizer)
            logits = raw.logit().clamp(-MAX_LOGIT, MAX_LOGIT)
            mapped = (slope * logits + offset).sigmoid() if (slope, offset) != (1.0, 0.0) else raw
            out.append(replace(hypothesis, confidence=mapped.tolist()))
        return out

    return decode


def word_posteriors(log_probs: Tensor, hypothesis: Hypothesis, tokenizer: Tokenizer) -> Tensor:
    """(frames, vocabulary) -> (words,) probabilities, float64: of a word with the spaces on both sides in the frames
    that the best path gives them, summed over all alignments (CTC's forward variable, Graves et al. 2006)."""
    windows, targets = [], []
    for first, end in word_spans(hypothesis.tokens, tokenizer):
        if tokenizer.kind != "words":
            first, end = max(0, first - 1), min(len(hypothesis.tokens), end + 1)
        windows.append(log_probs[hypothesis.first[first] : hypothesis.end[end - 1]])
        targets.append(hypothesis.tokens[first:end])
    if not windows:
        return torch.zeros(0, dtype=torch.float64)
    losses = ctc_loss(
        pad_sequence(windows),
        torch.tensor([token for target in targets for token in target]),
        torch.tensor([len(window) for window in windows]),
        torch.tensor([len(target) for target in targets]),
        reduction="none",
    )
    return losses.neg().exp().nan_to_num(0.0).clamp(0.0, 1.0)


def timed_words(recognizer: Recognizer, hypothesis: Hypothesis, samples: np.ndarray, start_s: float) -> list[Word]:
    """The words of a hypothesis of (samples,) float32 that begin start_s into a recording.

    As in an alignment: a word begins emission_delay_s before its first frame, or with its sound after a pause, and ends
    where the next word or a pause begins.
    """
    spans = word_spans(hypothesis.tokens, recognizer.tokenizer)
    if not spans:
        return []
    firsts = np.array([hypothesis.first[first] for first, _ in spans])
    ends = np.array([hypothesis.end[end - 1] for _, end in spans])
    starts, ends = word_edges(samples, recognizer.sample_rate, *seconds_of(recognizer, firsts, ends))
    texts = [recognizer.tokenizer.decode(hypothesis.tokens[first:end]) for first, end in spans]
    # As the caller counts it: the sum of two times may be rounded up beyond it.
    over_s = (round(start_s * recognizer.sample_rate) + len(samples)) / recognizer.sample_rate
    rows = zip(texts, starts.tolist(), ends, hypothesis.confidence, strict=True)
    return [
        Word(text, min(start_s + start, over_s), min(start_s + end, over_s), confidence)
        for text, start, end, confidence in rows
    ]
