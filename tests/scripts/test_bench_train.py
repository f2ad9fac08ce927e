"""`scripts/bench train`: every way trains the same model on the same batches, and its ratios are of what they say."""

import numpy as np
import pytest
import torch
from bench import train
from bench.__main__ import app
from bench.corpus import write_corpus
from typer.testing import CliRunner

from asr.data.manifest import Manifest


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(train, "SIZES", {"cpu": {"layers": 1, "hidden_size": 4}})
    monkeypatch.setattr(train, "BATCH_S", {"cpu": 20.0})


def test_every_way_of_a_cell_has_its_figures(small):
    record = train.bench(train.Setup("cpu", ["gru"], 0.3, 0, 1, threads=1), lambda line: None)
    assert (record["layers"], record["hidden_size"], record["threads"]) == (1, 4, 1)
    assert record["audio_s"] >= 18
    [figures] = record["cells"].values()
    seconds = {way: values[0] for way, values in figures["seconds"].items()}
    assert list(seconds) == ["bare", "ctc_crf", "packed", "cache", "flac", "opus"]
    assert figures["bare_over_packed"] == pytest.approx(seconds["packed"] / seconds["bare"], rel=0.02)
    assert figures["time_of_ctc_crf"] == pytest.approx(seconds["ctc_crf"] / seconds["bare"], rel=0.02)
    for source, ratio in figures["pipeline_over_bare"].items():
        assert ratio == pytest.approx(seconds["bare"] / seconds[source], rel=0.02)
    for way, rate in figures["audio_per_s"].items():
        assert rate == pytest.approx(record["audio_s"] / seconds[way], rel=0.02)
    train.print_tables(record)


def test_the_pipelines_see_the_batches_of_the_bare_steps(small, tmp_path):
    total = write_corpus(tmp_path, 40.0)
    setup = train.Setup("cpu", ["lstm"], None, 0, 1, 1)
    sources = {source: train.prepared(source, "lstm", setup, tmp_path).data for source in train.SOURCES}
    batches = {source: list(data.batches(0)[1]) for source, data in sources.items()}
    for group in zip(*batches.values(), strict=True):
        assert len({tuple(batch.indices) for batch in group}) == 1
        assert len({tuple(batch.waveform_lengths.tolist()) for batch in group}) == 1
    assert sum(int(batch.waveform_lengths.sum()) for batch in batches["flac"]) == pytest.approx(16_000 * total)
    durations = Manifest(tmp_path / "flac.jsonl").durations
    assert durations.min() >= 1
    assert durations.max() <= 20
    assert len(sources["cache"].cache._kept) == len(durations)
    assert not sources["flac"].cache._kept


@pytest.mark.parametrize("cell", train.CELLS)
def test_packed_layers_give_the_same_and_only_inside(small, tmp_path, cell):
    write_corpus(tmp_path, 5.0)
    recognizer = train.prepared("flac", cell, train.Setup("cpu", [cell], None, 0, 1, 1), tmp_path).recognizer.eval()
    [layer] = recognizer.encoder.layers
    x, lengths = torch.randn(3, 9, 8), torch.tensor([9, 4, 7])
    ours = layer(x, lengths)
    with train.packed_layers([layer]):
        packed = layer(x, lengths)
    for length, a, b in zip(lengths, ours, packed, strict=True):
        torch.testing.assert_close(a[:length], b[:length])
    assert not packed[1, 4:].any()
    np.testing.assert_array_equal(layer(x, lengths).detach(), ours.detach())


@pytest.mark.parametrize(("option", "value"), [("--cells", "lstm,elman"), ("--repeat", "0"), ("--device", "tpu")])
def test_what_cannot_be_measured_is_said_in_a_line(option, value):
    done = CliRunner().invoke(app, ["train", option, value])
    assert done.exit_code == (1 if option == "--device" else 2)
    assert option.strip("-") in done.stderr
    assert "Traceback" not in done.stderr


def test_ctc_crf_is_measured_on_as_many_tokens_as_phones(small, tmp_path):
    write_corpus(tmp_path, 40.0)
    made = train.prepared("flac", "rnn", train.Setup("cpu", ["rnn"], None, 0, 1, 1), tmp_path, "ctc_crf")
    assert made.recognizer.token_ngrams.shape == (41, 41, 41)
    batch = next(made.data.batches(0)[1])
    loss = train.TrainingLoss(made.recognizer, made.config)
    with_ngrams = loss(batch, 0, 0).total
    made.recognizer.token_ngrams = None
    assert loss(batch, 0, 0).total != with_ngrams
