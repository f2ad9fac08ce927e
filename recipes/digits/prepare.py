"""digits (Free Spoken Digit Dataset): 3,000 recordings of the words zero to nine by six speakers, 50 of each word.

Takes 0 to 4 are for test, 5 to 9 for development, 10 to 49 for training. Training joins single recordings into strings
as it goes (`compose` in the config). Development and test strings are made here, once, and written as audio:

    test_single         the 300 test recordings as they are
    test                500 strings of 1 to 10 of them by one speaker, pauses of 0.05 to 0.6 s
    test_noisy          the same strings, colored noise at 10 to 20 dB below them, level changed by up to ±10 dB
    dev                 200 strings of development recordings; every second one noisy like test_noisy
    heldout_SPEAKER     200 strings from all 500 recordings of one speaker, for `heldout.yaml`
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from asr.audio import read_audio, write_wav
from asr.augment import NOISE_EXPONENTS, add_noise, colored_noise, decibels
from asr.config import ComposeConfig
from asr.corpus.download import Archive
from asr.data.compose import compose_waveforms, draw_compositions
from asr.data.manifest import Utterance
from asr.util.files import walk

ARCHIVES = [
    Archive(
        "digits/v1.0.10.tar.gz",
        ("https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",),
        sha256=None,  # the host packs this archive on demand and publishes no checksum
    )
]
RATE = 8_000
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
STRINGS = ComposeConfig(max_recordings=10, pause_s=(0.05, 0.6), gain_db=0.0)


def utterances(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    singles: dict[str, list[Utterance]] = {"test_single": [], "dev_single": [], "train": []}
    for path in sorted(walk(corpus, "recordings/*.*")):
        digit, speaker, take = path.stem.split("_")
        part = "test_single" if int(take) < 5 else "dev_single" if int(take) < 10 else "train"
        duration = read_audio(path, RATE).duration
        singles[part].append(Utterance(path.stem, path, duration, WORDS[int(digit)], speaker))
    for part in ("train", "test_single"):
        yield from ((part, utterance) for utterance in singles[part])
    for string in _strings(singles["test_single"], 500, seed=1, folder=made / "test", noisy=0.0):
        yield "test", string
    for string in _strings(singles["test_single"], 500, seed=1, folder=made / "test_noisy", noisy=1.0):
        yield "test_noisy", string
    for string in _strings(singles["dev_single"], 200, seed=2, folder=made / "dev", noisy=0.5):
        yield "dev", string
    everything = [utterance for part in singles.values() for utterance in part]
    for number, speaker in enumerate(sorted({utterance.speaker or "" for utterance in everything})):
        theirs = [utterance for utterance in everything if utterance.speaker == speaker]
        folder = made / f"heldout_{speaker}"
        for string in _strings(theirs, 200, seed=10 + number, folder=folder, noisy=0.0):
            yield f"heldout_{speaker}", string


def _strings(singles: Sequence[Utterance], count: int, seed: int, folder: Path, noisy: float) -> Iterator[Utterance]:
    """Make and write `count` strings; the share `noisy` of them, evenly spread, with noise and another level."""
    rng = np.random.default_rng(seed)
    noise_rng = np.random.default_rng((seed, 1))  # its own, so that clean and noisy strings are the same strings
    waveforms = [read_audio(utterance.audio, RATE).samples for utterance in singles]
    speakers = [utterance.speaker for utterance in singles]
    for number, plan in enumerate(draw_compositions(range(len(speakers)), speakers, STRINGS, count, rng)):
        samples = compose_waveforms([waveforms[row] for row in plan.rows], plan, RATE, STRINGS, rng)
        if int((number + 1) * noisy) > int(number * noisy):
            color = noise_rng.choice(list(NOISE_EXPONENTS))
            noise = colored_noise(len(samples), color, noise_rng)
            samples = add_noise(samples, noise, noise_rng.uniform(10.0, 20.0))
            samples = samples * np.float32(decibels(noise_rng.uniform(-10.0, 10.0)))
        speaker = speakers[plan.rows[0]]
        text = " ".join(singles[row].text or "" for row in plan.rows)
        path = folder / f"{speaker}_{number:04}.wav"
        write_wav(path, samples, RATE)
        yield Utterance(path.stem, path, len(samples) / RATE, text, speaker)
