"""`asr bench data`: how far the data part scales and how fast it feeds a training."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from asr.bench import scale
from asr.version import __version__

FORMAT = "asr-bench-data-1"
PACKAGES = ("torch", "torchaudio", "torchcodec", "lhotse", "soundfile", "soxr", "numpy")
RECORDINGS = 60

Say = Callable[[str], None]


def bench(lines: int, manifests: Sequence[Path], workers: int, repeat: int, say: Say) -> dict[str, Any]:
    """The record of both measurements; lines=0 leaves out scale, repeat=0 decoding. Raises ManifestError."""
    record: dict[str, Any] = {"format": FORMAT, "asr_version": __version__, "machine": machine()}
    record |= {"lines": lines, "repeat": repeat, "scale": [], "decoding": []}
    with TemporaryDirectory() as temporary:
        if lines:
            say(f"scale: a manifest of {lines:,} lines")
            record["scale"] = list(scale.measure(lines, Path(temporary)))
        if repeat:
            from asr.bench import decoding

            if not manifests:
                say(f"{RECORDINGS} recordings are made up, in {' and in '.join(decoding.MADE_UP)}")
                manifests = [decoding.write_recordings(Path(temporary), kind, RECORDINGS) for kind in decoding.MADE_UP]
            counts = (0, workers) if workers else (0,)
            for path in manifests:
                say(f"decoding: {path.name}")
                record["decoding"].extend(decoding.measure(path, counts, repeat))
    return record


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {"system": platform.platform(), "processor": _processor(), "cores": os.cpu_count(), "versions": versions}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def print_tables(record: dict[str, Any]) -> None:
    console = Console() if Console().is_terminal else Console(width=120)
    if record["scale"]:
        baseline = next((row["peak_mb"] for row in record["scale"] if row["stage"] == "imports"), None)
        table = _table(
            f"{record['lines']:,} lines", "seconds", "of CPU", "CPU s per 100,000", "peak MB", "above imports"
        )
        for row in record["scale"]:
            if row["status"]:
                table.add_row(row["stage"], f"failed with status {row['status']}")
                continue
            above = "" if baseline is None or row["peak_mb"] is None else f"{max(0.0, row['peak_mb'] - baseline):.0f}"
            peak = "" if row["peak_mb"] is None else f"{row['peak_mb']:.0f}"
            table.add_row(
                row["stage"], f"{row['seconds']:.2f}", f"{row['cpu_s']:.2f}", f"{row['per_100k_s']:.3f}", peak, above
            )
        console.print(table)
    for manifest in dict.fromkeys(row["manifest"] for row in record["decoding"]):
        table = _table(manifest, "workers", "audio s / s", "of soundfile")
        for row in record["decoding"]:
            if row["manifest"] == manifest and "missing" in row:
                table.add_row(row["reader"], "missing")
            elif row["manifest"] == manifest:
                figures = str(row["workers"]), f"{row['audio_per_s']:.0f}", f"{row['ratio']:.2f}"
                table.add_row(row["reader"], *figures)
        console.print(table)


def _table(first: str, *others: str) -> Table:
    table = Table(first, box=box.SIMPLE)
    for name in others:
        table.add_column(name, justify="right")
    return table


def write_record(path: Path, record: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
