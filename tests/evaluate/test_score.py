"""Error counts and rates against jiwer's and by hand, and the advice on results too bad to be about accuracy."""

import random

import jiwer
import pytest

from asr.evaluate.score import Pair, Scores, diagnose, score


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
    assert (result.utterances, result.words, result.wrong_utterances) == (3, 6, 2)
    assert result.wer == 0.5
    assert result.ser == pytest.approx(2 / 3)
    assert result.cer == pytest.approx((1 + 5 + 4) / (11 + 7 + 3))


def test_empty_hypotheses_are_deletions_and_empty_references_insertions():
    silent = score([Pair("1", "one two three", ""), Pair("2", "four", "four")])
    assert (silent.deletions, silent.wer, silent.empty_hypotheses) == (3, 0.75, 1)
    invented = score([Pair("1", "", "one two"), Pair("2", "a b", "a b")])
    assert (invented.insertions, invented.wer, invented.wrong_utterances) == (2, 1.0, 1)
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
