"""train.batch_seconds: auto."""

import sys

import pytest
import torch
from helpers.toys import make_recognizer, real_loss
from helpers.training import assert_equal, settings, weights, write_corpus

from asr.errors import TrainError
from asr.train.loop import Outcome
from asr.train.memory import (
    MAX_BATCH_S,
    MIN_STEPS,
    SHARE,
    find_batch_seconds,
    free_memory,
    kept_for_backward,
    left_in_cgroup,
)
from asr.train.model_folder import read_run_config
from asr.train.run import train


@pytest.fixture
def corpus(tmp_path):
    return {"train": write_corpus(tmp_path, 24, 1), "dev": write_corpus(tmp_path, 6, 2), "folder": tmp_path}


def seconds(*durations):
    return torch.tensor(durations, dtype=torch.float64)


def test_what_is_kept_grows_with_the_audio_and_nothing_else_changes():
    recognizer = make_recognizer()
    state, random = {name: value.clone() for name, value in recognizer.state_dict().items()}, torch.get_rng_state()
    short, long = (kept_for_backward(recognizer, real_loss(recognizer), length) for length in (10.0, 40.0))
    assert 3.5 < long / short < 10  # CTC's own grows with the product of frames and tokens
    assert torch.equal(random, torch.get_rng_state())
    assert_equal(state, recognizer.state_dict())
    assert all(parameter.grad is None for parameter in recognizer.parameters())


def test_a_batch_is_what_memory_holds_within_reason():
    recognizer = make_recognizer()
    loss = real_loss(recognizer)
    kept = kept_for_backward(recognizer, loss, 20.0)

    def found(durations, room):
        return find_batch_seconds(recognizer, loss, durations, lambda device: int(room * kept / SHARE) + 1)

    many = seconds(20.0, *[10.0] * 1_000_000)
    assert found(many, 5.0) == 100
    assert found(many, 1e9) == MAX_BATCH_S
    assert found(seconds(20.0, *[10.0] * 1000), 1e9) == int(10_020 / MIN_STEPS)
    assert found(seconds(20.0, 3.0), 1e9) == 23  # some utterances at least, if few steps
    assert found(seconds(20.0, *[2.0] * 9), 1e9) == 21  # and the longest in any case
    assert found(seconds(4.0, *[2.0] * 99), 1e9) == 8
    with pytest.raises(TrainError, match=r"the longest utterance \(20\.0 s\) needs .* leave it out"):
        found(many, 0.9)


def test_processes_share_a_batch_and_on_the_cpu_its_memory():
    recognizer = make_recognizer()
    loss = real_loss(recognizer)
    kept = kept_for_backward(recognizer, loss, 20.0)

    def found(durations, room, processes):
        return find_batch_seconds(recognizer, loss, durations, lambda device: int(room * kept / SHARE) + 1, processes)

    many = seconds(20.0, *[10.0] * 1_000_000)
    assert found(many, 8.0, 1) == found(many, 8.0, 4) == 160
    assert found(many, 1e9, 4) == 4 * MAX_BATCH_S
    assert found(seconds(20.0, *[10.0] * 1000), 1e9, 4) == int(10_020 / MIN_STEPS)  # the steps stay as many
    with pytest.raises(TrainError, match="the longest utterance"):
        found(many, 3.0, 4)


def test_there_is_memory_here():
    assert 2**20 < free_memory(torch.device("cpu")) < 2**50


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": "5000\n", "memory.stat": "file 9\nanon 2000\n"}, 3000),
        ({"memory.max": "max\n", "memory.stat": "anon 2000\n"}, sys.maxsize),
        ({"memory/memory.limit_in_bytes": "5000\n", "memory/memory.stat": "rss 1\ntotal_rss 1500\n"}, 3500),
        ({"memory.max": "5000\n", "memory.stat": "anon 6000\n"}, 0),
        ({}, sys.maxsize),
    ],
)
def test_a_container_has_what_its_group_leaves(tmp_path, files, left):
    (tmp_path / "memory").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert left_in_cgroup(tmp_path) == left


def test_a_run_keeps_the_batch_it_began_with(corpus, tmp_path, said):
    whole = settings(corpus, tmp_path / "whole", "train.batch_seconds=auto", "train.epochs=2")
    assert train(whole) is Outcome.FINISHED
    batch_s = read_run_config(tmp_path / "whole").train.batch_seconds
    assert any(line.startswith(f"auto: train.batch_seconds={batch_s} train.validate_every=1, for") for line in said)
    cut = settings(corpus, tmp_path / "cut", "train.batch_seconds=auto", "train.epochs=2", "train.max_minutes=1e-9")
    while train(cut) is Outcome.OUT_OF_TIME:
        pass
    given = settings(corpus, tmp_path / "given", f"train.batch_seconds={batch_s}", "train.epochs=2")
    assert train(given) is Outcome.FINISHED
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "given"))
