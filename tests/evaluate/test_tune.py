"""`asr lm tune`: the search for weights, what it stores, and that decoding uses it."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

from asr.cli.main import app
from asr.data.manifest import Manifest
from asr.decode.beam import BeamSettings, prepare
from asr.evaluate.calibration import word_correctness
from asr.evaluate.run import evaluate_manifest
from asr.evaluate.tune import (
    GRID,
    MAX_TRIALS,
    STEP,
    DevelopmentSet,
    Trial,
    Weights,
    best_of,
    calibrate,
    compute_log_probs,
    search_weights,
    tune,
)
from asr.lm.arpa import write_arpa
from asr.lm.estimate import LmConfig, train
from asr.lm.model import LanguageModel, store_tuned
from asr.lm.trie import levels_of
from asr.model.folder import load_model, save_model

TEXTS = ["ab a", "ba bab", "a ab ba", "bab", "ab ab a"]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path, untrained, write_audio):
    """A model of the letters a and b, recordings of noise, their manifest, a language model."""
    save_model(untrained, tmp_path / "model")
    rng = np.random.default_rng(0)
    lines = []
    for i, text in enumerate(TEXTS):
        write_audio(f"{i}.wav", 0.1 * rng.standard_normal(4000 + 1000 * i), 8000)
        lines.append({"id": str(i), "audio": f"{i}.wav", "duration": 0.5 + i / 8, "text": text})
    (tmp_path / "dev.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "text.txt").write_text("\n".join(TEXTS * 3))
    train([tmp_path / "text.txt"], LmConfig(order=2))[0].save(tmp_path / "lm")
    return tmp_path


def bowl(centre):
    """Rates that are lowest at some weights, and rise with the distance, measured in steps."""

    def measure(weights):
        distance = sum(abs(a - b) / step for a, b, step in zip(weights, centre, STEP, strict=True))
        return Trial(weights, round(distance, 2), distance)

    return measure


@pytest.mark.parametrize("centre", [(0.5, 1.5, -10.0), (0.9, 2.25, -7.0), (2.15, -2.75, -25.0), (0.0, 8.0, 3.0)])
def test_the_search_finds_the_lowest_point_and_tries_nothing_twice(centre):
    trials = list(search_weights(bowl(centre)))
    assert best_of(trials).weights == pytest.approx(centre)
    assert trials[: len(GRID)] == [bowl(centre)(weights) for weights in GRID]
    assert len({trial.weights for trial in trials}) == len(trials) <= MAX_TRIALS
    assert min(trial.weights.lm_weight for trial in trials) >= 0


def test_a_search_without_end_ends():
    assert len(list(search_weights(lambda weights: Trial(weights, -weights.word_insertion_bonus, 0.0)))) == MAX_TRIALS


def test_ties_go_to_fewer_character_errors_and_then_to_the_first():
    trials = [Trial(Weights(i, 0.0, 0.0), 0.5, cer) for i, cer in enumerate((0.3, 0.2, 0.2))]
    assert best_of(trials) is trials[1]


def test_in_a_closed_vocabulary_the_penalty_stays():
    assert {trial.weights.unk_score for trial in search_weights(bowl((0.5, 0.0, 0.0)), False)} == {-20.0}


def test_trials_are_what_an_evaluation_measures_and_the_same_again(folder):
    recognizer, lm = load_model(folder / "model"), LanguageModel.load(folder / "lm")
    manifest, settings = Manifest(folder / "dev.jsonl"), BeamSettings(beam=8)
    development = compute_log_probs(recognizer, manifest)
    trials = list(tune(recognizer, lm, development, settings))
    assert trials == list(tune(recognizer, lm, development, settings))
    assert len({trial.wer for trial in trials}) > 1
    for trial in (trials[0], best_of(trials)):
        search = prepare(recognizer.tokenizer, "basic", BeamSettings(beam=8, **trial.weights._asdict()), lm)
        scores = evaluate_manifest(recognizer, manifest, decoder=search).score()
        assert (scores.wer, scores.cer) == (trial.wer, trial.cer)


def test_confidences_are_those_the_language_model_was_tuned_to(folder):
    recognizer, manifest = load_model(folder / "model"), Manifest(folder / "dev.jsonl")
    recognizer.platt_scaling = 3.0, 0.5

    def confidences():
        lm = LanguageModel.load(folder / "lm")
        search = prepare(recognizer.tokenizer, "basic", BeamSettings(beam=8, word_insertion_bonus=3.0), lm)
        pairs = evaluate_manifest(recognizer, manifest, decoder=search).pairs
        values = np.array([value for pair in pairs for value in pair.confidence])
        return np.log(values) - np.log1p(-values)

    by_recognizer = confidences()
    assert len(by_recognizer) > 3
    store_tuned(folder / "lm", {"platt_scaling": [2.0, -1.0]})
    np.testing.assert_allclose((confidences() + 1.0) / 2.0, (by_recognizer - 0.5) / 3.0, atol=1e-6)


def test_a_map_of_another_model_is_not_used_and_said(folder):
    command = ["evaluate", folder / "dev.jsonl", "--model", folder / "model", "--lm", folder / "lm", "--output-dir"]
    bins = {}
    for model in ("unnamed", "another"):
        store_tuned(folder / "lm", {"word_insertion_bonus": 3.0, "platt_scaling": [0.0, 0.0], "model": model})
        result = run(*command, folder / model)
        assert result.exit_code == 0, result.output
        assert ("was tuned with the model 'another'" in result.stderr) == (model == "another")
        bins[model] = json.loads((folder / model / "wer.json").read_text())["confidence"]["bins"]
    assert {each["confidence"] for each in bins["unnamed"]} == {0.5}
    assert {each["confidence"] for each in bins["another"]} != {0.5}


def test_a_map_is_fitted_to_what_the_search_finds(folder):
    recognizer, lm = load_model(folder / "model"), LanguageModel.load(folder / "lm")
    few = compute_log_probs(recognizer, Manifest(folder / "dev.jsonl"))
    many = DevelopmentSet(few.log_probs * 12, few.references * 12)
    settings = BeamSettings(beam=8, word_insertion_bonus=3.0)
    assert calibrate(recognizer, lm, few, settings) == (1.0, 0.0)  # too few words to tell
    slope, offset = calibrate(recognizer, lm, many, settings)
    lm.tuned["platt_scaling"] = slope, offset
    search = prepare(recognizer.tokenizer, "basic", settings, lm)
    pairs = evaluate_manifest(recognizer, Manifest(folder / "dev.jsonl"), decoder=search).pairs
    confidence, right = word_correctness(pairs)
    assert abs(confidence.mean() - right.mean()) < 0.05  # as a fitted offset makes it


def test_the_command_stores_the_best_and_decoding_uses_it(folder):
    def written():
        return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (folder / "lm").iterdir()}

    before = written()
    about = json.loads((folder / "lm/lm.json").read_text())
    result = run("lm", "tune", folder / "lm", folder / "dev.jsonl", "--model", folder / "model", "--beam", 8)
    assert result.exit_code == 0, result.output
    [best] = [line.split() for line in result.stdout.splitlines() if line.rstrip().endswith("best")]
    tuned = LanguageModel.load(folder / "lm").tuned
    assert [float(number) for number in best[:3]] == [*LanguageModel.load(folder / "lm").weights.values()]
    assert best[3] == f"{100 * tuned['wer']:.2f}"
    assert (tuned["beam"], tuned["model"], tuned["manifest"]) == (8, "unnamed", "dev.jsonl")
    assert tuned.pop("platt_scaling") == (1.0, 0.0)
    assert json.loads((folder / "lm/lm.json").read_text()) == about | {"tuned": tuned | {"platt_scaling": [1.0, 0.0]}}
    assert {name for name, changed in written().items() if changed != before[name]} == {"lm.json"}

    command = ["evaluate", folder / "dev.jsonl", "--model", folder / "model", "--lm", folder / "lm", "--beam", 8]
    assert run(*command, "--output-dir", folder / "eval").exit_code == 0
    record = json.loads((folder / "eval/wer.json").read_text())
    assert (record["wer"], record["cer"]) == (tuned["wer"], tuned["cer"])
    weights = ("lm_weight", "word_insertion_bonus", "unk_score")
    assert [record["decoder"]["weights"][name] for name in weights] == [tuned[name] for name in weights]
    assert run(*command, "--word-insertion-bonus", 7, "--output-dir", folder / "eval").exit_code == 0
    used = json.loads((folder / "eval/wer.json").read_text())["decoder"]["weights"]
    assert (used["lm_weight"], used["word_insertion_bonus"]) == (tuned["lm_weight"], 7)


def test_what_was_found_is_told_where_it_cannot_be_stored(folder, monkeypatch):
    monkeypatch.setattr("asr.util.files.token_hex", lambda _: "no/such/folder")
    before = (folder / "lm/lm.json").read_text()
    result = run("lm", "tune", folder / "lm", folder / "dev.jsonl", "--model", folder / "model", "--beam", 2)
    assert result.exit_code == 1
    assert sum(line.rstrip().endswith("best") for line in result.stdout.splitlines()) == 1
    assert "stored" not in result.stderr
    assert (folder / "lm/lm.json").read_text() == before


def test_what_another_process_is_writing_makes_no_other_language_model(folder):
    command = ["evaluate", folder / "dev.jsonl", "--model", folder / "model", "--lm", folder / "lm", "--beam", 2]
    assert run(*command, "--output-dir", folder / "eval").exit_code == 0
    (folder / "lm/lm.0f.part").write_text("{")
    assert "already evaluated" in run(*command, "--output-dir", folder / "eval").stderr


def test_weights_stay_with_a_model_that_is_copied_and_are_the_defaults_in_python(folder):
    store_tuned(folder / "lm", {"lm_weight": 0.7, "word_insertion_bonus": 1, "unk_score": -3.0, "wer": 0.5})
    assert run("lm", "convert", folder / "lm", "-o", folder / "copy").exit_code == 0
    lm, recognizer = LanguageModel.load(folder / "copy"), load_model(folder / "model")
    assert lm.weights == {"lm_weight": 0.7, "word_insertion_bonus": 1.0, "unk_score": -3.0}
    assert prepare(recognizer.tokenizer, "basic", lm=lm).settings == BeamSettings(**lm.weights)
    assert prepare(recognizer.tokenizer, "basic", BeamSettings(), lm).settings == BeamSettings()


def test_closed_hears_only_known_words_and_hot_words(folder):
    command = ["transcribe", "--model", folder / "model", "--lm", folder / "lm", folder / "4.wav", "--lm-weight", 0]
    heard = run(*command, "--unk-score", 0).stdout.split()
    assert set(heard) - {"a", "ab", "ba", "bab"}
    closed = run(*command, "--closed-vocabulary").stdout.split()
    assert closed
    assert set(closed) <= {"a", "ab", "ba", "bab"}
    only = ["transcribe", "--model", folder / "model", folder / "4.wav", "--closed-vocabulary"]
    assert set(run(*only, "--hotword", "bb").stdout.split()) == {"bb"}
    assert "closed vocabulary" in run(*only).output


def test_an_unreadable_recording_is_named_and_the_rest_counts(folder):
    (folder / "2.wav").write_bytes(b"RIFF")
    result = run(
        "lm",
        "tune",
        folder / "lm",
        folder / "dev.jsonl",
        "--model",
        folder / "model",
        "--beam",
        4,
        "--closed-vocabulary",
    )
    assert result.exit_code == 1
    assert "error: utterance 2: " in result.output
    assert "1 of 5 utterances" in result.output
    assert LanguageModel.load(folder / "lm").tuned["closed_vocabulary"] is True


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "dev.jsonl").write_text(""), "no words to compare"),
        (lambda folder: [path.unlink() for path in folder.glob("*.wav")], "5 could not be read, such as utterance 0"),
        (lambda folder: (folder / "dev.jsonl").write_text('{"audio": "0.wav", "duration": 0.5}'), "has no text"),
        (lambda folder: shutil.rmtree(folder / "lm"), "No such file"),
        (lambda folder: store_tuned(folder / "lm", {"lm_weight": "much"}), "damaged language model"),
        (lambda folder: store_tuned(folder / "lm", None), "damaged language model"),
        (lambda folder: store_tuned(folder / "lm", {"platt_scaling": [1.0]}), "damaged language model"),
        (lambda folder: store_tuned(folder / "lm", {"platt_scaling": [1.0, float("nan")]}), "damaged language model"),
        (lambda folder: _edit(folder / "lm/lm.json", normalizer="none"), "normalizer 'none'"),
        (lambda folder: _become_arpa(folder / "lm"), "asr lm convert"),
    ],
)
def test_what_cannot_be_tuned_is_one_line(folder, spoil, said):
    spoil(folder)
    result = run("lm", "tune", folder / "lm", folder / "dev.jsonl", "--model", folder / "model")
    assert result.exit_code == 1
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def _edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _become_arpa(path):
    model = LanguageModel.load(path)
    levels = levels_of(model.tables)
    shutil.rmtree(path)
    write_arpa(path, model.words, levels)
