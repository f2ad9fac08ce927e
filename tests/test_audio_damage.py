"""Audio that cannot be read: one line that names the file, whatever the damage; never another exception."""

import os
import random

import numpy as np
import pytest

from asr.audio import read_audio
from asr.errors import AudioError, AudioFault


def refused(source, problem, fault=AudioFault.UNREADABLE, **part):
    """read_audio raises AudioError of this kind, with the file's name and one line."""
    with pytest.raises(AudioError, match=problem) as caught:
        read_audio(source, **part)
    assert caught.value.fault is fault
    message = str(caught.value)
    name = str(source).replace("\n", "\\n").replace("\0", "\\x00")
    assert message.startswith(("audio data: ", "the audio data ") if isinstance(source, bytes) else f"{name}: ")
    assert message.isprintable()


def test_contents_that_are_no_audio(tmp_path):
    for name, content, problem in [
        ("empty.wav", b"", "empty"),
        ("text.wav", b"this is no audio\n" * 100, "not readable audio"),
        ("text.vox", b"this is no audio\n" * 100, "not readable audio"),
        ("page.mp3", b"<!doctype html><html></html>" * 50, "not readable audio"),
        ("bytes.flac", bytes(range(256)) * 40, "not readable audio"),
        ("zeros.raw", bytes(5000), "not readable audio"),
    ]:
        (tmp_path / name).write_bytes(content)
        refused(tmp_path / name, problem)
        refused(content, problem)


def test_files_that_are_not_there_or_not_files(tmp_path):
    refused(tmp_path / "missing.wav", "No such file", AudioFault.MISSING)
    refused(tmp_path, "is a folder")
    refused(str(tmp_path / "nul") + "\0.wav", "null", AudioFault.MISSING)
    refused(tmp_path / ("x" * 300 + ".wav"), "name too long", AudioFault.MISSING)
    (tmp_path / "two\nlines.wav").write_bytes(b"x")
    refused(tmp_path / "two\nlines.wav", r"two\\nlines\.wav: not readable")
    with pytest.raises(AudioError, match="audio data"):
        read_audio(None)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(write_audio, tone):
    path = write_audio("a.wav", tone())
    path.chmod(0)
    refused(path, "Permission denied")


@pytest.mark.parametrize("form", ["WAV", "AIFF", "FLAC", "OGG", "AU", "W64"])
def test_files_cut_short_are_refused(form, tone, write_audio):
    path = write_audio(f"a.{form.lower()}", tone(seconds=5.0), format=form)
    content = path.read_bytes()
    for share in (0.02, 0.5, 0.95):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(AudioError, match=r"cut short|not readable|holds no samples|damaged|bytes lie behind"):
            read_audio(path)


def test_a_wav_from_a_pipe_which_did_not_know_its_length_is_whole(tone, write_audio):
    path = write_audio("a.wav", tone())
    content = bytearray(path.read_bytes())
    assert content[36:40] == b"data"
    for claim in (0xFFFF_FFFF, 0x7FFF_FFFF, 0x7FFF_F000, 0x8000_0000):
        content[40:44] = claim.to_bytes(4, "little")
        assert len(read_audio(bytes(content)).samples) == 16_000


def test_headers_without_samples(write_audio):
    path = write_audio("a.wav", np.zeros(0))
    refused(path, "holds no samples", AudioFault.EMPTY)
    path.write_bytes(path.read_bytes()[:44])
    refused(path, "holds no samples", AudioFault.EMPTY)
    path.write_bytes(path.read_bytes()[:30])
    refused(path, "not readable audio")
    refused(write_audio("a.aiff", np.zeros(0)), "holds no samples", AudioFault.EMPTY)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_numbers(value, tone, write_audio):
    x = tone()
    x[8000] = value
    path = write_audio("a.wav", x, subtype="FLOAT")
    refused(path, r"a\.wav: sample 8000 \(at 0\.500 s\) is NaN or infinite", AudioFault.NOT_FINITE)
    refused(write_audio("b.wav", np.stack([x, tone()], 1), subtype="DOUBLE"), "sample 8000", AudioFault.NOT_FINITE)
    assert len(read_audio(path, duration=0.5).samples) == 8000


def test_sample_rates_nobody_records_speech_at(tone, write_audio):
    refused(write_audio("a.wav", tone(), 100), "sample rate 100 Hz")
    refused(write_audio("a.wav", tone(), 1_000_000), "sample rate 1000000 Hz")


def test_parts_that_are_not_there(tone, write_audio):
    path = write_audio("a.wav", tone(seconds=1.0))
    for start, duration, fault, problem in [
        (-0.1, None, AudioFault.UNREADABLE, "seconds from 0 on, not -0.1"),
        (0.0, -1.0, AudioFault.UNREADABLE, "seconds from 0 on, not -1.0"),
        (float("nan"), None, AudioFault.UNREADABLE, "not nan"),
        (0.0, float("inf"), AudioFault.UNREADABLE, "not inf"),
        (1e300, None, AudioFault.UNREADABLE, "from 0 on"),
        (0.5, 0.8, AudioFault.TOO_SHORT, "asked for 0.500 to 1.300 s, but it ends at 1.000 s"),
        (2.0, None, AudioFault.TOO_SHORT, "but it ends at 1.000 s"),
        (2.0, 0.5, AudioFault.TOO_SHORT, "asked for 2.000 to 2.500 s"),
        (1.005, None, AudioFault.EMPTY, "holds no samples"),
        (0.5, 0.0, AudioFault.EMPTY, "holds no samples"),
    ]:
        refused(path, problem, fault, start=start, duration=duration)


FORMATS = [
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAVEX", "PCM_24"), ("WAV", "IMA_ADPCM"), ("FLAC", "PCM_16"),
    ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"), ("CAF", "ALAC_16"),
]  # fmt: skip


@pytest.mark.parametrize(("form", "subtype"), FORMATS, ids=lambda v: str(v))
def test_random_damage_gives_audio_or_audio_error(form, subtype, write_audio, capfd, monkeypatch):
    """Bytes changed, removed and cut off, mostly in the header; no other exception. What ffmpeg makes of such files is
    tried by scripts/fuzz_audio.py."""
    monkeypatch.setenv("PATH", "")
    noise = 0.3 * np.random.default_rng(0).standard_normal(4000)
    path = write_audio("a.bin", noise, format=form, subtype=subtype)
    good = path.read_bytes()
    draw = random.Random(f"{form} {subtype}")
    lengths, messages = [], []
    for _ in range(60):
        content = bytearray(good)
        for _ in range(draw.randint(1, 6)):
            place = draw.randrange(200 if draw.random() < 0.8 else len(content))
            content[place] = draw.choice([0, 127, 128, 255, draw.randrange(256)])
        if draw.random() < 0.3:
            first = draw.randrange(100)
            del content[first : first + draw.randint(1, 16)]
        if draw.random() < 0.2:
            content = content[: draw.randrange(1, len(content))]
        path.write_bytes(content)
        for source in (path, bytes(content)):
            try:
                samples = read_audio(source).samples
            except AudioError as error:
                messages.append(str(error))
            else:
                assert np.isfinite(samples).all()
                lengths.append(len(samples))
    assert len(lengths) + len(messages) == 120
    assert len(messages) > 10
    assert all(message.isprintable() for message in messages)
    assert all(0 < length < 1_000_000 for length in lengths)
    assert "Traceback" not in capfd.readouterr().err
