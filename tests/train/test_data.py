"""What can be learned of a training part, and what an epoch is made of."""

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from asr.audio import write_wav
from asr.config import parse_config
from asr.data.manifest import Utterance, write_manifest
from asr.data.subset import TextCounts, read_subset
from asr.data.training import TrainingData
from asr.errors import ManifestError, TextError, TrainError
from asr.lengths import min_frames, output_frames
from asr.text import Tokenizer, normalize, symbols_of

RATE = 8000
FRAME_S = 0.04


def data(folder, lengths_and_texts, **sections):
    """TrainingData over silent recordings of so many output frames each."""
    utterances = []
    for number, (frames, text) in enumerate(lengths_and_texts):
        seconds = (frames - 0.5) * FRAME_S
        write_wav(folder / f"{number}.wav", np.zeros(round(seconds * RATE), np.float32), RATE)
        utterances.append(Utterance(str(number), folder / f"{number}.wav", seconds, text, "ann"))
    write_manifest(folder / "m.jsonl", utterances)
    raw = {
        "features": {"sample_rate": RATE, "n_mels": 10},
        "text": {"tokens": "words"},
        "model": {"layers": 1, "hidden_size": 4},
        "data": {"train": str(folder / "m.jsonl")},
        "train": {"batch_seconds": 120.0},
        **sections,
    }
    config = parse_config(raw, "test")
    tokenizer = Tokenizer("words", ("<blank>", "a", "b"))
    return TrainingData(read_subset(config.data.train, config, "data.train"), tokenizer, config)


def learned(made, epoch=0):
    """The rows of each utterance of an epoch."""
    dataset, learnable = made.epoch(epoch)
    return [tuple(dataset.utterances.rows(number)) for number in learnable]


def test_feasible_to_the_frame(tmp_path):
    """5 frames are enough for "a a a" (three tokens, two blanks between equals), 4 are not."""
    made = data(tmp_path, [(5, "a a a"), (4, "a a a"), (4, "a b a"), (3, "a b a b")])
    assert made.frames.tolist() == [5, 4, 4, 3]
    assert made.subset.needed.tolist() == [5, 5, 3, 4]
    assert made.infeasible.tolist() == [1, 3]
    assert learned(made) == [(0,), (2,)]


def test_the_fastest_speed_counts(tmp_path):
    made = data(tmp_path, [(20, "a b"), (5, "a a a")], augment={"speed": [1.0, 1.5]})
    assert made.infeasible.tolist() == [1]
    epochs = [{rows[0] for rows in learned(made, epoch)} for epoch in range(30)]
    assert any(1 in rows for rows in epochs)  # slow enough in some epochs
    assert any(1 not in rows for rows in epochs)
    for epoch in range(30):
        dataset, learnable = made.epoch(epoch)
        for number in learnable:
            samples = int(dataset.durations[number] * RATE)
            assert output_frames(samples, made.config.features, made.config.model) >= made.subset.needed[number]


def test_joined_utterances_need_a_frame_between(tmp_path):
    join = {"max_recordings": 2, "utterances_per_epoch": 50, "pause_s": [0.0, 0.0]}
    made = data(tmp_path, [(1, "a")], compose=join)  # 20 ms each: two make one frame, and "a a" needs three
    assert {len(rows) for rows in learned(made)} == {1}
    made = data(tmp_path, [(4, "a")], compose=join)
    assert {len(rows) for rows in learned(made)} == {1, 2}


def test_an_epoch_is_the_same_again_and_another_the_next_time(tmp_path):
    made = data(
        tmp_path,
        [(20, "a b")] * 6,
        compose={"max_recordings": 3, "utterances_per_epoch": 20},
        augment={"speed": [0.9, 1.1]},
        train={"batch_seconds": 8.0},
    )
    assert learned(made, 3) == learned(made, 3)
    assert learned(made, 3) != learned(made, 4)
    assert (made.epoch(3)[0].durations == made.epoch(3)[0].durations).all()
    assert (made.epoch(3)[0].speeds != made.epoch(4)[0].speeds).any()
    count, batches = made.batches(1)
    all_of_them = list(batches)
    assert count == len(all_of_them) > 2
    _, rest = made.batches(1, first=1)
    for a, b in zip(all_of_them[1:], rest, strict=True):
        assert a.indices == b.indices
        for name in ("waveforms", "waveform_lengths", "tokens", "token_lengths"):
            assert torch.equal(getattr(a, name), getattr(b, name))


