"""voices: what the built-in digits model learns from and is measured on, beside the `digits` recipe's own recordings.

Prepare `digits` first, and run synthesize.py (as ../pretrained.sh does): what they made is part of these.

    base_train       synthesizers' digit strings, the digits of Speech Commands (the built-in model had zero and nine
                     alone); noise, music and silence with no text
    base_dev         strings by two voices of synthesizers that are in no training part: to watch the base by
    train, dev       these and the `digits` recipe's
    other_words      synthesizers' other words, with an empty text; not trained on: see ../README.md
    test_voices      strings by nine voices of three engines (Flite, Festival, Piper) that are in no training part
    test_learners    strings of digits by learners of English, children among them (SpeechOcean762)
    test_reject      ten minutes or more of noise, silence and music: nothing in them should be heard as a digit
    test_speech      ten minutes of LibriSpeech without digits and the word "right", with an empty text: false alarms
    noise            recordings that training mixes under speech; those of test_reject are others
"""

import re
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from asr.audio import read_audio
from asr.corpus.download import Archive
from asr.corpus.sounds import music, silence
from asr.data.manifest import Manifest, Utterance
from asr.errors import ManifestError

ARCHIVES = [
    Archive(
        "speech_commands/speech_commands_v0.02.tar.gz",
        ("https://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",),
        sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
    ),
    Archive(
        "openslr/31/dev-clean-2.tar.gz",
        (
            "https://www.openslr.org/resources/31/dev-clean-2.tar.gz",
            "https://openslr.trmal.net/resources/31/dev-clean-2.tar.gz",
        ),
    ),
    Archive("openslr/101/speechocean762.tar.gz", ("https://www.openslr.org/resources/101/speechocean762.tar.gz",)),
    Archive(
        "noise/esc10.tar.gz",
        ("https://github.com/karolpiczak/ESC-50/archive/refs/heads/master.tar.gz",),
    ),
]
RATE = 8_000
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
# What a reader may say that sounds like a digit: such sentences are no examples of speech without digits.
DIGIT_LIKE = re.compile(
    rf"({'|'.join(WORDS)}|twen|thir|fif|eigh|for|fore|to|too|won|ate|oh|o)(s|t?e?en|t?y|th|t?ieth)?|\w+one"
)
MAX_PER_WORD = 50  # recordings of Speech Commands, which has 4,000 of each
SPEECH_S = 600.0  # how long test_speech is
ESC10 = {0, 1, 10, 11, 12, 20, 21, 38, 40, 41}  # the classes of ESC-50 whose license allows every use
TEST_FOLDS = (4, 5)
# How often `train` lists the six speakers and the noise: else the synthesizers' many voices would outweigh them.
DIGITS_TIMES = 2
NOISE_TIMES = 5


