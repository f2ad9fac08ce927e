"""What several test files need: tones, and audio files made of them."""

import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import settings

# Everything here is small: a second thread costs more than it gives. Before torch is loaded, and for child processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Where Python must not write what it compiles, each of our processes would compile torch again: more than half of its
# time. In a folder for one run it may.
if sys.dont_write_bytecode:
    BYTECODE = tempfile.TemporaryDirectory(prefix="bytecode", ignore_cleanup_errors=True)
    sys.dont_write_bytecode, sys.pycache_prefix = False, BYTECODE.name
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = BYTECODE.name

# The same cases every time, however slow the machine.
settings.register_profile("asr", deadline=None, derandomize=True)
settings.load_profile("asr")


@pytest.fixture
def tone() -> Callable[..., np.ndarray]:
    """tone(hz, rate, seconds) -> (samples,) float32, a sine of amplitude 0.5."""

    def make(hz: float = 440.0, rate: int = 16_000, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
        return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)

    return make


@pytest.fixture
def write_audio(tmp_path: Path) -> Callable[..., Path]:
    """write_audio("a.wav", samples, rate, subtype=…) -> the path of a real file in the test's folder."""

    def write(name: str, samples: np.ndarray, rate: int = 16_000, **how: str) -> Path:
        soundfile.write(tmp_path / name, samples, rate, **how)
        return tmp_path / name

    return write


@pytest.fixture(autouse=True)
def said() -> Iterator[list[str]]:
    """What the library logs while a test runs, as the command line shows it; it also goes to stderr."""
    from asr.cli.console import Lines, set_up_logging

    class Collected(Lines):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.line(record))

    lines: list[str] = []
    set_up_logging()
    handler = Collected()
    logging.getLogger("asr").addHandler(handler)
    yield lines
    logging.getLogger("asr").removeHandler(handler)


@pytest.fixture(scope="session")
def untrained():
    """A recognizer of random weights at 8 kHz, letters a and b: enough to read, batch, decode and write."""
    import torch

    from asr.config import FeatureConfig, ModelConfig, TextConfig
    from asr.model.recognizer import Recognizer
    from asr.text import Tokenizer

    torch.manual_seed(9)
    recognizer = Recognizer(
        FeatureConfig(sample_rate=8_000, n_mels=20),
        TextConfig(),
        ModelConfig(layers=1, hidden_size=8),
        Tokenizer("characters", ("<blank>", " ", "a", "b")),
    )
    torch.nn.init.normal_(recognizer.head.projection.weight)
    return recognizer.eval()
