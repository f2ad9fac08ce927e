"""Training end to end on made-up tone words in real files: learning, resuming, stopping, refusing."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from helpers.training import RANDOM, assert_equal, epochs, settings, weights, write_corpus

from asr.config import TrainConfig, dump_yaml
from asr.data.manifest import Manifest
from asr.errors import AudioError, TrainError
from asr.evaluate.run import evaluate_manifest
from asr.model.folder import load_model
from asr.train.checkpoint import load_checkpoint
from asr.train.dry_run import dry_run
from asr.train.loop import Outcome
from asr.train.model_folder import make_model
from asr.train.optimizer import learning_rate
from asr.train.run import train
from asr.util.files import folder_lock
from asr.util.format import percent


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_each_cell_learns_and_leaves_a_whole_run_folder(corpus, tmp_path, cell):
    run = tmp_path / cell
    config = settings(corpus, run, f"model.cell={cell}", "train.epochs=30", "train.lr=1e-2", "train.validate_every=10")
    assert train(config) is Outcome.FINISHED
    assert epochs(run) == list(range(1, 31))
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["dev_wer"] <= 0.1
    for name in (
        "config.yaml",
        "checkpoints/last.pt",
        "checkpoints/best.pt",
        "model/model.safetensors",
        "model/README.md",
    ):
        assert (run / name).is_file(), name
    assert list((run / "tensorboard").glob("events*"))
    assert not list(run.rglob("*.part"))
    assert train(config) is Outcome.ALREADY_FINISHED
    other = corpus["folder"] / f"other_{cell}.jsonl"
    other.write_text("".join(corpus["train"].read_text().splitlines(keepends=True)[:-1]))
    config = settings(corpus, run, f"model.cell={cell}", "train.epochs=30", "train.lr=1e-2", "train.validate_every=10")
    renamed = config.model_copy(update={"data": config.data.model_copy(update={"train": other})})
    (run / "config.yaml").write_text(dump_yaml(renamed))
    with pytest.raises(TrainError, match="was trained on other data"):
        train(renamed)


def test_unidirectional_trains_with_global_statistics(corpus, tmp_path):
    config = settings(
        corpus, tmp_path / "run", "model.bidirectional=false", "features.normalize=global", "train.epochs=1"
    )
    assert train(config) is Outcome.FINISHED

    recognizer = load_model(tmp_path / "run" / "model")
    assert recognizer.features.mean.abs().max() > 0.1


def test_same_seed_same_weights_whatever_the_workers(corpus, tmp_path):
    for name, extra in (("a", []), ("b", []), ("c", ["data.workers=2"])):
        train(settings(corpus, tmp_path / name, "train.epochs=2", *RANDOM, *extra))
    assert_equal(weights(tmp_path / "a"), weights(tmp_path / "b"))
    assert_equal(weights(tmp_path / "a"), weights(tmp_path / "c"))
    train(settings(corpus, tmp_path / "d", "train.epochs=2", *RANDOM, "train.seed=1"))
    assert not torch.equal(*(weights(tmp_path / n)["head.projection.weight"] for n in "ad"))


def test_training_starts_from_another_model_and_refuses_other_settings(corpus, tmp_path):

    settled = ["features.normalize=global", "train.epochs=1"]
    train(settings(corpus, tmp_path / "first", *settled))
    first = load_model(tmp_path / "first" / "model").state_dict()
    other = write_corpus(tmp_path, 6, 4)  # of other statistics: white noise joins the tones
    again = [*settled, f"train.init={tmp_path / 'first'}", "train.lr=1e-12", "train.ema_decay=0", "model.dropout=0.3"]
    again += [f"data.train={other}"]
    train(settings(corpus, tmp_path / "second", *again))
    second = load_model(tmp_path / "second" / "model").state_dict()
    assert all(torch.allclose(first[name], second[name], atol=1e-8) for name in first)
    contradictory = ["features.normalize=utterance", "model.hidden_size=25", f"train.init={tmp_path / 'first'}"]
    with pytest.raises(
        TrainError,
        match=r"features.normalize is utterance, there global; model.hidden_size is 25, there 24; leave these",
    ):
        train(settings(corpus, tmp_path / "third", *contradictory))


def test_a_training_that_makes_a_model_worse_keeps_that_model(corpus, tmp_path, said):
    train(settings(corpus, tmp_path / "first", "train.epochs=30", "train.validate_every=30"))
    first = load_model(tmp_path / "first" / "model")
    ruin = [f"train.init={tmp_path / 'first'}", "train.lr=0.5", "train.warmup_ratio=0", "train.epochs=3"]
    train(settings(corpus, tmp_path / "second", *ruin, "train.keep_checkpoints=2", "train.average=2"))
    second = load_model(tmp_path / "second" / "model")
    assert_equal(first.state_dict(), second.state_dict())
    assert second.training_record["best_epoch"] == 0
    assert second.training_record["dev_wer"] == first.training_record["dev_wer"]
    assert f"before the first epoch: dev WER {percent(first.training_record['dev_wer'])}" in said
    assert any(f"no epoch has a lower development WER than {tmp_path / 'first'}" in line for line in said)
    assert epochs(tmp_path / "second") == [1, 2, 3]


def test_with_other_tokens_only_the_head_begins_anew(corpus, tmp_path):

    train(settings(corpus, tmp_path / "words", "train.epochs=1"))
    first = load_model(tmp_path / "words" / "model").state_dict()
    letters = ["text.tokens=characters", f"train.init={tmp_path / 'words'}", "train.lr=1e-12", "train.epochs=1"]
    train(settings(corpus, tmp_path / "letters", *letters))
    second = load_model(tmp_path / "letters" / "model").state_dict()
    same = {name for name in first if torch.equal(first[name].round(decimals=6), second[name].round(decimals=6))}
    assert {name for name in first if not name.startswith("head.")} <= same
    assert second["head.projection.weight"].shape != first["head.projection.weight"].shape


def test_stopped_after_some_epochs_a_run_goes_on_with_more_of_them(corpus, tmp_path, said):
    train(settings(corpus, tmp_path / "whole", *RANDOM))
    for most in (2, 2, 3):
        some = settings(corpus, tmp_path / "cut", *RANDOM, f"train.max_epochs={most}")
        assert train(some) is Outcome.ENOUGH_EPOCHS
        assert said[-1] == f"stopped after train.max_epochs={most}; rerun with a larger one, or none, to resume"
        assert epochs(tmp_path / "cut")[-1] == most
    assert train(settings(corpus, tmp_path / "cut", *RANDOM)) is Outcome.FINISHED
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_stopped_by_time_inside_an_epoch_resumes_to_the_same_weights(corpus, tmp_path):
    train(settings(corpus, tmp_path / "whole", *RANDOM))
    interrupted = settings(corpus, tmp_path / "cut", *RANDOM, "train.max_minutes=1e-9")  # one step a start
    starts = 1
    while train(interrupted) is Outcome.OUT_OF_TIME:
        starts += 1
        assert starts < 100
    assert starts > 4
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    records = []
    for name in ("whole", "cut"):
        lines = [json.loads(x) for x in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        records.append([(x["step"], x["loss"], x["dev_wer"]) for x in lines if x["kind"] == "epoch"])
    assert records[0] == records[1]


@pytest.mark.slow
def test_killed_run_resumes_to_the_same_weights(corpus, tmp_path):
    """SIGKILL at several moments of a real process; the same command finishes with the uninterrupted run's weights."""
    overrides = ["train.epochs=12", "train.validate_every=3"]
    train(settings(corpus, tmp_path / "whole", *overrides))
    run = tmp_path / "killed"
    config = settings(corpus, run, *overrides)
    command = [sys.executable, "-m", "asr", "train", str(corpus["folder"] / "tones.yaml")]
    command += [f"data.train={corpus['train']}", f"data.dev={corpus['dev']}", f"run={run}", "device=cpu", *overrides]
    for wanted in (2, 7):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not (run / "metrics.jsonl").exists() or max(epochs(run), default=0) < wanted:
            assert process.poll() is None, "finished before it could be killed"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (run / "model").exists()
    assert train(config) is Outcome.FINISHED
    assert_equal(weights(tmp_path / "whole"), weights(run))
    assert epochs(run) == list(range(1, 13))


