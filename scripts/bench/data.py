"""How far the data part scales and how fast it feeds a training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from asr import __version__
from bench import scale
from bench.record import Say, machine, print_table

FORMAT = "asr-bench-data-1"
MADE_UP_S = 720.0


def bench(lines: int, manifests: Sequence[Path], workers: int, repeat: int, say: Say) -> dict[str, Any]:
    """The record of both measurements; lines=0 leaves out scale, repeat=0 decoding. Raises ManifestError."""
    record: dict[str, Any] = {"format": FORMAT, "asr_version": __version__, "machine": machine()}
    record |= {"lines": lines, "repeat": repeat, "scale": [], "decoding": []}
    with TemporaryDirectory() as temporary:
        if lines:
            say(f"scale: a manifest of {lines:,} lines")
            record["scale"] = list(scale.measure(lines, Path(temporary)))
        if repeat:
            from bench import corpus, decoding

            if not manifests:
                say(f"{MADE_UP_S / 60:g} min of speech are made up, in {' and in '.join(corpus.MADE_UP)}")
                corpus.write_corpus(Path(temporary), MADE_UP_S)
                manifests = [Path(temporary, f"{kind}.jsonl") for kind in corpus.MADE_UP]
            counts = (0, workers) if workers else (0,)
            for path in manifests:
                say(f"decoding: {path.name}")
                record["decoding"].extend(decoding.measure(path, counts, repeat))
    return record


def print_tables(record: dict[str, Any]) -> None:
    if record["scale"]:
        columns = {"seconds": ".2f", "cpu_s": ".2f", "per_100k_s": ".3f", "peak_mb": ".0f"}
        rows = [
            [row["stage"], *("–" if row[key] is None else f"{row[key]:{form}}" for key, form in columns.items())]
            if row["status"] == 0
            else [row["stage"], f"failed with status {row['status']}"]
            for row in record["scale"]
        ]
        names = [f"{record['lines']:,} lines", "seconds", "of CPU", "CPU s per 100,000", "peak MB"]
        print_table("from lines to the first batch", names, rows)
    for manifest in dict.fromkeys(row["manifest"] for row in record["decoding"]):
        rows = [
            [row["reader"], "missing"]
            if "missing" in row
            else [row["reader"], str(row["workers"]), f"{row['audio_per_s']:.0f}", f"{row['ratio']:.2f}"]
            for row in record["decoding"]
            if row["manifest"] == manifest
        ]
        print_table(manifest, ["reader", "workers", "audio s / s", "of soundfile"], rows)
