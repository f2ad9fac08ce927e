"""Features against librosa's, and the frame count against what comes out."""

import librosa
import numpy as np
import pytest
import torch

from asr.config import FeatureConfig
from asr.features import LOG_FLOOR, FeatureExtractor, feature_frames, warped_filters


def waveform(samples, rate, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / rate
    return (0.3 * np.sin(2 * np.pi * 440 * t) + 0.05 * rng.standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize(("rate", "mels"), [(16000, 80), (8000, 40), (44100, 64)])
def test_log_mel_equals_librosa(rate, mels):
    config = FeatureConfig(sample_rate=rate, n_mels=mels, normalize="none")
    x = waveform(rate, rate)
    extractor = FeatureExtractor(config)
    ours, _ = extractor(torch.from_numpy(x)[None], torch.tensor([len(x)]))
    window = round(0.025 * rate)
    power = librosa.feature.melspectrogram(
        y=x, sr=rate, n_fft=extractor.fft, hop_length=extractor.hop, win_length=window, n_mels=mels, fmin=20.0,
        fmax=rate / 2, htk=True, norm=None, pad_mode="constant",
    )  # fmt: skip
    np.testing.assert_allclose(ours[0].numpy(), np.log(power + LOG_FLOOR).T, atol=2e-3)


def test_mfcc_equals_librosas_transform_of_log_mel():
    common = {"sample_rate": 16000, "n_mels": 40, "normalize": "none"}
    x = torch.from_numpy(waveform(8000, 16000))[None]
    lengths = torch.tensor([8000])
    log_mel, _ = FeatureExtractor(FeatureConfig(**common))(x, lengths)
    mfcc, _ = FeatureExtractor(FeatureConfig(kind="mfcc", n_mfcc=13, **common))(x, lengths)
    expected = librosa.feature.mfcc(S=log_mel[0].numpy().T, n_mfcc=13, dct_type=2, norm="ortho")
    np.testing.assert_allclose(mfcc[0].numpy(), expected.T, atol=1e-3)


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_frame_count_is_what_comes_out(rate):
    config = FeatureConfig(sample_rate=rate, n_mels=20, normalize="none")
    extractor = FeatureExtractor(config)
    for samples in (1, 2, 79, 80, 81, 159, 160, 161, 220, 221, 1000):
        features, lengths = extractor(torch.zeros(1, samples), torch.tensor([samples]))
        assert features.shape[1] == lengths.item() == feature_frames(samples, config)


def test_utterance_normalization_gives_mean_zero_and_forgets_the_level():
    extractor = FeatureExtractor(FeatureConfig(sample_rate=8000, n_mels=20))
    x = torch.from_numpy(waveform(8000, 8000))
    batch = torch.stack([x, 0.1 * x])
    features, _ = extractor(batch, torch.tensor([8000, 8000]))
    torch.testing.assert_close(features.mean(1), torch.zeros(2, 20), atol=1e-4, rtol=0)
    torch.testing.assert_close(features[0], features[1], atol=0.02, rtol=0)


def test_digital_silence_is_finite():
    for normalize in ("utterance", "global", "none"):
        features, _ = FeatureExtractor(FeatureConfig(normalize=normalize))(torch.zeros(1, 500), torch.tensor([500]))
        assert torch.isfinite(features).all()


def test_global_statistics_are_stored_with_the_weights():
    extractor = FeatureExtractor(FeatureConfig(n_mels=20, normalize="global"))
    extractor.set_global(torch.arange(20.0), torch.full((20,), 2.0))
    other = FeatureExtractor(FeatureConfig(n_mels=20, normalize="global"))
    other.load_state_dict(extractor.state_dict())
    x = torch.randn(1, 4000)
    for a, b in zip(extractor(x, torch.tensor([4000])), other(x, torch.tensor([4000])), strict=True):
        assert torch.equal(a, b)
    assert set(FeatureExtractor(FeatureConfig(n_mels=20)).state_dict()) == set()


def test_a_warp_moves_tones_as_a_shorter_or_longer_vocal_tract_would():
    """The features of a tone, warped by a factor, are those of a tone at that factor times the pitch."""
    extractor = FeatureExtractor(FeatureConfig(sample_rate=8000, n_mels=40, normalize="none"))
    t = np.arange(8000) / 8000

    def features(pitch, warp=None):
        x = torch.from_numpy((0.3 * np.sin(2 * np.pi * pitch * t)).astype(np.float32))[None]
        return extractor(x, torch.tensor([8000]), None if warp is None else torch.tensor([warp]))[0][0, 20:-20].mean(0)

    assert torch.equal(features(1000.0), features(1000.0, 1.0))
    for warp in (0.85, 0.95, 1.1, 1.2):
        for pitch in (400.0, 1000.0, 2000.0):
            assert features(pitch, warp).argmax() == pytest.approx(features(pitch * warp).argmax().item(), abs=1)


@pytest.mark.parametrize("kind", ["logmel", "mfcc"])
def test_a_response_is_added_to_log_energies_of_every_frame(kind):
    extractor = FeatureExtractor(FeatureConfig(sample_rate=8000, n_mels=40, n_mfcc=40, kind=kind, normalize="none"))
    x, lengths = torch.from_numpy(np.stack([waveform(4000, 8000), waveform(4000, 8000, 1)])), torch.tensor([4000, 4000])
    responses = torch.randn(2, 40, generator=torch.Generator().manual_seed(0))
    added = extractor(x, lengths, None, responses)[0] - extractor(x, lengths)[0]
    expected = responses if kind == "logmel" else responses @ extractor.dct
    torch.testing.assert_close(added, expected.unsqueeze(1).expand_as(added), atol=1e-4, rtol=0)


def test_warped_filters_reach_from_end_to_end_and_differ_by_utterance():
    filters = FeatureExtractor(FeatureConfig(sample_rate=8000, n_mels=40)).filters
    warps = torch.tensor([0.8, 1.0, 1.25])
    warped = warped_filters(filters, warps)
    assert warped.shape == (3, *filters.shape)
    torch.testing.assert_close(warped[1], filters, atol=1e-5, rtol=0)
    assert (warped >= 0).all()
    for each in warped:  # no filter is lost at the upper end
        assert (each[:, 1:].sum(0) > 0).sum() >= (filters[:, 1:].sum(0) > 0).sum() - 1


def test_range_is_relative_to_the_loudest_and_cut_off_in_a_batch_as_alone():
    config = FeatureConfig(sample_rate=8000, n_mels=40, normalize="none", top_db=40.0)
    x = waveform(8000, 8000)
    x[4000:] = 0.0
    extractor, plain = FeatureExtractor(config), FeatureExtractor(config.model_copy(update={"top_db": None}))
    padded = torch.zeros(2, 12_000)
    padded[0, :8000] = torch.from_numpy(x)
    padded[1] = torch.from_numpy(10 * waveform(12_000, 8000))  # a louder neighbor changes nothing
    together, lengths = extractor(padded, torch.tensor([8000, 12_000]))
    alone, _ = extractor(torch.from_numpy(x)[None], torch.tensor([8000]))
    assert torch.equal(together[0, : lengths[0]], alone[0])
    before, _ = plain(torch.from_numpy(x)[None], torch.tensor([8000]))
    floor = -40 * np.log(10) / 10
    torch.testing.assert_close(alone, (before - before.max()).clamp_min(floor))
    assert alone.max() == 0
    assert alone.min() == pytest.approx(floor)
    assert before.min() < before.max() + floor - 1
    softer, _ = extractor(torch.from_numpy(0.1 * x)[None], torch.tensor([8000]))
    torch.testing.assert_close(softer, alone, atol=0.1, rtol=0)  # but for LOG_FLOOR
