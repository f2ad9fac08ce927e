"""Error counts and rates against jiwer's and by hand; how often intervals hold the truth; two evaluations compared."""

import math
import random

import jiwer
import numpy as np
import pytest
from scipy.stats import beta, binomtest, ttest_rel
from typer.testing import CliRunner

from asr.cli.main import app
from asr.errors import AsrError
from asr.evaluate.score import MIN_UNITS, Pair, Scores, compare, count_homophones, diagnose, rate_interval, score

TRUE_RATE = 0.15


def random_pairs(count, seed, shortest=1):
    draw = random.Random(seed)
    text = lambda least: " ".join(draw.choices(["a", "b", "cc", "dd", "ée"], k=draw.randint(least, 8)))  # noqa: E731
    return [Pair(f"u{i}", text(shortest), text(0), f"s{i % 4}") for i in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_counts_and_rates_agree_with_jiwer(seed):
    pairs = random_pairs(30, seed)
    ours = score(pairs)
    references, hypotheses = [p.reference for p in pairs], [p.hypothesis for p in pairs]
    words = jiwer.process_words(references, hypotheses)
    assert (ours.hits, ours.substitutions, ours.deletions, ours.insertions) == (
        words.hits, words.substitutions, words.deletions, words.insertions,
    )  # fmt: skip
    assert ours.wer == pytest.approx(words.wer)
    assert ours.cer == pytest.approx(jiwer.process_characters(references, hypotheses).cer)
    assert ours.words == sum(len(reference.split()) for reference in references)
    assert ours.words == ours.hits + ours.substitutions + ours.deletions
    assert ours.errors == ours.substitutions + ours.deletions + ours.insertions
    assert ours.ser == sum(p.reference != p.hypothesis for p in pairs) / 30
    assert ours.empty_hypotheses == hypotheses.count("")
    assert ours.interval.low <= ours.wer <= ours.interval.high
    assert ours.interval.unit == "speaker"
    assert score(pairs, seed=0) == ours


def test_homophones_are_substitutions_that_sound_right():
    sounds = {"two": [("T", "UW")], "to": [("T", "UW"), ("T", "AH")], "the": [("DH", "AH")], "ta": [("T", "AH")]}
    texts = [
        ("two cats", "to cats"),
        ("to", "ta"),
        ("two", "ta"),
        ("the to", "the to"),
        ("", "to"),
        ("two", ""),
        ("x", "y"),
    ]
    pairs = [Pair(str(i), *both) for i, both in enumerate(texts)]
    assert count_homophones(pairs, lambda word: sounds.get(word, [])) == 2
    assert score(pairs).substitutions == 4


def test_edit_distance_is_the_least_possible():
    """Against the recurrence written out (Wagner and Fischer 1974)."""

    def distance(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            previous, row = row, [i]
            for j, y in enumerate(b, 1):
                row.append(min(previous[j] + 1, row[-1] + 1, previous[j - 1] + (x != y)))
        return row[-1]

    pairs = random_pairs(300, 0, shortest=0)
    assert score(pairs).errors == sum(distance(p.reference.split(), p.hypothesis.split()) for p in pairs)
    characters = sum(len(p.reference) for p in pairs)
    assert score(pairs).cer == pytest.approx(sum(distance(p.reference, p.hypothesis) for p in pairs) / characters)


def test_by_hand():
    result = score([Pair("1", "the cat sat", "the bat sat down"), Pair("2", "one two", "two"), Pair("3", "yes", "yes")])
    assert (result.hits, result.substitutions, result.deletions, result.insertions) == (4, 1, 1, 1)
    assert (result.utterances, result.words) == (3, 6)
    assert result.wer == 0.5
    assert result.ser == pytest.approx(2 / 3)
    assert result.cer == pytest.approx((1 + 5 + 4) / (11 + 7 + 3))


def test_empty_hypotheses_are_deletions_and_empty_references_insertions():
    silent = score([Pair("1", "one two three", ""), Pair("2", "four", "four")])
    assert (silent.deletions, silent.wer, silent.empty_hypotheses) == (3, 0.75, 1)
    invented = score([Pair("1", "", "one two"), Pair("2", "a b", "a b")])
    assert (invented.insertions, invented.wer, invented.ser) == (2, 1.0, 0.5)
    assert invented.cer == pytest.approx(7 / 3)
    assert score([Pair("1", "", ""), Pair("2", "a", "a")]).ser == 0.0


def test_without_reference_words_there_are_no_rates():
    for pairs in ([], [Pair("1", "", "")], [Pair("1", "", "noise")]):
        result = score(pairs)
        assert (result.wer, result.cer, result.interval) == (None, None, None)
        assert result.words == 0
        assert diagnose(result) is None
    assert score([]).ser is None
    assert score([Pair("1", "", "noise")]).ser == 1.0


def test_wer_may_exceed_one():
    assert score([Pair("1", "a", "b c d")]).wer == 3.0


def test_advice_for_hopeless_results():
    blank = score([Pair("1", "one two", ""), Pair("2", "three", "")])
    assert "every hypothesis is empty" in diagnose(blank)
    assert "train.overfit" in diagnose(blank)
    wrong = score([Pair("1", "one two", "uno"), Pair("2", "three", "")])
    assert "not one word is right" in diagnose(wrong)
    assert "hyp.trn" in diagnose(wrong)
    assert diagnose(score([Pair("1", "one two", "one"), Pair("2", "three", "")])) is None
    assert isinstance(wrong, Scores)


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
    monkeypatch.setattr("asr.evaluate.score.BOOTSTRAP_DRAWS", 1000)
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
    monkeypatch.setattr("asr.evaluate.score.BOOTSTRAP_DRAWS", 1000)
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


@pytest.mark.parametrize("words", [[7], [3, 4], [6] * 40])
def test_with_all_words_wrong_the_bound_is_that_of_none_turned_round(words):
    none, every = (rate_interval(errors, words, [None] * len(words)) for errors in ([0] * len(words), words))
    assert every.low == pytest.approx(1 - none.high)
    assert (every.high, every.unit) == (1.0, "word")


@pytest.mark.parametrize("right", [1, 5])
@pytest.mark.parametrize("utterances", [4, 40])
def test_nearly_all_wrong_ends_at_one_and_is_no_narrower_than_exact(right, utterances):
    errors = [6] * utterances
    errors[0] -= right
    interval = rate_interval(errors, [6] * utterances, [None] * utterances)
    count, wrong = 6 * utterances, 6 * utterances - right
    assert 0 < interval.low <= beta.ppf(0.025, wrong, count - wrong + 1)
    assert beta.ppf(0.975, wrong + 1, count - wrong) <= interval.high <= 1.0


@pytest.mark.parametrize(("errors", "words"), [([8, 9, 7], [6, 6, 6]), ([2] * 30, [1] * 30), ([12, 0], [6, 6])])
def test_insertions_may_take_it_beyond_one_and_it_still_tells_something(errors, words):
    interval = rate_interval(errors, words, [None] * len(words))
    rate = sum(errors) / sum(words)
    assert 0 <= interval.low < rate < interval.high < math.inf
    assert interval.high > 1.0


@pytest.fixture
def folders(tmp_path):
    """folders([{id: (reference, hypothesis)}, …]) -> evaluations' folders."""

    def write(*sides):
        made = []
        for number, side in enumerate(sides):
            folder = tmp_path / str(number)
            folder.mkdir()
            for i, name in enumerate(("ref.trn", "hyp.trn")):
                (folder / name).write_text("".join(f"{texts[i]} ({key})\n" for key, texts in side.items()))
            made.append(folder)
        return made

    return write


def spoken(wrong):
    """{id: (ten words, with so many wrong)} for each of `wrong`, two utterances a speaker."""
    words = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
    return {
        f"s{i // 2}-{i}": (" ".join(words), " ".join(["x"] * count + words[count:])) for i, count in enumerate(wrong)
    }


def test_the_difference_is_that_of_a_paired_t_test_over_speakers(folders):
    first, second = np.array([[5, 4, 3, 5, 6, 2, 3, 4], [3, 4, 1, 2, 5, 1, 3, 0]])
    found = compare(*folders(spoken(first), spoken(second)))
    assert (found.words, found.unit) == (80, "speaker")
    assert (found.first, found.second) == (first.sum() / 80, second.sum() / 80)
    assert found.relative == pytest.approx(second.sum() / first.sum() - 1)
    by_speaker = [side.reshape(4, 2).sum(1) / 20 for side in (second, first)]
    expected = ttest_rel(*by_speaker)
    assert found.p_value == pytest.approx(expected.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval(0.95)))


def test_few_speakers_are_paired_by_utterance(folders):
    found = compare(*folders(spoken([3, 4, 5, 6]), spoken([1, 2, 5, 3])))
    assert found.unit == "utterance"
    assert found.p_value == pytest.approx(ttest_rel([1, 2, 5, 3], [3, 4, 5, 6]).pvalue)


def test_the_difference_ends_where_rates_do(folders):
    sides = folders(spoken([10] * 6), spoken([0, 3, 0, 0, 4, 0]))
    found, back = compare(*sides), compare(*reversed(sides))
    assert found.first == 1.0
    assert -1.0 <= found.low < found.difference < found.high < 0.0
    assert (back.low, back.high) == pytest.approx((-found.high, -found.low))


@pytest.mark.parametrize("wrong", [(10, 0), (7, 4), (0, 1)])
def test_the_same_difference_in_every_utterance_is_not_certain(folders, wrong):
    found = compare(*folders(*(spoken([count] * 3) for count in wrong)))
    change = (wrong[1] - wrong[0]) / 10
    assert found.difference == pytest.approx(change)
    assert -1.0 <= found.low <= found.difference <= found.high <= 1.0
    assert found.high - found.low > 0.1
    assert found.p_value == pytest.approx(binomtest(round(30 * abs(change)), round(30 * abs(change))).pvalue)


def test_the_same_twice_is_no_difference(folders):
    found = compare(*folders(spoken([3, 4, 5, 6]), spoken([3, 4, 5, 6])))
    assert (found.difference, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_one_utterance_tells_nothing(folders):
    assert compare(*folders(spoken([3]), spoken([0]))).p_value is None


def test_empty_texts_count(folders):
    sides = [{"s0-0": ("a b", ""), "s0-1": ("", "x")}, {"s0-0": ("a b", "a b"), "s0-1": ("", "")}]
    found = compare(*folders(*sides))
    assert (found.first, found.second) == (1.5, 0.0)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "ref.trn").unlink(), "asr evaluate --output-dir .* writes it"),
        (lambda folder: (folder / "hyp.trn").write_text("no id\n"), "line 1: not 'text"),
        (lambda folder: (folder / "hyp.trn").write_text("a (s9-9)\n"), "hold other utterances"),
        (lambda folder: (folder / "hyp.trn").write_bytes(b"\xff\xfe"), "hyp.trn: "),
        (lambda folder: [(folder / n).write_text("a (s9-9)\n") for n in ("ref.trn", "hyp.trn")], "s0-0 differs"),
    ],
)
def test_what_cannot_be_compared_is_one_line(folders, spoil, said):
    first, second = folders(spoken([1, 2]), spoken([1, 2]))
    spoil(second)
    with pytest.raises(AsrError, match=said) as caught:
        compare(first, second)
    assert "\n" not in str(caught.value)


def test_the_command(folders):
    first, second = folders(spoken([5, 4, 3, 5, 6, 2, 3, 4]), spoken([3, 4, 1, 2, 5, 1, 3, 0]))
    done = CliRunner().invoke(app, ["compare", str(first), str(second)])
    assert done.exit_code == 0, done.output
    assert "WER 40.00 % and 23.75 % of 80 words" in done.stdout
    assert "difference -16.25 points (-40.6 % of the errors)" in done.stdout
    assert "paired by speaker" in done.stdout
