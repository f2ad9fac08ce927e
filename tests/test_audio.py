"""Reading audio: every common encoding, channels, parts of files, sample rates, arrays."""

import io
import os
import shutil
import subprocess

import numpy as np
import pytest
import soundfile

from asr.audio import AudioInfo, as_audio, audio_info, find_audio, read_audio, resample, write_wav
from asr.errors import AudioError

# name, subtype, format, largest error of a tone of amplitude 0.5
ENCODINGS = [
    ("a.wav", "PCM_U8", "WAV", 1 / 127),
    ("a.wav", "PCM_16", "WAV", 1 / 32767),
    ("a.wav", "PCM_24", "WAV", 1e-6),
    ("a.wav", "PCM_32", "WAV", 1e-7),
    ("a.wav", "FLOAT", "WAV", 0),
    ("a.wav", "DOUBLE", "WAV", 0),
    ("a.wav", "ULAW", "WAV", 0.02),
    ("a.wav", "ALAW", "WAV", 0.02),
    ("a.wav", "IMA_ADPCM", "WAV", 0.05),
    ("a.wav", "PCM_16", "WAVEX", 1 / 32767),
    ("a.flac", "PCM_16", "FLAC", 1 / 32767),
    ("a.flac", "PCM_24", "FLAC", 1e-6),
    ("a.ogg", "VORBIS", "OGG", 0.05),
    ("a.opus", "OPUS", "OGG", 0.05),
    ("a.mp3", "MPEG_LAYER_III", "MP3", 0.05),
    ("a.aiff", "PCM_16", "AIFF", 1 / 32767),
    ("a.au", "PCM_16", "AU", 1 / 32767),
    ("a.caf", "ALAC_16", "CAF", 1 / 32767),
    ("a.w64", "PCM_16", "W64", 1 / 32767),
    ("a.sph", "PCM_16", "NIST", 1 / 32767),
]


@pytest.mark.parametrize(("name", "subtype", "form", "error"), ENCODINGS, ids=lambda v: str(v))
def test_every_encoding_reads_back_as_it_was_written(name, subtype, form, error, tone, write_audio):
    x = tone(440, 16_000, 1.0)
    path = write_audio(name, x, subtype=subtype, format=form)
    for source in (path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes())):
        audio = read_audio(source)
        assert audio.sample_rate == 16_000
        assert audio.samples.dtype == np.float32
        assert audio.notes == ()
        assert len(audio.samples) == pytest.approx(16_000, abs=400 if subtype == "IMA_ADPCM" else 0)
        inner = slice(800, 15_200)  # lossy codecs ring where the tone starts and ends
        np.testing.assert_allclose(audio.samples[:16_000][inner], x[inner], atol=error + 1e-7)


def test_gsm_in_wav_which_cannot_seek(tone, write_audio):
    path = write_audio("a.wav", tone(440, 8000, 1.0), 8000, subtype="GSM610")
    whole = read_audio(path).samples
    assert np.corrcoef(whole[:8000], tone(440, 8000, 1.0))[0, 1] > 0.9
    np.testing.assert_array_equal(read_audio(path, start=0.5, duration=0.25).samples, whole[4000:6000])


def test_the_content_counts_not_the_name(tone, write_audio, tmp_path):
    content = write_audio("a.wav", tone()).read_bytes()
    for name in (b"a.mp3", b"a.raw", b"a.vox", b"noextension", "ü b.txt".encode(), b"latin\xe9.wav"):
        path = tmp_path / os.fsdecode(name)
        path.write_bytes(content)
        np.testing.assert_allclose(read_audio(path).samples, tone(), atol=1e-4)


def test_a_pipe_is_read_like_a_file(tone, write_audio):
    content = write_audio("a.wav", tone()).read_bytes()
    for by_name in (False, True):  # standard input, or <(command) in a shell
        reader, writer = os.pipe()
        os.write(writer, content)
        os.close(writer)
        with os.fdopen(reader, "rb") as stream:
            assert read_audio(f"/dev/fd/{reader}" if by_name else stream).duration == 1.0


