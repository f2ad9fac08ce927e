"""The CTC head and its loss (Graves et al. 2006)."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import ctc_loss

from asr.features import length_mask

BLANK_INDEX = 0


class CTCHead(nn.Module):
    """(B, T, D) -> log_probs: (B, T, V), in the weights' own precision (float32).

    Its weights start at zero: every symbol is equally likely in every frame. From there CTC first learns the blank
    (Zeyer et al. 2021), and then symbols where the audio shows them. A random start often ends in another solution that
    generalizes badly: long runs of symbols without blanks, timed by counting frames.
    """

    def __init__(self, inputs: int, vocabulary: int) -> None:
        super().__init__()
        self.projection = nn.Linear(inputs, vocabulary)
        nn.init.zeros_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(x.to(self.projection.weight.dtype)).log_softmax(dim=-1)


class Loss(NamedTuple):
    """The loss of a batch. All but `utterances` are scalars on the device.

    total: sum of −ln p(tokens | audio) over the utterances, in nats; infeasible: how many utterances have too few
    frames for CTC, and contribute 0; blank_fraction: share of frames whose best symbol is the blank (near 1: the model
    has learned nothing else yet); symbols_per_frame: symbols that greedy decoding outputs, per frame.
    """

    total: Tensor
    utterances: int
    infeasible: Tensor
    blank_fraction: Tensor
    symbols_per_frame: Tensor


def frames_needed(tokens: Tensor, token_lengths: Tensor) -> Tensor:
    """`asr.lengths.min_frames` of a batch: tokens: (B, U), padded, token_lengths: (B,) -> (B,)."""
    repeats = (tokens[:, 1:] == tokens[:, :-1]) & length_mask(token_lengths - 1, max(tokens.shape[1] - 1, 0))
    return token_lengths + repeats.sum(1)


def ctc(log_probs: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor) -> Loss:
    """Negative log-likelihood summed over the batch; divide by the utterances of the whole accumulated batch.

    log_probs: (B, T, V) from log_softmax (PyTorch's gradient is right only through it), lengths: (B,), tokens: (B, U),
    token_lengths: (B,).
    Infeasible utterances give zero loss and zero gradient and are counted, never inf.
    """
    infeasible = frames_needed(tokens, token_lengths) > lengths  # (B,)
    losses = ctc_loss(
        log_probs.transpose(0, 1), tokens, lengths, token_lengths, BLANK_INDEX, reduction="none", zero_infinity=True
    )  # (B,)
    inside = length_mask(lengths, log_probs.shape[1])  # (B, T)
    best = log_probs.detach().argmax(-1)  # (B, T)
    blank = best == BLANK_INDEX
    new = nn.functional.pad(best[:, 1:] != best[:, :-1], (1, 0), value=True)  # where a run of symbols begins
    frames = inside.sum()
    blank_fraction = (blank & inside).sum() / frames
    symbols_per_frame = (new & ~blank & inside).sum() / frames
    return Loss(losses.sum(), len(lengths), infeasible.sum(), blank_fraction, symbols_per_frame)
