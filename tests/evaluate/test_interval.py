"""Intervals of an error rate: how often they hold the truth, by simulation, and the cases without a bootstrap."""

import numpy as np
import pytest
from scipy.stats import beta

from asr.evaluate.interval import MIN_UNITS, rate_interval

TRUE_RATE = 0.15


def simulated_test_set(rng, utterances, speakers=None):
    """errors, words and speakers; 15 % of the words are expected to be wrong, more for some utterances or speakers."""
    words = rng.integers(4, 14, utterances)
    if speakers is None:
        rates, names = rng.beta(1.5, 8.5, utterances), [None] * utterances
    else:
        speaker = np.arange(utterances) % speakers
        rates, names = rng.beta(4.5, 25.5, speakers)[speaker], [f"s{i}" for i in speaker]
    return rng.binomial(words, rates), words, names


@pytest.mark.parametrize(
    ("utterances", "speakers", "unit", "method"),
    [
        (12, None, "utterance", "cluster-robust, t(11)"),
        (80, None, "utterance", "bootstrap, 1000 draws"),
        (160, 8, "speaker", "cluster-robust, t(7)"),
        (240, 24, "speaker", "bootstrap, 1000 draws"),
    ],
)
def test_coverage_is_near_95_percent(utterances, speakers, unit, method, monkeypatch):
    monkeypatch.setattr("asr.evaluate.interval.BOOTSTRAP_DRAWS", 1000)
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(300):
        interval = rate_interval(*simulated_test_set(rng, utterances, speakers), seed=seed)
        assert interval.unit == unit
        assert interval.method.startswith(method)
        held += interval.low <= TRUE_RATE <= interval.high
    assert 0.90 <= held / 300 <= 0.98


def test_words_of_one_speaker_count_less_than_words_of_many(monkeypatch):
    """An interval by utterance, where speakers differ, is too narrow: it holds the truth far too seldom."""
    monkeypatch.setattr("asr.evaluate.interval.BOOTSTRAP_DRAWS", 1000)
    rng = np.random.default_rng(0)
    held = 0
    for seed in range(200):
        errors, words, _ = simulated_test_set(rng, 400, 4)
        interval = rate_interval(errors, words, [None] * 400, seed)
        held += interval.low <= TRUE_RATE <= interval.high
    assert held / 200 < 0.8


@pytest.mark.parametrize("words", [[1], [3, 4], [100] * 50])
@pytest.mark.parametrize("speakers", [False, True])
def test_without_errors_the_bound_is_clopper_and_pearsons(words, speakers):
    names = [f"s{i}" if speakers else None for i in range(len(words))]
    interval = rate_interval([0] * len(words), words, names)
    assert interval.low == 0.0
    assert interval.high == pytest.approx(beta.ppf(0.975, 1, sum(words)))
    assert (interval.unit, interval.method) == ("word", "exact binomial (no errors)")


def test_the_cluster_robust_interval_is_the_written_out_formula():
    errors, words, names = [2, 4, 0, 8, 2], [20, 40, 20, 50, 30], ["a", "b", "a", "c", "d"]
    interval = rate_interval(errors, words, names)
    e, w = np.array([2.0, 4.0, 8.0, 2.0]), np.array([40.0, 40.0, 50.0, 30.0])
    rate = 16 / 160
    error = np.sqrt(4 / 3 * np.sum((e - rate * w) ** 2)) / 160
    assert interval.high - rate == pytest.approx(3.182446 * error, rel=1e-6)  # t(3), 0.975
    assert interval.low == pytest.approx(max(0.0, rate - 3.182446 * error), rel=1e-6)
    assert (interval.unit, interval.method) == ("speaker", "cluster-robust, t(3), no narrower than exact binomial")


@pytest.mark.parametrize("count", [4, 40])
def test_few_errors_give_no_narrower_an_interval_than_none(count):
    """Equal rates in all units have no spread; one error in many utterances has less than none should claim."""
    none = rate_interval([0] * count, [8] * count, [None] * count)
    even = rate_interval([1] * count if count < 10 else [1] * 4 + [0] * 36, [8] * count, [None] * count)
    one = rate_interval([1] + [0] * (count - 1), [8] * count, [None] * count)
    for interval, errors in ((one, 1), (even, 4)):
        assert interval.low <= beta.ppf(0.025, errors, 8 * count - errors + 1)
        assert interval.high >= beta.ppf(0.975, errors + 1, 8 * count - errors)
        assert "no narrower than exact binomial" in interval.method
    assert none.high < one.high < even.high


def test_the_bootstrap_follows_from_its_seed_and_surrounds_the_rate():
    rng = np.random.default_rng(0)
    errors, words, names = simulated_test_set(rng, 100)
    first = rate_interval(errors, words, names, seed=1)
    assert first == rate_interval(errors, words, names, seed=1)
    assert first != rate_interval(errors, words, names, seed=2)
    assert first.low < errors.sum() / words.sum() < first.high
    standard_error = np.std(errors - errors.sum() / words.sum() * words) * 10 / words.sum()
    assert first.high - first.low == pytest.approx(2 * 1.96 * standard_error, rel=0.1)


def test_the_unit_is_the_speaker_only_where_all_are_known_and_differ():
    rng = np.random.default_rng(0)
    errors, words, _ = simulated_test_set(rng, 60)
    for names, unit in [
        (["a"] * 60, "utterance"),
        ([None] * 60, "utterance"),
        (["a", "b"] * 29 + ["a", None], "utterance"),
        (["a", "b", "c"] * 20, "utterance"),
        (["a", "b", "c", "d"] * 15, "speaker"),
        ([f"s{i}" for i in range(60)], "speaker"),
    ]:
        assert rate_interval(errors, words, names).unit == unit
    assert 1 < MIN_UNITS <= 60


def test_too_little_for_an_interval():
    assert rate_interval([], [], []) is None
    assert rate_interval([3, 1], [0, 0], [None, None]) is None
    one = rate_interval([2], [5], [None])
    assert (one.low, one.high, one.method) == (0.0, 1.0, "none possible (one utterance)")
    assert rate_interval([9], [5], ["a"]).high == 1.8


def test_utterances_without_words_only_add_errors():
    errors, words = [1, 2, 3] * 20, [5, 0, 10] * 20
    interval = rate_interval(errors, words, [None] * 60)
    assert interval.low < sum(errors) / sum(words) < interval.high
