"""Rare words as hot words: how many more of them are heard, and how often they are heard where nobody said them.

    python scripts/bench_hotwords.py --model runs/letters --lm lm --manifest data/mini_librispeech/test.jsonl

The hot words are words of the manifest's own texts, of four letters or more: first those that the language model lacks,
then those that it finds least likely whatever stands before them; among equals a seed decides. Many are names. All
utterances are read without them and with them, with the language model (and the weights it was tuned to, if it was) and
without. A word is found where the alignment with the text puts it against the same word, and false everywhere else.

--weights is for development sets: what is reported of a test is the default.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench.record import write_record
from rich import box
from rich.console import Console
from rich.table import Table

from asr import __version__
from asr.data.manifest import Manifest
from asr.decode.beam import BeamSearch, prepare
from asr.decode.lexicon import HOT_WORD_WEIGHT
from asr.errors import AsrError, ManifestError, ModelError
from asr.evaluate.run import model_sha256
from asr.evaluate.score import Pair, right_words, score
from asr.evaluate.tune import compute_log_probs
from asr.lm.model import LanguageModel
from asr.model.folder import find_model, load_model
from asr.text import Tokenizer, normalize
from asr.util.files import file_sha256

FORMAT = "asr-bench-hotwords-1"
SHORTEST = 4  # letters; shorter words are heard by accident


def rarest(texts: Sequence[str], lm: LanguageModel, tokenizer: Tokenizer, count: int, seed: int) -> list[str]:
    """Words of normalized texts that the model can spell, the least likely first."""
    words = sorted({word for text in texts for word in text.split() if len(word) >= SHORTEST})
    words = [word for word in words if not tokenizer.unknown(word)]
    random.Random(seed).shuffle(words)

    def log_prob(word: str) -> float:
        return float(lm.tables.unigrams[lm.index[word], 0]) if word in lm.index else -math.inf

    return sorted(words, key=log_prob)[:count]


def read(search: BeamSearch, tokenizer: Tokenizer, normalizer: str, arrays: Sequence[np.ndarray]) -> list[str]:
    return [normalize(tokenizer.decode(search.n_best(array)[0].token_ids), normalizer) for array in arrays]


def judge(references: Sequence[str], hypotheses: Sequence[str], hot_words: Sequence[str]) -> dict[str, Any]:
    """Counts of hot words that were said, found and false, and rates."""
    listed = set(hot_words)
    found = false = 0
    pairs = [Pair(str(i), *texts) for i, texts in enumerate(zip(references, hypotheses, strict=True))]
    for pair in pairs:
        words = pair.hypothesis.split()
        if listed.intersection(words):
            hot = [right for word, right in zip(words, right_words(pair), strict=True) if word in listed]
            found += sum(hot)
            false += len(hot) - sum(hot)
    said = sum(word in listed for text in references for word in text.split())
    scores = score(pairs)
    return {
        "said": said,
        "found": found,
        "recall": found / said,
        "false": false,
        "false_per_1000": 1000 * false / scores.words,
        "words": scores.words,
        "wer": scores.wer,
    }


def bench(a: argparse.Namespace) -> dict[str, Any]:
    folder, lm = find_model(a.model), LanguageModel.load(a.lm)
    recognizer, manifest = load_model(folder), Manifest(a.manifest)
    tokenizer, normalizer = recognizer.tokenizer, recognizer.text.normalizer
    if lm.unit != "word":
        raise ModelError(f"{a.lm}: a language model of characters knows no rare words")
    prepare(tokenizer, normalizer, lm=lm)  # fails early if they do not fit
    development = compute_log_probs(recognizer, manifest)
    for failure in development.failed:
        print(f"left out: {failure}", file=sys.stderr)
    texts, arrays = development.references, development.log_probs
    hot_words = rarest(texts, lm, tokenizer, a.count, a.seed)
    if not hot_words:
        raise ManifestError(f"{a.manifest}: no words of {SHORTEST} letters that the model can spell")
    rows = []
    for name, language in (("none", None), (a.lm.name, lm)):
        for weight in (0.0, *a.weights):
            weights = dict.fromkeys(hot_words, weight) if weight else {}
            search = prepare(tokenizer, normalizer, lm=language, hot_words=weights)
            row = {"lm": name, "weight": weight} | judge(texts, read(search, tokenizer, normalizer, arrays), hot_words)
            rows.append(row | {"settings": asdict(search.settings)})
    return {
        "format": FORMAT,
        "asr_version": __version__,
        "model": recognizer.name,
        "model_sha256": model_sha256(folder),
        "lm": a.lm.name,
        "manifest": a.manifest.name,
        "manifest_sha256": file_sha256(a.manifest),
        "utterances": len(texts),
        "normalizer": normalizer,
        "seed": a.seed,
        "hot_words": hot_words,
        "unknown_to_lm": sum(word not in lm.index for word in hot_words),
        "rows": rows,
    }


def print_table(record: dict[str, Any]) -> None:
    words, known = len(record["hot_words"]), len(record["hot_words"]) - record["unknown_to_lm"]
    print(f"{words} hot words, {known} of them in the language model; {record['utterances']} utterances")
    print(", ".join(record["hot_words"]))
    table = Table("LM", "weight", "found", "recall", "false", "a 1,000 words", "WER", box=box.SIMPLE)
    for row in record["rows"]:
        table.add_row(
            row["lm"],
            f"{row['weight']:g}" if row["weight"] else "–",
            f"{row['found']} of {row['said']}",
            f"{100 * row['recall']:.1f} %",
            str(row["false"]),
            f"{row['false_per_1000']:.2f}",
            f"{100 * row['wer']:.2f} %",
        )
    Console(width=100).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a model folder, a run folder or a built-in model's name")
    parser.add_argument("--lm", type=Path, required=True, help="a language model of words: what is rare, and a reader")
    parser.add_argument("--manifest", type=Path, required=True, help="utterances with texts")
    parser.add_argument("--count", type=int, default=50, help="hot words (default 50)")
    parser.add_argument(
        "--weights",
        type=float,
        nargs="+",
        default=[HOT_WORD_WEIGHT],
        help="nats a letter (default: as shipped)",
    )
    parser.add_argument("--seed", type=int, default=0, help="which of equally rare words (default 0)")
    parser.add_argument("--threads", type=int, default=1, help="of the network (default 1)")
    parser.add_argument("--output", type=Path, help="also write all figures here (JSON)")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    try:
        record = bench(a)
    except (AsrError, OSError) as error:
        sys.exit(str(error))
    print_table(record)
    if a.output is not None:
        write_record(a.output, record)


if __name__ == "__main__":
    main()
