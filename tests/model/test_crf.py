"""CTC-CRF against the sum over all paths, written out; its gradient, its batches, and its exactness in float32."""

import itertools
import math
from functools import lru_cache

import numpy as np
import pytest
import torch

from asr.model.crf import ctc_crf, log_partition, ngram_log_probs
from asr.model.ctc import ctc


def random_table(size, order):
    table = torch.rand((size,) * order, dtype=torch.float64).pow(4) + 1e-6
    return table / table.sum(-1, keepdim=True)


def random_case(longest=6):
    """log_probs, from flat to peaky, and as many tokens as may or may not fit."""
    size, frames, count = (int(torch.randint(*limits, ())) for limits in ((2, 5), (1, longest + 1), (0, 4)))
    log_probs = (8 * torch.rand(()) * torch.randn(1, frames, size, dtype=torch.float64)).log_softmax(-1)
    return log_probs, torch.randint(1, size, (count,))


@lru_cache
def all_paths(size, frames):
    """Every path, (paths, T), and the labels that each collapses to, with 0 for the end behind."""
    paths = np.array(list(itertools.product(range(size), repeat=frames)))
    return paths, [(*(symbol for symbol, _ in itertools.groupby(path) if symbol != 0), 0) for path in paths]


def by_enumeration(log_probs, tokens, table):
    """Z, and the part of it that collapses to the tokens."""
    frames, size = log_probs.shape
    order = table.dim()
    paths, labels = all_paths(size, frames)
    scores = np.exp(log_probs.numpy())[np.arange(frames), paths].prod(1)
    before = {each: (0,) * (order - 1) + each for each in set(labels)}
    weights = {
        each: math.prod(table[whole[i : i + order]].item() for i in range(len(each))) for each, whole in before.items()
    }
    everything = sum(score * weights[each] for score, each in zip(scores, labels, strict=True))
    wanted = (*tokens.tolist(), 0)
    return everything, sum(score for score, each in zip(scores, labels, strict=True) if each == wanted) * weights.get(
        wanted, 0.0
    )


@pytest.mark.parametrize("order", [2, 3])
def test_random_small_cases_equal_enumeration(order):
    torch.manual_seed(order)
    feasible = 0
    for _ in range(500):
        log_probs, tokens = random_case()
        table = random_table(log_probs.shape[2], order)
        everything, wanted = by_enumeration(log_probs[0], tokens, table)
        lengths, padded = torch.tensor([log_probs.shape[1]]), torch.cat([tokens, torch.tensor([1, 0])]).unsqueeze(0)
        loss = ctc_crf(log_probs, lengths, padded, torch.tensor([len(tokens)]), table, 0.0)
        assert log_partition(log_probs, lengths, table).item() == pytest.approx(math.log(everything), abs=1e-10)
        assert loss.infeasible == (wanted == 0)
        assert loss.total.item() == pytest.approx(-math.log(wanted / everything) if wanted else 0.0, abs=1e-10)
        assert loss.total.item() >= -1e-12
        feasible += wanted > 0
    assert 300 < feasible < 490


@pytest.mark.parametrize("order", [2, 3])
def test_gradients_equal_finite_differences(order):
    """Along a random direction each, of log_probs that are any scores for ln Z, and of logits for the loss."""
    torch.manual_seed(order)
    for _ in range(200):
        log_probs, tokens = random_case(longest=8)
        lengths, table = torch.tensor([log_probs.shape[1]]), random_table(log_probs.shape[2], order)
        given = (lengths, tokens.unsqueeze(0), torch.tensor([len(tokens)]), table)
        for function in (
            lambda x, given=given: ctc_crf(x.log_softmax(-1), *given, 0.1).total,
            lambda x, lengths=lengths, table=table: log_partition(x, lengths, table).sum(),
        ):
            x, along = log_probs.clone().requires_grad_(), torch.randn_like(log_probs)
            function(x).backward()
            with torch.no_grad():
                slope = (function(x + 1e-5 * along) - function(x - 1e-5 * along)) / 2e-5
            assert (x.grad * along).sum().item() == pytest.approx(slope.item(), rel=1e-6, abs=1e-7)


