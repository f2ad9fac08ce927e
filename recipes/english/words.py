"""Cuts pieces of one to three words out of recordings, so that a model also learns words that stand alone: commands,
names, numbers.

    python recipes/english/words.py data/english/train.jsonl data/english/train_words.jsonl [--recordings 1200]

The built-in model finds where words begin and end. Of each of so many recordings, drawn at random, two pieces are
taken from words that it is sure of. The output is the manifest and behind it the pieces, which are parts of the same
files (`start` and `duration`): no audio is written. It takes about five minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

import asr
from asr.cli.console import watch
from asr.data.manifest import Manifest, Utterance, write_manifest
from asr.data.waveforms import read_utterance
from asr.decode.align import AlignedWord

PIECES = 2
MAX_WORDS = 3
SECONDS = (0.25, 1.5)
MARGIN_S = 0.06  # at most so much is kept before and behind
MIN_SCORE = 0.5


def pieces(utterance: Utterance, words: Sequence[AlignedWord], rng: np.random.Generator) -> Iterator[Utterance]:
    """words: of the utterance, in seconds from its beginning."""
    found = []
    for first in range(len(words)):
        for end in range(first + 1, min(first + MAX_WORDS, len(words)) + 1):
            seconds = words[end - 1].end - words[first].start
            if SECONDS[0] <= seconds <= SECONDS[1] and all(word.score >= MIN_SCORE for word in words[first:end]):
                found.append((first, end))
    for number in rng.permutation(len(found))[:PIECES]:
        first, end = found[number]
        start_s = max(0.0, words[first].start - rng.uniform(0, MARGIN_S))
        end_s = min(utterance.duration, words[end - 1].end + rng.uniform(0, MARGIN_S))
        yield replace(
            utterance,
            id=f"{utterance.id}_{first}_{end}",
            start=utterance.start + start_s,
            duration=end_s - start_s,
            text=" ".join(word.text for word in words[first:end]),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("output", type=Path, help="a manifest")
    parser.add_argument("--recordings", type=int, default=1200)
    parser.add_argument("--model", help="a model folder or name that aligns; by default the built-in model")
    a = parser.parse_args()
    model, rng = asr.load(a.model), np.random.default_rng(0)
    utterances = list(Manifest(a.manifest))
    usable = [row for row, utterance in enumerate(utterances) if utterance.text]
    chosen = rng.permutation(usable)[: a.recordings].tolist()
    made: list[Utterance] = []
    for row in watch(chosen, len(chosen), "aligning"):
        utterance = utterances[row]
        try:
            samples = read_utterance(utterance, model.sample_rate)
            words = model.align(samples, utterance.text or "", model.sample_rate, skip_unknown=True).words
        except asr.AsrError:
            continue  # too long a text for the audio, a damaged file: training tells
        made += pieces(utterance, words, rng)
    write_manifest(a.output, [*utterances, *made])
    minutes = sum(piece.duration for piece in made) / 60
    print(f"{a.output}: {len(utterances):,} utterances and {len(made):,} pieces of them, {minutes:.1f} min")


if __name__ == "__main__":
    main()
