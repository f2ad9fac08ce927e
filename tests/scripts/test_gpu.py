"""`scripts/gpu.py`, rehearsed on the CPU: every stage in the report, in time, whatever becomes of it."""

import json
import os
import signal
import sys
import time
import zipfile
from importlib import import_module

import gpu
import pytest
import torch
from bench import gpu as stages

import asr

TINY = ("model.layers=1", "model.hidden_size=4", "train.epochs=1", "data.workers=0")


def rehearse(output, *options):
    """The exit status and the report of a call."""
    status = gpu.main(["--device", "cpu", "--minutes", "30", "--output", str(output), *options])
    return status, json.loads((output / "report.json").read_text())


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path.copy())
    terminated = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, terminated)


@pytest.mark.slow
def test_a_rehearsal_has_all_stages_and_the_next_call_only_trains(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "CELLS", ("lstm",))  # one is enough here
    import_module("torch._dynamo")  # or every process that trains would load it anew
    status, report = rehearse(tmp_path, *TINY)
    assert {name: stage["status"] for name, stage in report["stages"].items()} == dict.fromkeys(
        ("tests", "speech", "speed", "decoding", "training"), "done"
    ), report
    assert status == 0
    found = report["stages"]
    assert found["tests"]["tests"] == found["tests"]["skipped"] > 15 or torch.cuda.is_available()
    assert (found["speed"]["layers"], found["speed"]["hidden_size"]) == (1, 4)
    assert {"bare", "ctc_crf", "flac"} < set(found["speed"]["cells"]["lstm"]["audio_per_s"])
    assert list(found["decoding"]["audio_per_s"]) == ["lstm, greedy", "english, from files"]
    assert found["training"]["ended"] == "finished"
    assert found["training"]["corpus"] == "made-up speech, a rehearsal"
    assert report["about"]["machine"]["versions"]["torch"]
    page = (tmp_path / "summary.md").read_text()
    assert "| share of CTC-CRF in a step | 0." in page
    assert "Traceback" not in page
    assert "aten::" in (tmp_path / "profile_lstm.txt").read_text()
    assert asr.load(tmp_path / "model", device="cpu").recognizer.config.hidden_size == 4
    assert not (tmp_path / "made_up").exists()

    again = rehearse(tmp_path, *TINY)[1]["stages"]
    assert again["training"]["ended"] == "already finished"
    assert all(again[name] == found[name] for name in ("tests", "speed", "decoding"))


def test_a_stage_that_fails_is_named_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.setitem(stages.STAGES, "tests", lambda setup, keep: 1 / 0)
    monkeypatch.setitem(stages.STAGES, "decoding", lambda setup, keep: keep({"answer": 42.0}))
    status, report = rehearse(tmp_path, "--stages", "tests,decoding", *TINY)
    assert status == 1
    assert report["stages"]["tests"]["status"] == "failed"
    assert "ZeroDivisionError: division by zero" in report["stages"]["tests"]["error"]
    assert report["stages"]["decoding"]["answer"] == 42.0
    page = (tmp_path / "summary.md").read_text()
    assert "ZeroDivisionError: division by zero" in page
    assert "answer: 42" in page


def setup(folder, minutes=4.0):
    return stages.Setup(folder, "cpu", minutes, folder, [], time.monotonic() + 60 * minutes)


def test_a_stage_that_is_late_is_stopped_and_its_figures_are_kept(tmp_path, monkeypatch):
    def late(setup, keep):
        keep({"half": 1})
        time.sleep(60)

    monkeypatch.setitem(stages.STAGES, "speed", late)
    monkeypatch.setattr(stages, "END_S", 0.0)
    for seconds, minutes in ((1.0, 4.0), (60.0, 0.05)):  # its share is over, or all the time
        record = gpu.run_stage("speed", setup(tmp_path, minutes), seconds)
        assert (record["status"], record["half"]) == ("out of time", 1)
        assert record["seconds"] < 20
        assert "error" not in record
    assert "KeyboardInterrupt" in (tmp_path / "speed.log").read_text()


def test_a_stage_that_dies_leaves_the_others_alone(tmp_path, monkeypatch):
    monkeypatch.setitem(stages.STAGES, "speed", lambda setup, keep: os._exit(139))
    record = gpu.run_stage("speed", setup(tmp_path), 60.0)
    assert (record["status"], record["error"]) == ("failed", "the process ended with status 139")


def test_missing_packages_are_named_and_taken_from_wheels(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(gpu, "NEEDED", ("torch", "yaml", "brought_along"))
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    assert gpu.main(["--device", "cpu", "--output", str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert "missing: brought_along. " in said
    assert "-c requirements.lock brought_along;" in said
    (tmp_path / "wheels").mkdir()
    with zipfile.ZipFile(tmp_path / "wheels" / "brought_along-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("brought_along.py", "ANSWER = 42")
    gpu.unpack(tmp_path / "wheels", tmp_path / "out")
    assert not gpu.missing(gpu.NEEDED)
    assert import_module("brought_along").ANSWER == 42
    assert os.environ["PYTHONPATH"] == f"{tmp_path / 'out'}{os.pathsep}elsewhere"


@pytest.mark.parametrize("option", ["--device=tpu", "--stages=tests,flight"])
def test_wrong_usage(option, capsys):
    with pytest.raises(SystemExit) as caught:
        gpu.main([option])
    assert caught.value.code == 2
    assert option.partition("=")[0] in capsys.readouterr().err


def test_a_device_that_is_not_there_is_said_in_a_line(tmp_path, capsys):
    assert gpu.main(["--device", "cuda:99", "--output", str(tmp_path)]) == 1
    assert "error: asr.errors.ConfigError: device 'cuda:99': " in capsys.readouterr().err
