"""A corpus that tests may spoil, and what `check` is asked of it."""

import json
from pathlib import Path

import numpy as np
import soundfile

from asr.config import parse_config
from asr.corpus.check.lines import CheckSettings

RATE = 8000


WORDS = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "while", "seven", "more", "look", "on"]


def settings(tokenizer=None, **sections):
    return CheckSettings(parse_config({"features": {"sample_rate": RATE}, **sections}, "test"), tokenizer)


def noise(seconds=1.0, seed=0, rate=RATE, level=0.1):
    return (level * np.random.default_rng(seed).standard_normal(round(seconds * rate))).clip(-0.9, 0.9)


class Corpus:
    """A manifest whose lines and files a test may spoil before it is written."""

    def __init__(self, folder: Path, utterances: int = 30) -> None:
        self.folder = folder
        folder.mkdir()
        self.lines = []
        for i in range(utterances):
            text = " ".join(np.random.default_rng(i).permutation(WORDS)[:3])
            line = {"id": f"u{i}", "audio": f"{i}.wav", "duration": 1.0, "text": text, "speaker": f"s{i % 3}"}
            self.lines.append(line)
            self.write(i, noise(seed=i))

    def write(self, i: int, samples: np.ndarray, rate: int = RATE, **how: str) -> None:
        soundfile.write(self.folder / self.lines[i]["audio"], samples, rate, **how)

    def manifest(self, *raw: bytes) -> Path:
        lines = [json.dumps(line).encode() for line in self.lines]
        (self.folder / "m.jsonl").write_bytes(b"\n".join([*lines, *raw]) + b"\n")
        return self.folder / "m.jsonl"


def found(report):
    return {finding.name: finding for finding in report.findings}
