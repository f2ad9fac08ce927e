"""Kills a training with SIGKILL at random moments, resumes it each time, and compares its end with an undisturbed one.

    python scripts/kill_test.py [--kills 20] [--epochs 60] [--workers 0] [--seed 0]

A small model learns data/samples on the CPU with everything random switched on, and writes a checkpoint every step, so
that many kills fall into the writing of one. The final weights must be the same bit for bit, every epoch must be in
the log once and with the same loss, and no file may be left half-written. Exit status 1 when anything differs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sys
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from asr.config import dump_yaml, load_config, parse_config
from asr.train.checkpoint import load_checkpoint
from asr.train.run import train

SAMPLES = Path(__file__).parents[1] / "data" / "samples" / "samples.jsonl"


def write_config(folder: Path, epochs: int, workers: int, per_epoch: int = 6, save_minutes: float = 1e-9) -> Path:
    raw = {
        "device": "cpu",
        "data": {"train": str(SAMPLES), "dev": str(SAMPLES), "workers": workers},
        "features": {"sample_rate": 8000, "n_mels": 20},
        "text": {"tokens": "words"},
        "model": {"layers": 1, "hidden_size": 16, "dropout": 0.2},
        "compose": {"max_recordings": 2, "utterances_per_epoch": per_epoch},
        "augment": {
            "speed": [0.9, 1.1],
            "noise": {"prob": 0.5},
            "reverb": {"prob": 0.5},
            "time_mask": {"count": 1},
            "frequency_mask": {"count": 1},
        },
        "train": {"epochs": epochs, "batch_seconds": 10, "ema_decay": 0.9, "threads": 1, "save_minutes": save_minutes},
    }
    raw["train"] |= {"average": 3, "log_every": 10}
    path = folder / "kill.yaml"
    path.write_text(dump_yaml(parse_config(raw, str(path))), encoding="utf-8")
    return path


def start(config: Path, run: Path) -> BaseProcess:
    """`asr train` in a process of its own, forked where possible: importing torch takes longer than this run."""
    kind = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    process = multiprocessing.get_context(kind).Process(target=run_training, args=(config, run))
    process.start()
    return process


def run_training(config: Path, run: Path) -> None:
    sys.stderr = open(run.with_suffix(".log"), "w", encoding="utf-8")  # noqa: SIM115
    train(load_config(config, [f"run={run}"]))


def kill_often(config: Path, run: Path, kills: int, max_delay_s: float, rng: random.Random) -> int:
    """Train to the end, with up to so many kills on the way, each after at most `max_delay_s`. Returns their number."""
    for killed in range(kills + 1):
        process = start(config, run)
        process.join(rng.uniform(0.0, max_delay_s) if killed < kills else None)
        if process.exitcode is None:
            process.kill()
            process.join()
        elif process.exitcode == 0:
            return killed
        else:
            said = run.with_suffix(".log").read_text(encoding="utf-8")
            raise SystemExit(f"{said}a start after {killed} kills ended with status {process.exitcode}")
    raise AssertionError("the last start is not killed")


def differences(whole: Path, killed: Path) -> list[str]:
    """What is not the same at the end of two runs."""
    out = [f"{path}: half-written" for path in killed.rglob("*.part")]
    for name in ("last.pt", "best.pt"):
        a, b = (load_checkpoint(run / "checkpoints" / name)[1] for run in (whole, killed))
        out += [f"{name}: {key} differs" for key in a["model"] if not torch.equal(a["model"][key], b["model"][key])]
    logs = []
    for run in (whole, killed):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        logs.append([(x["epoch"], x["loss"], x["dev_wer"]) for x in lines if x["kind"] == "epoch"])
    return out + (["metrics.jsonl: other epochs"] if logs[0] != logs[1] else [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_config(folder, arguments.epochs, arguments.workers)
        began = time.monotonic()
        kill_often(config, folder / "whole", 0, 0.0, rng)
        max_delay_s = 1.5 * (time.monotonic() - began) / arguments.kills
        done, found = 0, []
        for number in range(arguments.kills):  # a run that ends before the last kill is followed by another
            run = folder / f"killed{number}"
            done += kill_often(config, run, arguments.kills - done, max_delay_s, rng)
            found += differences(folder / "whole", run)
            print(f"{done} kills, {number + 1} runs: {'; '.join(found) or 'the same to the last bit'}", flush=True)
            if found or done == arguments.kills:
                break
    raise SystemExit(1 if found else 0)


if __name__ == "__main__":
    main()
