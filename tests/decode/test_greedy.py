"""Best-path decoding against groupby."""

import itertools

import torch

from asr.decode.greedy import greedy


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
