"""Make a run's model a built-in one: asr/pretrained/NAME, its card holding the measured results.

    python scripts/publish_model.py runs/digits digits --reproduce "bash recipes/digits/run.sh" \\
        --limit "It knows six voices only." \\
        "digit strings=runs/digits/eval/wer.json" "noisy digit strings=runs/digits/eval/noisy/wer.json"

Each result is NAME=FILE, a wer.json that `asr evaluate` wrote for this very model; the first is the one that
`asr transcribe` shows. The card lists the words that were most often taken for others in it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import jiwer

from asr.evaluate.run import model_sha256
from asr.model.folder import BUILT_IN, find_model, load_model, save_model

LARGEST_BYTES = 25_000_000
MOST = 12  # confusions named on a card
KEYS = ("wer", "wer_ci95", "ci_method", "ci_unit", "words", "utterances", "insertions", "audio_s")


def confusions(folder: Path) -> list[tuple[str, str, int]]:
    """The most frequent substitutions of an evaluation: the word said, the word heard, how often."""
    said, heard = (
        [line.rpartition(" (")[0] for line in (folder / name).read_text(encoding="utf-8").splitlines()]
        for name in ("ref.trn", "hyp.trn")
    )
    spoken = [pair for pair in zip(said, heard, strict=True) if pair[0]]  # jiwer takes no empty reference
    found = jiwer.process_words(*map(list, zip(*spoken, strict=True)))
    count: Counter[tuple[str, str]] = Counter()
    for chunks, words, others in zip(found.alignments, found.references, found.hypotheses, strict=True):
        for chunk in chunks:
            if chunk.type == "substitute":
                pairs = words[chunk.ref_start_idx : chunk.ref_end_idx], others[chunk.hyp_start_idx : chunk.hyp_end_idx]
                count.update(zip(*pairs, strict=True))
    return [(*pair, times) for pair, times in count.most_common(MOST) if times > 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="run or model folder")
    parser.add_argument("name")
    parser.add_argument("results", nargs="+", metavar="NAME=FILE")
    parser.add_argument("--reproduce", required=True, help="the command that makes the model again")
    parser.add_argument("--limit", action="append", default=[], help="a line of the card's section on where it fails")
    arguments = parser.parse_args()

    source = find_model(arguments.model)
    recognizer = load_model(source)
    digest = model_sha256(source)
    results = []
    for given in arguments.results:
        name, _, file = given.partition("=")
        record = json.loads(Path(file).read_text(encoding="utf-8"))
        if record["model_sha256"] != digest:
            sys.exit(f"{file}: was measured on another model; evaluate {source} again")
        if record["wer"] is None and not results:
            sys.exit(f"{file}: has no words; name a result with a WER first, it is the one that people see")
        results.append({"set": name, **{key: record[key] for key in KEYS}})
    recognizer.name = arguments.name
    made = {"results": results, "reproduce": arguments.reproduce, "limits": arguments.limit}
    made["confusions"] = confusions(Path(arguments.results[0].partition("=")[2]).parent)
    recognizer.training_record |= made
    target = BUILT_IN / arguments.name
    shutil.rmtree(target, ignore_errors=True)
    save_model(recognizer, target)
    size = sum(path.stat().st_size for path in target.rglob("*"))
    if size > LARGEST_BYTES:
        sys.exit(f"{target}: {size / 1e6:.1f} MB, more than a built-in model may have ({LARGEST_BYTES / 1e6:g} MB)")
    print(f"{target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
