"""Rescoring with a neural language model: against scoring by hand, tuned, and from the command line."""

import json

import numpy as np
import pytest
import torch
from decode.test_beam import LETTERS, Bigrams, random_log_probs
from helpers.command_line import asr

from asr.decode.beam import BeamSettings, Rescorer, prepare
from asr.errors import ModelError
from asr.lm.estimate import LmConfig, train
from asr.lm.model import LanguageModel
from asr.lm.neural import SPECIAL, Network, NetworkConfig, NeuralLanguageModel
from asr.model.folder import save_model


def neural(normalizer="basic"):
    """With weights drawn so large that it differs from other models."""
    torch.manual_seed(2)
    config, tokens = NetworkConfig("lstm", 1, 8, 8), [*SPECIAL, *"ab▁", "▁a"]
    network = Network(config, len(tokens)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 3
    return NeuralLanguageModel(network, config, tokens, normalizer)


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_rescoring_equals_scoring_by_hand(weight):
    rng, other = np.random.default_rng(3), neural()
    lm = Bigrams(["a", "ab", "ba", "b"], rng).model
    settings = BeamSettings(lm_weight=1.7, word_insertion_bonus=0.5, unk_score=0.0)
    plain = prepare(LETTERS, "basic", settings, lm)
    search = prepare(LETTERS, "basic", settings, lm, rescorer=Rescorer(other, weight, 20))
    changed = 0
    for _ in range(10):
        log_probs = random_log_probs(rng, 8, 4)
        texts = {}
        for found in plain.n_best(log_probs, 20):
            words = LETTERS.decode(found.token_ids).split()
            mixed = (1 - weight) * lm.score_sentence(words).sum() + weight * other.score_sentences([words])[0]
            by_hand = found.acoustic + 1.7 * mixed + 0.5 * len(words)
            texts[" ".join(words)] = max(by_hand, texts.get(" ".join(words), -np.inf))
        best = search.best_text(log_probs)
        assert texts[best] == pytest.approx(max(texts.values()), abs=1e-3)
        changed += best != plain.best_text(log_probs)
    assert (changed > 0) == (weight > 0)


def test_another_normalizer_is_refused():
    with pytest.raises(ModelError, match="normalizer 'none', the recognizer's through 'basic'"):
        prepare(LETTERS, "basic", rescorer=Rescorer(neural("none")))


def test_from_the_command_line(tmp_path, untrained, write_audio):
    save_model(untrained, tmp_path / "model")
    write_audio("0.wav", 0.1 * np.random.default_rng(0).standard_normal(8000), 8000)
    manifest = tmp_path / "dev.jsonl"
    manifest.write_text(json.dumps({"id": "0", "audio": "0.wav", "duration": 1.0, "text": "ab a"}))
    (tmp_path / "text.txt").write_text("ab a\nba bab\n" * 3)
    train([tmp_path / "text.txt"], LmConfig(order=2))[0].save(tmp_path / "lm")
    folder = tmp_path / "nlm"
    neural().save(folder)
    about = LanguageModel.load(tmp_path / "lm")
    common = ("--model", tmp_path / "model", "--lm", tmp_path / "lm")
    result = asr("lm", "tune", folder, manifest, *common, "--beam", 8)
    assert result.returncode == 0, result.stderr
    tuned = NeuralLanguageModel.load(folder).tuned
    assert f"weight {tuned['rescore_weight']:.1f}: WER {100 * tuned['wer']:.2f} %, the best" in result.stdout
    result = asr("evaluate", manifest, *common, "--rescore", folder, "--beam", 8, "--output-dir", tmp_path / "eval")
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "eval" / "wer.json").read_text())
    assert record["wer"] == tuned["wer"]
    assert record["decoder"]["rescore"]["weight"] == tuned["rescore_weight"]
    assert about.tuned == {}  # the model of the search stays as it was
    wrong = asr("evaluate", manifest, *common, "--rescore", tmp_path / "lm")
    assert wrong.returncode == 1
    assert "an n-gram model, not a neural one" in wrong.stderr
    wrong = asr("transcribe", tmp_path / "0.wav", *common, "--rescore", folder, "--rescore-weight", 2)
    assert "rescore_weight is 2: expected 0 to 1" in wrong.stderr
