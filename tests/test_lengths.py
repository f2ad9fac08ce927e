"""Frames counted in integers: the same for ints, arrays and tensors, and what the network gives."""

import numpy as np
import pytest
import torch

from asr.config import FeatureConfig, ModelConfig
from asr.features import FeatureExtractor
from asr.lengths import encoder_frames, feature_frames, hop_samples, min_frames, output_frames, window_samples
from asr.model.recognizer import Encoder


@pytest.mark.parametrize(("rate", "hop", "window"), [(8000, 80, 200), (16000, 160, 400), (22050, 220, 551)])
def test_hop_and_window_of_a_rate(rate, hop, window):
    config = FeatureConfig(sample_rate=rate)
    assert (hop_samples(config), window_samples(config)) == (hop, window)


@pytest.mark.parametrize("subsampling", [1, 2, 4])
def test_frames_are_what_the_network_gives(subsampling):
    features = FeatureConfig(sample_rate=8000, n_mels=8, window_ms=20, hop_ms=12.5)
    model = ModelConfig(layers=1, hidden_size=4, subsampling=subsampling)
    extractor, encoder = FeatureExtractor(features), Encoder(model, 8).eval()
    for samples in (1, 99, 100, 101, 199, 200, 299, 300, 399, 400, 401, 1234):
        x, lengths = extractor(torch.zeros(1, samples), torch.tensor([samples]))
        out, out_lengths = encoder(x, lengths)
        assert out.shape[1] == out_lengths.item() == output_frames(samples, features, model)


def test_ints_arrays_and_tensors_count_alike():
    features, model = FeatureConfig(), ModelConfig()
    samples = [0, 1, 159, 160, 639, 640, 641, 100_000]
    expected = [output_frames(n, features, model) for n in samples]
    assert expected == [1, 1, 1, 1, 1, 2, 2, 157]
    assert output_frames(np.array(samples), features, model).tolist() == expected
    assert output_frames(torch.tensor(samples), features, model).tolist() == expected
    assert [encoder_frames(feature_frames(n, features), 1) for n in samples] == [n // 160 + 1 for n in samples]


def test_least_frames_of_numbers_letters_and_words():
    assert min_frames([]) == min_frames("") == 0
    assert min_frames([3, 3, 3, 1]) == min_frames("aaab") == 6
    assert min_frames(["no", "no", "yes"]) == 4
    assert min_frames("abab") == 4
