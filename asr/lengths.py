"""Lengths in integers: samples -> feature frames -> encoder frames, and the frames that CTC needs for a text.

Data checks, batches, the encoder and alignment all count with these functions. Counts may be ints, NumPy arrays or
tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from operator import eq
from typing import TYPE_CHECKING, TypeVar

from asr.config import FeatureConfig, ModelConfig

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

STRIDES = {1: (1,), 2: (2,), 4: (2, 2)}  # of the convolutions before the recurrent layers, by subsampling

Count = TypeVar("Count", int, "np.ndarray", "Tensor")


def hop_samples(config: FeatureConfig) -> int:
    """Samples from one feature frame to the next."""
    return round(config.hop_ms * config.sample_rate / 1000)


def window_samples(config: FeatureConfig) -> int:
    """Samples that a feature frame is computed from."""
    return round(config.window_ms * config.sample_rate / 1000)


def feature_frames(samples: Count, config: FeatureConfig) -> Count:
    """Frames of a waveform of that many samples: frame i is centered on sample i × hop, from 0."""
    return samples // hop_samples(config) + 1


def strided(frames: Count, stride: int) -> Count:
    """Frames after one padded convolution of that stride: ceil(frames / stride)."""
    return (frames + stride - 1) // stride


def encoder_frames(feature_frames: Count, subsampling: int) -> Count:
    """Output frames for that many feature frames: each stride of 2 gives ceil(frames / 2)."""
    frames = feature_frames
    for stride in STRIDES[subsampling]:
        frames = strided(frames, stride)
    return frames


def output_frames(samples: Count, features: FeatureConfig, model: ModelConfig) -> Count:
    """Frames of log_probs for a waveform of that many samples at the features' rate."""
    return encoder_frames(feature_frames(samples, features), model.subsampling)


def min_frames(tokens: Sequence[object]) -> int:
    """Frames that CTC needs for a token sequence: one each, and a blank between equal neighbors."""
    return len(tokens) + sum(map(eq, tokens, islice(tokens, 1, None)))