@pytest.mark.skipif(os.name == "nt", reason="signals differ on Windows")
def test_sigterm_saves_and_exits_130(corpus, tmp_path):
    run = tmp_path / "run"
    settings(corpus, run)
    command = [sys.executable, "-m", "asr", "train", str(corpus["folder"] / "tones.yaml"), "train.epochs=100000"]
    command += [f"data.train={corpus['train']}", f"data.dev={corpus['dev']}", f"run={run}", "device=cpu"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while not (run / "checkpoints" / "last.pt").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "rerun to resume" in errors
    progress, _ = load_checkpoint(run / "checkpoints" / "last.pt")
    assert progress.step > 0


def test_the_model_folder_holds_the_best_checkpoint(corpus, tmp_path):

    run = tmp_path / "run"
    train(settings(corpus, run))
    best = load_checkpoint(run / "checkpoints" / "best.pt")[1]["model"]
    assert_equal(load_model(run / "model").state_dict(), best)
    assert not torch.equal(best["head.projection.weight"], weights(run)["head.projection.weight"])  # an average


def test_two_trainings_do_not_share_a_run_folder(corpus, tmp_path):
    other = folder_lock(tmp_path / "run", TrainError("busy"))
    with other, pytest.raises(TrainError, match="another training is running in it"):
        train(settings(corpus, tmp_path / "run"))
    assert train(settings(corpus, tmp_path / "run", "train.epochs=1")) is Outcome.FINISHED


def test_an_unreadable_development_recording_is_found_before_training(corpus, tmp_path):
    dev = write_corpus(tmp_path, 3, 3)
    (tmp_path / "audio" / "3_2.wav").write_bytes(b"")
    with pytest.raises(AudioError, match=r"utterance 3_2: .*empty"):
        train(settings(corpus, tmp_path / "run", f"data.dev={dev}"))
    assert not (tmp_path / "run").exists()


def test_a_run_that_never_began_leaves_no_folder(corpus, tmp_path):
    with pytest.raises(TrainError, match="no such file"):
        train(settings(corpus, tmp_path / "run", "data.train=trian.jsonl"))
    assert not (tmp_path / "run").exists()


def test_other_settings_are_refused_with_the_keys_that_differ(corpus, tmp_path):
    run = tmp_path / "run"
    train(settings(corpus, run, "train.epochs=1"))
    with pytest.raises(TrainError, match=r"model\.hidden_size was 24, is 12"):
        train(settings(corpus, run, "train.epochs=1", "model.hidden_size=12"))


def test_changed_data_is_refused(corpus, tmp_path):
    manifest = tmp_path / "train.jsonl"
    manifest.write_bytes(corpus["train"].read_bytes().replace(b'"audio/', f'"{corpus["folder"]}/audio/'.encode()))
    config = settings(corpus, tmp_path / "run", "train.max_minutes=1e-9", f"data.train={manifest}")
    assert train(config) is Outcome.OUT_OF_TIME
    manifest.write_bytes(b"".join(manifest.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(TrainError, match="train manifest changed"):
        train(config)


def test_damaged_checkpoint_is_named(corpus, tmp_path):
    config = settings(corpus, tmp_path / "run", "train.max_minutes=1e-9")
    train(config)
    path = tmp_path / "run" / "checkpoints" / "last.pt"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(TrainError, match=r"last\.pt: damaged checkpoint"):
        train(config)


def test_overfit_learns_by_heart(corpus, tmp_path):
    config = settings(corpus, tmp_path / "run", "train.overfit=3", "train.epochs=60", "train.validate_every=60")
    train(config)
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["dev_wer"] == 0.0


def test_dry_run_writes_nothing(corpus, tmp_path):
    rows = dict(dry_run(settings(corpus, tmp_path / "run")))
    assert not (tmp_path / "run").exists()
    assert rows["one epoch"].startswith("24 utterances")
    assert "40 ms" in rows["log_probs"]


def test_dry_run_of_what_cannot_be_read_is_an_error(corpus, tmp_path):
    lines = [json.loads(line) | {"audio": "gone.wav"} for line in corpus["train"].read_text().splitlines()]
    (tmp_path / "gone.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(TrainError, match=r"gone\.wav: No such file"):
        dry_run(settings(corpus, tmp_path / "run", f"data.train={tmp_path / 'gone.jsonl'}"))


def test_infeasible_utterances_are_listed_and_left_out(corpus, tmp_path, said):
    manifest = corpus["train"].with_name("infeasible.jsonl")
    lines = corpus["train"].read_text().splitlines()
    short = json.loads(lines[0]) | {"id": "too_short", "text": " ".join(["low"] * 40)}
    manifest.write_text("\n".join([*lines, json.dumps(short)]) + "\n")
    config = settings(corpus, tmp_path / "run", f"data.train={manifest}", "train.epochs=1")
    assert train(config) is Outcome.FINISHED
    assert any("1 of 25 utterances" in line and "too_short (79 needed" in line for line in said)
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert np.isfinite(last["loss"])
    assert last["infeasible"] == 0


def test_unknown_symbols_of_the_development_part_are_reported(corpus, tmp_path, said):
    manifest = corpus["dev"].with_name("strange.jsonl")
    manifest.write_text(corpus["dev"].read_text().replace("low", "hélas 7"))
    train(settings(corpus, tmp_path / "run", f"data.dev={manifest}", "train.epochs=1"))
    report = " ".join(line for line in said if line.startswith("warning: dev"))
    assert "'hélas' ×" in report
    assert "'7' ×" in report


def test_texts_are_lower_case_in_their_language_and_marks_are_told(corpus, tmp_path, said):
    """low, high, mid are written DIŞ, IRMAK, İZMİR; one model is for Turkish alone, one also for another language."""
    turkish = {"low": "DIŞ", "high": "IRMAK", "mid": "[um] İZMİR"}
    for part in ("train", "dev"):
        lines = [json.loads(line) for line in corpus[part].read_text().splitlines()]
        for line in lines:
            line["text"] = " ".join(turkish[word] for word in line["text"].split())
            line["lang"] = "tr"
        corpus[part].with_name(f"tr_{part}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        lines[0] |= {"lang": "en", "text": "I"}
        corpus[part].with_name(f"mixed_{part}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    for name, normalizer, tokens in (
        ("tr", "basic-tr", ["dış", "izmir", "um", "ırmak"]),
        ("mixed", "basic", ["dış", "i", "izmir", "um", "ırmak"]),
    ):
        paths = {part: corpus[part].with_name(f"{name}_{part}.jsonl") for part in ("train", "dev")}
        train(settings(corpus | paths, tmp_path / name, "train.epochs=1"))
        made = make_model(tmp_path / name / "checkpoints/last.pt", tmp_path / f"{name}_again")
        for recognizer in (load_model(tmp_path / name / "model"), made, load_model(tmp_path / f"{name}_again")):
            assert recognizer.text.normalizer == normalizer
            assert list(recognizer.tokenizer.tokens[1:]) == tokens
        references = evaluate_manifest(made, Manifest(paths["dev"])).pairs
        assert {word for pair in references for word in pair.reference.split()} <= set(tokens)
    assert any(line.startswith("warning: train: mark in text: '[um]' × ") for line in said)
    assert any(line.startswith("warning: dev: mark in text: '[um]' × ") for line in said)


def test_held_out_speaker_is_in_neither_part(corpus, tmp_path, said):
    train(settings(corpus, tmp_path / "run", "data.held_out_speaker=ann", "train.epochs=1"))
    assert any(line.startswith("12 training utterances") and "3 for development" in line for line in said)
    with pytest.raises(TrainError, match="no utterance of the held-out speaker 'eve'"):
        train(settings(corpus, tmp_path / "other", "data.held_out_speaker=eve"))


def test_learning_rate_rises_then_falls():
    config = TrainConfig(lr=1e-3)
    rates = [learning_rate(done / 100, config) for done in range(101)]
    assert max(rates) == pytest.approx(config.lr)
    assert rates.index(max(rates)) == 10
    assert rates[100] == pytest.approx(config.lr * config.min_lr_ratio)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
