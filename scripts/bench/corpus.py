"""What is measured on when nobody gives recordings: voices made up from harmonics, with letters for texts.

There are as many letters as English has phones, with the space and the blank 41 tokens.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from asr.data.manifest import Utterance, write_manifest

RATE = 16_000
MADE_UP = {"flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS")}


def write_corpus(folder: Path, seconds: float) -> float:
    """Manifests flac.jsonl and opus.jsonl of the same voices: 1 to 20 s, 12 on average, 15 letters a second, as in
    LibriSpeech. Returns their seconds.
    """
    rng = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgkjqxzáàâãäåæçéèêë'"))
    utterances: dict[str, list[Utterance]] = {suffix: [] for suffix in MADE_UP}
    total = 0.0
    while total < seconds:
        number = len(utterances["flac"])
        duration = round(float(np.clip(rng.gamma(6.0, 2.05), 1.0, 20.0)), 2)
        words = ["".join(rng.choice(letters, rng.integers(2, 8))) for _ in range(round(2.7 * duration))]
        samples = made_up_voice(number, duration)
        for suffix, (form, subtype) in MADE_UP.items():
            path = folder / f"{number}.{suffix}"
            soundfile.write(path, samples, RATE, format=form, subtype=subtype)
            utterances[suffix].append(Utterance(path.stem, path, duration, " ".join(words)))
        total += duration
    for suffix, written in utterances.items():
        write_manifest(folder / f"{suffix}.jsonl", written)
    return total


def made_up_voice(number: int, seconds: float) -> np.ndarray:
    """(samples,) float32, another for each number: harmonics of a gliding pitch, syllables, a little noise."""
    rng = np.random.default_rng(number)
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * np.cumsum(120 + 40 * np.sin(2 * np.pi * 0.4 * t + number)) / RATE
    voice = sum(np.sin(k * phase) / k for k in range(1, 20))
    samples = 0.1 * voice * np.sin(2 * np.pi * 2 * t) ** 2 + 0.002 * rng.standard_normal(len(t))
    return samples.astype(np.float32)
