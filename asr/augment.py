"""Changes to training audio and features. Every draw comes from a generator keyed by seed, epoch and utterance,
so a run gives the same batches whatever the number of workers, and after a resume."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from asr.audio import resample
from asr.config import AugmentConfig

# Amplitude of colored noise falls as f^(−exponent): white, pink, brown.
NOISE_EXPONENTS = {"white": 0.0, "pink": 0.5, "brown": 1.0}
TELEPHONE_HZ = 8_000
# Lossy formats of files: libsndfile's names of the format and of its encoding.
COMPRESSIONS = {"mp3": ("MP3", "MPEG_LAYER_III"), "vorbis": ("OGG", "VORBIS")}
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
# Codecs of telephone lines: libsndfile's names of their encoding.
CODECS = {"a-law": "ALAW", "mu-law": "ULAW", "gsm": "GSM610"}


def generator(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The source of everything random about one utterance in one epoch."""
    return np.random.default_rng((seed, epoch, index))


def decibels(value: float) -> float:
    """A level in dB -> the factor by which it changes the amplitude."""
    return 10.0 ** (value / 20.0)


def colored_noise(samples: int, color: str, rng: np.random.Generator) -> np.ndarray:
    """(samples,) float32 noise of unit power whose power spectrum falls as f^(−2 exponent)."""
    from scipy.fft import next_fast_len  # here: a quarter of a second that only training pays

    size = next_fast_len(samples, real=True)  # an FFT of prime length takes several times as long
    spectrum = np.fft.rfft(rng.standard_normal(size, dtype=np.float32))
    frequency = np.maximum(np.arange(len(spectrum), dtype=np.float32), 1)
    noise = np.fft.irfft(spectrum * frequency ** -NOISE_EXPONENTS[color], n=size)[:samples]
    return (noise / max(float(np.sqrt(np.mean(noise**2))), 1e-9)).astype(np.float32)


def add_noise(samples: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    """Add noise of unit power to a signal at the given signal-to-noise ratio, measured over the whole utterance.

    samples, noise: (samples,) float32 of the same length.
    """
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    return samples + noise * np.float32(rms * decibels(-snr_db))


def change_speed(samples: np.ndarray, sample_rate: int, speed: float) -> np.ndarray:
    """(samples,) -> (samples / speed,): faster and higher for speed above 1, as a tape would be (Ko et al. 2015)."""
    return samples if speed == 1.0 else resample(samples, sample_rate * speed, sample_rate)


def through_file(
    samples: np.ndarray, sample_rate: int, form: str, subtype: str, level: float | None = None
) -> np.ndarray:
    """Encode and decode as libsndfile does, in memory; the length stays. level: of compression, 0 to 1."""
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=form, subtype=subtype, compression_level=level)
    file.seek(0)
    return soundfile.read(file, len(samples), dtype="float32", fill_value=0.0)[0]


def through_codec(samples: np.ndarray, sample_rate: int, codec: str) -> np.ndarray:
    """Encode and decode by one of CODECS at a telephone's 8 kHz, its peak 3 dB below full scale; the length stays."""
    if sample_rate != TELEPHONE_HZ:
        narrow = through_codec(resample(samples, sample_rate, TELEPHONE_HZ), TELEPHONE_HZ, codec)
        wide = resample(narrow, TELEPHONE_HZ, sample_rate)[: len(samples)]
        return np.pad(wide, (0, len(samples) - len(wide)))
    peak = max(float(np.abs(samples).max(initial=0.0)), 1e-9)
    return through_file(samples / peak * 0.7, sample_rate, "WAV", CODECS[codec]) * np.float32(peak / 0.7)


@dataclass(frozen=True)
class Augmentation(ABC):
    """One random change of an utterance's samples, such as a room, noise or a codec.

    prob: the probability with which `augment_waveform` calls it; None: always, and it decides by itself what to do.
    """

    prob: float | None

    @abstractmethod
    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        """samples: (samples,) float32 -> the same shape."""


