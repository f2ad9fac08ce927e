"""The loss against the sum over all alignments, and what happens to utterances no alignment exists for."""

import itertools
import math

import pytest
import torch

from asr.lengths import min_frames
from asr.model.ctc import CTCHead, ctc, frames_needed


def collapse(path):
    return [symbol for symbol, _ in itertools.groupby(path) if symbol != 0]


def by_enumeration(log_probs, tokens):
    """−ln of the summed probability of every path that collapses to the tokens."""
    frames, symbols = log_probs.shape
    total = 0.0
    for path in itertools.product(range(symbols), repeat=frames):
        if collapse(path) == tokens:
            total += math.exp(sum(log_probs[t, s].item() for t, s in enumerate(path)))
    return -math.log(total) if total else math.inf


@pytest.mark.parametrize("tokens", [[], [1], [1, 2], [1, 1], [2, 1, 2], [2, 2, 1]])
def test_loss_equals_enumeration(tokens):
    torch.manual_seed(6)
    log_probs = torch.randn(1, 5, 3, dtype=torch.float64).log_softmax(-1)
    padded = torch.tensor([[*tokens, *[0] * (4 - len(tokens))]])
    loss = ctc(log_probs, torch.tensor([5]), padded, torch.tensor([len(tokens)]))
    assert loss.total.item() == pytest.approx(by_enumeration(log_probs[0], tokens), rel=1e-9)


def test_sum_over_the_batch_and_padding_of_tokens():
    torch.manual_seed(7)
    log_probs = torch.randn(2, 6, 4).log_softmax(-1)
    tokens, token_lengths, lengths = torch.tensor([[1, 2, 3], [2, 0, 0]]), torch.tensor([3, 1]), torch.tensor([6, 4])
    loss = ctc(log_probs, lengths, tokens, token_lengths)
    alone = [ctc(log_probs[i : i + 1], lengths[i : i + 1], tokens[i : i + 1], token_lengths[i : i + 1]) for i in (0, 1)]
    assert loss.total.item() == pytest.approx(sum(one.total.item() for one in alone), rel=1e-6)
    assert loss.utterances == 2


def test_frames_needed_equals_brute_force():
    for length in range(5):
        for tokens in itertools.product([1, 2], repeat=length):
            least = next(
                n for n in range(20) if any(collapse(p) == list(tokens) for p in itertools.product(range(3), repeat=n))
            )
            assert min_frames(list(tokens)) == least
            padded = torch.tensor([[*tokens, *[0] * (6 - length)]])
            assert frames_needed(padded, torch.tensor([length])).item() == least


def test_infeasible_utterance_is_counted_and_costs_nothing():
    logits = torch.randn(2, 3, 3, requires_grad=True)
    loss = ctc(logits.log_softmax(-1), torch.tensor([3, 2]), torch.tensor([[1, 2], [1, 1]]), torch.tensor([2, 2]))
    loss.total.backward()
    assert loss.infeasible == 1
    assert torch.isfinite(loss.total)
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[1].abs().sum() == 0
    assert logits.grad[0].abs().sum() > 0


def test_empty_texts_only():
    loss = ctc(
        torch.zeros(2, 3, 3).log_softmax(-1), torch.tensor([3, 3]), torch.zeros(2, 0).long(), torch.tensor([0, 0])
    )
    assert loss.total.item() == pytest.approx(6 * math.log(3))
    assert loss.infeasible == 0


def test_gradient_equals_finite_differences():
    logits = torch.randn(1, 5, 3, dtype=torch.float64, requires_grad=True)

    def loss(values):
        return ctc(values.log_softmax(-1), torch.tensor([5]), torch.tensor([[1, 2]]), torch.tensor([2])).total

    assert torch.autograd.gradcheck(loss, logits)


def test_head_starts_with_every_symbol_equally_likely():
    log_probs = CTCHead(8, 5)(torch.randn(2, 3, 8))
    torch.testing.assert_close(log_probs, torch.full((2, 3, 5), -math.log(5)))


def test_blank_share_counts_only_inside_the_lengths():
    log_probs = torch.full((1, 4, 2), -9.0)
    log_probs[0, 0, 0] = log_probs[0, 1, 1] = log_probs[0, 2, 1] = log_probs[0, 3, 1] = 0.0
    loss = ctc(log_probs, torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1]))
    assert loss.blank_fraction == 0.5
