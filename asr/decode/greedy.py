"""Greedy CTC decoding (Graves et al. 2006)."""

from __future__ import annotations

import torch
from torch import Tensor

from asr.decode.types import Hypothesis


class GreedySearch:
    """The best symbol of every frame, repeats merged, blanks removed (Graves et al. 2006)."""

    platt_scaling = None

    def __call__(self, log_probs: Tensor, lengths: Tensor, /) -> list[Hypothesis]:
        """log_probs: (B, T, V), lengths: (B,) -> one hypothesis an utterance."""
        symbols = log_probs.argmax(dim=-1).cpu()  # (B, T)
        return [_collapse(row[:n]) for row, n in zip(symbols, lengths.tolist(), strict=True)]


greedy = GreedySearch()


def _collapse(symbols: Tensor) -> Hypothesis:
    values, runs = torch.unique_consecutive(symbols, return_counts=True)
    ends, spoken = runs.cumsum(0), values != 0
    return Hypothesis(values[spoken].tolist(), (ends - runs)[spoken].tolist(), ends[spoken].tolist())
