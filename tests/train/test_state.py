"""Which epochs' weights are kept, averaged, and when it is enough."""

import pytest
import torch
from helpers.toys import assert_equal, make_recognizer, records, run

from asr.evaluate.score import Pair, score
from asr.train.checkpoint import load_checkpoint
from asr.train.state import mean_weights


def model(path):
    return load_checkpoint(path)[1]["model"]


def names(folder):
    return sorted(path.name for path in (folder / "c").iterdir())


def test_the_best_epochs_are_kept_and_the_others_deleted(tmp_path):
    shown = run(tmp_path, make_recognizer(), wrong=[5, 2, 3, 2, 4], epochs=5, keep_checkpoints=2)
    assert names(tmp_path) == ["best.pt", "epoch-002.pt", "epoch-004.pt", "last.pt", "previous.pt"]
    assert_equal(model(tmp_path / "c" / "epoch-002.pt"), shown[1])
    assert_equal(model(tmp_path / "c" / "best.pt"), shown[3])


def test_an_average_that_is_better_is_kept(tmp_path, capsys):
    shown = run(tmp_path, make_recognizer(), wrong=[5, 2, 3, 2, 4, 1], epochs=5, average=2)
    assert_equal(shown[5], mean_weights([shown[1], shown[3]]))
    progress, states = load_checkpoint(tmp_path / "c" / "averaged.pt")
    assert_equal(states["model"], shown[5])
    assert (progress.best_wer, states["about"]["averaged"]) == (0.1, [2, 4])
    [record] = records(tmp_path, "average")
    assert (record["epochs"], record["dev_wer"], record["kept"]) == ([2, 4], 0.1, True)
    assert "average of epochs 2, 4: dev WER 10.00 %, kept" in capsys.readouterr().err


def test_an_average_that_is_no_better_is_not_kept(tmp_path, capsys):
    run(tmp_path, make_recognizer(), wrong=[5, 2, 3, 2, 4, 2], epochs=5, average=2)
    assert not (tmp_path / "c" / "averaged.pt").exists()
    assert "not better than 20.00 %: not kept" in capsys.readouterr().err


def test_an_average_is_of_each_tensor():
    states = [
        {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)},
        {"w": torch.tensor([2.0, 6.0]), "n": torch.tensor(4)},
    ]
    mean = mean_weights(states)
    assert torch.equal(mean["w"], torch.tensor([1.5, 4.0]))
    assert mean["n"] == 4
    assert mean["w"].dtype == torch.float32


def test_training_stops_when_patience_is_at_its_end(tmp_path, capsys):
    shown = run(tmp_path, make_recognizer(), wrong=[5, 2, 3, 4, 1], epochs=5, patience=2)
    assert len(shown) == 4
    assert "no better development WER for 2 epochs" in capsys.readouterr().err
    assert run(tmp_path, make_recognizer(), epochs=5, patience=2) == []  # the same command trains no further


def test_patience_waits_for_a_validation(tmp_path):
    shown = run(tmp_path, make_recognizer(), wrong=[5, 4, 4], epochs=9, patience=1, validate_every=3)
    assert len(shown) == 3


def test_equal_rates_do_not_use_up_patience(tmp_path):
    assert len(run(tmp_path, make_recognizer(), wrong=[9] * 6, epochs=6, patience=2)) == 6


@pytest.mark.parametrize(("select", "epoch"), [("wer", 2), ("cer", 1)])
def test_the_rate_asked_for_chooses_the_best(tmp_path, select, epoch, capsys):
    letters = score([Pair("x", "aaaa bbbb cccc", "aaax bbbx cccx")])  # three wrong words, three wrong letters
    words = score([Pair("x", "aaaa bbbb cccc", "aaaa bbbb zzzz")])  # one wrong word, four wrong letters
    run(tmp_path, make_recognizer(), wrong=[letters, words], epochs=2, select=select)
    progress, _ = load_checkpoint(tmp_path / "c" / "best.pt")
    assert progress.best_epoch == epoch
    assert f"dev {select.upper()} " in capsys.readouterr().err
