"""Files of corpora, for the tests of several parts."""

import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.spoilt import Corpus, noise

RATE = 8000


@pytest.fixture(autouse=True)
def _log_everything(caplog):
    caplog.set_level(logging.INFO, "asr")


@pytest.fixture
def record(tmp_path):
    """record("a/b.wav", seconds) -> the path of a real recording in the test's folder."""

    def write(name: str, seconds: float = 0.5, channels: int = 1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros((round(seconds * RATE), channels)), RATE)
        return path

    return write


@pytest.fixture
def write(tmp_path):
    """write("text", "a hello\\n") -> the path of a file of this content in the test's folder."""

    def to_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


@pytest.fixture
def corpus(tmp_path):
    """Thirty sound utterances of three speakers, to be spoilt."""
    return Corpus(tmp_path / "corpus")


@pytest.fixture
def test_part(tmp_path):
    """Thirty utterances that share nothing with the corpus."""
    other = Corpus(tmp_path / "test")
    for i, line in enumerate(other.lines):
        line.update(id=f"t{i}", text=f"hear {line['text']}", speaker=f"t{i % 3}")
        other.write(i, noise(seed=1000 + i))
    return other