def test_batches_hold_the_seconds_asked_for(tmp_path):
    made = data(tmp_path, [(10 + i, "a b") for i in range(30)], train={"batch_seconds": 3.0})
    for batch in made.batches(0)[1]:
        assert batch.waveforms.numel() / RATE <= 3.001


def test_nothing_left_to_learn_is_an_error(tmp_path):
    with pytest.raises(TrainError, match="every utterance has fewer frames"):
        data(tmp_path, [(3, "a a a")])
    joined = data(tmp_path, [(1, "a b a b a b")], compose={"max_recordings": 2, "pause_s": [0.0, 0.0]})
    for asked in (joined.epoch, joined.batches):
        with pytest.raises(TrainError, match="no utterance of epoch 1"):
            asked(0)


@pytest.mark.parametrize("kind", ["characters", "words"])
@given(texts=st.lists(st.text(st.sampled_from("ab \U0001f600é\ud800") | st.characters(), max_size=8), max_size=2500))
def test_texts_counted_together_are_as_counted_one_by_one(kind, texts):
    texts = [normalize(text, "none") for text in texts]
    counts = TextCounts(kind)
    for text in texts:
        counts.add(text)
    counts.count()
    assert counts.needed.tolist() == [min_frames(symbols_of(kind, text)) for text in texts]
    assert counts.symbols == sum((Counter(symbols_of(kind, text)) for text in texts), Counter())


def test_more_texts_than_are_counted_at_once():
    counts = TextCounts("characters")
    for number in range(2345):
        counts.add("a" * (number % 3))
    counts.count()
    counts.count()
    assert counts.needed.tolist() == [(0, 1, 3)[number % 3] for number in range(2345)]
    assert counts.symbols == {"a": 782 + 2 * 781}


def test_a_symbol_that_the_model_lacks_is_named(tmp_path):
    with pytest.raises(TextError, match="'c'"):
        data(tmp_path, [(20, "a c")])


def test_an_utterance_without_text_is_named(tmp_path):
    with pytest.raises(ManifestError, match=r"m\.jsonl: utterance 1 has no text to learn from"):
        data(tmp_path, [(20, "a"), (20, None), (20, None)])


def test_by_heart_are_the_first_utterances_and_later_lines_need_no_text(tmp_path):
    made = data(tmp_path, [(20, "a"), (20, "b"), (20, None)], train={"overfit": 2})
    assert made.subset.rows.tolist() == [0, 1]
    assert made.subset.symbols == {"a": 1, "b": 1}


def test_the_held_out_speaker_is_neither_used_nor_counted(tmp_path):
    data(tmp_path, [(20, "a"), (20, "b")])
    lines = (tmp_path / "m.jsonl").read_text().replace('"speaker": "ann"', '"speaker": 7', 1)
    (tmp_path / "m.jsonl").write_text(lines)
    config = parse_config({"data": {"held_out_speaker": "7"}, "text": {"tokens": "words"}}, "test")
    part = read_subset(tmp_path / "m.jsonl", config, "data.train")
    assert part.rows.tolist() == [1]
    assert part.symbols == {"b": 1}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_recording_that_cannot_be_read_is_left_out_with_one_line(tmp_path, workers):
    made = data(tmp_path, [(20, "a")] * 3, data={"train": str(tmp_path / "m.jsonl"), "workers": workers})
    (tmp_path / "1.wav").write_bytes(b"")
    [batch] = made.batches(0)[1]
    assert sorted(batch.indices) == [0, 2]
    [failure] = batch.unreadable
    assert failure.startswith(f"{tmp_path / 'm.jsonl'}, utterance 1: ")
    assert "\n" not in failure
    assert failure.count("empty") == 1


def test_a_batch_may_have_nothing_that_can_be_read(tmp_path):
    made = data(tmp_path, [(20, "a")] * 2)
    for name in ("0.wav", "1.wav"):
        (tmp_path / name).unlink()
    [batch] = made.batches(0)[1]
    assert batch.indices == []
    assert batch.to(torch.device("cpu")).waveforms.numel() == 0
    assert len(batch.unreadable) == 2
