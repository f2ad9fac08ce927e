"""Cut the digits out of sentences that people read aloud: real voices for the built-in model.

    python recipes/digits/voices/cut.py runs/digits-pretrained/speech data/mini_librispeech/train.jsonl \\
        runs/digits-pretrained/read data/voices/base_train.jsonl data/voices/train.jsonl

The model aligns each sentence with its text. No audio is written: OUTPUT/digits.jsonl names parts of recordings, and
OUTPUT holds each of the other manifests with these digits behind it. The digits stay until the model is a newer one.
Readers say "one" and "two" far more often than the others, so that those are listed still more times.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from rich.progress import track

from asr.data.manifest import Manifest, Utterance, write_manifest
from asr.data.waveforms import read_utterance
from asr.decode.align import align
from asr.errors import AsrError
from asr.model.folder import find_model, load_model
from asr.model.recognizer import Recognizer
from asr.text import normalize

DIGITS = "zero one two three four five six seven eight nine".split()
TIMES = {word: 4 if word in ("one", "two") else 12 for word in DIGITS}
MAX_PER_WORD = 6  # of one reader
MIN_SCORE = 0.5
SHORTEST_S = 0.16  # an unstressed "one" may be shorter, and nobody could tell what it is
BEFORE_S, AFTER_S = 0.04, 0.06  # around a word as the model aligns it, where there is a pause
OVERLAP_S = 0.02  # and into its neighbors, where there is none


def cut(recognizer: Recognizer, utterance: Utterance) -> Iterator[tuple[str, float, float]]:
    """The digits in an utterance: word, start and end in seconds from the beginning of the utterance."""
    words = align(recognizer, read_utterance(utterance, recognizer.sample_rate), utterance.text or "").words
    ends = [0.0, *(word.end - OVERLAP_S for word in words)]
    starts = [*(word.start + OVERLAP_S for word in words[1:]), utterance.duration]
    for word, previous_end, next_start in zip(words, ends, starts, strict=False):
        text = normalize(word.text, "basic")
        if text in TIMES and word.score >= MIN_SCORE and word.end - word.start >= SHORTEST_S:
            yield text, max(word.start - BEFORE_S, previous_end, 0.0), min(word.end + AFTER_S, next_start)


def digits_of(recognizer: Recognizer, sentences: Manifest) -> Iterator[Utterance]:
    """Every digit TIMES times, MAX_PER_WORD of a word by one reader. Says which sentences cannot be aligned."""
    found: Counter[tuple[str, str]] = Counter()
    spoken = [each for each in sentences if TIMES.keys() & set(normalize(each.text or "", "basic").split())]
    for sentence in track(spoken, description="cutting"):
        reader = sentence.speaker or sentence.id
        try:
            pieces = list(cut(recognizer, sentence))
        except AsrError as error:
            print(f"warning: {sentences.path}, {sentence.id}: left out: {error}", file=sys.stderr)
            continue
        for number, (text, start, end) in enumerate(pieces):
            found[reader, text] += 1
            if found[reader, text] > MAX_PER_WORD:
                continue
            for time in range(TIMES[text]):
                yield replace(
                    sentence,
                    id=f"{sentence.id}_{number}_{time}",
                    start=sentence.start + start,
                    duration=end - start,
                    text=text,
                    speaker=f"read_{reader}",
                    other={"source": "read"},
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="run or model folder: of letters or other tokens that spell the sentences")
    parser.add_argument("sentences", type=Path, help="their manifest")
    parser.add_argument("output", type=Path, help="a folder")
    parser.add_argument("manifests", type=Path, nargs="*", help="to be written to it with the digits behind")
    arguments = parser.parse_args()
    model, path = find_model(arguments.model), arguments.output / "digits.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.stat().st_mtime < (model / "model.safetensors").stat().st_mtime:
        digits = list(digits_of(load_model(model), Manifest(arguments.sentences)))
        if not digits:
            sys.exit(f"error: {arguments.sentences}: no digit found in it; do its texts spell them as words?")
        write_manifest(path, digits)
    digits = list(Manifest(path))
    kept = Counter(digit.text for digit in digits)
    counts = ", ".join(f"{kept[word] // TIMES[word]} {word}" for word in DIGITS)
    print(f"{path}: {counts} by {len({digit.speaker for digit in digits})} readers")
    for manifest in arguments.manifests:
        write_manifest(arguments.output / manifest.name, [*Manifest(manifest), *digits])


if __name__ == "__main__":
    try:
        main()
    except (AsrError, OSError) as error:
        sys.exit(f"error: {error}")
