"""Confidences against what is right: by hand, on numbers whose calibration is known, and in wer.json."""

import json
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from asr.data.manifest import Manifest
from asr.evaluate.calibration import BINS, MIN_VALUES, fit_platt_scaling, measure, word_correctness
from asr.evaluate.run import evaluate_manifest, make_record, write_evaluation
from asr.evaluate.score import Pair, right_words
from asr.model.folder import save_model


def drawn(slope, offset, count=20_000):
    """Confidences, and words that are right with σ(slope · logit(confidence) + offset)."""
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.01, 0.99, count)
    odds = (confidence / (1 - confidence)) ** slope * np.exp(offset)
    return confidence, rng.random(count) < odds / (1 + odds)


def test_words_are_right_where_they_stand_against_themselves():
    assert right_words(Pair("1", "the cat sat", "the bat sat down")) == [True, False, True, False]
    assert right_words(Pair("1", "one two", "two")) == [True]
    assert right_words(Pair("1", "", "noise here")) == [False, False]
    assert right_words(Pair("1", "one", "")) == []


def test_judged_takes_the_hypotheses_whose_words_have_confidences():
    pairs = [
        Pair("1", "a b", "a c", confidence=(0.9, 0.4)),
        Pair("2", "a", "a"),
        Pair("3", "", "x", confidence=(0.1,)),
        Pair("4", "a", "", confidence=()),
    ]
    confidence, right = word_correctness(pairs)
    assert confidence.tolist() == [0.9, 0.4, 0.1]
    assert right.tolist() == [True, False, False]


def test_true_probabilities_have_no_calibration_error_and_others_have_theirs():
    confidence, right = drawn(1.0, 0.0)
    assert measure(confidence, right)["ece"] < 0.015
    assert measure(confidence, right)["nce"] > 0.2
    sure = measure(np.full(1000, 0.9), np.arange(1000) < 500)
    assert sure["ece"] == pytest.approx(0.4)
    assert sum(each["words"] for each in sure["bins"]) == 1000
    assert len(sure["bins"]) == 1  # what is equal stays together
    assert len(measure(confidence, right)["bins"]) == BINS
    assert sure["nce"] < 0
    assert measure(np.full(3, 0.5), np.ones(3, bool))["nce"] is None
    assert measure(np.zeros(0), np.zeros(0, bool)) is None


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.4, -1.5), (2.0, 1.0)])
def test_the_fitted_map_is_the_one_that_was_drawn_with(slope, offset):
    assert fit_platt_scaling(*drawn(slope, offset)) == pytest.approx((slope, offset), abs=0.1)


def test_few_words_and_hopeless_confidences_give_maps_that_do_no_harm():
    confidence = np.linspace(0.0, 1.0, 100)
    assert fit_platt_scaling(confidence, np.arange(100) >= MIN_VALUES - 1) == (1.0, 0.0)
    assert fit_platt_scaling(np.zeros(0), np.zeros(0, bool)) == (1.0, 0.0)
    slope, offset = fit_platt_scaling(confidence, confidence < 0.5)
    assert slope == 0.0
    assert offset == pytest.approx(0.0, abs=0.01)


def test_wer_json_has_bins_and_a_diagram_beside_it(untrained, tmp_path, write_audio):
    samples = np.random.default_rng(0).standard_normal(8000).astype(np.float32) * 0.1
    write_audio("a.wav", samples, 8000)
    (tmp_path / "m.jsonl").write_text('{"id": "a", "audio": "a.wav", "duration": 1.0, "text": "a b ab"}\n')
    save_model(untrained, tmp_path / "model")
    manifest = Manifest(tmp_path / "m.jsonl")
    evaluation = evaluate_manifest(untrained, manifest)
    words = len(evaluation.pairs[0].hypothesis.split())
    assert words
    assert len(evaluation.pairs[0].confidence) == words
    record = make_record(evaluation, evaluation.score(), untrained, tmp_path / "model", manifest.path)
    write_evaluation(tmp_path / "eval", evaluation, record)
    stored = json.loads((tmp_path / "eval/wer.json").read_text())["confidence"]
    assert stored == measure(*word_correctness(evaluation.pairs))
    svg = ElementTree.fromstring((tmp_path / "eval/confidence.svg").read_text())
    ideal, curve = (line.get("points").split() for line in svg.iter("{http://www.w3.org/2000/svg}polyline"))
    assert ideal == ["48.0,194.0", "392.0,10.0"]
    assert len(set(curve)) == len(stored["bins"])
    assert float(curve[0].partition(",")[0]) == pytest.approx(48 + 344 * stored["bins"][0]["confidence"], abs=0.06)
