"""mini_librispeech (OpenSLR 31): read English, five hours of LibriSpeech to learn from and two to be measured on.

train    train-clean-5 without the speakers of dev: 1,400 utterances, 4.9 h, 24 speakers
dev      four speakers of train-clean-5, two women and two men: 119 utterances, 0.4 h; chooses the checkpoint
test     dev-clean-2: 1,089 utterances, 2 h, no speaker of which is in train-clean-5
"""

from collections.abc import Iterator
from pathlib import Path

from asr.corpus.download import openslr
from asr.corpus.layouts import read_librispeech
from asr.data.manifest import Utterance
from asr.util.files import walk

ARCHIVES = [
    openslr("31/train-clean-5.tar.gz", md5="5df7d4e78065366204ca6845bb08f490", gigabytes=0.33),
    openslr("31/dev-clean-2.tar.gz", md5="6d7ab67ac6a1d2c993d050e16d61080d", gigabytes=0.13),
]
PARTS = {"train-clean-5": "train", "dev-clean-2": "test"}
DEV_SPEAKERS = {"32", "669", "2136", "7312"}  # who say little: most of the five hours stay for training


def utterances(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    for folder in sorted({texts.parents[2] for texts in walk(corpus, "*.trans.txt")}):
        if part := PARTS.get(folder.name):
            for utterance in read_librispeech(folder):
                yield "dev" if part == "train" and utterance.speaker in DEV_SPEAKERS else part, utterance
