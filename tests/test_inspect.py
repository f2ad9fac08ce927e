"""The picture of one recording, and what is printed beside it."""

import numpy as np
import pytest
from helpers import ROOT
from helpers.command_line import asr as asr_command
from matplotlib.image import imread

import asr
from asr.audio import Audio, read_audio
from asr.errors import AudioError
from asr.inspect import draw, format_level, inspect
from asr.transcribe import Transcriber

SAMPLE = ROOT / "data/samples/heart_16k.flac"


@pytest.fixture(scope="module")
def model() -> Transcriber:
    return asr.load("digits", device="cpu")


def test_what_is_shown_is_what_the_model_uses(model):
    audio = read_audio(SAMPLE, model.sample_rate)
    found = inspect(model, audio)
    assert found.transcript.text == model.transcribe(SAMPLE).text == "four one five nine two six five"
    assert len(found.log_probs) == model.recognizer.output_frames(len(audio.samples))
    np.testing.assert_allclose(np.exp(found.log_probs).sum(-1), 1.0, atol=1e-5)
    best = found.log_probs.argmax(-1)
    spoken = best[np.flatnonzero(np.diff(best, prepend=0))]
    assert model.recognizer.tokenizer.decode(spoken[spoken != 0].tolist()) == found.transcript.text
    assert dict(found.rows())["duration"] == "3.48 s"


def test_the_picture_shows_the_sound(model, tmp_path):
    speech = read_audio(SAMPLE, model.sample_rate)
    silence = Audio(np.zeros_like(speech.samples), model.sample_rate)
    pictures = []
    for name, audio in (("speech.png", speech), ("silence.png", silence)):
        draw(inspect(model, audio), model.recognizer, tmp_path / name)
        pictures.append(imread(tmp_path / name)[250:500, 100:700, :3])  # of the spectrogram
    assert pictures[0].std(axis=1).mean() > 0.1
    assert pictures[1].std(axis=1).mean() < 0.01  # nothing changes over time


def test_mfcc_and_letters_are_drawn(untrained, tmp_path):
    transcriber = Transcriber(untrained)
    audio = Audio(0.1 * np.random.default_rng(0).standard_normal(4000).astype(np.float32), 8000)
    draw(inspect(transcriber, audio), untrained, tmp_path / "a.png")
    assert imread(tmp_path / "a.png").shape[0] > 700


def test_levels():
    assert format_level(0.5) == "-6.0 dB"
    assert format_level(0.0) == "digital silence"


def test_an_hour_is_refused_with_the_remedy(model):
    with pytest.raises(AudioError, match="choose up to 60 s of them with --start and --duration"):
        inspect(model, Audio(np.zeros(3600 * 8000, np.float32), 8000))


def test_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["inspect", "--model", "digits", SAMPLE, "--start", 1.0, "--duration", 1.3]
    done = asr_command(*command)
    assert done.returncode == 0, done.stderr
    assert "file       FLAC PCM_16, 16000 Hz, mono\nduration   1.30 s\n" in done.stdout
    assert done.stderr.endswith("heart_16k.png: written\n")
    assert imread(tmp_path / "heart_16k.png").shape[2] in (3, 4)
    done = asr_command(*command, "--output", tmp_path)
    assert done.returncode == 2
    assert "is a folder" in " ".join(done.stderr.replace("│", "").split())
