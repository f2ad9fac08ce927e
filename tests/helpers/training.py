"""A whole training on tone words in real files: the corpus, its settings, and what a run left behind."""

import json
from pathlib import Path

import numpy as np
import torch

from asr.audio import write_wav
from asr.config import load_config
from asr.data.manifest import Utterance, write_manifest
from asr.train.checkpoint import load_checkpoint

RATE = 8000
TONES = {"low": 400.0, "high": 1500.0, "mid": 900.0}


# Everything random that a draw out of place would change.
RANDOM = ["augment.vtlp=[0.9, 1.1]", "augment.random_eq_db=3", "augment.reverb.prob=0.5", "augment.telephone.prob=0.5"]
RANDOM += [
    "compose.max_recordings=2",
    "compose.utterances_per_epoch=24",
    "compose.trim_prob=0.5",
    "compose.noise_prob=0.5",
]


def write_corpus(folder: Path, count: int, seed: int, speakers=("ann", "bob")) -> Path:
    """Utterances of one to four tone bursts; the word is the burst's pitch."""
    rng = np.random.default_rng(seed)
    utterances = []
    for number in range(count):
        names = rng.choice(list(TONES), size=rng.integers(1, 5)).tolist()
        pieces = [np.zeros(800, np.float32)]
        for name in names:
            t = np.arange(1600) / RATE
            pieces += [0.3 * np.sin(2 * np.pi * TONES[name] * t).astype(np.float32), np.zeros(800, np.float32)]
        samples = np.concatenate(pieces) + 0.003 * rng.standard_normal(sum(map(len, pieces))).astype(np.float32)
        path = folder / "audio" / f"{seed}_{number}.wav"
        write_wav(path, samples, RATE)
        speaker = speakers[number % len(speakers)]
        utterances.append(Utterance(path.stem, path, len(samples) / RATE, " ".join(names), speaker))
    manifest = folder / f"{seed}.jsonl"
    write_manifest(manifest, utterances)
    return manifest


def settings(corpus, run, *overrides):
    path = corpus["folder"] / "tones.yaml"
    path.write_text(
        "features: {sample_rate: 8000, n_mels: 20}\n"
        "text: {tokens: words}\n"
        "model: {layers: 1, hidden_size: 24, dropout: 0.1}\n"
        "augment: {speed: [0.95, 1.05], noise: {prob: 0.5}, frequency_mask: {count: 1, max_bins: 2}}\n"
        "train: {epochs: 4, batch_seconds: 6, lr: 5.0e-3, ema_decay: 0.5}\n"
    )
    given = [f"data.train={corpus['train']}", f"data.dev={corpus['dev']}", f"run={run}", "device=cpu", *overrides]
    return load_config(path, given)


def weights(run):
    return load_checkpoint(run / "checkpoints" / "last.pt")[1]["model"]


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def epochs(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["epoch"] for line in lines if line["kind"] == "epoch"]
