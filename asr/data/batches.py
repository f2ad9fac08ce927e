"""Batches: which utterances go together, and the tensors they become."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Utterances to learn from.

    indices: the utterances' numbers in their epoch; unreadable: an error message for each utterance that is missing
    because its audio could not be read.
    """

    indices: list[int]
    waveforms: Tensor  # (B, samples), zero-padded
    waveform_lengths: Tensor  # (B,)
    tokens: Tensor  # (B, max_tokens), zero-padded
    token_lengths: Tensor  # (B,)
    unreadable: tuple[str, ...] = ()

    def to(self, device: torch.device) -> Batch:
        return self._mapped(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """The batch in pinned memory, from which CUDA copies while it computes."""
        return self._mapped(Tensor.pin_memory)

    def _mapped(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            waveforms=change(self.waveforms),
            waveform_lengths=change(self.waveform_lengths),
            tokens=change(self.tokens),
            token_lengths=change(self.token_lengths),
        )


def collate(examples: list[tuple[int, np.ndarray, list[int]] | str]) -> Batch:
    """Pad examples into a batch. A str is why an utterance could not be read; if all are, the batch has no indices."""
    unreadable = tuple(example for example in examples if isinstance(example, str))
    readable = [example for example in examples if not isinstance(example, str)]
    waveforms = _padded([waveform for _, waveform, _ in readable], np.float32)
    tokens = _padded([symbols for _, _, symbols in readable], np.int64)
    return Batch([index for index, _, _ in readable], *waveforms, *tokens, unreadable)


def _padded(rows: Sequence[np.ndarray | list[int]], kind: type) -> tuple[Tensor, Tensor]:
    """(rows, longest) with zeros behind each, and their lengths.

    Done in numpy: in each thread that calls it, PyTorch would start copying threads of its own, which then spin and
    take the cores from the training.
    """
    lengths = [len(row) for row in rows]
    out: np.ndarray = np.zeros((len(rows), max(lengths, default=0)), kind)
    for padded, row in zip(out, rows, strict=True):
        padded[: len(row)] = row
    return torch.from_numpy(out), torch.tensor(lengths, dtype=torch.long)


def duration_batches(durations: np.ndarray, batch_s: float, rng: np.random.Generator | None = None) -> list[list[int]]:
    """Group indices so that (utterances × longest) stays within `batch_s` seconds; a longer utterance is alone.

    Without `rng`, in order of duration. With it, durations are jittered by up to 5 % before sorting, so that neighbors
    change from epoch to epoch at little cost in padding, and the batches come in random order.
    """
    keys = durations if rng is None else durations * rng.uniform(1.0, 1.05, len(durations))
    order = np.argsort(keys, kind="stable")
    batches: list[list[int]] = []
    longest = 0.0
    for index, duration in zip(order.tolist(), durations[order].tolist(), strict=True):
        longest = max(longest, duration)
        if not batches or (len(batches[-1]) + 1) * longest > batch_s:
            batches.append([])
            longest = duration
        batches[-1].append(index)
    if rng is not None:
        rng.shuffle(batches)
    return batches


def padding_fraction(durations: np.ndarray, batches: list[list[int]]) -> float:
    """Fraction, 0 to 1, of the batches' seconds that is padding. durations: (utterances,) seconds."""
    filled = sum(len(batch) * durations[batch].max() for batch in batches)
    return 1.0 - float(sum(durations[batch].sum() for batch in batches)) / filled if filled else 0.0
