"""The built-in models: small, whole, described, and able to read the samples."""

import re

import numpy as np
import pytest
from helpers import ROOT

import asr
from asr.audio import read_audio
from asr.config import Config
from asr.data.manifest import Manifest
from asr.errors import ModelError
from asr.evaluate.run import evaluate_manifest
from asr.evaluate.score import Pair, score
from asr.model import folder as model_folder
from asr.model.folder import load_model, model_card
from asr.train.initial import adopt


@pytest.mark.parametrize("name", model_folder.built_in_models())
def test_model_is_small_and_described(name):
    folder = model_folder.BUILT_IN / name
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 25_000_000
    recognizer = load_model(folder)
    record = recognizer.training_record
    assert record["description"]
    assert record["license"]
    assert record["reproduce"].startswith("bash recipes/")
    for result in record["results"]:
        if result["words"]:
            low, high = result["wer_ci95"]
            assert low <= result["wer"] <= high
        assert result["set"] in (folder / "README.md").read_text(encoding="utf-8")


def test_models_are_there_and_packaged():
    assert model_folder.built_in_models() == ["digits", "english"]
    assert '"pretrained/*/*", "pretrained/*/*/*"' in (ROOT / "pyproject.toml").read_text()


def test_digits_reads_the_samples():
    """Synthetic voices, three of them learned from: they show that reading works, not how good it is."""
    evaluation = evaluate_manifest(
        load_model(model_folder.find_model("digits")), Manifest(ROOT / "data/samples/samples.jsonl")
    )
    assert not evaluation.failed
    assert evaluation.score().errors <= 1


@pytest.mark.parametrize("floor_db", [-200, -60])
def test_words_are_found_between_long_silences(floor_db):
    """Alone each recording is understood; with silence around all of it, words were lost."""
    model, rng = asr.load("digits"), np.random.default_rng(0)
    utterances = list(Manifest(ROOT / "data/samples/samples.jsonl"))
    pieces = [np.zeros(5 * model.sample_rate, np.float32)]
    for utterance in utterances:
        pieces.append(read_audio(utterance.audio, model.sample_rate).samples)
        pieces.append(np.zeros(int(rng.uniform(3, 15) * model.sample_rate), np.float32))
    samples = np.concatenate(pieces)
    samples += (10 ** (floor_db / 20) * rng.standard_normal(len(samples))).astype(np.float32)
    said = " ".join(utterance.text for utterance in utterances)
    heard = model.transcribe(samples, sample_rate=model.sample_rate).text
    assert score([Pair("all", said, heard)]).errors <= 1


def test_what_is_no_model_is_told_from_what_is_not_there(tmp_path):
    for model, problem in ((tmp_path, "holds no config.json"), (tmp_path / "none", "nothing of that name")):
        with pytest.raises(
            ModelError, match=rf"^{re.escape(str(model))}: neither .* \(digits, english\): .*{problem}.*RUN/model"
        ):
            model_folder.find_model(model)


def test_samples_are_small_and_their_page_has_their_texts():
    page = (ROOT / "data/README.md").read_text(encoding="utf-8")
    for utterance in Manifest(ROOT / "data/samples/samples.jsonl"):
        assert utterance.audio.stat().st_size < 250_000
        assert f"| {utterance.text} |" in page


def test_cards_tell_false_alarms_and_limits(untrained, monkeypatch):
    measured = {
        "set": "strings",
        "wer": 0.25,
        "wer_ci95": [0.2, 0.3],
        "ci_method": "m",
        "ci_unit": "u",
        "utterances": 9,
    }
    silent = {"set": "noise", "wer": None, "wer_ci95": None, "utterances": 7, "insertions": 3, "audio_s": 600.0}
    record = {"results": [measured, silent], "limits": ["Whispering."], "confusions": [["a", "the", 3]]}
    monkeypatch.setattr(untrained, "training_record", record)
    card = model_card(untrained)
    assert "| strings | 25.00 % | 20.00 % to 30.00 % (m, by u) | 9 |" in card
    assert "| noise | 3 words in 10 min | – | 7 |" in card
    assert "in the first of them: a → the (3 times)." in card
    assert "## Where it fails\n\n- Whispering." in card


def test_english_is_what_commands_use_and_it_reads_the_sentences():
    """Synthetic voices: that it reads them roughly is what can be said."""
    assert model_folder.find_model().name == model_folder.DEFAULT == "english"
    scores = asr.load().evaluate(ROOT / "data/sentences/sentences.jsonl")
    assert scores["words"] == 53
    assert scores["wer"] < 0.3
    digits = asr.load("english").evaluate(ROOT / "data/samples/samples.jsonl")
    assert digits["wer"] < 0.2  # books have few digit strings: its language model learned them apart


def test_a_training_takes_over_what_pronounces_words_from_a_model_of_phones(tmp_path):
    folder = model_folder.BUILT_IN / "english"
    config = adopt(Config().updated(train={"init": "english"}))
    assert (config.data.lexicon, config.data.lm, config.data.g2p) == tuple(
        folder / name for name in ("lexicon.txt", "lm", "g2p")
    )
    own = adopt(Config().updated(train={"init": "english"}, data={"lexicon": tmp_path / "mine.dict"}))
    assert own.data.lexicon == tmp_path / "mine.dict"
    assert adopt(Config().updated(train={"init": "digits"})).data.lexicon is None
