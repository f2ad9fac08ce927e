"""The loop's own promises, on a real recognizer with batches, losses and validation handed to it."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
from helpers.toys import batch, make_recognizer, real_loss, records, run

from asr.config import AugmentConfig, ComposeConfig, Config, FrequencyMaskConfig, TrainConfig
from asr.train.checkpoint import load_checkpoint
from asr.train.optimizer import make_optimizer
from asr.train.run import TrainingLoss, overfitting


def test_the_best_checkpoint_is_the_latest_of_the_lowest_wer(tmp_path):
    shown = run(tmp_path, make_recognizer(), wrong=[5, 2, 3, 2, 4], epochs=5)
    progress, states = load_checkpoint(tmp_path / "c" / "best.pt")
    assert (progress.best_epoch, progress.best_wer) == (4, 0.2)
    for name, tensor in states["model"].items():
        assert torch.equal(tensor, shown[3][name])
    assert not torch.equal(shown[3]["head.projection.weight"], shown[4]["head.projection.weight"])


def test_what_is_validated_and_kept_is_the_running_average(tmp_path):
    recognizer = make_recognizer()
    steps, loss = [], real_loss(recognizer)

    def watched(*arguments):
        steps.append(copy.deepcopy(recognizer.state_dict()))  # weights before each step
        return loss(*arguments)

    [shown] = run(tmp_path, recognizer, loss=watched, ema_decay=0.75)
    weights = [*steps[1:], recognizer.state_dict()]  # weights after each step
    for name, average in weights[0].items():
        for later in weights[1:]:
            average = 0.75 * average + 0.25 * later[name]
        torch.testing.assert_close(shown[name], average)
    assert not torch.equal(shown["head.projection.weight"], recognizer.head.projection.weight)
    _, states = load_checkpoint(tmp_path / "c" / "best.pt")
    assert torch.equal(states["model"]["head.projection.weight"], shown["head.projection.weight"])


def test_the_loss_is_the_mean_over_utterances(tmp_path):
    """Shown by the logged norm of the first step's gradient, before clipping."""
    recognizer = make_recognizer()
    torch.nn.init.normal_(recognizer.head.projection.weight)
    reference = copy.deepcopy(recognizer).train()
    result = real_loss(reference)(batch(0), 0, 0)
    (result.total / 3).backward()
    expected = math.sqrt(sum(float(p.grad.square().sum()) for p in reference.parameters()))
    run(tmp_path, recognizer, max_grad_norm=1e-3)
    assert records(tmp_path, "step")[0]["gradient_norm"] == pytest.approx(expected, rel=1e-4)
    assert records(tmp_path, "step")[0]["loss"] == pytest.approx(float(result.total.detach()) / 3, rel=1e-4)


def test_checkpoints_are_written_inside_an_epoch(tmp_path):
    recognizer = make_recognizer()
    loss, there = real_loss(recognizer), []

    def watched(*arguments):
        path = tmp_path / "c" / "last.pt"
        there.append(load_checkpoint(path)[0].batch if path.exists() else None)
        return loss(*arguments)

    run(tmp_path, recognizer, loss=watched, save_minutes=1e-9)
    assert there == [None, 1, 2]


def test_weights_decay_and_biases_and_norms_do_not():
    recognizer = make_recognizer()
    decay = {
        id(p): group["weight_decay"]
        for group in make_optimizer(recognizer, TrainConfig(weight_decay=0.5)).param_groups
        for p in group["params"]
    }
    for name, parameter in recognizer.named_parameters():
        assert decay[id(parameter)] == (0.5 if parameter.ndim > 1 else 0.0), name


def test_gradients_are_clipped_to_the_norm_asked_for(tmp_path):
    recognizer = make_recognizer()
    torch.nn.init.normal_(recognizer.head.projection.weight)
    norms, original = [], torch.optim.AdamW.step

    def step(self, *arguments, **options):
        gradients = [p.grad for group in self.param_groups for p in group["params"]]
        norms.append(math.sqrt(sum(float(g.square().sum()) for g in gradients)))
        return original(self, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.optim.AdamW, "step", step)
        run(tmp_path, recognizer, max_grad_norm=0.1)
    assert norms == pytest.approx([0.1] * 3, rel=1e-3)


def test_masks_are_keyed_by_epoch_and_batch():
    recognizer = make_recognizer().eval()
    torch.nn.init.normal_(recognizer.head.projection.weight)
    augment = AugmentConfig(frequency_mask=FrequencyMaskConfig(count=2, max_bins=8))
    plain = SimpleNamespace(augment=AugmentConfig(), train=TrainConfig())
    masked = SimpleNamespace(augment=augment, train=TrainConfig())
    given = batch(0)

    def total(config, epoch, number):
        return float(TrainingLoss(recognizer, config)(given, epoch, number).total.detach())

    assert total(masked, 0, 0) == total(masked, 0, 0)
    assert len({total(masked, *key) for key in [(0, 0), (0, 1), (1, 0)]} | {total(plain, 0, 0)}) == 4


def test_overfitting_leaves_nothing_to_chance():
    config = Config().updated(augment={"speed": (0.5, 2.0), "vtlp": (0.9, 1.1)}, compose={"max_recordings": 5})
    changed = overfitting(config.updated(train={"overfit": 3}, model={"dropout": 0.5}))
    assert (changed.augment, changed.compose) == (AugmentConfig(), ComposeConfig())
    assert (changed.model.dropout, changed.train.overfit, changed.data) == (0.0, 3, config.data)
