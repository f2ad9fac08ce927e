"""A manifest of many lines, from disk to the first batch: seconds and memory of each stage, each in its own process.

python scripts/bench/scale.py STAGE MANIFEST     one stage; prints its seconds by the clock and of the processor,
                                                 loading of modules excluded, and the process's peak memory in MB
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Work = Callable[[], object]
DEV_LINES = 1000


def write_lines(path: Path, lines: int, seed: int = 0) -> None:
    """A manifest without audio, like a large LibriSpeech: 1 to 35 s, about 180 letters, some 2,000 speakers."""
    rng = np.random.default_rng(seed)
    letters = np.array(list("ETAOINSHRDLUCMFWYPVBGKJQXZ'"))
    words = ["".join(letters[rng.integers(len(letters), size=rng.integers(2, 9))]) for _ in range(5000)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(lines):
            duration = round(float(np.clip(rng.gamma(6.0, 2.05), 1.0, 35.0)), 3)
            speaker, chapter, first = rng.integers((20, 10**5, 0), (2020, 2 * 10**5, 4900)).tolist()
            name = f"{speaker}-{chapter}-{number:07}"
            line = {"id": name, "audio": f"train/{speaker}/{chapter}/{name}.flac", "duration": duration}
            line |= {"text": " ".join(words[first : first + round(2.4 * duration)]), "speaker": str(speaker)}
            file.write(json.dumps(line) + "\n")


def imports(path: Path) -> Work:
    """Nothing but the modules of a training: what the other stages' memory starts from."""
    import asr.train.run as run

    return lambda: run


def load(path: Path) -> Work:
    from asr.data.manifest import Manifest

    return lambda: Manifest(path)


def shuffle(path: Path) -> Work:
    """The batches of an epoch, by duration and in random order."""
    from asr.data.batches import duration_batches
    from asr.data.manifest import Manifest

    durations = Manifest(path).durations
    return lambda: duration_batches(durations, 120.0, np.random.default_rng(0))


def start(path: Path) -> Work:
    """All that `asr train` does before it decodes audio: lines, tokens, model, checks, an epoch's batches."""
    from asr.config import parse_config
    from asr.train.run import prepare
    from asr.util.files import file_sha256

    dev = path.with_name("dev.jsonl")
    with path.open("rb") as lines:
        dev.write_bytes(b"".join(line for line, _ in zip(lines, range(DEV_LINES), strict=False)))
    raw = {"data": {"train": str(path), "dev": str(dev)}, "augment": {"speed": [0.9, 1.1]}, "device": "cpu"}

    def work() -> None:
        data = prepare(parse_config(raw, "bench")).data
        file_sha256(path)
        data.batches(0)

    return work


def split(path: Path) -> Work:
    return _command("split", str(path), "--output-dir", str(path.parent / "parts"))


def check(path: Path) -> Work:
    return _command("check", str(path), "--no-audio")


def _command(*arguments: str) -> Work:
    """`asr data`."""
    from asr.cli.main import app

    def work() -> None:
        if status := app(["data", *arguments], standalone_mode=False):
            sys.exit(status)

    return work


STAGES = {"imports": imports, "load": load, "shuffle": shuffle, "start": start, "split": split, "check": check}


def measure(lines: int, folder: Path) -> Iterator[dict[str, Any]]:
    """Rows of stage, seconds by the clock, cpu_s of the processor (which other work hardly changes), the latter also
    per_100k_s, and peak_mb, null where the system does not tell; as they are measured."""
    path = folder / "train.jsonl"
    write_lines(path, lines)
    for stage in STAGES:
        yield run_stage(stage, path, lines)


def run_stage(stage: str, path: Path, lines: int) -> dict[str, Any]:
    command = [sys.executable, __file__, stage, str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    row: dict[str, Any] = {"stage": stage, "status": done.returncode, "seconds": None, "cpu_s": None}
    row |= {"per_100k_s": None, "peak_mb": None}
    if done.returncode == 0:
        seconds, cpu_s, peak_mb = json.loads(done.stdout.splitlines()[-1])
        row |= {"seconds": seconds, "cpu_s": cpu_s, "per_100k_s": round(cpu_s / lines * 100_000, 3), "peak_mb": peak_mb}
    return row


def peak_mb() -> float | None:
    """Of this process up to now; None on Windows."""
    try:
        import resource
    except ImportError:
        return None
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**10 if sys.platform == "darwin" else 1)
    return round(kilobytes / 2**10, 1)


if __name__ == "__main__":
    work = STAGES[sys.argv[1]](Path(sys.argv[2]))
    began, used = time.perf_counter(), time.process_time()
    work()
    print(json.dumps([round(time.perf_counter() - began, 3), round(time.process_time() - used, 3), peak_mb()]))