@pytest.mark.parametrize("channels", [2, 7])
def test_channels_are_averaged_and_that_is_said(channels, write_audio):
    rng = np.random.default_rng(0)
    x = rng.uniform(-0.5, 0.5, (4000, channels)).astype(np.float32)
    path = write_audio("a.wav", x, 8000, subtype="FLOAT")
    mixed = read_audio(path)
    assert mixed.notes == (f"{channels} channels averaged to one",)
    np.testing.assert_allclose(mixed.samples, x.mean(1), atol=1e-7)
    np.testing.assert_allclose(as_audio(x, 8000).samples, x.mean(1), atol=1e-7)
    for channel in range(channels):
        one = read_audio(path, channel=channel)
        assert one.notes == ()
        np.testing.assert_array_equal(one.samples, x[:, channel])
    with pytest.raises(AudioError, match=rf"a\.wav: channel {channels} asked for, but it has {channels}"):
        read_audio(path, channel=channels)


def test_a_part_of_a_file_is_sample_exact(write_audio):
    x = np.random.default_rng(0).uniform(-1, 1, 11_025 * 3).astype(np.float32)
    path = write_audio("a.wav", x, 11_025, subtype="FLOAT")
    for start, duration in [(0.0, 1.0), (0.1, 0.123), (1.00004, 0.5), (1.00005, 0.5), (2.999, 0.001), (2.5, None)]:
        first = round(start * 11_025)
        end = len(x) if duration is None else first + round(duration * 11_025)
        np.testing.assert_array_equal(read_audio(path, start=start, duration=duration).samples, x[first:end])
    rounded_up = read_audio(path, start=2.0, duration=1.005)  # as manifests with few decimals have it
    np.testing.assert_array_equal(rounded_up.samples, x[2 * 11_025 :])


def test_long_and_wide_files_are_read_in_blocks_that_fit_together(write_audio, monkeypatch):
    monkeypatch.setattr("asr.audiofile.BLOCK", 1000)
    x = np.random.default_rng(0).uniform(-1, 1, (5432, 3)).astype(np.float32)
    path = write_audio("a.wav", x, subtype="FLOAT")
    np.testing.assert_allclose(read_audio(path).samples, x.mean(1), atol=1e-7)
    np.testing.assert_array_equal(read_audio(path, channel=1, start=0.1).samples, x[1600:, 1])


