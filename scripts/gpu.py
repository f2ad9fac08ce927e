"""Ten minutes with a CUDA machine: the GPU tests, how fast training and decoding are, and a training of `english`.

    python scripts/gpu.py --output runs/gpu [--minutes 9] [--wheels wheels] [key=value ...]

Everything is written to one folder: summary.md and report.json with figures, versions and device; a log for each
stage; profile_CELL.txt, where the time of a training step goes; english/, the run folder of the training; model/, its
best weights so far, without a language model. The script ends within --minutes. A stage that fails or is out of time
is in the report, with its traceback; the others go on. The same command again repeats what is not done, and all the
rest of the time goes to the training, which resumes: keep the folder, or carry it to the next machine.

key=value are settings of the training; model.layers and model.hidden_size are also those that are measured.

The machine needs Python 3.10 or newer with torch and torchaudio, and no network. What else is missing is named, with
the command that gets it as wheels on another machine; --wheels makes them importable from the output folder.

To carry: the repository, the wheels, data/english as recipes/english/run.sh prepares it (manifests, lexicon.dict,
corpus), and the output folder of an earlier call. Without data/english the training is a rehearsal on made-up speech.
Where only so much can be carried at once, send an archive in parts, in several calls:

    tar chf - data/english | split -b 60M - english.tar.     # there: cat english.tar.* | tar x

or fewer speakers: `asr data split data/english/train_words.jsonl --dev 0.7 --test 0 --output-dir part` writes 30 % of
the speech to part/train.jsonl, for data.train=part/train.jsonl.

--device cpu rehearses it all.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
import traceback
import zipfile
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from platform import machine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.gpu import Setup

FORMAT = "asr-gpu-1"
ROOT = Path(__file__).resolve().parents[1]
# Modules that asr needs to train and to transcribe, those of what it needs included, and what the tests need besides.
NEEDED = (
    *("torch", "torchaudio", "numpy", "scipy", "numba", "llvmlite", "soundfile", "cffi", "pycparser", "soxr"),
    *("safetensors", "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection", "yaml"),
    *("typer", "shellingham", "rich", "markdown_it", "mdurl", "pygments", "jiwer", "rapidfuzz", "matplotlib"),
)
FOR_TESTS = ("pytest", "iniconfig", "pluggy", "packaging", "hypothesis", "sortedcontainers")
PACKAGES = {"yaml": "pyyaml", "markdown_it": "markdown-it-py"}  # where package and module have different names
SHARES = {"tests": 0.15, "speech": 0.1, "speed": 0.35, "decoding": 0.1}  # of the time; the training gets the rest
CHOICES = ("tests", "speed", "decoding", "training")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/gpu"), help="folder; default: %(default)s")
    parser.add_argument("--minutes", type=float, default=9.0, help="until the script has ended; default: %(default)s")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N, or cpu for a rehearsal; default: %(default)s")
    parser.add_argument("--data", type=Path, default=Path("data/english"), help="the prepared corpus")
    parser.add_argument("--wheels", type=Path, help="folder of wheels that this Python lacks")
    parser.add_argument("--stages", default=",".join(CHOICES), help="those to run; default: %(default)s")
    parser.add_argument("settings", nargs="*", metavar="key=value", help="settings of the training")
    given = parser.parse_args(arguments)
    began, output, chosen = time.monotonic(), given.output.resolve(), given.stages.split(",")
    if given.device.partition(":")[0] not in ("cuda", "cpu"):
        parser.error(f"--device: {given.device} is neither cuda, cuda:N nor cpu")
    if unknown := sorted(set(chosen) - set(CHOICES)):
        parser.error(f"--stages: {unknown[0]} is none of {', '.join(CHOICES)}")
    output.mkdir(parents=True, exist_ok=True)
    sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]
    if given.wheels is not None:
        unpack(given.wheels, output / "packages")
    if lacking := missing(NEEDED):
        return fail(how_to_get([*lacking, *missing(FOR_TESTS)]))
    if lacking := missing(FOR_TESTS):
        print(f"note: no tests, {how_to_get(lacking)}", file=sys.stderr, flush=True)
    if given.device == "cpu":
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # a rehearsal is too small for more
    try:
        from bench.gpu import Setup  # loads torch, once for all stages
    except ImportError as error:
        return fail(f"{error}: of another release than asr needs? Bring it along in --wheels")
    deadline = began + 60 * given.minutes
    setup = Setup(output, given.device, given.minutes, given.data.resolve(), given.settings, deadline)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    about = run_stage("device", setup, 60.0)
    if about["status"] != "done":
        return fail(about.get("error", "the device does not answer").strip().splitlines()[-1])
    path = output / "report.json"
    report: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {"stages": {}}
    report |= {"format": FORMAT, "about": about, "minutes": given.minutes}
    stages = report["stages"]
    for name in plan(chosen, stages, setup):
        print(f"{name}: {setup.left_s:.0f} s are left", file=sys.stderr, flush=True)
        share = SHARES.get(name, 1.0) if "training" in chosen else 1.0
        stages[name] = run_stage(name, setup, 60 * given.minutes * share)
        report["seconds"] = round(time.monotonic() - began, 1)
        write(path, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        write(output / "summary.md", summary(report))
        if stages[name]["status"] == "interrupted":
            break
    shutil.rmtree(setup.made_up, ignore_errors=True)
    print((output / "summary.md").read_text("utf-8"))
    return int(any(stages.get(name, {}).get("status") != "done" for name in chosen))


def plan(chosen: list[str], stages: dict[str, Any], setup: Setup) -> list[str]:
    """The stages to run, in order: of those chosen what is not done, always the training, and the speech they need."""
    todo = [name for name in CHOICES if name in chosen]
    todo = [name for name in todo if name == "training" or stages.get(name, {}).get("status") != "done"]
    if {"speed", "decoding"} & set(todo) or ("training" in todo and setup.rehearsal):
        todo.insert(int("tests" in todo), "speech")
    return todo


def run_stage(name: str, setup: Setup, seconds: float) -> dict[str, Any]:
    """Run a stage in a process that is forked from this one, which has loaded torch and not touched the GPU.

    Returns its status, its seconds and the figures that it kept. After `seconds`, or where no more time is left, it is
    interrupted, at which a training saves; later it is killed.
    """
    from bench.gpu import END_S, SAVE_S

    patience = SAVE_S if name == "training" else 3.0
    figures = setup.output / f"{name}.part.json"
    process = multiprocessing.get_context("fork").Process(target=enter, args=(name, setup, figures))
    began, stopped = time.monotonic(), ""
    process.start()
    try:
        process.join(max(min(seconds, setup.left_s - patience - END_S), 1.0))
        stopped = "out of time" if process.is_alive() else ""
    except KeyboardInterrupt:
        stopped = "interrupted"
    if stopped:
        os.kill(process.pid or 0, signal.SIGINT)
        process.join(patience)
        process.kill()
        process.join()
    record = json.loads(figures.read_text("utf-8")) if figures.is_file() else {}
    figures.unlink(missing_ok=True)
    if process.exitcode and not stopped:
        record.setdefault("error", f"the process ended with status {process.exitcode}")
    status = "done" if process.exitcode == 0 else stopped or "failed"
    return {"status": status, "seconds": round(time.monotonic() - began, 1), **record}


def enter(name: str, setup: Setup, figures: Path) -> None:
    """In the process of a stage: what it prints goes to its log, its figures and its traceback to a file."""
    from bench.gpu import STAGES

    from asr.cli.console import set_up_logging

    kept: dict[str, Any] = {}

    def keep(record: dict[str, Any]) -> None:
        kept.update(record)
        write(figures, json.dumps(kept))

    with open(setup.output / f"{name}.log", "a", encoding="utf-8", buffering=1) as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        sys.stdout = sys.stderr = log
        signal.signal(signal.SIGINT, signal.default_int_handler)
        set_up_logging()
        try:
            STAGES[name](setup, keep)
        except KeyboardInterrupt:
            traceback.print_exc()
            raise SystemExit(1) from None
        except BaseException:
            keep({"error": traceback.format_exc()})
            raise SystemExit(1) from None


def write(path: Path, text: str) -> None:
    """All of it or nothing; asr's own function may be missing its packages."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def unpack(wheels: Path, target: Path) -> None:
    """Make what is in a folder of wheels importable, here and in the processes that tests start."""
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    sys.path.insert(0, str(target))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(target), os.environ.get("PYTHONPATH"))))


