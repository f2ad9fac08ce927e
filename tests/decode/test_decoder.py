"""Best-path decoding against groupby; words of a hypothesis: probabilities against enumeration, times inside the audio
and in order."""

import itertools

import numpy as np
import pytest
import torch

from asr.decode.align import timed_words
from asr.decode.beam import prepare
from asr.decode.decoder import Hypothesis, greedy, with_confidence, word_posteriors, word_spans
from asr.text import Tokenizer

LETTERS = Tokenizer("characters", ("<blank>", " ", "a", "b"))
DIGITS = Tokenizer("words", ("<blank>", "one", "two"))


class Found:
    """A decoder that finds the same, whatever it is given."""

    platt_scaling = None

    def __init__(self, hypothesis):
        self.hypothesis = hypothesis

    def __call__(self, log_probs, lengths, /):
        return [self.hypothesis]


def hypothesis_of(path):
    log_probs = torch.full((1, len(path), 4), 1e-9).log()
    log_probs[0, range(len(path)), path] = 0.0
    return greedy(log_probs, torch.tensor([len(path)]))[0]


def enumerated(log_probs, tokens):
    """The probability of all paths that say the tokens, every path tried."""
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        if [s for s, _ in itertools.groupby(path) if s != 0] == tokens:
            total += float(log_probs[range(len(path)), path].sum().exp())
    return total


def test_spans_are_what_stands_between_spaces():
    assert word_spans([1, 2, 3, 1, 1, 3], LETTERS) == [(1, 3), (5, 6)]
    assert word_spans([1, 1, 2], DIGITS) == [(0, 1), (1, 2), (2, 3)]
    assert word_spans([1], LETTERS) == word_spans([], LETTERS) == word_spans([], DIGITS) == []


@pytest.mark.parametrize("seed", range(5))
def test_a_word_has_the_probability_of_its_alignments_with_the_spaces_around_it(seed):
    path = [0, 2, 2, 3, 0, 1, 0, 3, 3, 0]  # "ab b"
    log_probs = torch.randn(10, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).log_softmax(-1)
    ab, b = word_posteriors(log_probs, hypothesis_of(path), LETTERS).tolist()
    assert ab == pytest.approx(enumerated(log_probs[1:6], [2, 3, 1]))
    assert b == pytest.approx(enumerated(log_probs[5:9], [1, 3]))
    [one, two] = word_posteriors(log_probs[:, :3], hypothesis_of([1, 1, 0, 2]), DIGITS).tolist()
    assert one == pytest.approx(enumerated(log_probs[0:2, :3], [1]))
    assert two == pytest.approx(float(log_probs[3, 2].exp()))


def test_every_decoder_gets_the_same_confidences_and_the_map_of_the_model(untrained, monkeypatch):
    path = [0, 2, 2, 3, 0, 1, 0, 0, 3, 3]
    log_probs = torch.full((1, 10, 4), 0.02).log()
    log_probs[0, range(10), path] = np.log(0.94)
    lengths = torch.tensor([10])
    [by_greedy] = with_confidence(greedy, untrained)(log_probs, lengths)
    [by_beam] = with_confidence(prepare(LETTERS, "basic"), untrained)(log_probs, lengths)
    raw = word_posteriors(log_probs[0].double(), by_greedy, LETTERS)
    assert by_greedy.token_ids == by_beam.token_ids
    assert by_greedy.confidence == pytest.approx(raw.tolist())
    assert by_greedy.confidence == pytest.approx(by_beam.confidence)
    monkeypatch.setattr(untrained, "platt_scaling", (0.5, -1.0))
    [mapped] = with_confidence(greedy, untrained)(log_probs, lengths)
    odds = (raw / (1 - raw)).numpy()
    assert np.array(mapped.confidence) == pytest.approx(odds**0.5 / np.e / (1 + odds**0.5 / np.e))


@pytest.mark.parametrize("value", [-np.inf, np.nan, np.inf])
def test_confidences_are_probabilities_whatever_the_network_says(untrained, value):
    hypothesis = hypothesis_of([2, 1, 3])
    log_probs = torch.zeros(1, 3, 4)
    log_probs[0, 0] = value
    [found] = with_confidence(Found(hypothesis), untrained)(log_probs, torch.tensor([3]))
    assert len(found.confidence) == 2
    assert all(0 <= c <= 1 for c in found.confidence)


