"""english: what there is of transcribed English under free licenses, to train the built-in model on.

    train                   LibriSpeech, Common Voice, LJ Speech, speechocean762 and Kathleen, without the speakers
                            below, and Common Voice clips whose text a recognizer wrote (machine.tsv beside the clips)
    dev                     four speakers of LibriSpeech, the development clips of Common Voice, every tenth speaker
                            of speechocean762; chooses the checkpoint and the weights
    test                    LibriSpeech dev-clean-2
    test_common_voice       its test clips
    test_speechocean762     every tenth speaker, and those of its own test half
    test_ljspeech           every tenth clip; her voice is in train too
    test_sounds             everyday sounds, music and silence, in which nothing should be heard
    noise                   other everyday sounds, to be put behind speech; also in train, as are music and silence

Every line names its "corpus", so that one can be taken away: grep -v '"corpus": "kathleen"' data/english/train.jsonl

Common Voice hands out archives by personal links only: put what you have into MIRROR, as
common_voice/cv-corpus-*-en.tar.gz. Archives under english/ of a mirror are further parts of the same corpora.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from asr.corpus.download import Archive, openslr
from asr.corpus.layouts import read_audio_alone, read_folder, read_kaldi, read_librispeech, read_table
from asr.corpus.sounds import band, music, silence
from asr.data.manifest import Utterance
from asr.errors import AsrError
from asr.util.files import walk

ARCHIVES = [
    openslr("31/train-clean-5.tar.gz", md5="5df7d4e78065366204ca6845bb08f490", gigabytes=0.33),
    openslr("31/dev-clean-2.tar.gz", md5="6d7ab67ac6a1d2c993d050e16d61080d", gigabytes=0.13),
    openslr("12/train-clean-100.tar.gz", md5="2a93770f6d5c6c964bc36631d331a522", gigabytes=6.39),
    openslr("101/speechocean762.tar.gz", gigabytes=0.6),
    Archive(
        "ljspeech/LJSpeech-1.1.tar.bz2",
        ("https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",),
        sha256="be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
        gigabytes=2.75,
    ),
    Archive("common_voice/cv-corpus-*-en.tar.gz", extra=True),
    Archive("english/*.tar.*", label="more", extra=True),
    Archive("noise/esc*.tar.gz", extra=True),
]
LIBRISPEECH = {"train-clean-5": "train", "train-clean-100": "train", "dev-clean-2": "test"}
LIBRISPEECH_DEV = {"32", "669", "2136", "7312"}  # as in mini_librispeech
TEST_FOLD = 5  # of ESC-10
RATE = 16_000
COMMON_VOICE = {"dev": "dev", "test": "test_common_voice", "train": "train", "machine": "train"}


def utterances(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    for read in (_librispeech, _common_voice, _speechocean762, _ljspeech, _kathleen, _sounds):
        for part, utterance in read(corpus):
            name = read.__name__.strip("_")
            yield part, replace(utterance, other={"corpus": name, **utterance.other})
    for part, count, bands, seed in (("train", 40, 120, 1), ("test_sounds", 12, 0, 2)):
        folder = made / part
        for sound in chain(
            *(make(folder, count, RATE, seed) for make in (music, silence)), band(folder, bands, RATE, 5)
        ):
            yield part, replace(sound, id=f"{sound.id}_{part}", other={"corpus": "sounds"})


def _librispeech(corpus: Path) -> Iterator[tuple[str, Utterance]]:
    """Each utterance once: train-clean-5 is a part of train-clean-100."""
    seen: set[str] = set()
    for folder in sorted({texts.parents[2] for texts in walk(corpus, "*.trans.txt")}):
        if part := LIBRISPEECH.get(folder.name):
            for utterance in read_librispeech(folder):
                if utterance.id not in seen:
                    seen.add(utterance.id)
                    yield "dev" if part == "train" and utterance.speaker in LIBRISPEECH_DEV else part, utterance


def _common_voice(corpus: Path) -> Iterator[tuple[str, Utterance]]:
    """The clips of every release, each once, and each speaker in one part: the first that has them."""
    seen: set[str] = set()
    part_of: dict[str, str] = {}
    for name, part in COMMON_VOICE.items():
        for table in sorted(walk(corpus, f"{name}.tsv")):
            columns = {"audio": "path", "text": "sentence"} | ({"speaker": "client_id"} if name != "machine" else {})
            for clip in read_table(
                table, failed=_leave_out, delimiter="\t", quotes=False, audio_folder=table.with_name("clips"), **columns
            ):
                if clip.id in seen or (clip.speaker and part_of.setdefault(clip.speaker, part) != part):
                    continue
                seen.add(clip.id)
                if name == "machine":
                    clip = replace(clip, other={"corpus": "common_voice_machine"})
                yield part, clip


def _speechocean762(corpus: Path) -> Iterator[tuple[str, Utterance]]:
    read = {"train": list[Utterance](), "test": list[Utterance]()}
    for listing in sorted(walk(corpus, "wav.scp")):
        read[listing.parent.name] += read_kaldi(listing.parent)
    speakers = sorted({utterance.speaker or "" for utterance in read["train"]})
    part_of = dict.fromkeys(speakers[::10], "dev") | dict.fromkeys(speakers[5::10], "test_speechocean762")
    for utterance in read["train"]:
        yield part_of.get(utterance.speaker or "", "train"), utterance
    for utterance in read["test"]:
        yield "test_speechocean762", utterance


def _ljspeech(corpus: Path) -> Iterator[tuple[str, Utterance]]:
    clips = {
        clip.id: replace(clip, speaker="LJ")
        for table in sorted(walk(corpus, "metadata.csv"))
        for clip in read_table(table, audio=1, text=3, delimiter="|", quotes=False, audio_folder=table.parent / "wavs")
    }
    for number, name in enumerate(sorted(clips)):
        yield "test_ljspeech" if number % 10 == 9 else "train", clips[name]


def _kathleen(corpus: Path) -> Iterator[tuple[str, Utterance]]:
    for folder in sorted({text.parent for text in walk(corpus, "kathleen/*.txt")}):
        for utterance in read_folder(folder):
            yield "train", replace(utterance, speaker="kathleen")


def _sounds(corpus: Path) -> Iterator[tuple[str, Utterance]]:
    """Every clip's name begins with its fold; no source is in two of them."""
    for folder in sorted(corpus.glob("esc*")):
        for recording in read_audio_alone(folder):
            tested = recording.audio.name.startswith(f"{TEST_FOLD}-")
            yield "test_sounds" if tested else "noise", replace(recording, text="" if tested else None)
            if not tested:
                yield "train", replace(recording, id=f"{recording.id}_alone", text="")


def _leave_out(error: AsrError) -> None:
    """Of many thousand clips from everywhere a few are empty: no reason to refuse the others."""
    print(f"left out: {error}", file=sys.stderr)
