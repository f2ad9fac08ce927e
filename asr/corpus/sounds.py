"""Sounds without speech, made of random numbers: with an empty text they teach a model to hear nothing in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from asr.audio import write_wav
from asr.augment import NOISE_EXPONENTS, colored_noise, decibels
from asr.data.manifest import Utterance

SECONDS = 5
SCALES = np.array([[0, 2, 4, 5, 7, 9, 11], [0, 2, 3, 5, 7, 8, 10]])  # major, minor: semitones


def silence(folder: Path, count: int, rate: int, seed: int) -> Iterator[Utterance]:
    """Writes `count` files of SECONDS: every fourth digital silence, the others hum and hiss of an open line at -70 to
    -40 dB of full scale."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(SECONDS * rate) / rate
    for number in range(count):
        samples = np.zeros(SECONDS * rate, np.float32)
        if number % 4:
            color = str(rng.choice(list(NOISE_EXPONENTS)))
            hum = np.sin(2 * np.pi * rng.choice([50.0, 60.0]) * time_s)
            samples = colored_noise(len(samples), color, rng) + np.float32(rng.uniform(0, 2)) * hum.astype(np.float32)
            samples *= np.float32(decibels(rng.uniform(-70, -40)))
        yield _write(folder / f"silence_{number:02}.wav", samples, rate)


def music(folder: Path, count: int, rate: int, seed: int) -> Iterator[Utterance]:
    """Writes `count` files of SECONDS: a melody over chords and drums, with harmonics, decay, vibrato and tempo drawn
    at random."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        samples = np.zeros((SECONDS + 1) * rate, np.float32)
        key, beat_s = rng.integers(40, 60), rng.uniform(0.15, 0.6)
        scale = SCALES[rng.integers(2)]
        rolloff, decay_s, vibrato = rng.uniform(0.5, 2.5), rng.uniform(0.1, 1.5), rng.uniform(0, 0.01)
        for step in range(int(SECONDS / beat_s)):
            first = int(step * beat_s * rate)
            degree = int(rng.integers(7))
            notes = [key + 12 + scale[int(rng.integers(7))] + 12 * rng.integers(2)] if rng.random() < 0.8 else []
            if step % 4 == 0:
                notes += [key + scale[(degree + third) % 7] for third in (0, 2, 4)]
            for note in notes:
                pitch_hz, length_s = 440.0 * 2 ** ((note - 69) / 12), beat_s * rng.choice([1, 2, 4])
                tone = _tone(pitch_hz, length_s, rolloff, decay_s, vibrato, rate)
                samples[first : first + len(tone)] += tone[: len(samples) - first]
            if rng.random() < 0.5:
                drum = rng.standard_normal(rate // 8) * np.exp(-np.arange(rate // 8) / (rate * rng.uniform(0.01, 0.05)))
                samples[first : first + len(drum)] += drum[: len(samples) - first].astype(np.float32)
        samples = samples[: SECONDS * rate]
        level = np.float32(decibels(rng.uniform(-25, -3)) / np.abs(samples).max())
        yield _write(folder / f"music_{number:02}.wav", samples * level, rate)


def _tone(pitch_hz: float, length_s: float, rolloff: float, decay_s: float, vibrato: float, rate: int) -> np.ndarray:
    time_s = np.arange(int(length_s * rate)) / rate
    phase = 2 * np.pi * pitch_hz * (time_s - vibrato / 30 * np.cos(2 * np.pi * 5 * time_s))
    turns = np.exp(1j * phase).astype(np.complex64)
    wave = np.zeros_like(turns)
    highest = min(19, int(0.45 * rate / pitch_hz))
    for n in range(highest, 0, -1):  # Horner's scheme, for the sum of sin(n phase) / n ** rolloff
        wave = (wave + 1 / n**rolloff) * turns
    edges = np.minimum(1.0, np.minimum(time_s, time_s[-1] - time_s) / 0.01)
    return (wave.imag * edges * np.exp(-time_s / decay_s)).astype(np.float32)


def _write(path: Path, samples: np.ndarray, rate: int) -> Utterance:
    write_wav(path, samples, rate)
    kind = path.stem.partition("_")[0]
    return Utterance(path.stem, path, len(samples) / rate, "", kind, other={"source": kind})
