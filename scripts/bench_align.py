"""How far word times of `asr align` are from the truth, on speech by synthesizers that tell when they say each word.

    python scripts/bench_align.py [--model digits] [--strings 20] [--hour]

Says digit strings with the voices of flite (which prints the end of every phone) and of espeak-ng (whose library calls
back at every word), those that are installed (Debian: apt-get install flite espeak-ng), and prints the median error of
word starts, and of ends where the engine tells them; then those of `asr transcribe`, where it hears the right words.
"emission delay" is what the model's emission_delay_s should be (`asr make-model --emission-delay-s`). --hour aligns an
hour of the same speech and prints seconds and peak memory.
"""

from __future__ import annotations

import argparse
import ctypes
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from ctypes.util import find_library
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

import asr
from asr.audio import as_audio, read_audio
from asr.decode.align import TimedText, align
from asr.model.recognizer import Recognizer
from asr.transcribe import Transcriber

# The phones of flite's lexicon for each word.
PHONES = {"zero": 4, "one": 3, "two": 2, "three": 3, "four": 3, "five": 3, "six": 4, "seven": 5, "eight": 2, "nine": 3}
FLITE = ("rms", "slt", "awb", "kal")
ESPEAK = ("en-us", "en-gb", "en-us+f3", "en-gb+m3")


class Speech(NamedTuple):
    """samples: (samples,) float32; starts, ends: (words,) seconds, ends empty where the engine does not tell them."""

    samples: np.ndarray
    sample_rate: int
    starts: np.ndarray
    ends: np.ndarray


def flite(voice: str, words: list[str]) -> Speech:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = ["flite", "-voice", voice, "-psdur", "-t", ", ".join(words) + ".", "-o", str(path)]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        audio = read_audio(path)
    names, ends = zip(*(phone.split(":") for phone in printed.split()), strict=True)
    bounds = np.array([0.0, *map(float, ends)])
    phones = np.flatnonzero([name != "pau" for name in names])
    lasts = np.cumsum([PHONES[word] for word in words])
    if lasts[-1] != len(phones):
        raise SystemExit(f"flite said {printed!r}: other phones than this script knows")
    firsts = np.append(0, lasts[:-1])
    return Speech(audio.samples, audio.sample_rate, bounds[phones[firsts]], bounds[phones[lasts - 1] + 1])


