"""The decoder that settings mean: one place for the command line and for `asr.load`."""

import numpy as np
import pytest

import asr
from asr.decode.beam import BeamSearch
from asr.decode.decoder import GREEDY, DecoderOptions
from asr.decode.greedy import greedy
from asr.decode.lexicon import HOT_WORD_WEIGHT
from asr.errors import ModelError, TextError
from asr.lm.model import LanguageModel, store_tuned
from asr.lm.trie import SPECIAL, Level, build
from asr.model.folder import save_model


@pytest.fixture
def folder(tmp_path, untrained):
    save_model(untrained, tmp_path / "model")
    level = Level(np.arange(5), np.zeros(5, int), np.log(np.full(5, 0.2)), np.zeros(5))
    LanguageModel(build([level], 8), [*SPECIAL, "ab", "a"], normalizer="basic").save(tmp_path / "lm")
    return tmp_path


def test_without_settings_it_is_greedy(untrained):
    assert DecoderOptions().decoder(untrained) is greedy
    assert DecoderOptions().record() == GREEDY
    assert DecoderOptions(hotwords={}).greedy


def test_load_takes_every_setting(folder):
    store_tuned(folder / "lm", {"lm_weight": 0.7, "unk_score": -3.0})
    model = asr.load(
        folder / "model", "cpu", lm=folder / "lm", hotwords={"bab": 50.0, "ab": None}, beam=8, unk_score=-2.0
    )
    assert isinstance(model.decoder, BeamSearch)
    settings = model.decoder.settings
    assert (settings.beam, settings.lm_weight, settings.unk_score) == (8, 0.7, -2.0)
    record = model.options.record()
    assert record["hotwords"] == {"bab": 50.0, "ab": HOT_WORD_WEIGHT}
    assert record["weights"]["closed_vocabulary"] is False
    samples = 0.1 * np.random.default_rng(0).standard_normal(8000)
    assert "bab" in model.transcribe(samples, sample_rate=8000).text.split()


def test_hot_words_without_weights_are_a_list(folder):
    search = asr.load(folder / "model", "cpu", hotwords=["ab"]).decoder
    assert search.rules.hot.emitted.max() == pytest.approx(2 * HOT_WORD_WEIGHT)
    with pytest.raises(TextError, match="weight 1000, expected at most 100 nats a letter"):
        asr.load(folder / "model", "cpu", hotwords={"ab": 1000.0})


def test_a_missing_language_model_is_named(folder):
    with pytest.raises(ModelError, match=r"nowhere: no such language model; asr lm train"):
        asr.load(folder / "model", "cpu", lm=folder / "nowhere")


def test_a_language_model_tuned_for_another_model_is_said(folder, caplog):
    store_tuned(folder / "lm", {"platt_scaling": [0.5, 0.0], "model": "another"})
    search = asr.load(folder / "model", "cpu", lm=folder / "lm").decoder
    assert "was tuned with the model 'another'" in caplog.text
    assert search.platt_scaling is None
