"""What all measurements share: ways that take turns, what the figures depend on, and the file they are written to."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable, Hashable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table

from asr.util.files import replace_file

PACKAGES = ("torch", "torchaudio", "torchcodec", "lhotse", "soundfile", "soxr", "numpy")

Say = Callable[[str], None]
Way = TypeVar("Way", bound=Hashable)
Epoch = Callable[[], float]  # goes through all audio once -> seconds


def take_turns(epochs: Mapping[Way, Epoch], repeat: int) -> dict[Way, list[float]]:
    """Seconds of each way in every repetition, after one to warm up; every second repetition goes backwards, so that a
    busy machine slows all alike."""
    times: dict[Way, list[float]] = {way: [] for way in epochs}
    for epoch in epochs.values():
        epoch()
    for repetition in range(repeat):
        for way, epoch in list(epochs.items())[:: -1 if repetition % 2 else 1]:
            times[way].append(epoch())
    return times


def median_ratio(above: list[float], below: list[float]) -> float:
    """The median of the ratios within repetitions."""
    return round(statistics.median(a / b for a, b in zip(above, below, strict=True)), 3)


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


def print_table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Figures for people; the first column names them."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    (Console() if Console().is_terminal else Console(width=120)).print(table)


def write_record(path: Path, record: dict[str, Any]) -> None:
    replace_file(path, json.dumps(record, indent=2, ensure_ascii=False) + "\n")
