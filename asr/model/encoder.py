"""Features -> subsampled, contextual vectors: strided convolutions, then residual recurrent layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from asr.config import ModelConfig
from asr.features import length_mask
from asr.lengths import STRIDES, strided
from asr.model.recurrent import RecurrentLayer

KERNEL = 5


class Subsampling(nn.Module):
    """Convolutions over time, each followed by a GELU; causal ones see no frame after their stride's first."""

    def __init__(self, inputs: int, channels: int, outputs: int, factor: int, causal: bool) -> None:
        super().__init__()
        self.strides = STRIDES[factor]
        self.padding = (KERNEL - 1, 0) if causal else (KERNEL // 2, KERNEL // 2)
        sizes = [inputs, *[channels] * (len(self.strides) - 1), outputs]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(before, after, KERNEL, stride)
            for before, after, stride in zip(sizes, sizes[1:], self.strides, strict=False)
        )

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, F, C), lengths: (B,) -> (B, T, D) and their lengths: (B,), zero past each length."""
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            x = gelu(convolution(pad(x.transpose(1, 2), self.padding))).transpose(1, 2)  # (B, fewer frames, channels)
            lengths = strided(lengths, stride)
            # The bias makes padding non-zero, and the next convolution would see it. `where`, because NaN × 0 is NaN.
            x = torch.where(length_mask(lengths, x.shape[1]).unsqueeze(-1), x, 0.0)
        return x, lengths


class Encoder(nn.Module):
    """Subsampling, then `layers` × (layer norm → recurrent layer → dropout → + residual), then a last layer norm.

    Pre-norm residual layers train at any depth without tuning (Xiong et al. 2020 for the order of norm and residual).
    """

    def __init__(self, config: ModelConfig, inputs: int) -> None:
        super().__init__()
        self.config = config
        self.outputs = config.hidden_size * (2 if config.bidirectional else 1)
        causal = not config.bidirectional
        self.subsampling = Subsampling(inputs, config.hidden_size, self.outputs, config.subsampling, causal)
        self.layers = nn.ModuleList(
            RecurrentLayer(config.cell, self.outputs, config.hidden_size, config.bidirectional)
            for _ in range(config.layers)
        )
        norm = nn.LayerNorm if config.layer_norm else lambda size: nn.Identity()
        self.norms = nn.ModuleList(norm(self.outputs) for _ in range(config.layers))
        self.last_norm = norm(self.outputs)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, features: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """features: (B, F, C), lengths: (B,) -> (B, T, D), their lengths: (B,)."""
        x, lengths = self.subsampling(features, lengths)  # (B, T, D), (B,)
        x = self.dropout(x)
        for norm, layer in zip(self.norms, self.layers, strict=True):
            y = self.dropout(layer(norm(x), lengths))  # (B, T, D)
            x = x + y if self.config.residual else y
        return self.last_norm(x), lengths