class Reverb(Augmentation):
    """A random room: the direct sound, then, 0 to 15 dB below it, noise that decays by 60 dB in 0.1 to 0.7 s."""

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        from scipy.signal import oaconvolve

        decay_s = rng.uniform(0.1, 0.7)
        time_s = np.arange(round(decay_s * sample_rate), dtype=np.float32) / sample_rate
        tail = rng.standard_normal(len(time_s), dtype=np.float32) * np.exp(-6.91 / decay_s * time_s)
        tail[0] = 0.0
        tail *= decibels(-rng.uniform(0.0, 15.0)) / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
        tail[0] = 1.0
        return oaconvolve(samples, tail)[: len(samples)].astype(np.float32)


@dataclass(frozen=True)
class Noise(Augmentation):
    """White, pink or brown noise, or, where `recorded` is given, recorded noise in half of the cases.

    noise_prob: share of the utterances that get noise; recorded(samples, rng): (samples,) float32 of unit power.
    """

    noise_prob: float
    snr_db: tuple[float, float]
    recorded: Callable[[int, np.random.Generator], np.ndarray] | None

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        if rng.random() >= self.noise_prob:
            return samples
        if self.recorded is not None and rng.random() < 0.5:
            noise = self.recorded(len(samples), rng)
        else:
            noise = colored_noise(len(samples), rng.choice(list(NOISE_EXPONENTS)), rng)
        return add_noise(samples, noise, rng.uniform(*self.snr_db))


class Clipping(Augmentation):
    """An overdriven input: samples are clipped at a random share, 0.1 to 0.7, of the peak."""

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        limit = rng.uniform(0.1, 0.7) * float(np.abs(samples).max(initial=0.0))
        return np.clip(samples, -limit, limit)


class Bandpass(Augmentation):
    """The band of a telephone line, about 300 to 3,400 Hz (ITU-T G.712), the edges drawn around that."""

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        from scipy.signal import butter, sosfilt

        edges = np.minimum([rng.uniform(150, 400), rng.uniform(2_800, 3_600)], 0.49 * sample_rate)
        sections = butter(int(rng.integers(1, 5)), edges, "bandpass", fs=sample_rate, output="sos")
        return sosfilt(sections, samples).astype(np.float32)


class Telephone(Augmentation):
    """The codec of a telephone call: A-law, µ-law or GSM at 8 kHz."""

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        return through_codec(samples, sample_rate, str(rng.choice(list(CODECS))))


class Codec(Augmentation):
    """MP3 or Ogg Vorbis at a random quality, at 16 kHz of about 20 to 70 kbit/s; the length stays."""

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        kind = str(rng.choice(list(COMPRESSIONS))) if sample_rate in MP3_RATES else "vorbis"
        beyond = np.float32(max(float(np.abs(samples).max(initial=0.0)), 1.0))  # full scale
        level = rng.uniform(0.3, 0.99)
        return beyond * through_file(samples / beyond, sample_rate, *COMPRESSIONS[kind], level)


@dataclass(frozen=True)
class Gain(Augmentation):
    """A random change of level, in dB."""

    gain_db: tuple[float, float]

    def __call__(self, samples: np.ndarray, sample_rate: int, rng: np.random.Generator) -> np.ndarray:
        return samples * np.float32(decibels(rng.uniform(*self.gain_db)))


def augmentations(
    config: AugmentConfig, recorded_noise: Callable[[int, np.random.Generator], np.ndarray] | None = None
) -> list[Augmentation]:
    """The augmentations that the config asks for, in the order in which they happen to speech: room, noise, microphone,
    line, file, level.

    recorded_noise: see `Noise`.
    """
    parts: list[Augmentation] = [
        Reverb(config.reverb.prob),
        Noise(None, config.noise.prob, config.noise.snr_db, recorded_noise),
        Clipping(config.clipping.prob),
        Bandpass(config.bandpass.prob),
        Telephone(config.telephone.prob),
        Codec(config.codec.prob),
        Gain(None, config.gain_db),
    ]
    return [part for part in parts if part.prob is None or part.prob > 0]


