"""custom: your own recordings and what is said in them, in any layout that `asr data import` reads.

    train, dev, test    eight tenths, one and one of the audio, no speaker in two of them

For a public corpus, name its archives (as recipes/yesno/prepare.py does) and yield its own parts.
"""

import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from asr.corpus.download import Archive
from asr.corpus.layouts import LAYOUTS, detect_layout
from asr.corpus.split import assign
from asr.data.manifest import Utterance

ARCHIVES: list[Archive] = []  # none: the corpus is the folder that CORPUS names
PARTS = ("train", "dev", "test")
say = partial(print, file=sys.stderr)


def utterances(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    while len(inside := sorted(corpus.glob("*"))) == 1 and inside[0].is_dir():  # as archives are packed
        [corpus] = inside
    layout, source = detect_layout(corpus)
    read, _ = LAYOUTS[layout]
    found = list(read(source, failed=lambda error: say(f"left out: {error}")))
    voices = [utterance.speaker or utterance.id for utterance in found]
    if not any(utterance.speaker for utterance in found):
        say("no speakers are known: the test's voices may be in training too, the WER says nothing about other voices")
    elif len(set(voices)) < len(PARTS):
        say(f"only {len(set(voices))} speakers: they are in training and test, the WER says nothing about other voices")
        voices = [utterance.id for utterance in found]
    seconds = dict.fromkeys(voices, 0.0)
    for voice, utterance in zip(voices, found, strict=True):
        seconds[voice] += utterance.duration
    part_of = dict(zip(seconds, assign(list(seconds), list(seconds.values()), [0.1, 0.1], seed=0), strict=True))
    for voice, utterance in zip(voices, found, strict=True):
        yield PARTS[part_of[voice]], utterance
