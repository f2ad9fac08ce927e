"""Counts the words that a model hears where nobody speaks: ten minutes of silence, noise and music.

    python scripts/noise_test.py [--model english] [--output sounds] [--sounds FOLDER]

All of it is made here, of seeded random numbers: digital silence, the hiss of a quiet microphone, white, pink and brown
noise at three levels, mains hum, chords, melodies, drums, and the three together, in files of 10 to 30 seconds. Each is
transcribed on its own with the model's default decoding. They are other sounds than those of asr/corpus/sounds.py, from
which models learn. Exit status 1 for five words or more.

--sounds: a folder of recorded sounds, in one folder for each kind; they are counted apart.
--output: keeps the files, and sounds.jsonl, their manifest with empty texts, for bench_peers.py.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from asr import Transcriber

RATE = 16_000
LIMIT = 5
HARMONICS = {"organ": (1.0, 0.5, 0.3, 0.2, 0.1), "flute": (1.0, 0.15, 0.05), "strings": (1.0, 0.7, 0.6, 0.4, 0.3, 0.3)}
MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)
CHORDS = (0, 4, 5, 3)  # steps of the scale that they stand on

Notes = Iterator[tuple[float, np.ndarray]]  # start in seconds, samples


def sounds(seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """(kind, samples), 600 s in all: a minute each of silence, hiss and hum, three of noise and four of music."""
    rng = np.random.default_rng(seed)
    for seconds in (10, 20, 30):
        yield "silence", np.zeros(seconds * RATE, np.float32)
    for seconds, level in ((10, -80), (20, -70), (30, -60)):
        yield "hiss", at_level(colored(rng, seconds, 0), level)
    for kind, slope in (("white noise", 0.0), ("pink noise", 1.0), ("brown noise", 2.0)):
        for seconds, level in ((15, -50), (20, -35), (25, -20)):
            yield kind, at_level(colored(rng, seconds, slope), level)
    for seconds, hertz, level in ((10, 50, -50), (20, 60, -35), (30, 50, -20)):
        yield "hum", at_level(hum(rng, seconds, hertz), level)
    for seconds in (15, 20, 25):
        for kind, play in (("chords", [chords]), ("melody", [melody]), ("drums", [drums])):
            yield kind, at_level(music(rng, seconds, play), -20)
        yield "band", at_level(music(rng, seconds, [chords, melody, drums]), -20)


def at_level(samples: np.ndarray, decibels: float) -> np.ndarray:
    """Of that root mean square below full scale, on a floor of hiss as a microphone has it."""
    floor = np.random.default_rng(len(samples)).normal(0, 10 ** (-80 / 20), len(samples))
    scaled = samples * 10 ** (decibels / 20) / np.sqrt(np.mean(np.square(samples)))
    return np.clip(scaled + floor, -1, 1).astype(np.float32)


def colored(rng: np.random.Generator, seconds: float, slope: float) -> np.ndarray:
    """Noise whose power falls with the frequency to this power, from 20 Hz on."""
    spectrum = np.fft.rfft(rng.normal(size=int(seconds * RATE)))
    hertz = np.fft.rfftfreq(int(seconds * RATE), 1 / RATE)
    return np.fft.irfft(spectrum * (np.maximum(hertz, 20) / 20) ** (-slope / 2), int(seconds * RATE))


def hum(rng: np.random.Generator, seconds: float, hertz: float) -> np.ndarray:
    time = np.arange(int(seconds * RATE)) / RATE
    waves = [np.sin(2 * np.pi * k * hertz * time + rng.uniform(0, 6)) / k**1.5 for k in range(1, 20)]
    return np.sum(waves, axis=0)


def note(rng: np.random.Generator, pitch: float, seconds: float, timbre: str) -> np.ndarray:
    """pitch: in semitones above A of 440 Hz. With vibrato, an attack and a release."""
    time = np.arange(int(seconds * RATE)) / RATE
    vibrato = 0.003 * np.sin(2 * np.pi * rng.uniform(4.5, 6) * time) / 5.5
    phase = 2 * np.pi * 440 * 2 ** (pitch / 12) * (time + vibrato)
    wave = sum(strength * np.sin(k * phase) for k, strength in enumerate(HARMONICS[timbre], 1))
    return wave * np.minimum(1, time / 0.03) * np.minimum(1, (seconds - time) / 0.1)


def music(rng: np.random.Generator, seconds: int, players: list[Callable[..., Notes]]) -> np.ndarray:
    beat = 60 / rng.uniform(80, 140)
    scale = rng.integers(-12, 0) + np.array(MAJOR if rng.random() < 0.6 else MINOR)
    out = np.zeros(seconds * RATE)
    for play in players:
        for start, wave in play(rng, seconds, beat, scale):
            first = int(start * RATE)
            out[first : first + len(wave)] += wave[: len(out) - first]
    return out


def chords(rng: np.random.Generator, seconds: int, beat: float, scale: np.ndarray) -> Notes:
    timbre = rng.choice(["organ", "strings"])
    for number, start in enumerate(np.arange(0, seconds, 4 * beat)):
        for step in CHORDS[number % 4] + np.array((0, 2, 4)):
            yield start, 0.3 * note(rng, pitch_of(scale, step - 7), 4 * beat, timbre)


def melody(rng: np.random.Generator, seconds: int, beat: float, scale: np.ndarray) -> Notes:
    """A walk on the scale, with rests."""
    timbre, step, start = rng.choice(list(HARMONICS)), 0, 0.0
    while start < seconds:
        length = beat * rng.choice([0.5, 1, 1, 2])
        step = int(np.clip(step + rng.integers(-2, 3), -5, 9))
        if rng.random() < 0.85:
            yield start, 0.5 * note(rng, pitch_of(scale, step), length, timbre)
        start += length


def drums(rng: np.random.Generator, seconds: int, beat: float, scale: np.ndarray) -> Notes:
    """Kick, snare and hat."""
    time = np.arange(int(0.25 * RATE)) / RATE
    for number, start in enumerate(np.arange(0, seconds, beat / 2)):
        noise = rng.normal(size=len(time))
        yield start, 0.15 * np.diff(noise, prepend=0) * np.exp(-time / 0.03)
        if number % 4 == 0:
            yield start, np.sin(2 * np.pi * (50 * time - 8 * np.exp(-time / 0.05))) * np.exp(-time / 0.1)
        if number % 4 == 2:
            yield start, (0.4 * noise + 0.5 * np.sin(2 * np.pi * 190 * time)) * np.exp(-time / 0.07)


def pitch_of(scale: np.ndarray, step: int) -> float:
    return float(scale[step % 7] + 12 * (step // 7))


def write(folder: Path) -> Path:
    """The sounds as files, and their manifest, in which the speaker is the kind of sound."""
    from asr.audio import write_wav
    from asr.data.manifest import Utterance, write_manifest

    made = []
    for number, (kind, samples) in enumerate(sounds()):
        path = folder / f"{number:02}-{kind.replace(' ', '-')}.wav"
        write_wav(path, samples, RATE)
        made.append(Utterance(path.stem, path, len(samples) / RATE, "", kind))
    write_manifest(folder / "sounds.jsonl", made)
    return folder / "sounds.jsonl"


def listen(model: Transcriber, files: Iterable[tuple[str, Path]]) -> int:
    """Prints seconds, words and what they were by kind. files: (kind, audio). Returns the number of words."""
    heard: dict[str, list[str]] = {}
    seconds: Counter[str] = Counter()
    for kind, path in files:
        transcript = model.transcribe(path)
        heard.setdefault(kind, []).extend(word.text for word in transcript.words)
        seconds[kind] += transcript.duration
    for kind, words in heard.items():
        shown = " ".join(words[:8]) + (" …" if len(words) > 8 else "")
        print(f"{kind:14} {seconds[kind]:6.0f} s {len(words):4} words  {shown}".rstrip())
    total = sum(map(len, heard.values()))
    print(f"{'together':14} {seconds.total():6.0f} s {total:4} words")
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model folder or name; by default the built-in model")
    parser.add_argument("--output", type=Path, help="keep the files in this folder")
    parser.add_argument("--sounds", type=Path, help="a folder of recorded sounds")
    a = parser.parse_args()
    import asr
    from asr.audio import find_audio
    from asr.data.manifest import Manifest

    model = asr.load(a.model)
    with tempfile.TemporaryDirectory() as temporary:
        manifest = Manifest(write(a.output or Path(temporary)))
        words = listen(model, [(sound.speaker or "", sound.audio) for sound in manifest])
    if a.sounds is not None:
        print("\nrecorded:")
        listen(model, [(path.parent.name, path) for path in find_audio(a.sounds, print)])
    raise SystemExit(words >= LIMIT)


if __name__ == "__main__":
    main()