def augment_waveform(
    samples: np.ndarray, sample_rate: int, parts: Sequence[Augmentation], rng: np.random.Generator
) -> np.ndarray:
    """(samples,) float32 -> the same shape: each part in turn, with its probability."""
    for part in parts:
        if part.prob is None or rng.random() < part.prob:
            samples = part(samples, sample_rate, rng)
    return samples


class SpecAugment:
    """Random changes of spectra: warped frequency (Jaitly and Hinton 2013), a microphone's frequency response, and
    masks of time and frequency set to zero, the mean of normalized features (Park et al. 2019).

    All random numbers are drawn on the CPU from `seed`, so they do not depend on the device.
    """

    def __init__(self, config: AugmentConfig, seed: int | tuple[int, ...]) -> None:
        self.config = config
        self.rng = np.random.default_rng(seed)

    @property
    def active(self) -> bool:
        """Whether anything is changed at all."""
        config = self.config
        masks = config.time_mask.count or config.frequency_mask.count
        return bool(masks or config.random_eq_db) or config.vtlp != (1.0, 1.0)

    def warps(self, batch: int) -> Tensor | None:
        """(batch,) factors on the frequency axis, as from vocal tracts of other lengths; None where that is off."""
        if self.config.vtlp == (1.0, 1.0):
            return None
        return torch.from_numpy(self.rng.uniform(*self.config.vtlp, batch).astype(np.float32))

    def responses(self, batch: int, mels: int) -> Tensor | None:
        """(batch, mels) to be added to log energies: three cosines over frequency, their peak uniform in dB."""
        if self.config.random_eq_db == 0.0:
            return None
        cycles = np.arange(1, 4)  # half cycles over the whole band
        weights = self.rng.standard_normal((batch, 3, 1)) / cycles[:, None]
        phases = self.rng.uniform(0, 2 * np.pi, (batch, 3, 1))
        position = np.linspace(0, np.pi, mels)
        curves = (weights * np.cos(cycles[:, None] * position + phases)).sum(1)
        peaks = self.rng.uniform(0.0, self.config.random_eq_db, (batch, 1)) * np.log(10.0) / 10.0
        curves *= peaks / np.abs(curves).max(1, keepdims=True)
        return torch.from_numpy(curves.astype(np.float32))

    def __call__(self, features: Tensor, lengths: Tensor) -> Tensor:
        """features: (batch, frames, bins), lengths: (batch,) -> masked features."""
        time, frequency = self.config.time_mask, self.config.frequency_mask
        batch, frames, bins = features.shape
        ends = lengths.cpu().numpy()
        keep_time = self._keep(
            time.count, np.minimum(time.max_frames, np.floor(ends * time.max_fraction)), ends, batch, frames
        )
        size = np.full(batch, min(frequency.max_bins, bins))
        keep_bins = self._keep(frequency.count, size, np.full(batch, bins), batch, bins)
        keep = keep_time[:, :, None] & keep_bins[:, None, :]
        return torch.where(torch.from_numpy(keep).to(features.device), features, 0.0)

    def _keep(self, masks: int, max_length: np.ndarray, end: np.ndarray, batch: int, size: int) -> np.ndarray:
        """(batch, size) bool, false under `masks` intervals an utterance, each of length uniform in [0, max_length]."""
        keep = np.ones((batch, size), dtype=bool)
        position = np.arange(size)
        for _ in range(masks):
            width = (self.rng.random(batch) * (max_length + 1)).astype(int)
            first = (self.rng.random(batch) * np.maximum(end - width + 1, 1)).astype(int)
            keep &= (position < first[:, None]) | (position >= (first + width)[:, None])
        return keep