@pytest.mark.parametrize(("rate", "target"), [(44_100, 16_000), (48_000, 8_000), (8_000, 16_000), (11_025, 16_000)])
def test_resampling_keeps_frequency_amplitude_and_duration(rate, target, tone, write_audio):
    for samples in (rate, rate // 2 + 1, 777):
        audio = read_audio(write_audio("a.wav", tone(440, rate, samples / rate), rate, subtype="FLOAT"), target)
        assert audio.sample_rate == target
        assert audio.notes == ()
        assert abs(len(audio.samples) - round(samples * target / rate)) <= 1
    x = read_audio(write_audio("a.wav", tone(440, rate, 2.0), rate, subtype="FLOAT"), target).samples[: 2 * target]
    spectrum = np.abs(np.fft.rfft(x * np.hanning(len(x))))
    assert spectrum.argmax() * target / len(x) == pytest.approx(440, abs=0.5)
    assert np.abs(x[target // 2 : -target // 2]).max() == pytest.approx(0.5, abs=0.005)


def test_resampling_leaves_nothing_above_half_the_new_rate(tone):
    assert np.abs(resample(tone(6000, 16_000, 1.0), 16_000, 8_000)[800:-800]).max() < 1e-4


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32"])
def test_integer_samples_are_scaled_by_their_range(kind):
    limits = np.iinfo(kind)
    middle = 0 if limits.min < 0 else int(limits.max) // 2 + 1
    x = np.array([limits.min, middle, middle + limits.max // 4, limits.max], dtype=kind)
    expected = [-1.0, 0.0, 0.5 if limits.min == 0 else 0.25, 1.0]
    np.testing.assert_allclose(as_audio(x, 8000).samples, expected, atol=0.02)


def test_whole_numbers_that_python_has_widened_are_not_taken_for_silence(tone):
    wide = (tone() * 32767).astype(np.int64)
    with pytest.raises(AudioError, match=r"int64 samples reach \d+ of \d+, which is silence; .* int16"):
        as_audio(wide, 16_000)
    assert as_audio(np.zeros(100, np.int64), 16_000).samples.max() == 0
    np.testing.assert_allclose(as_audio(wide.astype(np.int16), 16_000).samples, tone(), atol=1e-3)


@pytest.mark.parametrize("source", [None, 3, ("a.wav", "b.wav"), {"path": "a.wav"}])
def test_what_is_no_source_of_audio_is_named_by_its_type(source):
    with pytest.raises(AudioError, match=f"a {type(source).__name__} is no path, no bytes and no binary stream"):
        read_audio(source)


def test_arrays_are_checked_like_files(tone):
    np.testing.assert_array_equal(as_audio(tone().astype(np.float64), 16_000).samples, tone())
    assert as_audio(tone()[:, None], 16_000, 8_000).notes == ()
    for x, rate, problem in [
        (np.zeros(0, np.float32), 16_000, "holds no samples"),
        (np.zeros((0, 2), np.float32), 16_000, "holds no samples"),
        (np.zeros((4, 0), np.float32), 16_000, "holds no samples"),
        (np.zeros((100, 16_000), np.float32), 16_000, "neither"),
        (np.zeros((2, 2, 2), np.float32), 16_000, "neither"),
        (np.array([0.0, np.nan]), 16_000, "sample 1 .* NaN"),
        (np.array([1e300]), 16_000, "are in ±1"),
        (np.zeros(9, bool), 16_000, "type bool"),
        (np.zeros(9, complex), 16_000, "type complex"),
        (np.zeros(9, np.float32), 100, "sample rate 100 Hz"),
        (np.zeros(9, np.float32), float("nan"), "sample rate nan Hz"),
        (np.zeros(1, np.float32), 48_000, "too short"),
    ]:
        with pytest.raises(AudioError, match=problem):
            as_audio(x, rate, 4_000, name="array")


def test_audio_info_tells_what_is_in_a_file(write_audio):
    path = write_audio("a.flac", np.zeros((8000, 2)), 16_000)
    assert audio_info(path) == AudioInfo(16_000, 2, 8000, "FLAC PCM_16")
    assert audio_info(path).duration == 0.5
    path.write_text("no audio")
    with pytest.raises(AudioError, match=r"a\.flac: not readable audio"):
        audio_info(path)


def test_find_audio_looks_below_the_folder_in_order(tmp_path):
    for name in ("b.WAV", "a/c.flac", "a/b.opus", "notes.txt", "d.m4a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "a" / "._b.opus").touch()
    failures = []
    found = [str(path.relative_to(tmp_path)) for path in find_audio(tmp_path, failures.append)]
    assert found == ["a/b.opus", "a/c.flac", "b.WAV", "d.m4a"]
    with pytest.raises(AudioError, match="no audio files"):
        find_audio(tmp_path / "folder.wav", failures.append)
    assert not failures


def test_write_wav_clips_what_is_beyond_full_scale(tmp_path):
    write_wav(tmp_path / "new" / "a.wav", np.array([0.0, 0.5, 3.0, -3.0], np.float32), 8000)
    np.testing.assert_allclose(read_audio(tmp_path / "new" / "a.wav").samples, [0, 0.5, 1, -1], atol=1e-4)
    assert soundfile.info(tmp_path / "new" / "a.wav").subtype == "PCM_16"


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_other_containers_are_read_through_ffmpeg(tone, write_audio):
    wav = write_audio("a.wav", tone(440, 16_000, 2.0))
    path = wav.with_suffix(".m4a")
    subprocess.run(["ffmpeg", "-v", "error", "-i", wav, "-c:a", "aac", path], check=True)
    x = read_audio(path).samples
    assert len(x) == pytest.approx(32_000, abs=2048)
    assert np.abs(np.fft.rfft(x[:16_000])).argmax() == 440


def test_other_containers_without_ffmpeg_name_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "a.m4a"
    path.write_bytes(b"\0\0\0 ftypM4A \0\0\0\0M4A mp42isom" + bytes(1000))
    with pytest.raises(AudioError, match=r"a\.m4a: not readable audio .* put an ffmpeg on the PATH"):
        read_audio(path)
    (tmp_path / "ffmpeg").write_text("not a program")
    (tmp_path / "ffmpeg").chmod(0o755)
    with pytest.raises(AudioError, match=r"a\.m4a: not readable audio \(.*ffmpeg does not run: Exec format error"):
        read_audio(path)
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\necho libavcodec.so.60: cannot open shared object file >&2\nexit 127\n")
    with pytest.raises(AudioError, match=r"a\.m4a: not readable audio \(.*ffmpeg: libavcodec\.so\.60: cannot open"):
        read_audio(path)