def utterances(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    digits = made.parent.parent / "digits"
    for part in ("train", "dev"):
        for utterance in Manifest(digits / f"{part}.jsonl"):
            utterance = replace(utterance, other={"source": "digits"})
            yield from ((part, each) for each in _again(utterance, DIGITS_TIMES if part == "train" else 1))
    for part, utterance in _beside_digits(corpus, made):
        yield part, utterance
        if part.startswith("base_"):
            times = NOISE_TIMES if part == "base_train" and not utterance.text else 1
            yield from ((part.removeprefix("base_"), each) for each in _again(utterance, times))


def _again(utterance: Utterance, times: int) -> Iterator[Utterance]:
    yield utterance
    for number in range(2, times + 1):
        yield replace(utterance, id=f"{utterance.id}_again{number}")


def _beside_digits(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    for utterance in _speech_commands(corpus, WORDS):
        yield "base_train", utterance
    yield from _synthetic(made / "synthetic")
    for utterance in _learners(corpus / "speechocean762"):
        yield "test_learners", utterance
    for utterance in _noise(corpus):
        testing = utterance.id.startswith(tuple(f"{fold}-" for fold in TEST_FOLDS))
        if testing:
            yield "test_reject", utterance
        else:
            yield "noise", utterance
            for piece in _pieces(utterance, 8):
                yield "base_train", piece
    for utterance in [*music(made / "music", 120, RATE, seed=2), *silence(made / "silence", 40, RATE, seed=6)]:
        yield "base_train", utterance
    for utterance in [*music(made / "music_test", 24, RATE, seed=3), *silence(made / "silence_test", 24, RATE, seed=4)]:
        yield "test_reject", utterance
    known = {utterance.speaker for utterance in _speech_commands(corpus, WORDS)}
    strangers = [utterance for utterance in _speech_commands(corpus, ["right"]) if utterance.speaker not in known]
    seconds = 0.0
    for utterance in [*strangers, *_librispeech(corpus / "dev-clean-2", seed=5)]:
        yield "test_speech", replace(utterance, text="")
        seconds += utterance.duration
        if seconds >= SPEECH_S:
            break


def _speech_commands(corpus: Path, words: list[str]) -> Iterator[Utterance]:
    for word in words:
        for path in sorted((corpus / "speech_commands_v0.02").glob(f"**/{word}/*.*"))[:MAX_PER_WORD]:
            speaker = path.stem.split("_")[0]
            duration = read_audio(path, RATE).duration
            other = {"source": "speech_commands"}
            yield Utterance(f"{word}_{path.stem}", path, duration, word, f"commands_{speaker}", other=other)


def _synthetic(folder: Path) -> Iterator[tuple[str, Utterance]]:
    voices = sorted(folder.glob("*.jsonl"))
    if not voices:
        raise ManifestError(
            f"{folder}: no voices; python {Path(__file__).parent / 'synthesize.py'} {folder} makes them"
        )
    for path in voices:
        for utterance in Manifest(path):
            part = {"train": "base_train", "dev": "base_dev", "test": "test_voices"}[str(utterance.other["part"])]
            yield part if utterance.text else "other_words", utterance


def _librispeech(corpus: Path, seed: int) -> Iterator[Utterance]:
    """Two to six seconds of every utterance that has no word like a digit, with an empty text."""
    rng = np.random.default_rng(seed)
    audio = {path.stem: path for path in corpus.glob("**/*.*")}
    lines = [line for path in corpus.glob("**/*.trans.txt") for line in path.read_text(encoding="utf-8").splitlines()]
    for name, _, text in rng.permutation(sorted(line.partition(" ") for line in lines)).tolist():
        if not any(DIGIT_LIKE.fullmatch(word) for word in re.split(r"[\s']", text.lower())):
            whole_s = read_audio(audio[name], RATE).duration
            piece_s = min(whole_s, float(rng.uniform(2.0, 6.0)))
            start = float(rng.uniform(0.0, whole_s - piece_s))
            speaker = f"librispeech_{name.split('-')[0]}"
            yield Utterance(name, audio[name], piece_s, "", speaker, start=start, other={"source": "librispeech"})


def _learners(corpus: Path) -> Iterator[Utterance]:
    audio = {path.stem: path for path in corpus.glob("**/WAVE/**/*.*")}
    for list_ in sorted(corpus.glob("**/*/text")):
        speakers = dict(line.split() for line in (list_.parent / "utt2spk").read_text(encoding="utf-8").splitlines())
        for line in sorted(list_.read_text(encoding="utf-8").splitlines()):
            name, *words = line.lower().split()
            if words and set(words) <= set(WORDS):
                duration = read_audio(audio[name], RATE).duration
                yield Utterance(name, audio[name], duration, " ".join(words), speakers[name])


def _noise(corpus: Path) -> Iterator[Utterance]:
    for path in sorted((corpus / "esc10").glob("**/[1-5]-*.*")):
        target = path.stem.split("-")[-1]
        if not target.isdigit() or int(target) in ESC10:
            yield Utterance(path.stem, path, read_audio(path, RATE).duration, "", "noise", other={"source": "noise"})


def _pieces(utterance: Utterance, count: int) -> Iterator[Utterance]:
    rng = np.random.default_rng(zlib.crc32(utterance.id.encode()))
    for number in range(count):
        length_s = float(rng.uniform(min(1.0, utterance.duration), utterance.duration))
        start = float(rng.uniform(0.0, utterance.duration - length_s))
        yield replace(utterance, id=f"{utterance.id}_{number}", start=start, duration=length_s)
