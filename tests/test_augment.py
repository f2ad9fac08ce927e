"""Augmentation: the SNR and spectra asked for, masks within their limits, every draw repeatable."""

import numpy as np
import pytest
import torch

from asr.augment import (
    CODECS,
    NOISE_EXPONENTS,
    Bandpass,
    Clipping,
    Codec,
    Reverb,
    SpecAugment,
    add_noise,
    augment_waveform,
    augmentations,
    change_speed,
    colored_noise,
    decibels,
    generator,
    through_codec,
)
from asr.config import AugmentConfig, FrequencyMaskConfig, NoiseConfig, PartConfig, TimeMaskConfig


def power(x):
    return float(np.mean(np.square(x, dtype=np.float64)))


def test_generators_are_keyed_by_all_of_seed_epoch_and_utterance():
    keys = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)]
    assert len({generator(*key).random() for key in keys}) == len(keys)
    assert generator(3, 2, 1).random() == generator(3, 2, 1).random()


@pytest.mark.parametrize(("color", "slope"), [("white", 0.0), ("pink", -1.0), ("brown", -2.0)])
def test_noise_spectra_fall_as_their_color_says(color, slope):
    """Power spectral density ∝ f^slope, from one hundredth of the sample rate to 0.4 of it."""
    assert slope == -2 * NOISE_EXPONENTS[color]
    window = np.hanning(4000)
    spectrum = np.zeros(2001)
    for seed in range(60):
        noise = colored_noise(16_001, color, np.random.default_rng(seed))
        spectrum += np.abs(np.fft.rfft(noise[6000:10_000] * window)) ** 2
    frequency = np.arange(40, 1600)
    assert np.polyfit(np.log(frequency), np.log(spectrum[frequency]), 1)[0] == pytest.approx(slope, abs=0.1)


@pytest.mark.parametrize("color", NOISE_EXPONENTS)
@pytest.mark.parametrize("samples", [1, 2, 7919, 16_000])  # 7919 is prime
def test_noise_has_unit_power_and_the_length_asked_for(color, samples):
    noise = colored_noise(samples, color, np.random.default_rng(0))
    assert noise.shape == (samples,)
    assert noise.dtype == np.float32
    assert power(noise) == pytest.approx(1.0, rel=1e-4)
    np.testing.assert_array_equal(noise, colored_noise(samples, color, np.random.default_rng(0)))


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 20.0])
def test_noise_is_mixed_at_the_ratio_asked_for(snr_db, tone):
    x = tone(seconds=0.5, amplitude=0.1)
    mixed = add_noise(x, colored_noise(len(x), "pink", np.random.default_rng(0)), snr_db)
    assert 10 * np.log10(power(x) / power(mixed - x)) == pytest.approx(snr_db, abs=0.01)
    assert mixed.dtype == np.float32


def test_silence_gets_no_noise():
    assert not add_noise(np.zeros(100, np.float32), np.ones(100, np.float32), 0.0).any()


@pytest.mark.parametrize("speed", [0.9, 1.0, 1.1])
def test_speed_changes_tempo_and_pitch_alike(speed, tone):
    x = change_speed(tone(440, 16_000, 1.0), 16_000, speed)
    assert abs(len(x) - 16_000 / speed) <= 1
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x)), 160_000))
    assert spectrum.argmax() / 10 == pytest.approx(440 * speed, abs=0.5)


def test_augmented_waveforms_vary_within_the_bounds_and_repeat(tone):
    x = tone(seconds=0.2)
    config = AugmentConfig(gain_db=(-6, 3), noise=NoiseConfig(prob=0.5, snr_db=(10, 20)))
    changed = [augment_waveform(x, 16_000, augmentations(config), generator(0, 0, i)) for i in range(300)]
    for i in (0, 7):
        np.testing.assert_array_equal(
            changed[i], augment_waveform(x, 16_000, augmentations(config), generator(0, 0, i))
        )
    gains = [float(y @ x / (x @ x)) for y in changed]
    residuals = [power(y - gain * x) / power(gain * x) for gain, y in zip(gains, changed, strict=True)]
    noisy = np.array(residuals) > 1e-9
    assert 0.4 < noisy.mean() < 0.6
    snr = -10 * np.log10(np.array(residuals)[noisy])
    assert 9 < snr.min() < 12
    assert 18 < snr.max() < 22
    clean_db = 20 * np.log10(np.array(gains)[~noisy])
    assert -6.001 <= clean_db.min() < -5
    assert 2 < clean_db.max() <= 3.001
    np.testing.assert_array_equal(augment_waveform(x, 16_000, augmentations(AugmentConfig()), generator(0, 0, 0)), x)


