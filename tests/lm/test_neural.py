"""The recurrent language model: its probabilities, its training, its folder, on texts of a few words."""

import json
import math
import os
import signal

import numpy as np
import pytest
import torch
from helpers.command_line import asr

from asr.errors import ConfigError, ModelError, TrainError
from asr.lm.estimate import LmConfig
from asr.lm.estimate import train as train_ngrams
from asr.lm.fit import STATE, NeuralConfig, batch_of, encode_corpus, read_corpus, sequences, train
from asr.lm.model import LanguageModel
from asr.lm.neural import BORDER, SPECIAL, UNKNOWN, Network, NetworkConfig, NeuralLanguageModel

LINES = ["one two three four", "two three four one two", "three four", "four one two three four one"]
SMALL = NetworkConfig("lstm", 1, 24, 16)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(LINES * 40) + "\n")
    return path


def config(cell="lstm", **settings):
    network = NetworkConfig(cell, 1, 24, 16)
    return NeuralConfig(network, **{"subwords": 30, "epochs": 8, "lr": 0.02, "batch_tokens": 256} | settings)


@pytest.fixture(scope="module")
def model():
    """Untrained, of two layers: what holds for its probabilities holds for all."""
    torch.manual_seed(1)
    tokens = [*SPECIAL, *"abc▁", "▁a", "bc"]
    shape = NetworkConfig("gru", 2, 12, 8)
    return NeuralLanguageModel(Network(shape, len(tokens)).eval(), shape, tokens, "basic")


def test_what_may_follow_sums_to_one(model):
    before = model.encode("abc")
    last = [model.score_tokens([[*before, token]])[0][len(before)] for token in range(len(model.tokens))]
    assert before == [6, 7]
    assert np.exp(last).sum() == pytest.approx(1.0, abs=1e-6)
    assert model.score_tokens([before])[0][-1] == pytest.approx(last[BORDER], abs=1e-6)  # the end is one of them


def test_a_batch_equals_its_singles(model):
    sentences = [["abc", "a"], [], ["c"] * 30, ["x"]]
    alone = [float(model.score_sentences([words])[0]) for words in sentences]
    np.testing.assert_allclose(model.score_sentences(sentences), alone, rtol=1e-6)


def test_the_perplexity_is_that_of_words(model):
    measured = model.perplexity(["Abc a!", "", "b xa"])
    scores = model.score_tokens([[6, 7, 6], [5, 3, 5, UNKNOWN, 2]])
    assert measured.units == 4
    assert (measured.unknown, measured.sentences) == (1, 2)
    assert measured.all == pytest.approx(math.exp(-np.concatenate(scores).sum() / 6))
    without = np.concatenate([scores[0], scores[1][:2], scores[1][-1:]])
    assert measured.known == pytest.approx(math.exp(-without.sum() / 5))