@pytest.mark.parametrize("emission_delay_s", [0.0, 0.116, 3.0])
@pytest.mark.parametrize("seed", range(10))
def test_words_lie_in_the_audio_and_follow_each_other(untrained, monkeypatch, emission_delay_s, seed):
    monkeypatch.setattr(untrained, "emission_delay_s", emission_delay_s)
    rng = np.random.default_rng(seed)
    samples = rng.standard_normal(rng.integers(1, 20_000)).astype(np.float32)
    samples[rng.random(len(samples) // 800 + 1).repeat(800)[: len(samples)] < 0.4] *= 1e-3
    path = rng.choice(4, untrained.output_frames(len(samples)), p=[0.4, 0.2, 0.2, 0.2]).tolist()
    [found] = with_confidence(Found(hypothesis_of(path)), untrained)(
        torch.zeros(1, len(path), 4), torch.tensor([len(path)])
    )
    words = timed_words(untrained, found, samples, 10.0)
    assert len(words) == len(untrained.tokenizer.decode(found.token_ids).split())
    edges = [10.0, *(edge for word in words for edge in (word.start, word.end)), 10.0 + len(samples) / 8000]
    assert edges == sorted(edges)


@pytest.mark.parametrize("samples", range(1, 400, 7))
def test_the_last_word_ends_with_its_segment_to_the_last_bit(untrained, samples):
    first = 240_001
    path = [2] * untrained.output_frames(samples)
    [found] = with_confidence(Found(hypothesis_of(path)), untrained)(
        torch.zeros(1, len(path), 4), torch.tensor([len(path)])
    )
    [word] = timed_words(untrained, found, np.ones(samples, np.float32), first / 8000)
    assert first / 8000 <= word.start <= word.end <= (first + samples) / 8000


def test_a_word_begins_lead_s_before_its_first_frame(untrained, monkeypatch):
    samples = np.random.default_rng(0).standard_normal(8000).astype(np.float32)  # no pause
    hypothesis = Hypothesis([2, 1, 3], [5, 9, 15], [6, 10, 16], [0.9, 0.9])
    for emission_delay_s in (0.0, 0.05, 0.1):
        monkeypatch.setattr(untrained, "emission_delay_s", emission_delay_s)
        a, b = timed_words(untrained, hypothesis, samples, 0.0)
        assert (a.text, b.text) == ("a", "b")
        assert a.start == pytest.approx(5 * untrained.frame_s - emission_delay_s)
        assert a.end == b.start == pytest.approx(15 * untrained.frame_s - emission_delay_s)
        assert b.end == 1.0


def path_log_probs(path, symbols, probability=0.9):
    rest = (1 - probability) / (symbols - 1)
    return torch.log(torch.tensor([[probability if s == best else rest for s in range(symbols)] for best in path]))


def test_equals_collapse_of_the_best_path():
    torch.manual_seed(8)
    log_probs = torch.randn(20, 15, 4).log_softmax(-1)
    lengths = torch.randint(1, 16, (20,))
    for row, hypothesis in enumerate(greedy(log_probs, lengths)):
        path = log_probs[row, : lengths[row]].argmax(-1).tolist()
        assert hypothesis.token_ids == [s for s, _ in itertools.groupby(path) if s != 0]
        assert all(a < b for a, b in zip(hypothesis.start_frames, hypothesis.end_frames, strict=True))


def test_repeats_across_a_blank_are_two():
    [hypothesis] = greedy(path_log_probs([1, 1, 0, 1, 2, 0], 3).unsqueeze(0), torch.tensor([6]))
    assert hypothesis.token_ids == [1, 1, 2]
    assert (hypothesis.start_frames, hypothesis.end_frames) == ([0, 3, 4], [2, 4, 5])


def test_all_blank_is_an_empty_text():
    [hypothesis] = greedy(path_log_probs([0, 0], 4).unsqueeze(0), torch.tensor([2]))
    assert hypothesis.token_ids == []
