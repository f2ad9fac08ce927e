"""Paired comparison of two evaluations."""

import numpy as np
import pytest
from scipy.stats import ttest_rel
from typer.testing import CliRunner

from asr.cli.main import app
from asr.errors import AsrError
from asr.evaluate.compare import compare


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
