"""A whole recognizer: features, an encoder of strided convolutions and recurrent layers, a CTC head, tokens."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, pad

from asr.config import FeatureConfig, ModelConfig, TextConfig
from asr.features import FeatureExtractor, length_mask
from asr.lengths import STRIDES, output_frames, strided
from asr.model.ctc import CTCHead
from asr.model.recurrent import RecurrentLayer
from asr.text import Tokenizer
from asr.util.signals import shield_from_signals

if TYPE_CHECKING:
    from asr.augment import SpecAugment

EMISSION_DELAY_S = 0.08  # default, for models whose delay has not been measured
KERNEL = 5  # frames, the kernel size of a convolution


class Subsampling(nn.Module):
    """Convolutions over time, each followed by a GELU; causal ones see no frame after the first of each stride."""

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
        norm = nn.LayerNorm if config.layer_norm else nn.Identity
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


class Recognizer(nn.Module):
    """Waveforms -> log-probabilities of tokens. Everything decoding needs is here and in the model folder.

    emission_delay_s: seconds from the start of a word to the center of its first frame; scripts/bench_align.py measures
    it. lm, g2p: folders of its own language model, which its tokens need to become words, and of what pronounces words
    that its lexicon lacks. token_ngrams: what CTC-CRF was trained with, (V, V) or (V, V, V). platt_scaling: slope and
    offset that turn the log odds of a word's probability into those of it being right. weights: how a model folder
    stores the parameters, fp32, fp16 or int8.

    untrained: draw random parameters; False: leave that to `load_state_dict(..., assign=True)`, which takes less time.
    """

    def __init__(
        self,
        features: FeatureConfig,
        text: TextConfig,
        model: ModelConfig,
        tokenizer: Tokenizer,
        untrained: bool = True,
    ) -> None:
        super().__init__()
        shield_from_signals()
        self.config = model
        self.text = text.model_copy(update={"tokens": tokenizer.kind})  # where it was left open
        self.tokenizer = tokenizer
        self.name = "unnamed"
        self.training_record: dict[str, Any] = {}
        self.lm: Path | None = None
        self.g2p: Path | None = None
        self.emission_delay_s = EMISSION_DELAY_S
        self.platt_scaling = (1.0, 0.0)
        self.weights = "fp32"
        self.features = FeatureExtractor(features)
        self.token_ngrams: Tensor | None
        self.register_buffer("token_ngrams", None)
        self.register_load_state_dict_pre_hook(_make_room_for_ngrams)
        with nullcontext() if untrained else torch.device("meta"):
            self.encoder = Encoder(model, self.features.dimension)
            self.head = CTCHead(self.encoder.outputs, len(tokenizer))

    @property
    def sample_rate(self) -> int:
        return self.features.config.sample_rate

    @property
    def frame_s(self) -> float:
        """Seconds from one output frame to the next. Frame i is centered on i × frame_s."""
        return self.features.hop * self.config.subsampling / self.sample_rate

    @property
    def device(self) -> torch.device:
        return self.head.projection.weight.device

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def output_frames(self, samples: int) -> int:
        """Frames of log_probs for a waveform of that many samples."""
        return output_frames(samples, self.features.config, self.config)

    def set_precision(self, precision: str) -> None:
        """Precision of the recurrent layers on CUDA: fp32, tf32 (auto) or bf16."""
        for layer in self.encoder.layers:
            assert isinstance(layer, RecurrentLayer)
            layer.precision = precision

    def forward(
        self, waveforms: Tensor, lengths: Tensor, spec_augment: SpecAugment | None = None
    ) -> tuple[Tensor, Tensor]:
        """waveforms: (B, S) in ±1, lengths: (B,) -> log_probs: (B, T, V), their lengths: (B,).

        Frames of log_probs past an utterance's length are arbitrary.
        """
        shield_from_signals()  # once more: there may be more threads by now
        with torch.no_grad():
            if spec_augment is None:
                features, feature_lengths = self.features(waveforms, lengths)  # (B, F, C), (B,)
            else:
                batch, mels = len(waveforms), self.features.config.n_mels
                warps, responses = spec_augment.warps(batch), spec_augment.responses(batch, mels)
                features, feature_lengths = self.features(waveforms, lengths, warps, responses)
                features = spec_augment(features, feature_lengths)
        encoded, encoded_lengths = self.encoder(features, feature_lengths)  # (B, T, D), (B,)
        return self.head(encoded), encoded_lengths  # (B, T, V), (B,)


def _make_room_for_ngrams(recognizer: Recognizer, states: dict[str, Any], prefix: str, *_: Any) -> None:
    """Before weights are loaded: their table of n-grams, if they have one, takes the place of the recognizer's."""
    if (table := states.get(f"{prefix}token_ngrams")) is not None:
        recognizer.token_ngrams = torch.empty_like(table, device=recognizer.device)
    elif recognizer.token_ngrams is not None:
        states[f"{prefix}token_ngrams"] = recognizer.token_ngrams
