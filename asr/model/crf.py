"""CTC-CRF: the loss of CTC, normalized over all label sequences instead of frame by frame (Xiang and Ou 2019).

    −ln p(tokens | audio) = −ln p_CTC(tokens | audio) − ln p_LM(tokens) + ln Z

Z sums every path of CTC through the frames, each weighted by the probability that a fixed n-gram gives its labels. So
the network learns what sets the tokens apart from all that could have been said, and leaves to the n-gram what that
knows by itself.

A table of the n-gram is a tensor (V, V) for bigrams or (V, V, V) for trigrams: p(last token | those before it). A 0
there, the blank elsewhere, is the beginning of the utterance as a token before, and its end as the last token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from asr.features import length_mask
from asr.model.ctc import BLANK_INDEX, Loss, ctc, frames_needed


def ctc_crf(
    log_probs: Tensor, lengths: Tensor, tokens: Tensor, token_lengths: Tensor, table: Tensor, ctc_weight: float
) -> Loss:
    """−ln p(tokens | audio) as above plus ctc_weight × the loss of CTC; all else is as for `ctc`.

    table: of the n-gram, positive, on the device and of the type of log_probs.
    """
    loss = ctc(log_probs, lengths, tokens, token_lengths)
    rest = log_partition(log_probs, lengths, table) - ngram_log_probs(tokens, token_lengths, table)  # (B,)
    feasible = frames_needed(tokens, token_lengths) <= lengths
    return loss._replace(total=(1.0 + ctc_weight) * loss.total + torch.where(feasible, rest, 0.0).sum())


def ngram_log_probs(tokens: Tensor, token_lengths: Tensor, table: Tensor) -> Tensor:
    """(B,) ln probability of each utterance's tokens and of its end. tokens: (B, U), token_lengths: (B,)."""
    order, count = table.dim(), tokens.shape[1]
    inside = length_mask(token_lengths, count)  # (B, U)
    padded = pad(torch.where(inside, tokens, 0), (order - 1, 1))  # (B, order − 1 + U + 1), the ends included
    log_probs = table[tuple(padded[:, n : n + count + 1] for n in range(order))].log()  # (B, U + 1)
    return torch.where(length_mask(token_lengths + 1, count + 1), log_probs, 0.0).sum(1)


def log_partition(log_probs: Tensor, lengths: Tensor, table: Tensor) -> Tensor:
    """(B,) ln Z. Its gradient with respect to log_probs is the probability of each symbol in each frame.

    log_probs: (B, T, V), lengths: (B,). Keeps V ** (order − 1) numbers a frame for the backward pass.
    """
    outside = ~length_mask(lengths, log_probs.shape[1]).unsqueeze(-1)  # (B, T, 1)
    # Frames past the end are certain blanks. They change no sum, and their gradient ends here.
    blank = log_probs.new_full((log_probs.shape[2],), -torch.inf)
    blank[BLANK_INDEX] = 0.0
    return _LogPartition.apply(torch.where(outside, blank, log_probs), table)


class _Paths:
    """The states of the paths: which labels came last, and whether the last symbol is the label or a blank after it.

    What belongs to states is (L, B, H). L: the last label, H: the one before. Bigrams need the last label alone: there
    L is 1, H the last label. After a step the last label has become the one before: `turned`.

    step: (L, H, V) probabilities of the next label, 0 for the last one's own; again: (L, 1, H) that of the last one's
    own, which takes a blank between; end: (L, 1, H) that of the end.
    """

    def __init__(self, table: Tensor) -> None:
        self.trigrams = table.dim() == 3
        self.step = (table.transpose(0, 1) if self.trigrams else table.unsqueeze(0)).clone()
        self.end = self.step[..., 0].unsqueeze(1)
        self.end, self.step[..., 0] = self.end.clone(), 0.0
        own = self.step.diagonal(dim1=0, dim2=2).t() if self.trigrams else self.step.diagonal(dim1=1, dim2=2)
        self.again = own.unsqueeze(1).clone()
        own.zero_()

    def turned(self, x: Tensor) -> Tensor:
        return x.transpose(0, 2) if self.trigrams else x

    def own(self, x: Tensor) -> Tensor:
        """(B, V), a view of what is (L, B, V): where the next label is the last one again; all of it for bigrams."""
        return x.diagonal(dim1=0, dim2=2) if self.trigrams else x[0]

    def by_label(self, x: Tensor) -> Tensor:
        """(B, V): summed over the label before the last one."""
        return x.sum(2).t() if self.trigrams else x[0]


