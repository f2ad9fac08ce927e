"""Best-path decoding against groupby, times in seconds, and confidences that are probabilities."""

import itertools

import pytest
import torch

from asr.decode.greedy import greedy, words
from asr.text import Tokenizer

LETTERS = Tokenizer("characters", ("<blank>", " ", "a", "b"))
DIGITS = Tokenizer("words", ("<blank>", "one", "two"))


def path_log_probs(path, symbols, probability=0.9):
    rest = (1 - probability) / (symbols - 1)
    return torch.log(torch.tensor([[probability if s == best else rest for s in range(symbols)] for best in path]))


def test_equals_collapse_of_the_best_path():
    torch.manual_seed(8)
    log_probs = torch.randn(20, 15, 4).log_softmax(-1)
    lengths = torch.randint(1, 16, (20,))
    for row, hypothesis in enumerate(greedy(log_probs, lengths)):
        path = log_probs[row, : lengths[row]].argmax(-1).tolist()
        assert hypothesis.tokens == [s for s, _ in itertools.groupby(path) if s != 0]
        assert all(0 <= c <= 1 for c in hypothesis.confidence)
        assert all(a < b for a, b in zip(hypothesis.first, hypothesis.end, strict=True))
        assert hypothesis.blank_share == pytest.approx(path.count(0) / len(path))


def test_words_of_letters_have_times_and_confidences():
    path = [0, 2, 2, 3, 0, 1, 0, 0, 3, 0]  # " ab b"
    [hypothesis] = greedy(path_log_probs(path, 4).unsqueeze(0), torch.tensor([len(path)]))
    assert LETTERS.decode(hypothesis.tokens) == "ab b"
    ab, b = words(hypothesis, LETTERS, frame_s=0.04, start_s=10.0, end_s=10.34)
    assert (ab.text, b.text) == ("ab", "b")
    assert ab.start == pytest.approx(10.0 + 0.5 * 0.04)
    assert ab.end == pytest.approx(10.0 + 3.5 * 0.04)
    assert b.end == pytest.approx(10.34)  # frame 8 ends there
    assert ab.confidence == pytest.approx(0.9, rel=1e-5)


def test_words_as_tokens_and_repeats_across_a_blank():
    path = [1, 1, 0, 1, 2, 0]
    [hypothesis] = greedy(path_log_probs(path, 3).unsqueeze(0), torch.tensor([6]))
    assert [word.text for word in words(hypothesis, DIGITS, 0.04, 0.0, 0.24)] == ["one", "one", "two"]
    assert DIGITS.decode(hypothesis.tokens) == "one one two"


def test_no_word_starts_before_the_audio_or_ends_after_it():
    path = [1, 0, 2]
    [hypothesis] = greedy(path_log_probs(path, 3).unsqueeze(0), torch.tensor([3]))
    first, last = words(hypothesis, DIGITS, 0.04, 0.0, 0.09)
    assert first.start == 0.0
    assert last.end == 0.09


def test_all_blank_is_an_empty_text():
    [hypothesis] = greedy(path_log_probs([0, 0], 4).unsqueeze(0), torch.tensor([2]))
    assert hypothesis.tokens == []
    assert words(hypothesis, LETTERS, 0.04, 0.0, 1.0) == []
    assert hypothesis.blank_share == 1.0