def test_the_gradient_of_the_partition_is_a_distribution_in_every_frame():
    log_probs = torch.randn(2, 9, 6).log_softmax(-1).requires_grad_()
    log_partition(log_probs, torch.tensor([9, 5]), random_table(6, 3).float()).sum().backward()
    inside = torch.tensor([[1.0] * 9, [1.0] * 5 + [0.0] * 4])
    torch.testing.assert_close(log_probs.grad.sum(2), inside)
    assert log_probs.grad.min() > -1e-6


@pytest.mark.parametrize("order", [2, 3])
def test_a_batch_equals_its_singles_whatever_is_past_the_ends(order):
    torch.manual_seed(order)
    lengths, token_lengths = torch.tensor([12, 3, 7, 1]), torch.tensor([4, 1, 0, 1])
    logits, tokens = 5 * torch.randn(4, 12, 5, dtype=torch.float64), torch.randint(1, 5, (4, 4))
    table = random_table(5, order)
    past = (torch.arange(12) >= lengths.unsqueeze(1)).unsqueeze(2)
    log_probs = torch.where(past, torch.nan, logits.log_softmax(-1)).requires_grad_()
    # CTC of torch does not take NaN past the end, so the whole loss sees numbers there.
    log_partition(log_probs, lengths, table).sum().backward()
    whole = logits.log_softmax(-1).requires_grad_()
    together = ctc_crf(whole, lengths, tokens, token_lengths, table, 0.3)
    together.total.backward()
    total = 0.0
    for i, (frames, count) in enumerate(zip(lengths.tolist(), token_lengths.tolist(), strict=True)):
        alone, partition = (logits[i : i + 1, :frames].log_softmax(-1).requires_grad_() for _ in range(2))
        log_partition(partition, lengths[i : i + 1], table).sum().backward()
        torch.testing.assert_close(log_probs.grad[i, :frames], partition.grad[0], rtol=1e-10, atol=1e-12)
        assert not log_probs.grad[i, frames:].any()
        loss = ctc_crf(alone, lengths[i : i + 1], tokens[i : i + 1, :count], token_lengths[i : i + 1], table, 0.3)
        loss.total.backward()
        total += loss.total.item()
        torch.testing.assert_close(whole.grad[i, :frames], alone.grad[0], rtol=1e-10, atol=1e-12)
        assert not whole.grad[i, frames:].any()
    assert together.total.item() == pytest.approx(total, rel=1e-12)


def by_logarithms(log_probs, table):
    """ln Z of one utterance from the dense recursion over (label before, last label) in logarithms."""
    size = len(table)
    never = -1e9  # whose gradient is not NaN, as that of -inf
    steps, end = table.log(), table[:, :, 0].log()
    steps[:, :, 0] = never
    label, blank = torch.full((2, size, size), never, dtype=torch.float64)
    blank[0, 0] = 0.0
    own = torch.eye(size, dtype=torch.bool)
    for frame in log_probs.double():
        either = torch.logaddexp(label, blank)
        sources = torch.where(own, blank.unsqueeze(2), either.unsqueeze(2))  # (before, last, next)
        moved = (sources + steps).logsumexp(0)  # (last, next)
        label, blank = torch.logaddexp(label, moved) + frame, either + frame[0]
    return (torch.logaddexp(label, blank) + end).logsumexp((0, 1))


