"""Watches the memory of a training for thousands of steps: what grows without end would show.

    python scripts/memory_test.py [--steps 6000] [--workers 2]

A small model learns data/samples on the CPU with everything random switched on, in a process of its own whose resident
memory is read every ten steps (from /proc: Linux). After 2,000 steps to warm up, the growth per 1,000 steps is the
slope through the medians of the first and the last third. Exit status 1 for 1 MB or more.

oneDNN keeps what it compiles for each shape, up to 1,024 of them, and no two batches have the same: a cache this large
takes thousands of steps to fill, so it is made smaller here.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from multiprocessing.process import BaseProcess
from pathlib import Path

os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")  # before torch is imported

from kill_test import start, write_config

WARM_UP = 2000
PER_EPOCH, STEPS_AN_EPOCH = 120, 75  # utterances, and about so many steps
LIMIT_MB = 1.0


def watch(process: BaseProcess, metrics: Path) -> list[tuple[int, float]]:
    """(steps, resident MB) whenever ten steps more are in the log."""
    seen: list[tuple[int, float]] = []
    while process.is_alive():
        process.join(0.05)
        step = last_step(metrics)
        if process.is_alive() and step > (seen[-1][0] if seen else 0):
            seen.append((step, resident_mb(process.pid)))
    return seen


def last_step(metrics: Path) -> int:
    lines = metrics.read_text(encoding="utf-8").splitlines(keepends=True) if metrics.is_file() else []
    whole = [line for line in lines[-2:] if line.endswith("\n")]
    return json.loads(whole[-1])["step"] if whole else 0


def resident_mb(pid: int | None) -> float:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def growth(seen: list[tuple[int, float]]) -> float:
    """MB per 1,000 steps."""
    warm = [pair for pair in seen if pair[0] > WARM_UP]
    third = len(warm) // 3
    (first, before), (last, after) = (
        [statistics.median(values) for values in zip(*part, strict=True)] for part in (warm[:third], warm[-third:])
    )
    return 1000 * (after - before) / (last - first)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        config = write_config(Path(name), arguments.steps // STEPS_AN_EPOCH, arguments.workers, PER_EPOCH, 5.0)
        process = start(config, Path(name) / "run")
        try:
            seen = watch(process, Path(name) / "run" / "metrics.jsonl")
        finally:
            process.kill()
    if process.exitcode:
        raise SystemExit(f"the training ended with status {process.exitcode}")
    for step, memory in seen[:: max(1, len(seen) // 10)]:
        print(f"{step:6} steps  {memory:8.2f} MB")
    found = growth(seen)
    print(f"{found:+.3f} MB per 1,000 steps")
    raise SystemExit(1 if found >= LIMIT_MB else 0)


if __name__ == "__main__":
    main()
