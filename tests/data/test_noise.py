"""Recorded noise: unit power, sound and not the silence recordings are padded with, mixed at the ratio asked for, the
same for the same draw."""

import numpy as np
import pytest

from asr.audio import write_wav
from asr.config import parse_config
from asr.data.manifest import Manifest, Utterance, write_manifest
from asr.data.waveforms import RecordedNoise, WaveformCache
from asr.errors import ManifestError
from asr.train.run import prepare

RATE = 8000


def recorded(folder, *recordings, rate=RATE):
    rows = []
    for number, samples in enumerate(recordings):
        write_wav(folder / f"{number}.wav", samples.astype(np.float32), rate)
        rows.append(Utterance(str(number), folder / f"{number}.wav", len(samples) / rate))
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


def training_waveforms(folder, augment, workers=0, seed=0):
    """What a training on speech.jsonl hears in its first epoch: (samples,) float64 by the utterance's number."""
    manifest = str(folder / "speech.jsonl")
    raw = {
        "device": "cpu",
        "data": {"train": manifest, "dev": manifest, "workers": workers},
        "features": {"sample_rate": RATE},
        "model": {"layers": 1, "hidden_size": 8},
        "augment": augment,
        "train": {"seed": seed},
    }
    data = prepare(parse_config(raw, "test")).data
    found = {}
    for batch in data.batches(0)[1]:
        for index, waveform, length in zip(batch.indices, batch.waveforms, batch.waveform_lengths, strict=True):
            found[index] = waveform[:length].numpy().astype(np.float64)
    return found


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 12.5])
def test_a_training_hears_recorded_noise_at_the_ratio_asked_for(snr_db, tmp_path):
    rows = []
    for number in range(40):
        time_s = np.arange(RATE + 40 * number) / RATE
        speech = 0.3 * np.sin(2 * np.pi * (100 + number) * time_s) * np.hanning(len(time_s))
        write_wav(tmp_path / f"s{number}.wav", speech.astype(np.float32), RATE)
        rows.append(Utterance(f"s{number}", tmp_path / f"s{number}.wav", len(speech) / RATE, "a"))
    write_manifest(tmp_path / "speech.jsonl", rows)
    whistle = np.sin(2 * np.pi * 3000 * np.arange(16_000) / 16_000)
    recorded(tmp_path, 0.5 * whistle[:3200], np.concatenate([np.zeros(16_000), 0.02 * whistle]), rate=16_000)
    augment = {"noise": {"manifest": str(tmp_path / "noise.jsonl"), "prob": 1.0, "snr_db": [snr_db, snr_db]}}

    clean = training_waveforms(tmp_path, {})
    noisy = training_waveforms(tmp_path, augment)
    whistled = 0
    for index, samples in clean.items():
        noise = noisy[index] - samples
        assert 10 * np.log10(np.mean(samples**2) / np.mean(noise**2)) == pytest.approx(snr_db, abs=0.01)
        power = np.abs(np.fft.rfft(noise)) ** 2
        pitch = np.fft.rfftfreq(len(noise), 1 / RATE)
        whistled += power[abs(pitch - 3000) < 100].sum() > 0.8 * power.sum()
    assert len(clean) == 40
    assert 10 <= whistled <= 30  # every second noise is recorded, the others are colored

    again = training_waveforms(tmp_path, augment, workers=2)
    assert all(np.array_equal(noisy[index], again[index]) for index in range(40))
    other = training_waveforms(tmp_path, augment, seed=1)
    assert not any(np.array_equal(noisy[index], other[index]) for index in range(40))


def test_silent_recordings_give_zeros_and_none_at_all_is_an_error(tmp_path):
    assert not recorded(tmp_path, np.zeros(100))(500, np.random.default_rng(0)).any()
    with pytest.raises(ManifestError, match="no recordings of noise"):
        recorded(tmp_path)
