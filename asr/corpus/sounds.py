"""Sounds without speech, made of random numbers: with an empty text they teach a model to hear nothing in them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
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


def band(folder: Path, count: int, rate: int, seed: int) -> Iterator[Utterance]:
    """Writes `count` files of SECONDS to 4 SECONDS: two or three of held chords, a melody and drums that repeat a bar,
    at levels drawn at random."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        seconds, beat_s = rng.uniform(SECONDS, 4 * SECONDS), rng.uniform(0.3, 0.8)
        key, scale = rng.integers(45, 60), SCALES[rng.integers(2)]
        players = [_chords, _melody, _drums]
        if (missing := rng.integers(6)) < len(players):
            del players[missing]
        samples = np.zeros(round(seconds * rate), np.float32)
        for play in players:
            level = np.float32(decibels(rng.uniform(-12, 0)))
            for start_s, sound in play(rng, seconds, beat_s, key + scale, rate):
                first = int(start_s * rate)
                samples[first : first + len(sound)] += level * sound[: len(samples) - first]
        level = np.float32(decibels(rng.uniform(-25, -3)) / np.abs(samples).max())
        yield _write(folder / f"band_{number:03}.wav", samples * level, rate)


Notes = Iterator[tuple[float, np.ndarray]]  # start in seconds, samples


def _chords(rng: np.random.Generator, seconds: float, beat_s: float, scale: np.ndarray, rate: int) -> Notes:
    rolloff, decay_s, beats = rng.uniform(0.8, 2.5), rng.uniform(1, 8), int(rng.choice([2, 4]))
    tone = lru_cache(_tone)
    for start_s in np.arange(0, seconds, beats * beat_s):
        degree = int(rng.integers(7))
        for third in (0, 2, 4):
            yield start_s, 0.4 * tone(_hertz(scale, degree + third), beats * beat_s, rolloff, decay_s, 0.003, rate)


def _melody(rng: np.random.Generator, seconds: float, beat_s: float, scale: np.ndarray, rate: int) -> Notes:
    rolloff, decay_s, vibrato = rng.uniform(0.8, 2.5), rng.uniform(0.2, 3), rng.uniform(0, 0.01)
    start_s, degree, tone = 0.0, 7, lru_cache(_tone)
    while start_s < seconds:
        length_s = beat_s * float(rng.choice([0.5, 1, 2]))
        degree = int(np.clip(degree + rng.integers(-3, 4), 3, 18))
        if rng.random() < 0.85:
            yield start_s, 0.6 * tone(_hertz(scale, degree), length_s, rolloff, decay_s, vibrato, rate)
        start_s += length_s


def _drums(rng: np.random.Generator, seconds: float, beat_s: float, scale: np.ndarray, rate: int) -> Notes:
    """Four of them, half pitch that falls and half noise in a band of its own, each with a bar of its own."""
    time_s = np.arange(int(0.3 * rate)) / rate
    for _ in range(4):
        falling = rng.uniform(40, 250) * (time_s - rng.uniform(0, 0.1) * np.exp(-time_s / rng.uniform(0.02, 0.06)))
        noise = np.convolve(rng.standard_normal(len(time_s)), rng.uniform(-1, 1, 3), "same")
        mixed = rng.uniform(0, 1)
        sound = (1 - mixed) * np.sin(2 * np.pi * falling) + mixed * noise
        sound *= rng.uniform(0.1, 1) * np.exp(-time_s / rng.uniform(0.02, 0.12))
        bar = rng.random(8) < rng.uniform(0.2, 0.7)
        for step, start_s in enumerate(np.arange(0, seconds, beat_s / 2)):
            if bar[step % 8]:
                yield start_s, sound.astype(np.float32)


def _hertz(scale: np.ndarray, degree: int) -> float:
    """scale: its seven notes, 69 for A of 440 Hz."""
    return float(440.0 * 2 ** ((scale[degree % 7] + 12 * (degree // 7) - 69) / 12))


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
