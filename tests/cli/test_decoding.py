"""`asr transcribe` and `asr evaluate` with a beam, a language model and hot words."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from asr.cli.main import app
from asr.lm.model import LanguageModel
from asr.lm.trie import SPECIAL, Level, build
from asr.model.folder import save_model


@pytest.fixture
def folder(tmp_path, untrained, write_audio):
    """A model of the letters a and b, a recording of noise, a manifest, two language models."""
    save_model(untrained, tmp_path / "model")
    write_audio("noise.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000)
    line = {"id": "1", "audio": "noise.wav", "duration": 1.0, "text": "ab a"}
    (tmp_path / "list.jsonl").write_text(json.dumps(line) + "\n")
    level = Level(np.arange(5), np.zeros(5, int), np.log(np.full(5, 0.2)), np.zeros(5))
    for name in ("basic", "none"):
        LanguageModel(build([level], 8), [*SPECIAL, "ab", "a"], normalizer=name).save(tmp_path / name)
    return tmp_path


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_evaluate_records_the_decoder_and_measures_again_when_it_changes(folder):
    command = ["evaluate", "--model", folder / "model", folder / "list.jsonl", "--output-dir", folder / "eval"]
    assert run(*command).exit_code == 0
    assert json.loads((folder / "eval/wer.json").read_text())["decoder"]["kind"] == "greedy"
    beam = [*command, "--lm", folder / "basic", "--lm-weight", 0.7, "--hotword", "ab:2"]
    assert "already evaluated" not in run(*beam).output
    decoder = json.loads((folder / "eval/wer.json").read_text())["decoder"]
    assert (decoder["kind"], decoder["beam"], decoder["hotwords"]) == ("beam", 512, {"ab": 2.0})
    assert decoder["weights"]["lm_weight"] == 0.7
    assert len(decoder["lm"]["sha256"]) == 64
    assert "already evaluated" in run(*beam).output


def test_transcribe_hears_a_hot_word_with_times(folder):
    command = ["transcribe", "--model", folder / "model", "--format", "json", folder / "noise.wav"]
    result = run(*command, "--beam", 8, "--hotword", "bab:50")
    assert result.exit_code == 0, result.output
    words = json.loads(result.stdout)["segments"][0]["words"]
    assert "bab" in [word["text"] for word in words]
    assert all(0 <= word["start"] < word["end"] <= 1 for word in words)


def test_what_does_not_fit_is_one_line(folder):
    command = ["transcribe", "--model", folder / "model", folder / "noise.wav"]
    for options, word in ((["--lm", folder / "none"], "normalizer"), (["--hotword", "xyz"], "no token for 'x'")):
        result = run(*command, *options)
        assert result.exit_code == 1
        assert word in result.output
        assert "Traceback" not in result.output


def test_too_much_weight_for_the_language_model_is_suspected(folder):
    command = ["evaluate", "--model", folder / "model", folder / "list.jsonl", "--lm", folder / "basic"]
    result = run(*command, "--lm-weight", 1000)
    assert result.exit_code == 0, result.output
    assert "every hypothesis is empty" in result.stderr
    assert "lower lm_weight" in result.stderr


def test_weights_that_a_few_words_cannot_tell_apart_are_called_so(folder, write_audio):
    command = ["lm", "tune", folder / "basic", folder / "list.jsonl", "--model", folder / "model", "--beam", 1]
    assert "note: all weights gave the same errors" in run(*command).stderr
    write_audio("noise.wav", 0.1 * np.random.default_rng(1).standard_normal(40_000), 8000)
    line = {"id": "1", "audio": "noise.wav", "duration": 5.0, "text": "ab a b bab " * 4}
    (folder / "list.jsonl").write_text(json.dumps(line) + "\n")
    assert "note: 16 words are too few to tell weights apart" in run(*command).stderr


def test_a_vocabulary_is_heard_measured_and_recorded(folder):
    (folder / "words.txt").write_text("# two of them\nab\na b\t0.5\n")
    options = ["--vocabulary", folder / "words.txt", "--unk-score", -30]
    result = run("transcribe", "--model", folder / "model", "--format", "json", folder / "noise.wav", *options)
    assert result.exit_code == 0, result.output
    heard = json.loads(result.stdout)
    assert heard["text"]
    assert set(heard["text"].replace("a b", "").split()) <= {"ab"}
    assert [word["text"] for word in heard["segments"][0]["words"]] == heard["text"].split()
    command = ["evaluate", "--model", folder / "model", folder / "list.jsonl", "--output-dir", folder / "eval"]
    assert run(*command, *options).exit_code == 0
    decoder = json.loads((folder / "eval/wer.json").read_text())["decoder"]
    assert (decoder["kind"], decoder["lm"], decoder["weights"]["unk_score"]) == ("beam", None, -30.0)
    assert (decoder["vocabulary"]["entries"], decoder["vocabulary"]["words"]) == (2, {"a b": 0.5, "ab": 1.0})
    assert "already evaluated" in run(*command, *options).output
    (folder / "words.txt").write_text("ab\na b\n")
    assert "already evaluated" not in run(*command, *options).output
    assert run(*command, "--beam", 8).exit_code == 0
    assert "vocabulary" not in json.loads((folder / "eval/wer.json").read_text())["decoder"]


def test_what_a_vocabulary_excludes_is_wrong_usage(folder):
    (folder / "words.txt").write_text("ab\n")
    for command in (["transcribe", folder / "noise.wav"], ["evaluate", folder / "list.jsonl"]):
        for other in (["--lm", folder / "basic"], ["--hotword", "ab"], ["--rescore", folder / "basic"]):
            result = run(*command, "--model", folder / "model", "--vocabulary", folder / "words.txt", *other)
            assert result.exit_code == 2
            assert "leave out --lm, --hotword and --rescore" in " ".join(result.output.replace("│", " ").split())
    result = run("transcribe", folder / "noise.wav", "--model", folder / "model", "--vocabulary", folder / "gone.txt")
    assert (result.exit_code, result.stderr) == (1, f"error: {folder / 'gone.txt'}: No such file or directory\n")
