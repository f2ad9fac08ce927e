"""A tiny real recognizer and the loop around it, with batches, losses and validation made up by the test."""

import json

import torch

from asr.config import FeatureConfig, ModelConfig, TextConfig, TrainConfig
from asr.data.batches import Batch
from asr.evaluate.score import Pair, score
from asr.model.ctc import ctc
from asr.model.recognizer import Recognizer
from asr.text import Tokenizer
from asr.train.checkpoint import CheckpointFolder
from asr.train.log import RunLog
from asr.train.loop import Outcome, fit

FRAMES = 8000


def make_recognizer():
    torch.manual_seed(12)
    return Recognizer(
        FeatureConfig(sample_rate=8000, n_mels=10, normalize="none"),
        TextConfig(tokens="words"),
        ModelConfig(layers=1, hidden_size=4, dropout=0.0),
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


class Toys:
    """Three batches an epoch; validation answers with wrong[epoch], a number of errors or scores.

    shown: the weights that validation was shown.
    """

    def __init__(self, wrong=()):
        self.wrong, self.shown, self.max_unreadable = wrong, [], 0

    def batches(self, epoch, first):
        return 3, iter([batch(10 * epoch + i) for i in range(first, 3)])

    def names(self, epoch, indices):
        return [str(index) for index in indices]

    def validate(self, candidate):
        self.shown.append({name: tensor.clone() for name, tensor in candidate.state_dict().items()})
        answer = self.wrong[len(self.shown) - 1] if self.wrong else 0
        return scores(answer) if isinstance(answer, int) else answer


def start(folder, recognizer, wrong=(), loss=None, **settings):
    """Train on toys. Returns how it ended, and the weights that validation was shown."""
    data = Toys(wrong)
    config = TrainConfig(**{"lr": 1e-2, "epochs": 1, "validate_every": 1, "log_every": 1} | settings)
    log = RunLog(folder, config.epochs)
    loss, checkpoints = loss or real_loss(recognizer), CheckpointFolder(folder / "c", {"data": "same"}, {})
    return fit(recognizer, data, loss, data.validate, config, checkpoints, log), data.shown


def run(folder, recognizer, *arguments, **settings):
    """Train to the end. Returns the weights that validation was shown."""
    outcome, shown = start(folder, recognizer, *arguments, **settings)
    assert outcome is Outcome.FINISHED
    return shown


def records(folder, kind):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name
