"""One step's gradient: of several batches, and of pieces of one that does not fit into memory."""

from dataclasses import replace

import pytest
import torch
from helpers.toys import FRAMES, batch, make_recognizer, real_loss, records, run

from asr.data.batches import Batch
from asr.errors import TrainError
from asr.train.optimizer import compute_gradient, halves


@pytest.fixture
def recognizer():
    made = make_recognizer()
    torch.nn.init.normal_(made.head.projection.weight)
    return made


def joined(*batches):
    """One batch of the utterances of several."""
    names = ("waveforms", "waveform_lengths", "tokens", "token_lengths")
    tensors = [torch.cat([getattr(batch, name) for batch in batches]) for name in names]
    return Batch(list(range(len(tensors[0]))), *tensors)


def gradients(recognizer, loss, batches):
    utterances = sum(len(batch.indices) for batch in batches)
    losses = compute_gradient(recognizer, loss, list(enumerate(batches)), 0, utterances)
    return {name: p.grad.clone() for name, p in recognizer.named_parameters()}, losses, len(losses) - len(batches)


def assert_close(a, b):
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-4, atol=1e-6)


def test_several_batches_weigh_as_one_of_all_their_utterances(recognizer):
    loss, small, large = real_loss(recognizer), batch(1, 2), batch(2, 5)
    together, [whole], _ = gradients(recognizer, loss, [joined(small, large)])
    apart, losses, cuts = gradients(recognizer, loss, [small, large])
    assert_close(apart, together)
    assert sum(float(loss.total) for loss in losses) == pytest.approx(float(whole.total), rel=1e-5)
    assert cuts == 0


def test_a_batch_that_does_not_fit_is_cut_until_it_does(recognizer):
    real, seen = real_loss(recognizer), []

    def loss(given, epoch, number):
        seen.append((len(given.indices), number))
        if len(given.indices) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(given, epoch, number)

    expected, _, _ = gradients(recognizer, real, [batch(1, 2), batch(2, 5)])
    found, losses, cuts = gradients(recognizer, loss, [batch(1, 2), batch(2, 5)])
    assert_close(found, expected)  # not twice the first batch's
    assert [loss.utterances for loss in losses] == [2, 2, 1, 2]
    assert cuts == 2
    assert seen[:2] == [(2, 0), (5, 1)]


def test_a_backward_pass_broken_off_leaves_nothing_behind(recognizer):
    loss = real_loss(recognizer)
    expected, _, _ = gradients(recognizer, loss, [batch(2, 5)])
    left_behind = []

    def run_out(gradient):
        if not left_behind:
            left_behind.append(recognizer.head.projection.weight.grad)
            raise torch.OutOfMemoryError("CUDA out of memory")

    def watch(module, given, output):
        output[0].register_hook(run_out)

    recognizer.encoder.register_forward_hook(watch)
    found, _, cuts = gradients(recognizer, loss, [batch(2, 5)])
    assert left_behind[0] is not None  # the head's gradient was there already
    assert cuts == 1
    assert_close(found, expected)


def test_one_utterance_that_does_not_fit_ends_the_training(recognizer):
    def loss(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainError, match=r"out of memory: an utterance of 1\.0 s does not fit by itself"):
        gradients(recognizer, loss, [batch(1, 3)])


def test_halves_are_short_and_long_and_lose_nothing():
    whole = batch(3, 5)
    lengths = torch.tensor([5000, 8000, 3000, 4000, 6000])
    first, second = halves(replace(whole, waveform_lengths=lengths))
    assert (first.indices, second.indices) == ([2, 3], [0, 4, 1])
    assert (first.waveforms.shape, second.waveforms.shape) == ((2, 4000), (3, FRAMES))
    assert torch.equal(second.waveforms[2], whole.waveforms[1])
    assert torch.equal(second.tokens[2], whole.tokens[1])


def test_the_log_counts_accumulated_steps_and_cut_batches(tmp_path, recognizer):
    real, failed = real_loss(recognizer), []

    def loss(given, epoch, number):
        if number == 1 and not failed:
            failed.append(number)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(given, epoch, number)

    run(tmp_path, recognizer, loss=loss, grad_accum_steps=2)
    assert len(records(tmp_path, "step")) == 2  # of three batches
    [epoch] = records(tmp_path, "epoch")
    assert epoch["cut_batches"] == 1
