"""Recorded noise: unit power, sound and not the silence recordings are padded with, the same for the same draw."""

import numpy as np
import pytest

from asr.audio import write_wav
from asr.data.dataset import RecordedNoise, WaveformCache
from asr.data.manifest import Manifest, Utterance, write_manifest
from asr.errors import ManifestError

RATE = 8000


def recorded(folder, *recordings):
    rows = []
    for number, samples in enumerate(recordings):
        write_wav(folder / f"{number}.wav", samples.astype(np.float32), RATE)
        rows.append(Utterance(str(number), folder / f"{number}.wav", len(samples) / RATE))
    write_manifest(folder / "noise.jsonl", rows)
    return RecordedNoise(WaveformCache(Manifest(folder / "noise.jsonl"), RATE, 100))


def test_pieces_have_unit_power_though_recordings_are_mostly_silence(tmp_path):
    click = np.zeros(5 * RATE)
    click[RATE : RATE + 800] = 0.1 * np.random.default_rng(0).standard_normal(800)
    noise = recorded(tmp_path, click)
    for seed in range(50):
        piece = noise(RATE, np.random.default_rng(seed))
        assert piece.shape == (RATE,)
        assert piece.dtype == np.float32
        assert np.mean(piece.astype(np.float64) ** 2) == pytest.approx(1.0, rel=1e-3)
        np.testing.assert_array_equal(piece, noise(RATE, np.random.default_rng(seed)))


def test_every_recording_is_used_and_short_ones_are_repeated(tmp_path):
    tones = [0.5 * np.sin(2 * np.pi * pitch * np.arange(800) / RATE) for pitch in (200, 400, 1000)]
    noise = recorded(tmp_path, *tones)
    heard = {int(np.abs(np.fft.rfft(noise(RATE, np.random.default_rng(seed)))).argmax()) for seed in range(40)}
    assert heard == {200, 400, 1000}


def test_silent_recordings_give_zeros_and_none_at_all_is_an_error(tmp_path):
    assert not recorded(tmp_path, np.zeros(100))(500, np.random.default_rng(0)).any()
    with pytest.raises(ManifestError, match="no recordings of noise"):
        recorded(tmp_path)
