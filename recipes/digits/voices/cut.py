"""Cut the digits out of sentences that people read aloud: real voices for the built-in model.

    python recipes/digits/voices/cut.py runs/digits-pretrained/speech data/mini_librispeech/train.jsonl read.jsonl

The model aligns each sentence with its text. No audio is written: the manifest names parts of recordings. Readers say
"one" and "two" far more often than the others, which are therefore listed several times.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rich.progress import track

from asr.data.dataset import read_utterance
from asr.data.manifest import Manifest, Utterance, write_manifest
from asr.decode.align import align
from asr.model.recognizer import Recognizer
from asr.pretrained import find_model

DIGITS = "zero one two three four five six seven eight nine".split()
TIMES = {word: 4 if word in ("one", "two") else 12 for word in DIGITS}
MOST_A_WORD = 6  # of one reader
LEAST_SCORE = 0.5
SHORTEST_S = 0.16  # an unstressed "one" may be shorter, and nobody could tell what it is
BEFORE_S, AFTER_S = 0.04, 0.06  # around a word as the model aligns it, where there is a pause
OVERLAP_S = 0.02  # and into its neighbours, where there is none


def cut(recognizer: Recognizer, utterance: Utterance) -> Iterator[tuple[str, float, float]]:
    """The digits in an utterance: word, start and end in seconds from the beginning of the utterance."""
    words = align(recognizer, read_utterance(utterance, recognizer.sample_rate), utterance.text or "").words
    ends = [0.0, *(word.end - OVERLAP_S for word in words)]
    starts = [*(word.start + OVERLAP_S for word in words[1:]), utterance.duration]
    for word, previous_end, next_start in zip(words, ends, starts, strict=False):
        text = word.text.lower()
        if text in TIMES and word.confidence >= LEAST_SCORE and word.end - word.start >= SHORTEST_S:
            yield text, max(word.start - BEFORE_S, previous_end, 0.0), min(word.end + AFTER_S, next_start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="run or model folder: of letters or other tokens that spell the sentences")
    parser.add_argument("sentences", type=Path, help="their manifest")
    parser.add_argument("output", type=Path, help="the manifest of digits")
    arguments = parser.parse_args()
    recognizer = Recognizer.load(find_model(arguments.model))
    sentences = [each for each in Manifest(arguments.sentences) if TIMES.keys() & (each.text or "").lower().split()]
    found: Counter[tuple[str | None, str]] = Counter()
    digits = []
    for sentence in track(sentences, description="cutting"):
        for number, (text, start, end) in enumerate(cut(recognizer, sentence)):
            found[sentence.speaker, text] += 1
            if found[sentence.speaker, text] > MOST_A_WORD:
                continue
            for time in range(TIMES[text]):
                name = f"{sentence.id}_{number}_{time}"
                speaker, begin = f"read_{sentence.speaker}", (sentence.start or 0.0) + start
                other = {"source": "read"}
                digits.append(Utterance(name, sentence.audio, end - start, text, speaker, start=begin, other=other))
    write_manifest(arguments.output, digits)
    kept = Counter(digit.text for digit in digits)
    counts = ", ".join(f"{kept[word] // TIMES[word]} {word}" for word in DIGITS)
    print(f"{counts} by {len({speaker for speaker, _ in found})} readers")


if __name__ == "__main__":
    main()
