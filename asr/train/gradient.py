"""The gradient of one step: of several batches as if they were one, and in pieces where memory is short."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from asr.data.batches import Batch
from asr.errors import TrainError
from asr.model.ctc import Loss
from asr.model.recognizer import Recognizer


def compute_gradient(
    recognizer: Recognizer,
    loss: Callable[[Batch, int, int], Loss],
    batches: Sequence[tuple[int, Batch]],
    epoch: int,
    utterances: int,
) -> list[Loss]:
    """The gradient of the losses' sum over `utterances`. batches: each with its number in the epoch; those without
    utterances are passed over.

    A batch that does not fit into memory is cut in halves. All is computed again then, since a backward pass that was
    broken off leaves part of a gradient behind. Returns the detached loss of each piece.
    Raises TrainError when a single utterance does not fit.
    """
    pieces = [(number, batch) for number, batch in batches if batch.indices]
    while True:
        recognizer.zero_grad(set_to_none=True)
        losses: list[Loss] = []
        try:
            for key, piece in pieces:
                losses.append(_backward(loss, piece.to(recognizer.device), epoch, key, utterances))
            return losses
        except torch.OutOfMemoryError:
            pass  # what the failed piece holds is freed only after this block
        key, piece = pieces[len(losses)]
        if len(piece.indices) == 1:
            seconds = int(piece.waveform_lengths[0]) / recognizer.sample_rate
            raise TrainError(
                f"out of memory: an utterance of {seconds:.1f} s does not fit by itself; cut the recording"
                " at a pause, leave it out, or make the model smaller"
            )
        pieces[len(losses) : len(losses) + 1] = [(key, half) for half in halves(piece)]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def halves(batch: Batch) -> list[Batch]:
    """The batch's utterances in two batches, the shorter ones first, each no longer than it must be."""
    order = batch.waveform_lengths.argsort(stable=True)
    middle = len(order) // 2
    out = []
    for chosen in (order[:middle], order[middle:]):
        lengths, token_lengths = batch.waveform_lengths[chosen], batch.token_lengths[chosen]
        waveforms = batch.waveforms[chosen, : int(lengths.max())]
        tokens = batch.tokens[chosen, : int(token_lengths.max())]
        out.append(Batch([batch.indices[i] for i in chosen.tolist()], waveforms, lengths, tokens, token_lengths))
    return out


def _backward(loss: Callable[[Batch, int, int], Loss], batch: Batch, epoch: int, key: int, utterances: int) -> Loss:
    result = loss(batch, epoch, key)
    (result.total / utterances).backward()
    return result._replace(total=result.total.detach())
