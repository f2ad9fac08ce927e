"""The Decoder protocol, greedy decoding, decoding of waveforms in batches, and word confidences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import ctc_loss
from torch.nn.utils.rnn import pad_sequence

from asr.data.batches import duration_batches
from asr.model.recognizer import Recognizer
from asr.text import Tokenizer

BATCH_S = 120.0  # seconds of audio computed at once, padding included
MAX_LOGIT = 13.8  # of a raw confidence, which is then 1 − 1e-6
GREEDY: dict[str, Any] = {"kind": "greedy", "beam": None, "lm": None, "weights": None}  # of `wer.json`

Result = TypeVar("Result")


@dataclass(frozen=True)
class Hypothesis:
    """The decoded tokens of one utterance: token i lies in frames start_frames[i] up to, not including, end_frames[i].

    confidence: of each word, in [0, 1]; empty unless `with_confidence` has added it. words: those that a search found,
    where tokens do not spell them, see `words_of`.
    """

    token_ids: list[int]
    start_frames: list[int]
    end_frames: list[int]
    confidence: list[float] = field(default_factory=list)
    words: list[str] | None = None


class Decoder(Protocol):
    """Turns log-probabilities into hypotheses: `greedy`, or an asr.decode.beam.BeamSearch."""

    @property
    def platt_scaling(self) -> tuple[float, float] | None:
        """Slope and offset that calibrate the confidence of what this decoder finds; None: those of the recognizer."""

    def __call__(self, log_probs: Tensor, lengths: Tensor, /) -> list[Hypothesis]:
        """log_probs: (B, T, V), lengths: (B,) -> one hypothesis an utterance."""


class GreedySearch:
    """The best symbol of every frame, repeats merged, blanks removed (Graves et al. 2006)."""

    platt_scaling = None

    def __call__(self, log_probs: Tensor, lengths: Tensor, /) -> list[Hypothesis]:
        out = []
        for row, n in zip(log_probs.argmax(dim=-1).cpu(), lengths.tolist(), strict=True):
            symbols, runs = torch.unique_consecutive(row[:n], return_counts=True)
            ends, spoken = runs.cumsum(0), symbols != 0
            found = symbols[spoken], (ends - runs)[spoken], ends[spoken]
            out.append(Hypothesis(*(values.tolist() for values in found)))
        return out


greedy = GreedySearch()


def log_prob_rows(log_probs: Tensor, lengths: Tensor) -> list[np.ndarray]:
    """For `decode_waveforms`, in place of a decoder: (B, T, V) and lengths -> the (T, V) float32 of each utterance."""
    rows = log_probs.detach().float().cpu().numpy()
    return [row[:n] for row, n in zip(rows, lengths.tolist(), strict=True)]


def decode_waveforms(
    recognizer: Recognizer, waveforms: Sequence[np.ndarray], decode: Callable[[Tensor, Tensor], list[Result]]
) -> list[Result]:
    """Run the recognizer on (samples,) float32 waveforms at its rate, in batches of similar length, and `decode` on its
    log-probabilities. Returns the results in the order of the waveforms."""
    found: dict[int, Result] = {}
    lengths = np.array([len(waveform) for waveform in waveforms])
    for batch in duration_batches(lengths / recognizer.sample_rate, BATCH_S):
        padded = torch.zeros(len(batch), int(lengths[batch].max()))  # (B, samples)
        for row, index in enumerate(batch):
            padded[row, : lengths[index]] = torch.from_numpy(waveforms[index])
        with torch.inference_mode():
            log_probs, frames = recognizer(
                padded.to(recognizer.device), torch.from_numpy(lengths[batch]).to(recognizer.device)
            )  # (B, T, V), (B,)
        found.update(zip(batch, decode(log_probs, frames), strict=True))
    return [found[i] for i in range(len(waveforms))]


def with_confidence(
    decoder: Decoder, recognizer: Recognizer, platt_scaling: tuple[float, float] | None = None
) -> Callable[[Tensor, Tensor], list[Hypothesis]]:
    """Wrap a decoder so that its hypotheses have a confidence for every word. It is calibrated by the given
    platt_scaling, by default the decoder's, or if that has none the recognizer's."""
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


def word_spans(token_ids: list[int], tokenizer: Tokenizer) -> list[tuple[int, int]]:
    """(first, end) of each word: token_ids[first:end] are its tokens, without the spaces around it."""
    if tokenizer.kind == "words":
        return [(i, i + 1) for i in range(len(token_ids))]
    if tokenizer.kind == "subwords":
        edges = [0, *(i for i, token in enumerate(token_ids) if i > 0 and tokenizer.begins_word(token)), len(token_ids)]
        return [(a, b) for a, b in pairwise(edges) if tokenizer.decode(token_ids[a:b])]  # a mark alone is no word
    spaces = [-1, *(i for i, token in enumerate(token_ids) if token == tokenizer.space), len(token_ids)]
    return [(a + 1, b) for a, b in pairwise(spaces) if b > a + 1]


def words_of(hypothesis: Hypothesis, tokenizer: Tokenizer) -> list[str]:
    """The words of a hypothesis, one for each of its `word_spans`."""
    if hypothesis.words is not None:
        return hypothesis.words
    return [tokenizer.decode(hypothesis.token_ids[a:b]) for a, b in word_spans(hypothesis.token_ids, tokenizer)]


def word_posteriors(log_probs: Tensor, hypothesis: Hypothesis, tokenizer: Tokenizer) -> Tensor:
    """(T, V) -> (words,) float64: the probability of each word, with the spaces on both sides, within its frames,
    summed over all alignments (CTC's forward variable, Graves et al. 2006)."""
    windows, targets = [], []
    for first, end in word_spans(hypothesis.token_ids, tokenizer):
        if tokenizer.space >= 0:
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
