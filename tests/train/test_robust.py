"""Whole trainings on real files that meet what happens in the world: missing recordings, signals, other models."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from helpers.training import RANDOM, assert_equal, epochs, settings, weights, write_corpus
from typer.testing import CliRunner

from asr.cli.main import app
from asr.data.manifest import Manifest
from asr.errors import ConfigError, ModelError, TrainError
from asr.evaluate.calibration import fit_platt_scaling, measure, word_correctness
from asr.evaluate.run import evaluate_manifest
from asr.model.folder import load_model
from asr.train.checkpoint import load_checkpoint
from asr.train.loop import Outcome
from asr.train.model_folder import make_model
from asr.train.run import prepare, train


@pytest.fixture(scope="module")
def holed(tmp_path_factory):
    """A corpus of which two recordings have vanished."""
    folder = tmp_path_factory.mktemp("holed")
    found = {"train": write_corpus(folder, 24, 1), "dev": write_corpus(folder, 6, 2), "folder": folder}
    for number in (3, 17):
        (folder / "audio" / f"1_{number}.wav").unlink()
    return found


def records(run, kind):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_missing_recordings_are_left_out_named_and_counted(holed, tmp_path, capsys):
    allowed = [
        "data.max_unreadable=0.1",
        "train.epochs=2",
        "train.batch_seconds=1",
    ]  # some batches have no utterance left
    whole = tmp_path / "whole"
    assert train(settings(holed, whole, *allowed)) is Outcome.FINISHED
    assert [record["unreadable"] for record in records(whole, "epoch")] == [2, 2]
    said = capsys.readouterr().err
    assert "warning: left out: " in said
    assert "utterance 1_17: " in said
    assert "  2 unreadable" in said
    assert train(settings(holed, tmp_path / "workers", *allowed, "data.workers=2")) is Outcome.FINISHED
    assert_equal(weights(whole), weights(tmp_path / "workers"))
    cut = settings(holed, tmp_path / "cut", *allowed, "train.max_minutes=1e-9")
    while train(cut) is Outcome.OUT_OF_TIME:
        pass
    assert_equal(weights(whole), weights(tmp_path / "cut"))
    assert [record["unreadable"] for record in records(tmp_path / "cut", "epoch")] == [2, 2]


def test_too_many_missing_recordings_end_the_training(holed, tmp_path):
    with pytest.raises(TrainError, match=r"2 utterances of epoch 1 .* 1 may be missing \(data\.max_un"):
        train(settings(holed, tmp_path / "run", "data.max_unreadable=0.05", "train.epochs=1"))
    more = settings(holed, tmp_path / "run", "data.max_unreadable=0.1", "train.epochs=1")
    assert train(more) is Outcome.FINISHED


def test_statistics_of_the_features_do_without_missing_recordings(holed, tmp_path):
    config = settings(holed, tmp_path / "run", "features.normalize=global")
    recognizer = prepare(config).recognizer
    assert recognizer.features.mean.abs().max() > 0.1


@pytest.mark.skipif(os.name == "nt", reason="signals differ on Windows")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_all_processes_saves_and_exits_130(corpus, tmp_path, number):
    run = tmp_path / "run"
    settings(corpus, run)
    command = [sys.executable, "-m", "asr", "train", str(corpus["folder"] / "tones.yaml"), "train.epochs=100000"]
    command += [f"data.train={corpus['train']}", f"data.dev={corpus['dev']}", f"run={run}", "device=cpu"]
    process = subprocess.Popen([*command, "data.workers=2"], stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not (run / "checkpoints" / "last.pt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors
    assert "rerun to resume" in errors
    assert "Traceback" not in errors
    assert load_checkpoint(run / "checkpoints" / "last.pt")[0].step > 0


def test_frozen_parameters_stay_and_have_no_optimizer_state(corpus, tmp_path):
    train(settings(corpus, tmp_path / "first", "train.epochs=1", "train.ema_decay=0"))
    tuned = [f"train.init={tmp_path / 'first'}", "train.freeze=[encoder.*]", "train.epochs=1", "train.ema_decay=0"]
    train(settings(corpus, tmp_path / "second", *tuned))
    first, second = (load_model(tmp_path / name / "model").state_dict() for name in ("first", "second"))
    changed = {name for name in first if not torch.equal(first[name], second[name])}
    assert changed == {"head.projection.weight", "head.projection.bias"}
    _, states = load_checkpoint(tmp_path / "second" / "checkpoints" / "last.pt")
    assert len(states["optimizer"]["state"]) == 2


def test_a_pattern_that_freezes_nothing_is_refused_with_the_names(corpus, tmp_path):
    with pytest.raises(TrainError, match=r"named like 'encodr\.\*'; there are .*head\.projection\.weight"):
        train(settings(corpus, tmp_path / "run", "train.freeze=[encodr.*]"))
    with pytest.raises(TrainError, match="leaves nothing to be trained"):
        train(settings(corpus, tmp_path / "run", "train.freeze=['*']"))
    assert not (tmp_path / "run").exists()


def test_a_model_is_made_from_any_checkpoint(corpus, tmp_path):
    run = tmp_path / "run"
    train(settings(corpus, run, "train.keep_checkpoints=4", "train.average=2"))
    folder = run / "checkpoints"
    for name in ("epoch-001", "best", "last"):
        made = make_model(folder / f"{name}.pt", tmp_path / name)
        loaded = load_model(tmp_path / name)
        assert_equal(loaded.state_dict(), made.state_dict())
        assert loaded.training_record["utterances"] == 24
    one, last = load_model(tmp_path / "epoch-001"), load_model(tmp_path / "last")
    assert_equal(one.state_dict(), load_checkpoint(folder / "epoch-001.pt")[1]["model"])
    assert one.training_record["dev_wer"] == records(run, "epoch")[0]["dev_wer"]
    assert_equal(last.state_dict(), load_checkpoint(folder / "epoch-004.pt")[1]["model"])  # the average of its steps
    assert "epoch 1)" in (tmp_path / "epoch-001" / "README.md").read_text()
    made = CliRunner().invoke(app, ["make-model", str(folder / "epoch-002.pt"), str(tmp_path / "two")])
    assert (made.exit_code, made.stdout.strip()) == (0, str(tmp_path / "two"))
    assert load_model(tmp_path / "two").training_record["best_epoch"] == 2
    with pytest.raises(ModelError, match="holds a model already"):
        make_model(folder / "best.pt", tmp_path / "best")
    with pytest.raises(TrainError, match="no such file"):
        make_model(folder / "worst.pt", tmp_path / "new")
    (tmp_path / "lost.pt").write_bytes((folder / "best.pt").read_bytes())
    with pytest.raises(TrainError, match=r"not a run's folder \(no config.yaml\)"):
        make_model(tmp_path / "lost.pt", tmp_path / "new")


def test_confidences_are_calibrated_on_the_development_part(corpus, tmp_path):
    """Every second text of this one is wrong: so are the words, however sure the model is of them."""
    lines = write_corpus(tmp_path, 60, 3).read_text().splitlines()
    doubtful = tmp_path / "doubtful.jsonl"
    doubtful.write_text(
        "".join(json.dumps(json.loads(x) | ({"text": "low high"} if i % 2 else {})) + "\n" for i, x in enumerate(lines))
    )
    run = tmp_path / "run"
    train(
        settings(corpus | {"dev": doubtful}, run, "train.epochs=20", "train.batch_seconds=2", "train.ema_decay=0.9"),
    )
    model = load_model(run / "model")
    calibrated = measure(*word_correctness(evaluate_manifest(model, Manifest(doubtful)).pairs))
    slope, offset = model.platt_scaling
    model.platt_scaling = (1.0, 0.0)
    found = word_correctness(evaluate_manifest(model, Manifest(doubtful)).pairs)
    assert (slope, offset) == pytest.approx(fit_platt_scaling(*found))
    assert calibrated["ece"] < measure(*found)["ece"] / 2
    command = [
        "make-model",
        str(run / "checkpoints" / "best.pt"),
        str(tmp_path / "made"),
        "--emission-delay-s",
        "0.116",
        "--weights",
        "int8",
    ]
    made = CliRunner().invoke(app, [*command, "--calibrate", str(doubtful)])
    assert made.exit_code == 0
    again = load_model(tmp_path / "made")
    assert again.platt_scaling == pytest.approx((slope, offset))
    assert (again.emission_delay_s, again.weights) == (0.116, "int8")
    (tmp_path / "audio" / "3_7.wav").unlink()
    with pytest.raises(TrainError, match="utterance 3_7: "):
        make_model(run / "checkpoints" / "best.pt", tmp_path / "new", dev=doubtful)
    assert not (tmp_path / "new").exists()


def test_a_better_average_becomes_the_model(corpus, tmp_path):
    run = tmp_path / "run"
    train(settings(corpus, run, "train.epochs=6", "train.average=6", "train.ema_decay=0", "train.lr=2e-2"))
    [record] = records(run, "average")
    source = "averaged.pt" if record["kept"] else "best.pt"
    assert_equal(load_model(run / "model").state_dict(), load_checkpoint(run / "checkpoints" / source)[1]["model"])
    card = (run / "model" / "README.md").read_text()
    assert ("average of epochs 1, 2, 3, 4, 5, 6" in card) == record["kept"]


def test_the_first_epoch_goes_from_short_to_long_if_asked(corpus, tmp_path):
    def longest(*overrides, epoch):
        config = settings(corpus, tmp_path / "run", *overrides)
        return [int(batch.waveform_lengths.max()) for batch in prepare(config).data.batches(epoch)[1]]

    first = longest("train.sortagrad=true", epoch=0)
    assert first == sorted(first)
    assert first != longest(epoch=0)
    second = longest("train.sortagrad=true", epoch=1)
    assert second == longest(epoch=1) != sorted(second)


def test_accumulated_batches_resume_to_the_same_weights(corpus, tmp_path):
    accumulated = [*RANDOM, "train.grad_accum_steps=2", "train.epochs=2"]
    train(settings(corpus, tmp_path / "whole", *accumulated))
    cut = settings(corpus, tmp_path / "cut", *accumulated, "train.max_minutes=1e-9")
    while train(cut) is Outcome.OUT_OF_TIME:
        pass
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    assert epochs(tmp_path / "cut") == [1, 2]


@pytest.mark.parametrize(
    "setting", ["train.grad_accum_steps=0", "train.patience=-1", "train.select=ser", "train.freeze=head"]
)
def test_settings_out_of_range_are_refused(corpus, tmp_path, setting):
    with pytest.raises(ConfigError, match=setting.partition("=")[0]):
        settings(corpus, tmp_path / "run", setting)
