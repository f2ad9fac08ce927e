"""A whole recognizer: features, encoder, head, tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from asr.config import FeatureConfig, ModelConfig, TextConfig
from asr.features import FeatureExtractor
from asr.lengths import output_frames
from asr.model.ctc import CTCHead
from asr.model.encoder import Encoder
from asr.model.recurrent import RecurrentLayer
from asr.text import Tokenizer

if TYPE_CHECKING:
    from asr.augment import SpecAugment

EMISSION_DELAY_S = 0.08  # of a model whose own has not been measured


class Recognizer(nn.Module):
    """Waveforms -> log-probabilities of tokens. Everything decoding needs is here and in the model folder.

    emission_delay_s: from where a word begins to the center of its first frame, as scripts/bench_align.py measures it.
    platt_scaling: slope and offset that take the log odds of a word's probability to those of its being right.
    """

    def __init__(self, features: FeatureConfig, text: TextConfig, model: ModelConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.config = model
        self.text = text
        self.tokenizer = tokenizer
        self.name = "unnamed"
        self.training_record: dict[str, Any] = {}
        self.emission_delay_s = EMISSION_DELAY_S
        self.platt_scaling = (1.0, 0.0)
        self.features = FeatureExtractor(features)
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
