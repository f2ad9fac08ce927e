"""Tokens of a hypothesis -> words: where they are in the audio, and how likely they are right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import ctc_loss
from torch.nn.utils.rnn import pad_sequence

from asr.decode.types import Decoder, Hypothesis, Word
from asr.model.recognizer import Recognizer
from asr.text import Tokenizer

PAUSE_S = 0.12  # as long a quiet ends a word; the stop inside "eight" is shorter
ONSET_S = 0.25  # no word begins more than this before its frames say
TAIL_S = 1.0  # no word lasts longer than this beyond its last frame
MAX_LOGIT = 13.8  # of a raw confidence: 1 − 1e-6


def word_spans(token_ids: list[int], tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """A word is token_ids[first:end], without the spaces around it."""
    if tokenizer.kind == "words":
        return [(i, i + 1) for i in range(len(token_ids))]
    spaces = [-1, *(i for i, token in enumerate(token_ids) if token == tokenizer.space), len(token_ids)]
    return [(a + 1, b) for a, b in pairwise(spaces) if b > a + 1]


def with_confidence(
    decoder: Decoder, recognizer: Recognizer, platt_scaling: tuple[float, float] | None = None
) -> Callable[[Tensor, Tensor], list[Hypothesis]]:
    """The decoder, made to give a confidence for every word. It is calibrated by platt_scaling, or else as the decoder
    says, or else the recognizer."""
    slope, offset = platt_scaling or decoder.platt_scaling or recognizer.platt_scaling

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
    """(T, V) -> (words,) probabilities, float64: of a word with the spaces on both sides in the frames
    that the best path gives them, summed over all alignments (CTC's forward variable, Graves et al. 2006)."""
    windows, targets = [], []
    for first, end in word_spans(hypothesis.token_ids, tokenizer):
        if tokenizer.kind != "words":
            first, end = max(0, first - 1), min(len(hypothesis.token_ids), end + 1)
        windows.append(log_probs[hypothesis.start_frames[first] : hypothesis.end_frames[end - 1]])
        targets.append(hypothesis.token_ids[first:end])
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
    spans = word_spans(hypothesis.token_ids, recognizer.tokenizer)
    if not spans:
        return []
    start_frames = np.array([hypothesis.start_frames[first] for first, _ in spans])
    end_frames = np.array([hypothesis.end_frames[end - 1] for _, end in spans])
    edges = seconds_of(recognizer, start_frames, end_frames)
    starts, ends = word_edges(samples, recognizer.sample_rate, *edges)
    texts = [recognizer.tokenizer.decode(hypothesis.token_ids[first:end]) for first, end in spans]
    # As the caller counts it: the sum of two times may be rounded up beyond it.
    over_s = (round(start_s * recognizer.sample_rate) + len(samples)) / recognizer.sample_rate
    rows = zip(texts, starts.tolist(), ends, hypothesis.confidence, strict=True)
    return [
        Word(text, min(start_s + start, over_s), min(start_s + end, over_s), confidence)
        for text, start, end, confidence in rows
    ]


def seconds_of(recognizer: Recognizer, first: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) first frames, and frames after the last, of tokens or words -> seconds where they begin and where they end.

    They begin emission_delay_s before their first frame, but not before the last frame of the one before is over.
    """
    lasts = (end - 0.5) * recognizer.frame_s
    return np.maximum(first * recognizer.frame_s - recognizer.emission_delay_s, np.append(0.0, lasts[:-1])), lasts


def word_edges(
    samples: np.ndarray, sample_rate: int, starts: np.ndarray, lasts: np.ndarray
) -> tuple[np.ndarray, list[float]]:
    """(words,) seconds where words begin by their frames, and where their last frames end -> their starts, their ends.

    CTC fires in a fraction of a word, so the loudness tells how far it reaches: to the next pause, which is where for
    PAUSE_S it stays below the middle, in decibels, between the word's loudest moment and the recording's quiet ones.
    Where no pause is near, a word begins where its frames say and lasts until the next one.
    """
    cell = sample_rate // 100
    cell_s = cell / sample_rate
    cells = samples[: len(samples) // cell * cell].reshape(-1, cell)
    levels = 10.0 * np.log10(np.einsum("ij,ij->i", cells, cells, dtype=np.float64) / cell + 1e-10)
    floor = np.percentile(levels, 5) if len(levels) else 0.0
    earliest = np.maximum(np.append(0.0, lasts[:-1]), starts - ONSET_S - PAUSE_S)
    latest = np.minimum(lasts + TAIL_S, np.append(starts[1:], len(samples) / sample_rate))

    def pauses(begin_s: float, end_s: float, threshold: float) -> list[tuple[float, float]]:
        first, end = int(begin_s / cell_s), int(end_s / cell_s)
        loud = first + np.flatnonzero(levels[first:end] >= threshold)
        places = np.concatenate([[first - 1], loud, [max(first, end)]])
        long = np.flatnonzero(np.diff(places) > PAUSE_S / cell_s)
        return [((places[i] + 1) * cell_s, places[i + 1] * cell_s) for i in long.tolist()]

    new_starts, ends = starts.copy(), latest.tolist()
    for i, (start, last, end) in enumerate(zip(starts.tolist(), lasts.tolist(), ends, strict=True)):
        loudest = levels[int(start / cell_s) : int(end / cell_s)].max(initial=-100.0)
        threshold = (loudest + max(floor, loudest - 60.0)) / 2
        if found := pauses(earliest[i], start, threshold):
            new_starts[i] = min(start, found[-1][1])
        if found := pauses(last, end, threshold):
            ends[i] = min(max(last, found[0][0]), end)
    # A word without a pause behind it lasts until the next one, which may have moved to an earlier place.
    return new_starts, np.minimum(ends, np.append(new_starts[1:], np.inf)).tolist()
