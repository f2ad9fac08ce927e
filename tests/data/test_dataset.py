"""What batches are made of: decoded audio and its cache, loaded ahead by threads or not."""

import threading
import time

import numpy as np
import pytest
import soundfile
import torch

from asr.augment import augmentations
from asr.config import parse_config
from asr.data.dataset import EpochDataset, Recordings
from asr.data.manifest import Manifest, Utterance, write_manifest
from asr.data.subset import read_subset
from asr.data.waveforms import WaveformCache
from asr.errors import AudioError
from asr.text import Tokenizer

RATE = 8_000
SECOND_MB = RATE * 2 / 2**20  # of 16 bits a sample


@pytest.fixture
def recordings(tmp_path):
    """recordings({name: (samples, format)}) -> their manifest."""

    def write(files):
        utterances = []
        for name, (samples, subtype) in files.items():
            soundfile.write(tmp_path / f"{name}.wav", samples, RATE, subtype=subtype)
            utterances.append(Utterance(name, tmp_path / f"{name}.wav", len(samples) / RATE, "a b"))
        write_manifest(tmp_path / "m.jsonl", utterances)
        return Manifest(tmp_path / "m.jsonl")

    return write


def noise(seed, seconds=1.0, channels=1):
    samples = np.random.default_rng(seed).uniform(-1, 1, (round(seconds * RATE), channels))
    return samples.squeeze().astype(np.float32)


def test_what_is_kept_has_the_bits_of_what_was_read(recordings):
    full_scale = np.array([1.0, -1.0, 0.5] * 3000, np.float32)
    files = {"pcm": (noise(0), "PCM_16"), "float": (noise(1), "FLOAT"), "stereo": (noise(2, channels=2), "PCM_16")}
    manifest = recordings(files | {"full": (full_scale, "FLOAT"), "deep": (noise(3), "PCM_24")})
    cache = WaveformCache(manifest, RATE, 100)
    for row, utterance in enumerate(manifest):
        read, kept = cache[row][1], cache[row][1]
        assert (read.dtype, kept.dtype) == (np.float32, np.float32)
        assert np.array_equal(read, kept), utterance.id
        utterance.audio.unlink()
        assert np.array_equal(cache[row][1], read)


def test_16_bits_a_sample_are_kept_where_that_is_all_there_is(recordings):
    manifest = recordings({f"{i}": (noise(i, 100), "PCM_16") for i in range(4)})
    cache = WaveformCache(manifest, RATE, int(4 * 100 * SECOND_MB) + 1)
    for row in (0, 1, 2, 3):
        cache[row]
        manifest[row].audio.unlink()
    assert [cache[row][0].id for row in (0, 1, 2, 3)] == ["0", "1", "2", "3"]


def test_the_least_recently_used_is_dropped(recordings):
    manifest = recordings({f"{i}": (noise(i, 100), "PCM_16") for i in range(4)})
    cache = WaveformCache(manifest, RATE, int(3 * 100 * SECOND_MB) + 1)
    for row in (0, 1, 2, 0, 3):  # 3 takes the place of 1
        cache[row]
    for row in range(4):
        manifest[row].audio.unlink()
    assert [cache[row][0].id for row in (0, 2, 3)] == ["0", "2", "3"]
    with pytest.raises(AudioError, match=r"utterance 1: "):
        cache[1]


def examples(manifest, cache_mb=0, **augment):
    config = parse_config({"augment": {**augment, "noise": {"prob": 1.0}, "reverb": {"prob": 0.5}}}, "test")
    return EpochDataset(
        waveforms=WaveformCache(manifest, RATE, cache_mb),
        utterances=Recordings(read_subset(manifest.path, config, "data.train")),
        speeds=np.ones(len(manifest)),
        tokenizer=Tokenizer.build("characters", "ab "),
        normalizer="basic",
        augmentations=augmentations(config.augment),
        seed=1,
        epoch=0,
    )


@pytest.mark.parametrize("workers", [1, 3, 20])
@pytest.mark.parametrize("cache_mb", [0, 1])
def test_threads_load_the_same_batches_in_the_same_order(recordings, workers, cache_mb):
    manifest = recordings({f"{i}": (noise(i, 0.1 + 0.1 * (i % 5)), "PCM_16") for i in range(40)})
    groups = [list(range(first, first + 4)) for first in range(0, 40, 4)]
    made = examples(manifest, cache_mb)
    for _ in range(2):  # decoded, and from what was kept
        for one, other in zip(made.batches(groups, 0), made.batches(groups, workers), strict=True):
            assert one.indices == other.indices
            for name in ("waveforms", "waveform_lengths", "tokens", "token_lengths"):
                assert torch.equal(getattr(one, name), getattr(other, name))


def test_threads_end_with_the_batches_and_with_whoever_asks_for_no_more(recordings):
    made = examples(recordings({f"{i}": (noise(i), "PCM_16") for i in range(20)}))
    groups = [[i] for i in range(20)]
    before = threading.active_count()

    def all_end():  # each with the batch it is at: nobody waits for a read that never ends
        until = time.monotonic() + 30
        while threading.active_count() > before and time.monotonic() < until:
            time.sleep(0.01)
        return threading.active_count() == before

    loaded = made.batches(groups, 2)
    next(loaded)
    assert threading.active_count() > before
    loaded.close()
    assert all_end()
    assert len(list(made.batches(groups, 2))) == 20
    assert all_end()


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_that_is_nobodys_fault_comes_out_as_it_is(recordings, workers):
    made = examples(recordings({"a": (noise(0), "PCM_16")}))
    with pytest.raises(IndexError):
        list(made.batches([[0], [7]], workers))
