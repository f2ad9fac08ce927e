"""Interrupts trainings with SIGINT and SIGTERM at random moments, resumes them, and compares their ends.

    python scripts/signal_test.py DATA [--signals 100] [--threads 1 2] [--minutes 60] [--seed 0] [KEY=VALUE ...]

DATA/digits is the corpus of recipes/digits (`asr data prepare recipes/digits --data DATA`). `asr train` runs on the CPU
and gets a signal after a random time, the first second included, until each kind was sent so often, or the time is up.
Counted are crashes, trainings that saved, and those that had nothing to save yet: before the first step SIGINT ends a
training with status 130 and SIGTERM with 143, later both with 130. The final weights must be
those of an undisturbed training, bit for bit. KEY=VALUE changes the config. Exit status 1 when anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from asr.train.checkpoint import load_checkpoint

CONFIG = Path(__file__).parents[1] / "recipes" / "digits" / "digits.yaml"
SMALL = ("train.epochs=3", "compose.utterances_per_epoch=200", "compose.max_recordings=4")  # half a minute


def start(run: Path, data: Path, settings: Sequence[str], threads: int) -> subprocess.Popen[str]:
    parts = [f"data.{use}={data / 'digits' / use}.jsonl" for use in ("train", "dev")]
    command = [sys.executable, "-m", "asr", "train", str(CONFIG), *parts, *SMALL, *settings, f"run={run}", "device=cpu"]
    # Threads that wait leave the processor to others: with active ones a busy machine takes ten times as long.
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "passive"}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment)


def fault(status: int, said: str, number: int, saved: bool) -> str | None:
    """What is wrong with the end of an interrupted training."""
    # Python itself takes a moment until it runs anything of asr's: then the signal ends it as any other process.
    expected = {130} if saved else {128 + number, -number}
    if status not in expected or ("Traceback" in said and status != -number):
        return f"{signal.Signals(number).name} ended with status {status}: {said.strip()[-2000:]}"
    return None


def interrupt_often(
    run: Path, data: Path, settings: Sequence[str], threads: int, plan: list[int], longest_s: float, rng: random.Random
) -> Counter[str]:
    """Train to the end, with signals from the `plan` on the way. Returns what happened."""
    counts: Counter[str] = Counter()
    while True:
        process = start(run, data, settings, threads)
        sent = None
        if plan:
            try:
                # A third in the first second, where libraries are loaded.
                process.wait(rng.uniform(0, 1) if rng.random() < 1 / 3 else rng.uniform(0, longest_s))
            except subprocess.TimeoutExpired:
                sent = plan.pop()
                process.send_signal(sent)
        said = process.communicate()[1]
        if process.returncode == 0:  # before the signal, or too late for it
            return counts
        saved = "rerun to resume" in said
        if sent is None or (wrong := fault(process.returncode, said, sent, saved)):
            raise SystemExit(f"{run.name}: {said if sent is None else wrong}")
        counts[f"{signal.Signals(sent).name} {'saved' if saved else 'nothing to save yet'}"] += 1


def same(whole: Path, other: Path) -> bool:
    a, b = (load_checkpoint(run / "checkpoints" / "last.pt")[1]["model"] for run in (whole, other))
    return not list(other.rglob("*.part")) and all(torch.equal(a[name], b[name]) for name in a)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--signals", type=int, default=100, help="of each kind")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_intermixed_args()
    rng, until = random.Random(arguments.seed), time.monotonic() + 60 * arguments.minutes
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        for number, threads in enumerate(arguments.threads):
            whole, began = Path(name, f"whole{threads}"), time.monotonic()
            interrupt_often(whole, arguments.data, arguments.settings, threads, [], 0.0, rng)
            lines = (whole / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
            computing_s = json.loads(lines[-1])["elapsed_s"]
            longest_s = 2 * (time.monotonic() - began - computing_s)  # as likely before as after the first step
            count = (arguments.signals + number) // len(arguments.threads)
            plan = [signal.SIGINT, signal.SIGTERM] * count
            rng.shuffle(plan)
            end = time.monotonic() + (until - time.monotonic()) / (len(arguments.threads) - number)
            for run_number in range(2 * count):
                if not plan or time.monotonic() > end:
                    break
                run = Path(name, f"threads{threads}-{run_number}")
                now, rest = plan[:20], plan[20:]
                counts = interrupt_often(run, arguments.data, arguments.settings, threads, now, longest_s, rng)
                plan = now + rest
                total += counts
                if not same(whole, run):
                    raise SystemExit(f"{threads} threads: the weights differ, or a file is half-written")
                print(f"{threads} threads, run {run_number + 1}: {dict(counts)}, the same to the last bit", flush=True)
    print(f"{sum(total.values())} signals, 0 crashes: {dict(sorted(total.items()))}")


if __name__ == "__main__":
    main()
