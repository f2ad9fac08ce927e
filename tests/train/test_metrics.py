"""What a run says of itself, above all when it is sick."""

import math

import pytest
import torch
from helpers.toys import make_recognizer, real_loss, records, run

from asr.errors import TrainError
from asr.model.ctc import ctc
from asr.train.loop import Outcome


def breaking(recognizer, broken):
    """The real loss, which is not a number where broken(epoch, number)."""
    loss = real_loss(recognizer)

    def broken_loss(given, epoch, number):
        result = loss(given, epoch, number)
        return result._replace(total=result.total * math.nan) if broken(epoch, number) else result

    return broken_loss


def test_a_step_without_a_finite_gradient_is_skipped_and_named(tmp_path, capsys):
    recognizer = make_recognizer()
    loss, seen = breaking(recognizer, lambda epoch, number: number == 1), []

    def watched(*arguments):
        seen.append(recognizer.head.projection.weight.clone())
        return loss(*arguments)

    run(tmp_path, recognizer, loss=watched)
    assert torch.equal(seen[1], seen[2])
    assert torch.isfinite(recognizer.head.projection.weight).all()
    [epoch] = records(tmp_path, "epoch")
    assert epoch["skipped_steps"] == 1
    first, _, last = records(tmp_path, "step")
    assert epoch["loss"] == pytest.approx((first["loss"] + last["loss"]) / 2, rel=1e-5)
    [skipped] = records(tmp_path, "skipped")
    assert (skipped["step"], skipped["utterances"]) == (2, ["0", "1", "2"])
    said = capsys.readouterr().err
    assert "step 2 is skipped (0, 1, 2): the loss is nan though the weights are finite" in said
    assert "1 steps skipped" in said


def test_an_epoch_of_skipped_steps_has_no_loss(tmp_path, capsys):
    recognizer = make_recognizer()
    run(tmp_path, recognizer, loss=breaking(recognizer, lambda epoch, number: epoch == 0), epochs=2)
    first, second = records(tmp_path, "epoch")
    assert (first["loss"], first["gradient_norm"], first["skipped_steps"]) == (None, None, 3)
    assert second["loss"] > 0
    assert "epoch 1/2  loss –  dev WER" in capsys.readouterr().err


def test_a_run_of_such_steps_ends_the_training(tmp_path):
    recognizer = make_recognizer()
    with pytest.raises(TrainError, match="20 steps in a row without a finite gradient: the loss is nan though the wei"):
        run(tmp_path, recognizer, loss=breaking(recognizer, lambda epoch, number: True), epochs=100)


def test_a_run_of_such_steps_is_counted_across_starts(tmp_path):
    from helpers.toys import start

    def begin():
        recognizer = make_recognizer()
        return start(
            tmp_path,
            recognizer,
            loss=breaking(recognizer, lambda epoch, number: True),
            epochs=100,
            max_minutes=1e-9,
        )[0]

    assert [begin() for _ in range(19)] == [Outcome.OUT_OF_TIME] * 19
    with pytest.raises(TrainError, match="20 steps in a row"):
        begin()


def test_broken_weights_are_told_from_a_broken_loss(tmp_path):
    recognizer = make_recognizer()
    with torch.no_grad():
        recognizer.head.projection.bias[1] = math.nan
    with pytest.raises(TrainError, match=r"the weights themselves are not finite \(head\.projection\.bias\)"):
        run(tmp_path, recognizer, epochs=100)


def test_an_exploding_gradient_is_told_from_a_broken_loss(tmp_path, capsys):
    recognizer = make_recognizer()
    loss = real_loss(recognizer)

    def steep(given, epoch, number):
        result = loss(given, epoch, number)
        cliff = (recognizer.head.projection.bias.sum() * 0.0).sqrt()  # 0, of infinite slope
        return result._replace(total=result.total + cliff)

    run(tmp_path, recognizer, loss=steep)
    assert "its gradient is not finite; lower train.lr" in capsys.readouterr().err


def test_symbols_are_counted_once_however_long_they_are_held():
    best = torch.tensor([[0, 1, 1, 0, 1, 2, 2, 2], [1, 1, 0, 0, 2, 1, 2, 1]])  # the second has 4 frames
    log_probs = (100.0 * torch.nn.functional.one_hot(best, 3)).log_softmax(-1)
    result = ctc(log_probs, torch.tensor([8, 4]), torch.tensor([[1], [1]]), torch.tensor([1, 1]))
    assert float(result.symbols_per_frame) == pytest.approx((3 + 1) / 12)
    assert float(result.blank_fraction) == pytest.approx((2 + 2) / 12)


def test_an_epoch_logs_the_health_of_its_ctc(tmp_path):
    run(tmp_path, make_recognizer(), epochs=1)
    [epoch] = records(tmp_path, "epoch")
    assert 0 <= epoch["blank_fraction"] <= 1
    assert 0 <= epoch["symbols_per_frame"] <= 1 - epoch["blank_fraction"] + 1e-6
    assert (epoch["infeasible"], epoch["unreadable"], epoch["cut_batches"]) == (0, 0, 0)
