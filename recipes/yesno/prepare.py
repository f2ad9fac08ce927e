"""yesno (OpenSLR 1): 60 recordings of one man saying "yes" and "no" in Hebrew, eight words each.

Two splits of the recordings sorted by name. train, dev, test: even index training, odd test (lhotse's and icefall's).
kaldi_train, kaldi_dev, kaldi_test: the first half for training, the second for test. Every sixth training recording
is for development.
"""

from collections.abc import Iterator
from pathlib import Path

from asr.audio import audio_info
from asr.corpus.download import openslr
from asr.data.manifest import Utterance
from asr.util.files import walk

ARCHIVES = [openslr("1/waves_yesno.tar.gz", sha256="c3f49e0cca421f96b75b41640749167b52118f232498667ca7a5f9416aef8e73")]
WORDS = {"0": "no", "1": "yes"}


def utterances(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    files = sorted(path for path in walk(corpus, "*.*") if set(path.stem) <= set("01_") and path.stem)
    for index, path in enumerate(files):
        text = " ".join(WORDS[digit] for digit in path.stem.split("_"))
        utterance = Utterance(path.stem, path, audio_info(path).duration, text, speaker="yesno")
        yield _part(index % 2 == 1, index // 2), utterance
        yield "kaldi_" + _part(index >= len(files) // 2, index), utterance


def _part(test: bool, number: int) -> str:
    return "test" if test else "dev" if number % 6 == 3 else "train"