class Event(ctypes.Structure):
    """espeak_EVENT of espeak-ng's speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", ctypes.c_char * 8),
    )


END_OF_LIST, WORD = 0, 1  # kinds of events
SYNCHRONOUS, UTF8, SPEED = 2, 1, 1


@cache
def espeak_library() -> tuple[ctypes.CDLL, int]:
    library = ctypes.CDLL(find_library("espeak-ng"))
    return library, library.espeak_Initialize(SYNCHRONOUS, 0, None, 0)


def espeak(voice: str, words: list[str]) -> Speech:
    library, rate = espeak_library()
    blocks: list[np.ndarray] = []
    starts: list[float] = []

    def receive(samples, count: int, events) -> int:
        if samples and count:
            blocks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        place = 0
        while events[place].type != END_OF_LIST:
            if events[place].type == WORD:
                starts.append(events[place].audio_position / 1000)
            place += 1
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))
    kept = callback(receive)
    library.espeak_SetSynthCallback(kept)
    library.espeak_SetVoiceByName(voice.encode())
    library.espeak_SetParameter(SPEED, 150, 0)
    text = " ".join(words).encode()
    library.espeak_Synth(text, len(text) + 1, 0, 1, 0, UTF8, None, None)
    return Speech(np.concatenate(blocks).astype(np.float32) / 2**15, rate, np.array(starts), np.empty(0))


def installed() -> list[tuple[str, Callable[[str, list[str]], Speech], str]]:
    voices = [("flite", flite, voice) for voice in FLITE if shutil.which("flite")]
    return voices + [("espeak-ng", espeak, voice) for voice in ESPEAK if find_library("espeak-ng")]


def strings(count: int) -> list[list[str]]:
    rng = np.random.default_rng(0)
    return [rng.choice(list(PHONES), rng.integers(2, 10)).tolist() for _ in range(count)]


def measure(
    recognizer: Recognizer, speak: Callable[[str, list[str]], Speech], voice: str, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """(words, 2) of align and of transcribe: seconds by which found starts and ends are late; NaN for ends that are not
    known."""
    transcriber = Transcriber(recognizer)
    aligned, heard = [], []
    for words in strings(count):
        speech = speak(voice, words)
        if len(speech.starts) != len(words):
            continue  # the engine ran words together
        samples = as_audio(speech.samples, speech.sample_rate, recognizer.sample_rate).samples
        aligned += late(align(recognizer, samples, " ".join(words)).words, speech)
        transcript = transcriber.transcribe(samples, sample_rate=recognizer.sample_rate)
        if transcript.text.split() == words:
            heard += late(transcript.words, speech)
    return np.array(aligned), np.array(heard).reshape(-1, 2)


def late(found: Sequence[TimedText], speech: Speech) -> list[tuple[float, float]]:
    ends = speech.ends if len(speech.ends) else np.full(len(found), np.nan)
    return [(word.start - start, word.end - end) for word, start, end in zip(found, speech.starts, ends, strict=True)]


def row(name: str, errors: np.ndarray) -> str:
    start, end = 1000 * errors.T
    ends = f"{np.nanmedian(abs(end)):.0f} ms" if np.isfinite(end).any() else "–"
    median, ninety = np.median(abs(start)), np.percentile(abs(start), 90)
    return f"| {name} | {len(start)} | {median:.0f} ms | {ninety:.0f} ms | {np.median(start):+.0f} ms | {ends} |"


def align_an_hour(recognizer: Recognizer, speak: Callable[[str, list[str]], Speech], voice: str) -> None:
    speeches = [(words, speak(voice, words)) for words in strings(40)]
    pieces, said, starts, at = [], [], [], 0.0
    while at < 3600:
        words, speech = speeches[len(pieces) % len(speeches)]
        pieces.append(as_audio(speech.samples, speech.sample_rate, recognizer.sample_rate).samples)
        said += words
        starts.append(speech.starts + at)
        at += len(pieces[-1]) / recognizer.sample_rate
    samples = np.concatenate(pieces)
    began = time.perf_counter()
    found = align(recognizer, samples, " ".join(said)).words
    seconds = time.perf_counter() - began
    errors = np.array([word.start for word in found]) - np.concatenate(starts)
    print(
        f"an hour, {len(said)} words: {seconds:.0f} s, peak memory of the process"
        f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB, median error of word starts"
        f" {1000 * np.median(abs(errors)):.0f} ms, in the last minute {1000 * np.median(abs(errors[-100:])):.0f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="digits")
    parser.add_argument("--strings", type=int, default=20)
    parser.add_argument("--hour", action="store_true")
    arguments = parser.parse_args()
    recognizer = asr.load(arguments.model, "cpu").recognizer
    voices = installed()
    if not voices:
        raise SystemExit("neither flite nor espeak-ng is installed: nobody tells when words are said")
    print("| voice | words | median error of starts | 90 % below | starts late by (median) | median error of ends |")
    print("| --- | --- | --- | --- | --- | --- |")
    every = []
    for engine, speak, voice in voices:
        every.append(measure(recognizer, speak, voice, arguments.strings))
        print(row(f"{engine} {voice}", every[-1][0]), flush=True)
    errors, heard = (np.concatenate(each) for each in zip(*every, strict=True))
    print(row("all", errors))
    print(row("all, transcribed", heard))
    print(
        f"emission delay: {recognizer.emission_delay_s + np.median(errors[:, 0]):.3f} s,"
        f" the model's is {recognizer.emission_delay_s:g} s"
    )
    if arguments.hour:
        align_an_hour(recognizer, voices[0][1], voices[0][2])


if __name__ == "__main__":
    main()
