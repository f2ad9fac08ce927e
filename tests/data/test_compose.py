"""Joined utterances: exact lengths, one speaker each, the same for the same seed."""

import numpy as np
import pytest

from asr.config import ComposeConfig, Config
from asr.data.compose import Composition, Compositions, compose_waveforms, draw_compositions, trim
from asr.data.manifest import Utterance, write_manifest
from asr.data.subset import read_subset

SPEAKERS = ["ann", "bob", "ann", "cleo", "ann", "bob"]


def seconds(composition, durations):
    return durations[list(composition.rows)].sum() + sum(composition.pauses)


def test_plans_stay_with_one_speaker_and_within_the_configured_numbers():
    config = ComposeConfig(max_recordings=4, pause_s=(0.1, 0.5))
    compositions = draw_compositions(range(len(SPEAKERS)), SPEAKERS, config, 2000, np.random.default_rng(0))
    assert len(compositions) == 2000
    for composition in compositions:
        assert len({SPEAKERS[row] for row in composition.rows}) == 1
        assert len(composition.pauses) == len(composition.rows) + 1
        assert all(0.1 <= pause <= 0.5 for pause in composition.pauses)
    lengths = np.bincount([len(composition.rows) for composition in compositions])
    assert len(lengths) == 5
    assert (lengths[1:] > 400).all()
    rows = np.bincount([row for composition in compositions for row in composition.rows])
    assert len(rows) == 6
    assert rows.min() > 0.8 * rows.mean()


def test_plans_depend_on_the_generator_alone():
    config = ComposeConfig(max_recordings=3)
    first, again, other = (
        draw_compositions(range(len(SPEAKERS)), SPEAKERS, config, 50, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_strings_end_where_the_next_recording_would_not_fit():
    durations = np.array([1.0, 2.0, 3.0, 9.0, 0.5, 2.5])
    config = ComposeConfig(max_recordings=6, pause_s=(0.1, 0.5), max_s=6.0)
    compositions = draw_compositions(range(len(SPEAKERS)), SPEAKERS, config, 1000, np.random.default_rng(0), durations)
    whole = draw_compositions(
        range(len(SPEAKERS)),
        SPEAKERS,
        config.model_copy(update={"max_s": None}),
        1000,
        np.random.default_rng(0),
        durations,
    )
    for composition, before in zip(compositions, whole, strict=True):
        assert composition.rows == before.rows[: len(composition.rows)]
        assert composition.pauses[:-1] == before.pauses[: len(composition.rows)]
        assert len(composition.pauses) == len(composition.rows) + 1
        assert seconds(composition, durations) <= 6.0 or len(composition.rows) == 1
        if len(composition.rows) < len(before.rows):
            longer = Composition(before.rows[: len(composition.rows) + 1], before.pauses[: len(composition.rows) + 2])
            assert seconds(longer, durations) > 6.0
    with pytest.raises(ValueError, match="max_s needs durations"):
        draw_compositions(range(len(SPEAKERS)), SPEAKERS, config, 1, np.random.default_rng(0))
    assert any(
        len(composition.rows) < len(before.rows) for composition, before in zip(compositions, whole, strict=True)
    )


def test_what_compositions_last_and_need(tmp_path):
    lines = [Utterance(str(i), tmp_path / "a.wav", 2.0**i, text) for i, text in enumerate(("one", "", "seen"))]
    write_manifest(tmp_path / "m.jsonl", lines)
    subset = read_subset(tmp_path / "m.jsonl", Config(), "data.train")
    drawn = [Composition((2, 0, 2), (0.5, 0.25, 0.0, 0.125)), Composition((1,), (0.0, 1.0))]
    made = Compositions(drawn, subset, ComposeConfig())
    assert made.durations.tolist() == [9.875, 3.0]
    assert made.needed.tolist() == [5 + 1 + 3 + 1 + 5, 0]  # "seen": a blank between equals; a space between texts
    assert [made.rows(number) for number in range(len(made))] == [(2, 0, 2), (1,)]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000])
def test_a_joined_waveform_is_its_parts_and_silences_to_the_sample(rate):
    rng = np.random.default_rng(0)
    parts = [rng.uniform(-1, 1, samples).astype(np.float32) for samples in (1000, 1, 333)]
    composition = Composition((0, 1, 2), (0.05, 0.0, 0.123456, 0.3))
    joined = compose_waveforms(parts, composition, rate, ComposeConfig(gain_db=0.0), rng)
    silences = [round(pause * rate) for pause in composition.pauses]
    assert joined.dtype == np.float32
    assert len(joined) == sum(map(len, parts)) + sum(silences)
    durations = np.array([len(part) / rate for part in parts])
    assert seconds(composition, durations) == pytest.approx(len(joined) / rate, abs=2 / rate)
    place = 0
    for silence, part in zip(silences, [*parts, np.zeros(0, np.float32)], strict=True):
        assert not joined[place : place + silence].any()
        place += silence
        np.testing.assert_array_equal(joined[place : place + len(part)], part)
        place += len(part)
    assert place == len(joined)


