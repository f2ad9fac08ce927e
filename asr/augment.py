"""Changes to training audio and features. Every draw comes from a generator keyed by seed, epoch and utterance,
so a run gives the same batches whatever the number of workers, and after a resume."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from asr.audio import resample
from asr.config import AugmentConfig

# Amplitude of coloured noise falls as f^(−exponent): white, pink, brown.
NOISE_EXPONENTS = {"white": 0.0, "pink": 0.5, "brown": 1.0}


def generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The source of everything random about one utterance in one epoch."""
    return np.random.default_rng((seed, epoch, index))


def decibels(value: float) -> float:
    """Level in dB -> amplitude factor."""
    return 10.0 ** (value / 20.0)


def coloured_noise(samples: int, colour: str, rng: np.random.Generator) -> np.ndarray:
    """(samples,) float32 noise of unit power whose power spectrum falls as f^(−2 exponent)."""
    from scipy.fft import next_fast_len  # here: a quarter of a second that only training pays

    size = next_fast_len(samples, real=True)  # an FFT of prime length takes several times as long
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    frequency = np.maximum(np.arange(len(spectrum), dtype=np.float32), 1)
    noise = np.fft.irfft(spectrum * frequency ** -NOISE_EXPONENTS[colour], n=size)[:samples]
    return (noise / max(float(np.sqrt(np.mean(noise**2))), 1e-9)).astype(np.float32)


def add_noise(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Mix noise of unit power under a signal at the given signal-to-noise ratio, taken over the whole utterance."""
    power = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return samples + noise * np.float32(power * decibels(-snr_db))


def change_speed(samples: np.ndarray, sample_rate: int, speed: float) -> np.ndarray:
    """(samples,) -> (samples / speed,): faster and higher for speed above 1, as a tape would be (Ko et al. 2015)."""
    return samples if speed == 1.0 else resample(samples, sample_rate * speed, sample_rate)


def augment_waveform(samples: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Noise and level of one training utterance. samples: (samples,) float32 -> the same shape."""
    if rng.random() < config.noise_share:
        noise = coloured_noise(len(samples), rng.choice(list(NOISE_EXPONENTS)), rng)
        samples = add_noise(samples, noise, rng.uniform(*config.noise_snr_db))
    return samples * np.float32(decibels(rng.uniform(*config.gain_db)))


class SpecAugment:
    """Masks of time and frequency set to zero, the mean of normalised features (Park et al. 2019).

    Positions are drawn on the CPU from `seed`, so they do not depend on the device.
    """

    def __init__(self, config: AugmentConfig, seed: int | tuple[int, ...]) -> None:
        self.config = config
        self.rng = np.random.default_rng(seed)

    def __call__(self, features: Tensor, lengths: Tensor) -> Tensor:
        """features: (batch, frames, bins), lengths: (batch,) -> masked features."""
        c = self.config
        batch, frames, bins = features.shape
        longest = np.minimum(c.time_mask_frames, np.floor(lengths.cpu().numpy() * c.time_mask_share))
        keep_time = self._keep(c.time_masks, longest, lengths.cpu().numpy(), batch, frames)
        size = np.full(batch, min(c.frequency_mask_bins, bins))
        keep_bins = self._keep(c.frequency_masks, size, np.full(batch, bins), batch, bins)
        keep = keep_time[:, :, None] & keep_bins[:, None, :]
        return torch.where(torch.from_numpy(keep).to(features.device), features, 0.0)

    def _keep(self, masks: int, longest: np.ndarray, end: np.ndarray, batch: int, size: int) -> np.ndarray:
        """(batch, size) bool, false under `masks` intervals an utterance, each of length uniform in [0, longest]."""
        keep = np.ones((batch, size), dtype=bool)
        position = np.arange(size)
        for _ in range(masks):
            width = (self.rng.random(batch) * (longest + 1)).astype(int)
            first = (self.rng.random(batch) * np.maximum(end - width + 1, 1)).astype(int)
            keep &= (position < first[:, None]) | (position >= (first + width)[:, None])
        return keep