class _LogPartition(torch.autograd.Function):
    """Forward-backward in plain probabilities, scaled to a sum of 1 in every frame.

    This loses nothing, however small the probabilities of a network: what a state adds from some frame on depends on
    the state only through the n-gram of the next few labels. So a state that is too small for a float stays negligible.
    """

    @staticmethod
    def forward(ctx: Any, log_probs: Tensor, table: Tensor) -> Tensor:
        with _one_thread(log_probs):
            paths = _Paths(table)
            frames, batch, size = log_probs.shape[1], *log_probs.shape[::2]
            probs = log_probs.transpose(0, 1).exp()  # (T, B, V)
            scaled = torch.empty_like(probs)
            labels = probs.new_zeros(frames + 1, len(paths.step), batch, paths.step.shape[1])  # states in a label
            blanks = torch.zeros_like(labels[0])  # states in a blank, of one frame
            blanks[0, :, 0] = 1.0
            sums = probs.new_empty(frames, batch)
            moved = probs.new_empty(len(paths.step), batch, size)
            frame_by_frame = zip(*map(Tensor.unbind, (labels[:-1], labels[1:], probs, scaled, sums)), strict=True)
            for now, after, prob, out, total in frame_by_frame:
                either = now + blanks
                torch.sum(either, (0, 2), out=total)
                torch.div(prob, total.unsqueeze(1), out=out)
                torch.bmm(either, paths.step, out=moved)
                paths.own(moved).add_(paths.by_label(blanks * paths.again))
                torch.add(now, paths.turned(moved), out=after)
                after.mul_(paths.turned(out.unsqueeze(0)))
                blanks = either.mul_(out[:, :1])
            final = ((labels[-1] + blanks) * paths.end).sum((0, 2))  # (B,)
        ctx.paths = paths
        ctx.save_for_backward(labels, scaled, final)
        return (sums.double().log().sum(0) + final.double().log()).to(log_probs.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        paths: _Paths = ctx.paths
        labels, scaled, final = ctx.saved_tensors
        with _one_thread(scaled):
            posteriors = torch.empty_like(scaled)  # (T, B, V)
            step = paths.step.transpose(1, 2).contiguous()
            from_label = from_blank = paths.end / final.unsqueeze(1)  # (L, B, H), what follows a frame
            frame_by_frame = zip(*map(Tensor.unbind, (labels[1:], scaled, posteriors)), strict=True)
            for now, prob, out in reversed(list(frame_by_frame)):
                out.copy_(paths.by_label(now * from_label))
                from_label = from_label * paths.turned(prob.unsqueeze(0))
                either = torch.baddbmm(from_blank * prob[:, :1], paths.turned(from_label), step)
                from_blank = torch.addcmul(either, paths.again, paths.turned(paths.own(from_label).unsqueeze(0)))
                from_label += either
            posteriors[..., BLANK_INDEX] = 1.0 - posteriors.sum(2)
        return (posteriors * gradient.unsqueeze(1)).transpose(0, 1), None


@contextmanager
def _one_thread(x: Tensor) -> Iterator[None]:
    """On the CPU the work of a frame is too little to be shared: threads would wait for each other most of the time."""
    threads = torch.get_num_threads()
    if x.device.type != "cpu" or threads == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
