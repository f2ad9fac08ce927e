"""Waveforms -> what a decoder makes of them, computed in batches of similar length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from asr.data.batches import duration_batches
from asr.model.recognizer import Recognizer

BATCH_S = 120.0  # seconds of audio computed at once, padding included

Result = TypeVar("Result")


def decode_waveforms(
    recognizer: Recognizer,
    waveforms: Sequence[np.ndarray],
    decode: Callable[[Tensor, Tensor], list[Result]],
) -> list[Result]:
    """What a decoder makes of (samples,) float32 waveforms at the model's rate, in their order."""
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


def log_prob_rows(log_probs: Tensor, lengths: Tensor) -> list[np.ndarray]:
    """Decodes nothing: (B, T, V) and their lengths -> (T, V) float32 of each."""
    rows = log_probs.detach().float().cpu().numpy()
    return [row[:n] for row, n in zip(rows, lengths.tolist(), strict=True)]
