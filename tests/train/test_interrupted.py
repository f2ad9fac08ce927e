"""Commands that are interrupted at random moments: what they say, their status, and that no weight changes by it."""

import json
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import ROOT
from helpers.training import RANDOM, assert_equal, epochs, settings, weights, write_corpus

from asr.__main__ import main
from asr.train.loop import Outcome
from asr.train.run import train
from asr.util.signals import described

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")

BOTH = [signal.SIGINT, signal.SIGTERM]
SAMPLES = ROOT / "data" / "samples"
LISTED = str(SAMPLES / "samples.jsonl")


def wait_for_handler(pid):
    """Until SIGTERM is handled: before that it is Python itself that starts."""
    while True:
        caught = Path(f"/proc/{pid}/status").read_text().split("SigCgt:")[1].split()[0]
        if int(caught, 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.005)


@pytest.mark.parametrize("number", BOTH)
@pytest.mark.parametrize(
    "command",
    [
        ["train", str(ROOT / "recipes/digits/digits.yaml"), *(f"data.{part}={LISTED}" for part in ("train", "dev"))],
        ["transcribe", str(SAMPLES), "--output-dir", "out"],
        ["evaluate", LISTED],
        ["align", str(SAMPLES / "rms_8k.wav"), "zero eight"],
        ["lm", "tune", str(SAMPLES), LISTED, "--model", "digits"],  # that it is no model is found out later
    ],
    ids=lambda command: command[0],
)
def test_while_libraries_load_a_signal_ends_any_command_with_one_word(tmp_path, command, number):
    process = subprocess.Popen([sys.executable, "-m", "asr", *command], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    wait_for_handler(process.pid)
    time.sleep(random.Random(f"{command} {number}").uniform(0.0, 0.3))
    process.send_signal(number)
    _, said = process.communicate(timeout=100)
    assert (process.returncode, said) == (128 + number, f"{described(number)}\n")
    assert not list(tmp_path.rglob("*"))


@pytest.mark.parametrize("number", BOTH)
def test_what_a_command_has_written_when_a_signal_comes_is_whole(tmp_path, number):
    line = {"audio": str(SAMPLES / "rms_8k.wav"), "duration": 1.0}
    manifest, out = tmp_path / "many.jsonl", tmp_path / "out"
    manifest.write_text("".join(json.dumps(line | {"id": f"{i}"}) + "\n" for i in range(5000)))
    given = ["--model", "digits", "--output-dir", str(out), "--format", "json"]
    command = [sys.executable, "-m", "asr", "transcribe", str(manifest), *given]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (out.is_dir() and any(out.glob("*.json"))):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(random.Random(number).uniform(0.0, 0.5))
    process.send_signal(number)
    _, said = process.communicate(timeout=100)
    assert (process.returncode, said.splitlines()[-1]) == (128 + number, described(number))
    written = list(out.iterdir())
    assert 0 < len(written) < 5000
    assert {json.loads(path.read_text())["text"] for path in written} == {"zero six"}
    assert {path.suffix for path in written} == {".json"}


def run_command(arguments, said):
    sys.argv = ["asr", *arguments]
    sys.stderr = said.open("w", encoding="utf-8")
    main()


def test_however_often_a_training_is_interrupted_it_ends_with_the_same_weights(tmp_path):
    """Forked, so that it computes at once. An LSTM of this size runs on the kernels that no handler may disturb."""
    corpus = {"train": write_corpus(tmp_path, 24, 1), "dev": write_corpus(tmp_path, 6, 2), "folder": tmp_path}
    given = [*RANDOM, "train.epochs=10", "train.batch_seconds=4", "model.hidden_size=128", "train.lr=1e-3"]
    assert train(settings(corpus, tmp_path / "whole", *given)) is Outcome.FINISHED
    lines = (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()
    longest_s = json.loads(lines[-1])["elapsed_s"] / 4
    run, said, rng = tmp_path / "run", tmp_path / "said.txt", random.Random(5)
    arguments = ["train", str(tmp_path / "tones.yaml"), *given, f"data.train={corpus['train']}"]
    arguments += [f"data.dev={corpus['dev']}", f"run={run}", "device=cpu"]
    ends = []
    for number in BOTH * 4:
        process = multiprocessing.get_context("fork").Process(target=run_command, args=(arguments, said))
        process.start()
        wait_for_handler(process.pid)
        process.join(rng.uniform(0.0, longest_s))
        if process.exitcode is None:
            process._popen._send_signal(number)
        process.join(100)
        ends.append(process.exitcode)
        saved = "rerun to resume" in said.read_text()
        assert process.exitcode in ((0, 130) if saved else (0, 128 + number)), said.read_text()
        assert "Traceback" not in said.read_text()
    assert 130 in ends
    train(settings(corpus, run, *given))
    assert_equal(weights(tmp_path / "whole"), weights(run))
    assert epochs(run) == list(range(1, 11))
    assert not list(run.rglob("*.part"))
