"""Training with CTC-CRF: from plain CTC to it and back to the same bits, its n-gram, which epochs are the best."""

import json
import math

import numpy as np
import pytest
import torch
from helpers.toys import Toys, batch, make_recognizer, real_loss
from helpers.training import RANDOM, assert_equal, settings, weights

from asr.config import Config, TrainConfig
from asr.data.manifest import Manifest
from asr.errors import ConfigError, TrainError
from asr.lm.estimate import dense_table
from asr.model.crf import ctc_crf
from asr.model.ctc import ctc
from asr.train.checkpoint import CheckpointFolder, load_checkpoint
from asr.train.dry_run import dry_run
from asr.train.log import RunLog
from asr.train.loop import Outcome, fit
from asr.train.run import MAX_TABLE, TrainingLoss, prepare, token_ngrams, train

CRF = ["train.loss=ctc_crf", "train.ctc_epochs=2"]


@pytest.mark.parametrize("cell", ["rnn", "lstm", "gru"])
def test_each_cell_learns_with_it(corpus, tmp_path, cell):
    given = [f"model.cell={cell}", "train.epochs=24", "train.lr=1e-2", "train.validate_every=24", *CRF]
    assert train(settings(corpus, tmp_path / cell, *given, "train.ctc_epochs=8")) is Outcome.FINISHED
    last = json.loads((tmp_path / cell / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["dev_wer"] <= 0.1


def test_stopped_after_any_step_it_resumes_to_the_same_weights(corpus, tmp_path):
    train(settings(corpus, tmp_path / "whole", *RANDOM, *CRF))
    interrupted = settings(corpus, tmp_path / "cut", *RANDOM, *CRF, "train.max_minutes=1e-9")  # one step a start
    starts = 1
    while train(interrupted) is Outcome.OUT_OF_TIME:
        starts += 1
        assert starts < 100
    assert starts > 4
    assert_equal(weights(tmp_path / "whole"), weights(tmp_path / "cut"))
    plain = settings(corpus, tmp_path / "plain", *RANDOM, "train.max_epochs=3")
    train(plain)
    losses = {}
    for name in ("whole", "cut", "plain"):
        lines = [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        losses[name] = [line["loss"] for line in lines if line["kind"] == "epoch"]
    assert losses["whole"] == losses["cut"]
    assert losses["whole"][:2] == losses["plain"][:2]  # what was trained is logged: plain CTC, then the other
    assert losses["whole"][2] != losses["plain"][2]


def test_other_settings_of_it_are_refused(corpus, tmp_path):
    train(settings(corpus, tmp_path / "run", "train.max_epochs=1", *CRF))
    for other, says in (
        ("train.loss=ctc", "train.loss was ctc_crf, is ctc"),
        ("train.ctc_epochs=3", "train.ctc_epochs was 2, is 3"),
        ("train.ctc_weight=0.2", "train.ctc_weight was 0.1, is 0.2"),
        ("train.crf_order=2", "train.crf_order was 3, is 2"),
    ):
        with pytest.raises(TrainError, match=says):
            train(settings(corpus, tmp_path / "run", *CRF, other))


def test_the_loss_of_a_batch_changes_after_ctc_epochs():
    recognizer, given = make_recognizer(), batch(0)
    torch.nn.init.normal_(recognizer.head.projection.weight)
    ngrams = torch.tensor(dense_table([[1, 2], [2]], 3, 2)).float()
    config = Config().updated(train={"loss": "ctc_crf", "ctc_epochs": 1, "ctc_weight": 0.5})
    log_probs, lengths = recognizer(given.waveforms, given.waveform_lengths)
    recognizer.token_ngrams = ngrams
    loss, given_to = TrainingLoss(recognizer, config), (log_probs, lengths, given.tokens, given.token_lengths)
    assert loss(given, 0, 0).total == ctc(*given_to).total
    assert loss(given, 1, 0).total == ctc_crf(*given_to, ngrams, 0.5).total != ctc(*given_to).total


@pytest.mark.parametrize("order", [2, 3])
def test_the_n_gram_is_of_the_training_texts(corpus, tmp_path, order):
    prepared = prepare(settings(corpus, tmp_path / "run", *CRF, f"train.crf_order={order}"))
    tokenizer = prepared.recognizer.tokenizer
    texts = [tokenizer.encode(utterance.text) for utterance in Manifest(corpus["train"])]
    np.testing.assert_allclose(prepared.recognizer.token_ngrams, dense_table(texts, len(tokenizer), order), rtol=1e-6)


def test_of_composed_utterances_it_is_of_what_is_composed(corpus, tmp_path):
    """Recordings of one to four words make utterances of up to eight; they end after a fourth word less often."""
    composed = [*CRF, "compose.max_recordings=2", "compose.utterances_per_epoch=200"]
    recognizers = [prepare(settings(corpus, tmp_path / "run", *given)).recognizer for given in (CRF, composed)]
    ends = [recognizer.token_ngrams[:, 1:, 0].mean().item() for recognizer in recognizers]
    assert ends[1] < 0.8 * ends[0]


def test_too_many_tokens_are_refused_with_the_remedy(corpus, tmp_path):
    prepared = prepare(settings(corpus, tmp_path / "run", *CRF))
    for size, order, remedy in (
        (300, 3, "train.crf_order=2"),
        (5000, 2, "train.loss=ctc"),
        (5000, 3, "train.loss=ctc"),
    ):
        assert size**order > MAX_TABLE
        config = prepared.config.updated(train={"crf_order": order})
        with pytest.raises(ConfigError, match=f"train.crf_order={order}: too large for {size:,} tokens; set {remedy}"):
            token_ngrams(config, prepared.data, range(size))


@pytest.mark.parametrize(("loss", "best", "kept"), [("ctc_crf", 5, [5, 4]), ("ctc", 2, [2, 1])])
def test_the_best_epoch_is_one_of_ctc_crf_once_there_is_one(tmp_path, loss, best, kept):
    """Its greedy output is worse at first, which says nothing about what it is worth with a language model."""
    recognizer, data = make_recognizer(), Toys(wrong=[1, 0, 5, 4, 4])
    config = TrainConfig(loss=loss, ctc_epochs=2, epochs=5, validate_every=1, keep_checkpoints=2)
    folder = CheckpointFolder(tmp_path, {}, {})
    fit(recognizer, data, real_loss(recognizer), data.validate, config, folder, RunLog(None, 5))
    progress, _ = load_checkpoint(tmp_path / "best.pt")
    assert progress.best_epoch == best
    assert [epoch.epoch for epoch in load_checkpoint(tmp_path / "last.pt")[0].kept] == kept


@pytest.mark.parametrize(
    ("wrong", "best", "averaged", "warned"),
    [
        ([2, 1, 4, 5, 5], 0, None, True),  # 1 is of plain CTC, which is not compared
        ([4, 5, 3, 3, 4, 5], 3, False, False),
        ([4, 5, 5, 5, 3], 0, True, False),  # the average of epochs 2 and 3 is better
    ],
)
def test_the_model_that_training_starts_from_is_epoch_0(tmp_path, said, wrong, best, averaged, warned):
    recognizer, data = make_recognizer(), Toys(wrong=[*wrong, 9])
    config = TrainConfig(init="first", loss="ctc_crf", ctc_epochs=1, epochs=3, validate_every=1, average=2)
    fit(
        recognizer, data, real_loss(recognizer), data.validate, config, CheckpointFolder(tmp_path, {}, {}), RunLog(None)
    )
    assert load_checkpoint(tmp_path / "best.pt")[0].best_epoch == best
    assert [kept.epoch for kept in load_checkpoint(tmp_path / "last.pt")[0].kept] == [3, 2] or wrong[2] < wrong[3]
    assert (tmp_path / "averaged.pt").exists() == bool(averaged)
    assert any("no epoch has a lower development WER than first" in line for line in said) == warned


def test_a_dry_run_measures_it(corpus, tmp_path):
    rows = dict(dry_run(settings(corpus, tmp_path / "run", *CRF)))
    plain = dict(dry_run(settings(corpus, tmp_path / "run")))
    loss, ctc_loss = (float(each["loss before training"].split()[0]) for each in (rows, plain))
    assert math.isfinite(loss)
    assert loss != ctc_loss
