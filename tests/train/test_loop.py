"""The loop's own promises, on a real recogniser with batches, losses and validation handed to it."""

import copy
import json
import math
from types import SimpleNamespace

import pytest
import torch

from asr.config import FeatureConfig, ModelConfig, TextConfig, TrainConfig
from asr.data.dataset import Batch
from asr.errors import TrainError
from asr.evaluate.score import Pair, score
from asr.model.ctc import ctc
from asr.model.recognizer import Recognizer
from asr.text import Tokenizer
from asr.train.checkpoint import load_checkpoint
from asr.train.log import RunLog
from asr.train.loop import Task, fit, make_optimizer

FRAMES = 8000


def make_recognizer():
    torch.manual_seed(12)
    return Recognizer(
        FeatureConfig(sample_rate=8000, mels=10, normalise="none"),
        TextConfig(tokens="words"),
        ModelConfig(layers=1, width=4, dropout=0.0),
        Tokenizer("words", ("<blank>", "a", "b")),
    )


def batch(seed, utterances=3):
    generator = torch.Generator().manual_seed(seed)
    waveforms = 0.1 * torch.randn(utterances, FRAMES, generator=generator)
    tokens = torch.randint(1, 3, (utterances, 2), generator=generator)
    lengths = torch.full((utterances,), FRAMES)
    return Batch(list(range(utterances)), waveforms, lengths, tokens, torch.full((utterances,), 2))


def scores(wrong):
    """Scores of ten words of which so many are wrong."""
    return score([Pair("x", " ".join("a" * 10), " ".join("b" * wrong + "a" * (10 - wrong)))])


def real_loss(recognizer):
    def loss(given, epoch, number):
        return ctc(*recognizer(given.waveforms, given.waveform_lengths), given.tokens, given.token_lengths)

    return loss


def run(folder, recognizer, wrong=(), loss=None, **settings):
    """Train over three batches an epoch; validation answers with wrong[epoch] errors. Returns what it was shown."""
    shown = []

    def validate(candidate):
        shown.append({name: tensor.clone() for name, tensor in candidate.state_dict().items()})
        return scores(wrong[len(shown) - 1] if wrong else 0)

    task = Task(
        batches=lambda epoch, first: (3, iter([batch(10 * epoch + i) for i in range(first, 3)])),
        loss=loss or real_loss(recognizer),
        validate=validate,
        keep={"data": "same"},
    )
    config = TrainConfig(**{"lr": 1e-2, "epochs": 1, "log_every": 1} | settings)
    outcome = fit(recognizer, task, config, folder / "c", lambda p: RunLog(folder, p.step, config.epochs))
    assert outcome == "finished"
    return shown


def records(folder, kind):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


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

    [shown] = run(tmp_path, recognizer, loss=watched, ema=0.75)
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
    run(tmp_path, recognizer, clip=1e-3)
    assert records(tmp_path, "step")[0]["gradient_norm"] == pytest.approx(expected, rel=1e-4)
    assert records(tmp_path, "step")[0]["loss"] == pytest.approx(float(result.total.detach()) / 3, rel=1e-4)


def test_a_step_without_a_finite_gradient_is_skipped_and_counted(tmp_path):
    recognizer = make_recognizer()
    loss, seen = real_loss(recognizer), []

    def broken(given, epoch, number):
        seen.append(recognizer.head.projection.weight.clone())
        result = loss(given, epoch, number)
        return result._replace(total=result.total * math.nan) if number == 1 else result

    run(tmp_path, recognizer, loss=broken)
    assert torch.equal(seen[1], seen[2])
    assert torch.isfinite(recognizer.head.projection.weight).all()
    [epoch] = records(tmp_path, "epoch")
    assert epoch["skipped_steps"] == 1
    assert math.isfinite(epoch["loss"])


def test_a_run_of_such_steps_ends_the_training(tmp_path):
    recognizer = make_recognizer()
    loss = real_loss(recognizer)

    def broken(*arguments):
        result = loss(*arguments)
        return result._replace(total=result.total * math.inf)

    with pytest.raises(TrainError, match="20 steps in a row without a finite gradient"):
        run(tmp_path, recognizer, loss=broken, epochs=100)


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
        run(tmp_path, recognizer, clip=0.1)
    assert norms == pytest.approx([0.1] * 3, rel=1e-3)


def test_masks_are_keyed_by_epoch_and_batch():
    from asr.config import AugmentConfig
    from asr.train.run import make_loss

    recognizer = make_recognizer().eval()
    torch.nn.init.normal_(recognizer.head.projection.weight)
    augment = AugmentConfig(frequency_masks=2, frequency_mask_bins=8)
    plain = SimpleNamespace(augment=AugmentConfig(), train=TrainConfig())
    masked = SimpleNamespace(augment=augment, train=TrainConfig())
    by_heart = SimpleNamespace(augment=augment, train=TrainConfig(overfit=1))
    given = batch(0)

    def total(config, epoch, number):
        return float(make_loss(recognizer, config)(given, epoch, number).total.detach())

    assert total(masked, 0, 0) == total(masked, 0, 0)
    assert len({total(masked, *key) for key in [(0, 0), (0, 1), (1, 0)]} | {total(plain, 0, 0)}) == 4
    assert total(by_heart, 0, 0) == total(plain, 0, 0)
