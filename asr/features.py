"""Waveforms -> log-mel or MFCC features, batched, on whatever device the waveforms are on.

An utterance gives the same numbers alone and in a padded batch: frames beyond its end see zeros in both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from asr.config import FeatureConfig
from asr.lengths import feature_frames, hop_samples, window_samples

# Added to mel energies before the logarithm: about the quantization noise of 16-bit audio in one mel band.
LOG_FLOOR = 1e-7


def length_mask(lengths: Tensor, size: int) -> Tensor:
    """lengths: (batch,) -> (batch, size) bool, true where the position is inside the length."""
    return torch.arange(size, device=lengths.device) < lengths.unsqueeze(1)


def warped_filters(filters: Tensor, warps: Tensor) -> Tensor:
    """Mel filters with a warped frequency axis, as of other vocal tracts: a factor above 1 raises the formants.

    filters: (bins, mels), warps: (batch,) -> (batch, bins, mels). The warp is linear up to 7/8 of the
    band, then linear to the Nyquist frequency (Jaitly and Hinton 2013, vocal tract length perturbation).
    """
    bins = len(filters)
    position = torch.linspace(0.0, 1.0, bins, device=filters.device)  # frequency / Nyquist
    factor = warps.unsqueeze(1)
    knee = 0.875 * factor.clamp(max=1.0) / factor
    slope = (1.0 - knee * factor) / (1.0 - knee)
    warped = torch.where(position <= knee, position * factor, 1.0 - slope * (1.0 - position)).clamp(0.0, 1.0)
    place = warped * (bins - 1)
    below = place.floor().clamp(max=bins - 2).long()
    weight = (place - below).unsqueeze(-1)
    return filters[below] * (1.0 - weight) + filters[below + 1] * weight


class FeatureExtractor(nn.Module):
    """Log-mel energies (or their cosine transform) with the normalization the config names.

    MFCC follow Davis and Mermelstein 1980; the mel scale is HTK's, 2595 log10(1 + f/700). Always float32.
    """

    window: Tensor  # (window,)
    filters: Tensor  # (bins, n_mels)
    dct: Tensor  # (n_mels, n_mfcc)
    mean: Tensor  # (dimension,)
    scale: Tensor  # (dimension,)

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        # Imported here: reading a config or a manifest must not cost a second of start-up.
        from torchaudio.functional import create_dct, melscale_fbanks

        self.config = config
        self.hop = hop_samples(config)
        window = window_samples(config)
        self.fft = 2 ** math.ceil(math.log2(window))
        self.dimension = config.n_mels if config.kind == "logmel" else config.n_mfcc
        high_hz = min(config.f_max or config.sample_rate / 2, config.sample_rate / 2)
        # A narrow band between two FFT bins stays empty: harmless, a constant feature.
        filters = melscale_fbanks(self.fft // 2 + 1, config.f_min, high_hz, config.n_mels, config.sample_rate)
        # Not persistent: they follow from the config, and the weights file is for what was learned.
        self.register_buffer("window", torch.hann_window(window), persistent=False)
        self.register_buffer("filters", filters, persistent=False)
        if config.kind == "mfcc":
            self.register_buffer("dct", create_dct(config.n_mfcc, config.n_mels, "ortho"), persistent=False)
        if config.normalize == "global":
            self.register_buffer("mean", torch.zeros(self.dimension))
            self.register_buffer("scale", torch.ones(self.dimension))

    def forward(
        self, waveforms: Tensor, lengths: Tensor, warps: Tensor | None = None, responses: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """waveforms: (batch, samples), lengths: (batch,) -> features (batch, frames, dimension) and lengths.

        warps: (batch,) factors on frequency, see `warped_filters`; responses: (batch, mels) added to log energies.
        """
        features, feature_lengths = self.raw(waveforms, lengths, warps, responses)
        mask = length_mask(feature_lengths, features.shape[1]).unsqueeze(-1)
        if self.config.normalize == "global":
            features = (features - self.mean) * self.scale
        elif self.config.normalize == "utterance":
            count = feature_lengths.view(-1, 1, 1)
            mean = torch.where(mask, features, 0.0).sum(1, keepdim=True) / count
            features = features - mean
            variance = torch.where(mask, features.square(), 0.0).sum(1, keepdim=True) / count
            features = features / (variance + 1e-2).sqrt()  # digital silence has no variance to divide by
        return torch.where(mask, features, 0.0), feature_lengths

    def raw(
        self, waveforms: Tensor, lengths: Tensor, warps: Tensor | None = None, responses: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Features before normalization; frames past an utterance's end are arbitrary."""
        waveforms = torch.where(length_mask(lengths, waveforms.shape[1]), waveforms.float(), 0.0)
        spectrum = torch.stft(
            waveforms,
            self.fft,
            self.hop,
            self.window.numel(),
            self.window,
            center=True,
            pad_mode="constant",  # reflection would mirror at the padded end, not at the utterance's
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        filters = self.filters if warps is None else warped_filters(self.filters, warps.to(power.device))
        features = (power.transpose(1, 2) @ filters + LOG_FLOOR).log()
        if responses is not None:
            features = features + responses.to(features.device).unsqueeze(1)
        feature_lengths = feature_frames(lengths, self.config)
        if self.config.top_db is not None:  # so that loud and soft speech, digital silence and a quiet room look alike
            inside = length_mask(feature_lengths, features.shape[1]).unsqueeze(-1)
            loudest = torch.where(inside, features, -math.inf).amax((1, 2), keepdim=True)
            features = (features - loudest).clamp_min(-self.config.top_db * math.log(10.0) / 10.0)
        if self.config.kind == "mfcc":
            features = features @ self.dct
        return features, feature_lengths

    def set_global(self, mean: Tensor, deviation: Tensor) -> None:
        """Store the training set's mean and standard deviation: (dimension,) each."""
        self.mean.copy_(mean)
        self.scale.copy_(1.0 / deviation.clamp_min(1e-2))