def test_a_room_adds_a_decaying_tail_of_at_most_the_direct_sound_s_power():
    click = np.zeros(16_000, np.float32)
    click[100] = 1.0
    for seed in range(20):
        wet = Reverb(1.0)(click, 16_000, np.random.default_rng(seed))
        assert wet.shape == click.shape
        assert wet.dtype == np.float32
        assert not np.abs(wet[:100]).max() > 1e-6
        assert wet[100] == pytest.approx(1.0, abs=1e-5)
        tail = wet[101:]
        assert -15.1 < 10 * np.log10(np.sum(tail**2)) < 0.1
        assert np.sum(tail[:2000] ** 2) > 10 * np.sum(tail[8000:10_000] ** 2)
        assert np.abs(tail[11_300:]).max() < 1e-6  # 0.7 s at most


def test_a_telephone_line_keeps_the_middle_and_loses_both_ends(tone):
    for rate in (8_000, 16_000):
        for seed in range(20):
            kept = {
                pitch: power(Bandpass(1.0)(tone(pitch, rate, 1.0), rate, np.random.default_rng(seed))[rate // 2 :])
                / power(tone(pitch, rate, 1.0)[rate // 2 :])
                for pitch in (30, 1_000, 3_950)
            }
            assert kept[1_000] > 0.8
            assert kept[30] < 0.1
            assert kept[3_950] < 0.6


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("amplitude", [1e-3, 0.5, 3.0])  # beyond full scale as well
def test_a_codec_keeps_length_and_level_and_leaves_a_trace(codec, amplitude, tone):
    x = np.concatenate([tone(500, 8_000, 0.4, amplitude), tone(1_500, 8_000, 0.3333, amplitude)])
    y = through_codec(x, 8_000, codec)
    assert y.shape == x.shape
    assert y.dtype == np.float32
    assert power(y) == pytest.approx(power(x), rel=0.2)
    assert 5 < 10 * np.log10(power(x) / power(y - x)) < 60
    assert not through_codec(np.zeros(1000, np.float32), 8_000, codec).any() or codec != "mu-law"
    high = tone(6_000, 16_000, 0.31111, amplitude) + tone(500, 16_000, 0.31111, amplitude)
    z = through_codec(high, 16_000, codec)  # a telephone's rate has no 6 kHz
    assert z.shape == high.shape
    assert power(z) == pytest.approx(power(high) / 2, rel=0.3)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 15_000])
@pytest.mark.parametrize("amplitude", [0.1, 0.5, 3.0])
def test_compression_keeps_length_place_and_level_and_leaves_a_trace(rate, amplitude, tone):
    x = np.concatenate([tone(500, rate, 0.4, amplitude), tone(1_500, rate, 0.3333, amplitude)])
    changed = [Codec(1.0)(x, rate, generator(0, 0, i)) for i in range(12)]
    for y in changed:
        assert (y.shape, y.dtype) == (x.shape, np.float32)
        assert power(y) == pytest.approx(power(x), rel=0.2)
        assert 8 < 10 * np.log10(power(x) / power(y - x)) < 60  # so nothing is shifted
    traces = [power(y - x) for y in changed]
    assert max(traces) > 3 * min(traces)
    for silence in (np.zeros(1000, np.float32), np.zeros(0, np.float32)):
        assert not Codec(1.0)(silence, rate, generator(0, 0, 0)).any()


def test_clipping_cuts_at_a_share_of_the_peak(tone):
    x = tone(amplitude=0.8)
    shares = []
    for seed in range(50):
        y = Clipping(1.0)(x, 16_000, np.random.default_rng(seed))
        limit = np.abs(y).max()
        assert (y.shape, y.dtype) == (x.shape, np.float32)
        np.testing.assert_array_equal(y, x.clip(-limit, limit))
        shares.append(limit / 0.8)
    assert 0.1 <= min(shares) < 0.15
    assert 0.65 < max(shares) <= 0.7


def test_recorded_noise_is_every_second_noise(tone):
    x = tone(seconds=0.2)
    config = AugmentConfig(noise=NoiseConfig(prob=1.0, snr_db=(10, 10)))
    asked = []

    def recorded(samples, rng):
        asked.append(samples)
        return np.ones(samples, np.float32)

    changed = [augment_waveform(x, 16_000, augmentations(config, recorded), generator(0, 0, i)) for i in range(200)]
    assert asked == [len(x)] * len(asked)
    assert 70 < len(asked) < 130
    constant = [np.ptp(y - x) < 1e-5 for y in changed]
    assert sum(constant) == len(asked)


@pytest.mark.parametrize("key", ["reverb", "clipping", "bandpass", "telephone", "codec"])
def test_each_change_comes_as_often_as_asked_and_repeats(key, tone):
    x = tone(seconds=0.2, amplitude=0.3)
    config = AugmentConfig(**{key: PartConfig(prob=0.3)})
    changed = [augment_waveform(x, 16_000, augmentations(config), generator(0, 0, i)) for i in range(200)]
    assert 0.2 < np.mean([not np.array_equal(y, x) for y in changed]) < 0.4
    for i in range(5):
        np.testing.assert_array_equal(
            changed[i], augment_waveform(x, 16_000, augmentations(config), generator(0, 0, i))
        )


def test_warps_are_drawn_within_their_bounds_from_the_seed():
    config = AugmentConfig(vtlp=(0.8, 1.2))
    warps = SpecAugment(config, 1).warps(500)
    assert warps.shape == (500,)
    assert 0.8 <= warps.min() < 0.81
    assert 1.19 < warps.max() <= 1.2
    assert torch.equal(warps, SpecAugment(config, 1).warps(500))
    assert SpecAugment(AugmentConfig(), 1).warps(500) is None


def test_responses_are_smooth_curves_within_their_bound():
    config = AugmentConfig(random_eq_db=6.0)
    curves = SpecAugment(config, 1).responses(300, 40)
    assert curves.shape == (300, 40)
    peaks_db = curves.abs().amax(1) * 10 / np.log(10)
    assert peaks_db.max() == pytest.approx(6.0, abs=0.1)
    assert peaks_db.min() < 0.2
    assert (curves.diff(dim=1).abs().amax(1) <= 0.35 * curves.abs().amax(1)).all()
    assert torch.equal(curves, SpecAugment(config, 1).responses(300, 40))
    assert SpecAugment(AugmentConfig(), 1).responses(300, 40) is None


def test_decibels():
    assert decibels(0.0) == 1.0
    assert decibels(-20.0) == pytest.approx(0.1)


LENGTHS = torch.tensor([100, 57, 13, 4, 1, 0])


def masked(config, seed=0):
    """(200, batch, frames, bins) bool: what 200 draws over constant features set to zero."""
    augment = SpecAugment(config, seed)
    return torch.stack([augment(torch.ones(6, 100, 20), LENGTHS) for _ in range(200)]) == 0


def test_time_masks_keep_to_their_share_and_never_reach_beyond_the_utterance():
    mask = masked(AugmentConfig(time_mask=TimeMaskConfig(count=1, max_frames=15, max_fraction=0.2)))
    assert (mask.any(-1) == mask.all(-1)).all()
    for utterance, length in enumerate(LENGTHS.tolist()):
        widths = mask[:, utterance, :, 0].sum(-1)
        assert widths.max() == min(15, int(0.2 * length))
        assert widths.min() == 0
        assert not mask[:, utterance, length:].any()
    first = mask[:, 0, :, 0]
    assert first.any(0).all()  # every frame is masked sometimes
    edges = first.int().diff(dim=-1).abs().sum(-1) + first[:, 0].int() + first[:, -1].int()
    assert set(edges.tolist()) <= {0, 2}  # one interval


def test_frequency_masks_cover_all_frames_of_at_most_so_many_bins():
    mask = masked(AugmentConfig(frequency_mask=FrequencyMaskConfig(count=2, max_bins=5)))
    assert (mask.any(2) == mask.all(2)).all()
    widths = mask[:, :, 0].sum(-1)
    assert 7 < widths.max() <= 10
    assert mask[:, 0, 0].any(0).all()


def test_mask_wider_than_the_features():
    widths = masked(AugmentConfig(frequency_mask=FrequencyMaskConfig(count=1, max_bins=99)))[:, 0, 0].sum(-1)
    assert widths.max() == 20


def test_masks_follow_from_the_seed_and_nothing_else_changes():
    config = AugmentConfig(time_mask=TimeMaskConfig(count=2), frequency_mask=FrequencyMaskConfig(count=2))
    assert torch.equal(masked(config, (1, 2)), masked(config, (1, 2)))
    assert not torch.equal(masked(config, (1, 2)), masked(config, (1, 3)))
    features = torch.randn(6, 100, 20, generator=torch.Generator().manual_seed(0))
    out = SpecAugment(config, 0)(features, LENGTHS)
    assert ((out == features) | (out == 0)).all()
    assert torch.equal(SpecAugment(AugmentConfig(), 0)(features, LENGTHS), features)
