"""speechocean762 (OpenSLR 101): 250 learners of English whose first language is Mandarin, half of them children, read
20 sentences each. The corpus is made for scoring pronunciation; the scores are not used here.

    train    every speaker of the corpus's training half but those of dev
    dev      every tenth speaker of it, in order of their numbers; chooses the checkpoint
    test     the corpus's test half: 2,500 utterances, 125 speakers
"""

from collections.abc import Iterator
from pathlib import Path

from asr.corpus.download import openslr
from asr.corpus.layouts import read_kaldi
from asr.data.manifest import Utterance
from asr.util.files import walk

ARCHIVES = [openslr("101/speechocean762.tar.gz", gigabytes=0.6)]  # no checksum is published


def utterances(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    for listing in sorted(walk(corpus, "wav.scp")):
        half = list(read_kaldi(listing.parent))
        dev = (
            set(sorted({utterance.speaker or "" for utterance in half})[::10]) if listing.parent.name == "train" else ()
        )
        for utterance in half:
            yield "dev" if utterance.speaker in dev else listing.parent.name, utterance