@pytest.mark.parametrize("sharpness", [1.0, 100.0])
def test_long_and_peaky_utterances_lose_nothing_in_float32(sharpness):
    torch.manual_seed(3)
    frames, size = 3000, 6
    likely = torch.where(torch.rand(frames) < 0.8, 0, torch.randint(0, size, (frames,)))
    logits = sharpness * (torch.randn(frames, size) + 3 * torch.nn.functional.one_hot(likely, size))
    table = random_table(size, 3)
    single = logits.log_softmax(-1).unsqueeze(0).requires_grad_()
    double = single.detach().double().requires_grad_()
    exact = double.detach()[0].clone().requires_grad_()
    expected = by_logarithms(exact, table)
    expected.backward()
    for log_probs, error, slip in ((single, 2e-3, 1e-4), (double, 1e-9, 1e-10)):
        found = log_partition(log_probs, torch.tensor([frames]), table.to(log_probs.dtype))
        found.backward()
        assert found.item() == pytest.approx(expected.item(), abs=error)
        torch.testing.assert_close(log_probs.grad[0].double(), exact.grad, rtol=0, atol=slip)


def test_infeasible_utterances_cost_nothing_and_the_rest_is_the_sum():
    torch.manual_seed(4)
    logits = torch.randn(3, 4, 4, requires_grad=True)
    lengths, tokens, token_lengths = (
        torch.tensor([4, 3, 0]),
        torch.tensor([[1, 2, 3], [1, 1, 2], [1, 0, 0]]),
        torch.tensor([3, 3, 1]),
    )
    table = random_table(4, 3).float()
    loss = ctc_crf(logits.log_softmax(-1), lengths, tokens, token_lengths, table, 0.5)
    plain = ctc(logits.log_softmax(-1), lengths, tokens, token_lengths)
    loss.total.backward()
    assert (loss.infeasible, loss.utterances) == (2, 3)
    assert (loss.blank_fraction, loss.symbols_per_frame) == (plain.blank_fraction, plain.symbols_per_frame)
    assert logits.grad[0].abs().sum() > 0
    assert logits.grad[1:].abs().sum() == 0
    alone = ctc_crf(logits[:1].log_softmax(-1), lengths[:1], tokens[:1], token_lengths[:1], table, 0.0)
    assert loss.total.item() == pytest.approx((alone.total + 0.5 * plain.total).item(), rel=1e-6)


def test_with_an_n_gram_that_knows_the_text_nothing_is_left_to_learn():
    """p(1 2) is all but 1 by the n-gram alone, so the loss of any frames is near 0."""
    table = torch.full((3, 3, 3), 1e-9, dtype=torch.float64)
    table[0, 0, 1] = table[0, 1, 2] = table[1, 2, 0] = 1.0
    log_probs = torch.randn(1, 5, 3, dtype=torch.float64).log_softmax(-1)
    loss = ctc_crf(log_probs, torch.tensor([5]), torch.tensor([[1, 2]]), torch.tensor([2]), table, 0.0)
    assert 0 <= loss.total.item() < 1e-6
    assert ngram_log_probs(torch.tensor([[1, 2], [2, 1]]), torch.tensor([2, 1]), table).tolist() == pytest.approx(
        [0.0, 2 * math.log(1e-9)]
    )


def test_threads_are_as_before_and_change_no_bit():
    before = torch.get_num_threads()
    log_probs, table = torch.randn(3, 20, 9).log_softmax(-1), random_table(9, 3).float()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            given = log_probs.clone().requires_grad_()
            log_partition(given, torch.tensor([20, 20, 4]), table).sum().backward()
            results.append(given.grad)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*results)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("order", [2, 3])
def test_on_cuda_it_is_the_same(order):
    torch.manual_seed(order)
    lengths, token_lengths = torch.tensor([200, 150, 7]), torch.tensor([30, 20, 0])
    logits, tokens, table = 5 * torch.randn(3, 200, 41), torch.randint(1, 41, (3, 30)), random_table(41, order).float()
    results = []
    for device in ("cpu", "cuda"):
        given = logits.to(device, copy=True).requires_grad_()
        moved = (x.to(device) for x in (lengths, tokens, token_lengths, table))
        loss = ctc_crf(given.log_softmax(-1), *moved, 0.1)
        loss.total.backward()
        results.append((loss.total.detach().cpu(), given.grad.cpu()))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
