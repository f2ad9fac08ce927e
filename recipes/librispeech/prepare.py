"""librispeech (OpenSLR 12): 960 hours of English audio books to learn from, and four sets to be measured on.

    train-clean-100, train-clean-360, train-other-500      the training parts
    train                                                  all of these that are there
    dev-clean, dev-other                                   development; dev-clean chooses the checkpoint
    test-clean, test-other                                 test; test-clean is the headline

No speaker is in two of the parts. "other": speakers whom a recognizer understood less well. The two large training
parts are fetched where they are asked for by name.
"""

from collections.abc import Iterator
from pathlib import Path

from asr.corpus.download import openslr
from asr.corpus.layouts import read_librispeech
from asr.data.manifest import Utterance
from asr.util.files import walk

PARTS = {  # checksum and size of each archive, from md5sum.txt beside them
    "train-clean-100": ("2a93770f6d5c6c964bc36631d331a522", 6.39),
    "train-clean-360": ("c0e676e450a7ff2f54aeade5171606fa", 23.0),
    "train-other-500": ("d1a0fd59409feb2c614ce4d30c387708", 30.6),
    "dev-clean": ("42e2234ba48799c1f50f24a7926300a1", 0.34),
    "dev-other": ("c8d0bcc9cca99d4f8b62fcc847357931", 0.31),
    "test-clean": ("32fa31d27d2e1cad72775fee3f4849a9", 0.35),
    "test-other": ("fb5a50374b501bb3bac4815ee91d3135", 0.33),
}
ARCHIVES = [
    openslr(f"12/{part}.tar.gz", md5=md5, gigabytes=gigabytes, optional=gigabytes > 10)
    for part, (md5, gigabytes) in PARTS.items()
]


def utterances(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    for folder in sorted({texts.parents[2] for texts in walk(corpus, "*.trans.txt")}):
        if folder.name in PARTS:
            for utterance in read_librispeech(folder):
                yield folder.name, utterance
                if folder.name.startswith("train-"):
                    yield "train", utterance