def missing(modules: Iterable[str]) -> list[str]:
    """The packages of those modules that are not there."""
    return [PACKAGES.get(module, module) for module in modules if find_spec(module) is None]


def how_to_get(packages: list[str]) -> str:
    python, names = f"{sys.version_info.major}.{sys.version_info.minor}", " ".join(packages)
    platforms = " ".join(f"--platform manylinux{tag}_{machine()}" for tag in ("_2_28", "_2_17", "2014"))
    return (
        f"missing: {names}. On a machine with a network, in a clone of asr: python -m pip download --no-deps"
        f" --only-binary :all: --python-version {python} {platforms} -d wheels -c requirements.lock {names}; then carry"
        " the folder and add --wheels wheels"
    )


def summary(report: dict[str, Any]) -> str:
    """The report for people, in Markdown."""
    about, stages = report["about"], report["stages"]
    versions = [f"{package} {version}" for package, version in about["machine"]["versions"].items() if version]
    lines = [f"# {about.get('gpu') or about['machine']['processor']}", "", ", ".join(versions), ""]
    lines += [f"{report['minutes']:g} minutes were given, {report['seconds'] / 60:.1f} used.", ""]
    lines += ["| stage | | seconds |", "| --- | --- | --- |"]
    lines += [f"| {name} | {stage['status']} | {stage['seconds']:.0f} |" for name, stage in stages.items()]
    for name, stage in stages.items():
        plain = {key: value for key, value in stage.items() if key not in ("status", "seconds", "error", "cells")}
        lines += ["", f"## {name}", "", shown(plain)]
        if cells := stage.get("cells"):
            ways = next(iter(cells.values()))["audio_per_s"]
            rows = {f"{way}, audio s / s": [cell["audio_per_s"][way] for cell in cells.values()] for way in ways}
            rows["share of CTC-CRF in a step"] = [1 - 1 / cell["time_of_ctc_crf"] for cell in cells.values()]
            lines += ["", f"| | {' | '.join(cells)} |", f"| --- |{' --- |' * len(cells)}"]
            lines += [f"| {row} | {' | '.join(map(shown, values))} |" for row, values in rows.items()]
        if "error" in stage:
            lines += ["", "```", stage["error"].rstrip(), "```"]
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {shown(each)}" for key, each in value.items())
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else str(value)


def fail(line: str) -> int:
    print(f"error: {line}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
