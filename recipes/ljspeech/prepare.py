"""ljspeech (LJ Speech 1.1): 13,100 clips of one woman reading from seven books, 24 hours.

    train, dev, test    of every 20 clips, in order of their names, the 10th is for development and the 20th for test:
                        11,790, 655 and 655. There is no official split; README.md says why this one.

The text is the third column of metadata.csv, in which numbers and abbreviations are written as they are spoken.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from asr.corpus.download import Archive
from asr.corpus.layouts import read_table
from asr.data.manifest import Utterance
from asr.util.files import walk

ARCHIVES = [
    Archive(
        "ljspeech/LJSpeech-1.1.tar.bz2",
        ("https://data.keithito.com/data/speech/LJSpeech-1.1.tar.bz2",),
        sha256="be1a30453f28eb8dd26af4101ae40cbf2c50413b1bb21936cbcdc6fae3de8aa5",
        gigabytes=2.75,
    )
]
PARTS = {9: "dev", 19: "test"}


def utterances(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    for table in sorted(walk(corpus, "metadata.csv")):
        clips = read_table(table, audio=1, text=3, delimiter="|", quotes=False, audio_folder=table.parent / "wavs")
        for index, clip in enumerate(sorted(clips, key=lambda clip: clip.id)):
            yield PARTS.get(index % 20, "train"), replace(clip, speaker="LJ")
