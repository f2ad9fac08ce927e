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

    indices: their numbers in their epoch; unreadable: why each utterance that would be here is not.
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
        """In memory from which CUDA copies while it computes."""
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
    """A batch of what could be read; without indices where that is nothing."""
    unreadable = tuple(example for example in examples if isinstance(example, str))
    readable = [example for example in examples if not isinstance(example, str)]
    waveforms = _padded([waveform for _, waveform, _ in readable], np.float32)
    tokens = _padded([symbols for _, _, symbols in readable], np.int64)
    return Batch([index for index, _, _ in readable], *waveforms, *tokens, unreadable)


def _padded(rows: Sequence[np.ndarray | list[int]], kind: type) -> tuple[Tensor, Tensor]:
    """(rows, longest) with zeros behind each, and their lengths.

    By numpy: PyTorch would copy with threads of its own in each thread that calls it, which then wait busily and take
    the cores from the training.
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
    """Share of the batches' seconds that is padding."""
    filled = sum(len(batch) * durations[batch].max() for batch in batches)
    return 1.0 - float(sum(durations[batch].sum() for batch in batches)) / filled if filled else 0.0
