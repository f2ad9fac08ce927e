"""Two processes of torchrun against one, over gloo on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.training import assert_equal, settings, write_corpus

from asr.model.folder import load_model
from asr.train.checkpoint import load_checkpoint
from asr.train.distributed import Processes
from asr.train.loop import Outcome
from asr.train.run import train

SAME = ["model.dropout=0", "augment.frequency_mask.count=0", "train.epochs=13", "train.log_every=1", "train.lr=1e-3"]
SAME += ["train.loss=ctc_crf", "train.ctc_epochs=5"]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    return {"train": write_corpus(folder, 25, 1), "dev": write_corpus(folder, 6, 2), "folder": folder}


def torchrun(*command):
    """`torchrun --nproc-per-node=2 COMMAND`."""
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *map(str, command)]
    return subprocess.run(two, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def together(corpus, run, *overrides):
    """`asr train` in two processes."""
    settings(corpus, run)
    parts = [f"data.train={corpus['train']}", f"data.dev={corpus['dev']}", f"run={run}", "device=cpu"]
    return torchrun("-m", "asr", "train", corpus["folder"] / "tones.yaml", *parts, *overrides)


def losses(run, kind):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if line["kind"] == kind}


def test_every_utterance_is_the_share_of_one():
    batches = [[1, 2, 3], [4], [5, 6]]
    shares = [[batch[Processes(rank, 2).share] for batch in batches] for rank in range(2)]
    assert shares == [[[1, 3], [4], [5]], [[2], [], [6]]]


@pytest.mark.slow
def test_two_processes_go_on_where_one_stopped_and_learn_the_same(corpus, tmp_path):
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    assert train(settings(corpus, whole, *SAME)) is Outcome.FINISHED
    assert train(settings(corpus, parted, *SAME, "train.max_minutes=1e-9")) is Outcome.OUT_OF_TIME
    process = together(corpus, parted, *SAME)
    assert process.returncode == 0, process.stderr
    assert process.stderr.count("training utterances") == 1  # one speaks
    assert process.stderr.count("finished; the model is in") == 1
    assert process.stderr.count("resuming at epoch 1, batch 2") == 1
    expected, found = losses(whole, "step"), losses(parted, "step")
    assert len(found) >= 50
    assert found == pytest.approx(expected, rel=1e-5)
    assert losses(parted, "epoch") == pytest.approx(losses(whole, "epoch"), rel=1e-5)
    saved = load_checkpoint(parted / "checkpoints" / "best.pt")[1]["model"]
    assert_equal(load_model(parted / "model").state_dict(), saved)


LEAVE = """
import sys
from pathlib import Path
from asr.config import load_config
from asr.train.distributed import joined_processes
with joined_processes(load_config(Path(sys.argv[1]))) as (processes, _):
    assert processes.total([1.0]) == [2.0]
    import torch._dynamo  # as the first step of an optimizer does
left = [task.read_text().strip() for task in Path("/proc/self/task").glob("*/comm")]
assert not [name for name in left if "gloo" in name], left
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")
def test_no_thread_outlives_the_group(corpus, tmp_path):
    """One that does may drop a tensor when Python is gone, and aborts the process."""
    settings(corpus, tmp_path)
    (tmp_path / "leave.py").write_text(LEAVE)
    process = torchrun(tmp_path / "leave.py", corpus["folder"] / "tones.yaml")
    assert process.returncode == 0, process.stderr


@pytest.mark.slow
def test_a_missing_recording_of_either_process_is_counted_by_both(corpus, tmp_path):
    holed = {"train": write_corpus(tmp_path, 25, 1), "dev": corpus["dev"], "folder": tmp_path}
    for number in (3, 17):
        (tmp_path / "audio" / f"1_{number}.wav").unlink()
    process = together(holed, tmp_path / "run", "train.epochs=1", "data.max_unreadable=0.05")
    assert process.returncode != 0
    assert "2 utterances of epoch 1 could not be read, 1 may be missing" in process.stderr


def test_gradients_are_left_as_they_are_by_one_process():
    parameter = torch.nn.Linear(2, 1)
    parameter.weight.grad = torch.ones(1, 2)
    Processes().add_gradients(parameter)
    assert torch.equal(parameter.weight.grad, torch.ones(1, 2))