def test_each_recording_has_its_own_level_within_the_bounds():
    ones = [np.ones(10, np.float32)] * 200
    composition = Composition(tuple(range(200)), (0.0,) * 201)
    joined = compose_waveforms(ones, composition, 8000, ComposeConfig(gain_db=3.0), np.random.default_rng(0)).reshape(
        200, 10
    )
    assert (joined == joined[:, :1]).all()
    level = 20 * np.log10(joined[:, 0])
    assert -3 <= level.min() < -2.8
    assert 2.8 < level.max() <= 3
    np.testing.assert_array_equal(
        joined.ravel(), compose_waveforms(ones, composition, 8000, ComposeConfig(gain_db=3.0), np.random.default_rng(0))
    )


def test_trimming_takes_quiet_ends_and_nothing_between():
    rate = 8000
    levels_db = [-60, -40, -20, 0, -50, 0, -30, -10, -40]
    x = np.concatenate([np.full(800, 10 ** (level / 20), np.float32) for level in levels_db])
    for threshold, first, last in ((-70, 0, 9), (-45, 1, 9), (-35, 2, 8), (-15, 3, 8), (-5, 3, 6)):
        np.testing.assert_array_equal(trim(x, rate, threshold), x[first * 800 : last * 800])
    silent = np.zeros(500, np.float32)
    assert len(trim(silent, rate, -20)) == 480  # whole frames
    assert len(trim(silent[:10], rate, -20)) == 10


def test_the_share_asked_for_is_trimmed():
    x = np.concatenate([np.full(400, 0.01), np.full(400, 1.0)]).astype(np.float32)
    composition = Composition(tuple(range(300)), (0.0,) * 301)
    config = ComposeConfig(gain_db=0.0, trim_prob=0.25, trim_db=(-35, -30))
    joined = compose_waveforms([x] * 300, composition, 8000, config, np.random.default_rng(0))
    assert 0.15 < (300 * 800 - len(joined)) / (300 * 400) < 0.35
    assert (joined == 1.0).sum() == 300 * 400


def test_recordings_bring_their_own_noise_and_pauses_stay_silent():
    tone = np.sin(np.arange(4000) * 0.3).astype(np.float32)
    composition = Composition((0, 1), (0.1, 0.1, 0.1))
    config = ComposeConfig(gain_db=0.0, noise_prob=1.0, noise_snr_db=(20.0, 20.0))
    first, *others = (
        compose_waveforms([tone] * 2, composition, 8000, config, np.random.default_rng(seed)) for seed in range(9)
    )
    for joined in (first, *others):
        for pause in (joined[:800], joined[4800:5600], joined[9600:]):
            assert not pause.any()
        noises = joined[800:4800] - tone, joined[5600:9600] - tone
        assert not np.array_equal(*noises)
        for noise in noises:
            assert 10 * np.log10(np.square(tone).mean() / np.square(noise).mean()) == pytest.approx(20.0, abs=0.01)
    same = compose_waveforms([tone] * 2, composition, 8000, config, np.random.default_rng(0))
    np.testing.assert_array_equal(first, same)
    some = ComposeConfig(gain_db=0.0, noise_prob=0.3)
    plain = np.concatenate([np.zeros(800), tone, np.zeros(800), tone, np.zeros(800)])
    bare = sum(
        np.array_equal(compose_waveforms([tone] * 2, composition, 8000, some, np.random.default_rng(seed)), plain)
        for seed in range(100)
    )
    assert 55 <= bare <= 85


def test_the_noise_of_recordings_has_every_color_and_level_and_is_not_trimmed_away():
    tone = np.concatenate([np.zeros(400), np.sin(np.arange(4000) * 0.3), np.zeros(400)]).astype(np.float32)
    composition = Composition((0,), (0.0, 0.0))
    config = ComposeConfig(
        gain_db=0.0, noise_prob=1.0, noise_snr_db=(10.0, 30.0), trim_prob=1.0, trim_db=(-20.0, -20.0)
    )
    snr_db, slopes = [], []
    for seed in range(40):
        joined = compose_waveforms([tone], composition, 8000, config, np.random.default_rng(seed))
        assert len(joined) == 4000  # trimmed before noise came
        noise = joined - tone[400:4400]
        snr_db.append(10 * np.log10(np.square(tone[400:4400]).mean() / np.square(noise).mean()))
        spectrum = np.square(np.abs(np.fft.rfft(noise)))
        slopes.append(round(float(np.log10(spectrum[20:40].mean() / spectrum[1000:2000].mean()))))
    assert 9.9 < min(snr_db) < 14 < 26 < max(snr_db) < 30.1
    assert len(set(slopes)) >= 3  # white, pink, brown
    empty = compose_waveforms(
        [np.zeros(0, np.float32)], Composition((0,), (0.1, 0.1)), 8000, config, np.random.default_rng(0)
    )
    assert len(empty) == 1600
