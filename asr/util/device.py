"""Which device computes, and in which precision."""

from __future__ import annotations

import torch

from asr.errors import ConfigError


def resolve_device(name: str) -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU. Raises ConfigError for a device this machine lacks."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device = {name!r}: use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"device = {name!r}: only cpu and cuda are supported")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ConfigError(f"device = {name!r}: this machine has no usable CUDA device; use device=cpu or auto")
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise ConfigError(f"device = {name!r}: there are {torch.cuda.device_count()} CUDA devices, numbered from 0")
    return device


def set_precision(precision: str) -> None:
    """fp32, tf32 or bf16 (auto: tf32) for convolutions and recurrent layers on CUDA.

    Everything else (features, head, log-softmax, CTC) stays in full float32: its share of the time is small,
    and that is where rounding shows. bf16 casts only the recurrent layers, see RecurrentLayer.
    """
    inner = "ieee" if precision == "fp32" else "tf32"
    torch.backends.cudnn.conv.fp32_precision = inner  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn.fp32_precision = inner  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.fp32_precision = "ieee"  # type: ignore[attr-defined]