def test_long_sentences_are_cut_and_nothing_is_lost(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("ab " * 300 + "\nab\n")
    tokens, text = encode_corpus(read_corpus([path], "word", "none"), 10)
    spans = sequences(text)
    inputs, targets, inside = batch_of(text, spans)
    assert [tokens[number] for number in text[-3:]] == ["</s>", "▁ab", "</s>"]
    assert (spans[:, 1] - spans[:, 0]).tolist() == [128, 128, 45, 2]
    assert torch.equal(targets, torch.from_numpy(text[1:]).long())
    assert torch.equal(inputs[inside], torch.from_numpy(text[:-1]).long())


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_each_cell_learns_more_than_single_words(cell, text, tmp_path):
    found = train([text], config(cell), tmp_path / "model", heldout=text, device="cpu")
    single, _ = train_ngrams([text], LmConfig(order=1), heldout=text)
    loaded = NeuralLanguageModel.load(tmp_path / "model")
    assert found.record["perplexity"]["all"] < 0.7 * single.record["perplexity"]["all"]
    assert loaded.perplexity(LINES).all == pytest.approx(found.record["perplexity"]["all"])
    assert not (tmp_path / "model" / STATE).exists()


def test_a_resumed_training_gives_the_same_bits(text, tmp_path):
    def interrupted(steps):
        for step in steps:
            if step == 7:
                os.kill(os.getpid(), signal.SIGINT)
            yield step

    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train([text], config(dropout=0.3), whole, device="cpu")
    assert train([text], config(dropout=0.3), resumed, device="cpu", progress=interrupted) is None
    steps = json.loads((resumed / "lm.json").read_text())["record"]["steps"]
    assert NeuralLanguageModel.load(resumed).record["steps_planned"] > steps == 8
    with pytest.raises(ModelError, match="other epochs; choose"):
        train([text], config(dropout=0.3, epochs=9), resumed, device="cpu")
    train([text], config(dropout=0.3), resumed, device="cpu")
    assert (whole / "model.safetensors").read_bytes() == (resumed / "model.safetensors").read_bytes()


def test_a_finished_training_is_not_repeated_and_other_models_are_refused(text, tmp_path):
    train([text], config(epochs=1), tmp_path / "model", device="cpu")
    before = (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns
    train([text], config(epochs=1), tmp_path / "model", device="cpu")
    assert (tmp_path / "model" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ModelError, match="with other seed"):
        train([text], config(epochs=1, seed=1), tmp_path / "model", device="cpu")
    ngrams, _ = train_ngrams([text], LmConfig())
    ngrams.save(tmp_path / "ngrams")
    with pytest.raises(ModelError, match="ngrams: holds an n-gram model; choose another folder"):
        train([text], config(), tmp_path / "ngrams", device="cpu")
    with pytest.raises(ModelError, match="--rescore"):
        LanguageModel.load(tmp_path / "model")
    with pytest.raises(ConfigError, match="cell=qrnn"):
        config("qrnn")


def test_another_held_out_text_is_measured_without_another_training(text, tmp_path):
    train([text], config(epochs=1), tmp_path / "model", text, device="cpu")
    (tmp_path / "other.txt").write_text("three two one\n")
    again = train([text], config(epochs=1), tmp_path / "model", tmp_path / "other.txt", device="cpu")
    assert again.record["perplexity"]["file"] == "other.txt"
    assert NeuralLanguageModel.load(tmp_path / "model").record["perplexity"] == again.record["perplexity"]


@pytest.mark.parametrize("damage", [{"tuned": [1]}, {"normalizer": None}, {"record": 3}, {"network": {"cell": "x"}}])
def test_a_damaged_record_is_named(text, tmp_path, damage):
    train([text], config(epochs=1), tmp_path / "model", device="cpu")
    path = tmp_path / "model" / "lm.json"
    record = json.loads(path.read_text()) | damage
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not None}))
    with pytest.raises(ModelError, match=r"does not fit lm\.json or is damaged"):
        NeuralLanguageModel.load(tmp_path / "model")


def test_an_empty_checkpoint_is_named(text, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "training.pt").touch()
    with pytest.raises(TrainError, match=r"training\.pt: damaged"):
        train([text], config(), tmp_path / "model", device="cpu")


def test_words_beyond_all_bounds_have_an_infinite_perplexity(tmp_path):
    text = tmp_path / "long.txt"
    text.write_text("\n".join("\u6f22\u5b57\u4eee\u540d" * 100 for _ in range(20)), encoding="utf-8")
    model = train([text], config(epochs=0.1, subwords=8), tmp_path / "model", text, device="cpu")
    assert model.record["perplexity"]["all"] > 1e50


def test_samples_follow_the_text(text, tmp_path):
    train([text], config(), tmp_path / "model", device="cpu")
    ngrams, _ = train_ngrams([text], LmConfig(order=2))
    ngrams.save(tmp_path / "ngrams")
    for name in ("model", "ngrams"):
        result = asr("lm", "sample", tmp_path / name, "--prompt", "One two", "--count", 3, "--temperature", 0.1)
        assert [line.startswith("one two three four") for line in result.stdout.splitlines()] == [True] * 3
        assert asr("lm", "sample", tmp_path / name).stdout == asr("lm", "sample", tmp_path / name).stdout
    assert (
        asr("lm", "sample", tmp_path / "ngrams", "--seed", 1).stdout != asr("lm", "sample", tmp_path / "ngrams").stdout
    )


def test_from_the_command_line(text, tmp_path):
    small = ("--hidden-size", 16, "--subwords", 20, "--epochs", 1, "--heldout", text)
    result = asr("lm", "train", text, "--neural", "--cell", "gru", *small, "--output", tmp_path / "model")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("perplexity ")
    refused = asr("lm", "train", text, "--output", tmp_path / "model")
    assert refused.returncode == 1
    assert "holds a neural language model" in refused.stderr
    for wrong in (("--neural", "--order", 4), ("--cell", "gru")):
        refused = asr("lm", "train", text, *wrong, "--output", tmp_path / "other")
        assert refused.returncode == 2
        assert "with --neural" in refused.stderr
