"""AdamW, its learning rate schedule, frozen parameters, and the gradient of a step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch

from asr.config import TrainConfig
from asr.data.batches import Batch
from asr.errors import TrainError
from asr.model.ctc import Loss
from asr.model.recognizer import Recognizer


def learning_rate(done: float, config: TrainConfig) -> float:
    """The learning rate after the fraction `done` (0 to 1) of the training: linear warm-up, then cosine decay."""
    if done < config.warmup_ratio:
        return config.lr * max(done / config.warmup_ratio, 0.01)
    angle = math.pi * (done - config.warmup_ratio) / (1.0 - config.warmup_ratio)
    return config.lr * (config.min_lr_ratio + (1.0 - config.min_lr_ratio) * 0.5 * (1.0 + math.cos(angle)))


def make_optimizer(recognizer: Recognizer, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over what is not frozen; biases and norms do not decay."""
    trained = [p for p in recognizer.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim > 1]
    vectors = [p for p in trained if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)


def freeze(recognizer: Recognizer, patterns: Sequence[str]) -> None:
    """Exclude the parameters whose names match one of the patterns ("encoder.layers.0.*") from training.

    Raises TrainError for a pattern that matches no name, and when nothing is left to be trained.
    """
    parameters = dict(recognizer.named_parameters())
    for pattern in patterns:
        matching = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matching:
            raise TrainError(f"train.freeze: no parameter is named like '{pattern}'; there are {', '.join(parameters)}")
        for name in matching:
            parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise TrainError(f"train.freeze = {', '.join(patterns)}: leaves nothing to be trained")


def compute_gradient(
    recognizer: Recognizer,
    loss: Callable[[Batch, int, int], Loss],
    batches: Sequence[tuple[int, Batch]],
    epoch: int,
    utterances: int,
) -> list[Loss]:
    """Compute the gradient of (sum of the losses) / utterances into the parameters. Returns the detached loss of each
    piece.

    batches: each with its number in the epoch; those without utterances are ignored. utterances: in all batches, over
    all processes. A batch that does not fit into memory is split in halves. Then everything is computed again, because
    a backward pass that broke off has left part of a gradient behind.
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
            pass  # the failed piece's memory is freed only when this block ends
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
    """Split a batch in two, the shorter utterances first; each half is padded only to its own longest."""
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
