"""Files whose headers are wrong: decoded to their true end, or refused; and their lengths, as an import writes them."""

import io
import shutil
import struct
import subprocess

import numpy as np
import pytest
import soundfile

from asr.audio import as_audio, audio_info, read_audio
from asr.audiofile import _samples_of_mp3
from asr.errors import AudioError, AudioFault

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
RATE = 16_000
SECONDS = 2.0


@pytest.fixture
def voice():
    """(samples,) float32: noise of changing loudness, which codecs of variable rate spend changing bits on."""
    noise = np.random.default_rng(0).standard_normal(int(SECONDS * RATE))
    return (noise * np.linspace(0.2, 0.001, len(noise))).astype(np.float32)


@pytest.fixture
def encode(voice, write_audio):
    """encode("flac", "-c:a", …) -> the bytes of the voice as ffmpeg writes them to a pipe, or (seekable) to a file."""
    wav = write_audio("voice.wav", voice)

    def run(form: str, *options: str, seekable: bool = False) -> bytes:
        target = wav.with_name("encoded") if seekable else "-"
        command = ["ffmpeg", "-v", "error", "-y", "-i", wav, *options, "-f", form, target]
        done = subprocess.run(command, capture_output=True, check=True)
        return target.read_bytes() if seekable else done.stdout

    return run


def same_everywhere(tmp_path, content, seconds, tolerance=0.15):
    """The file and its bytes decode to so many seconds, which is what an import is told."""
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    audio = read_audio(path)
    assert audio.duration == pytest.approx(seconds, abs=tolerance)
    assert read_audio(content).duration == audio.duration
    assert audio_info(path).duration == audio.duration
    return audio


def wav_with_size(content: bytes, size: int) -> bytes:
    place = content.index(b"data") + 4
    return content[:place] + struct.pack("<I", size) + content[place + 4 :]


@needs_ffmpeg
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("mp3", ["-c:a", "libmp3lame", "-q:a", "5"]),  # variable rate, and no Xing header to tell the length
        ("flac", []),
        ("ogg", ["-c:a", "libvorbis"]),
        ("opus", ["-c:a", "libopus"]),
        ("au", []),
        ("caf", ["-c:a", "pcm_s16be"]),
        ("webm", ["-c:a", "libopus"]),
        ("adts", ["-c:a", "aac"]),
        ("wav", ["-c:a", "libmp3lame"]),
    ],
)
def test_what_was_written_into_a_pipe_is_read_whole(form, options, encode, tmp_path):
    same_everywhere(tmp_path, encode(form, *options), SECONDS)


@needs_ffmpeg
@pytest.mark.parametrize(
    "options", [["-ac", "2", "-ar", "44100"], ["-ar", "16000"], ["-ar", "8000", "-q:a", "6"]], ids=str
)
def test_an_mp3_in_a_wav_of_unknown_size_is_read_whole(options, encode, tmp_path):
    content = encode("mp3", *options, seekable=True)
    rate, channels = int(options[options.index("-ar") + 1]), 2 if "-ac" in options else 1
    about = struct.pack("<HHIIHHHHIHHH", 0x55, channels, rate, 8000, 1, 0, 12, 1, 2, 1152, 1, 1393)
    head = b"RIFF\xff\xff\xff\xffWAVEfmt \x1e\0\0\0" + about + b"data\xff\xff\xff\xff"
    same_everywhere(tmp_path, head + content[content.index(b"\xff", 10) :], SECONDS, tolerance=0.2)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_the_frames_of_an_mp3_are_counted(rate, channels, write_audio, tone):
    x = np.tile(tone(440, rate, 1.0)[:, None], channels)
    path = write_audio("a.mp3", x, rate, format="MP3")
    with path.open("rb", buffering=0) as handle:
        frames, one = _samples_of_mp3(handle)
    assert rate < frames < rate + 4 * one
    assert audio_info(path).duration == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_an_mp3_that_is_cut_is_as_long_as_it_is(rate, write_audio, tone):
    path = write_audio("a.mp3", tone(440, rate, 1.0), rate, format="MP3")
    content = path.read_bytes()
    for size in range(len(content) // 2, len(content), 97):
        path.write_bytes(content[:size])
        seconds = audio_info(path).duration
        assert read_audio(path, duration=seconds).duration == pytest.approx(seconds, abs=0.08)


@needs_ffmpeg
@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100])
def test_what_the_header_of_an_mp3_counts_does_not_matter(rate, write_audio, tone):
    path = write_audio("a.mp3", tone(440, rate, 1.0), rate, format="MP3")
    content = path.read_bytes()
    place = next(content.index(name) for name in (b"Xing", b"Info") if name in content)
    for count in (1, 3, 10, 200, 2**20, 2**31 - 1):
        path.write_bytes(content[: place + 8] + struct.pack(">I", count) + content[place + 12 :])
        audio = read_audio(path, duration=audio_info(path).duration)
        assert audio.duration == pytest.approx(1.0, abs=0.1) or audio.notes, count


@needs_ffmpeg
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("mp3", ["-c:a", "libmp3lame", "-q:a", "5"]),
        ("mp3", ["-c:a", "libmp3lame", "-b:a", "64k", "-write_xing", "0"]),
        ("flac", []),
        ("ogg", ["-c:a", "libvorbis"]),
        ("opus", ["-c:a", "libopus"]),
        ("wav", []),
    ],
    ids=str,
)
def test_joined_files_are_read_to_the_last(form, options, encode, tmp_path):
    content = encode(form, *options, seekable=True)
    tolerance = 0.5 if form == "flac" else 0.2  # at a seam ffmpeg loses a block of flac
    for between in (b"", bytes(3000)):
        same_everywhere(tmp_path, content + between + content, 2 * SECONDS, tolerance)


@needs_ffmpeg
@pytest.mark.parametrize("size", [0, 2, 4000, 40_001])
@pytest.mark.parametrize("more", [b"", b"LIST\x04\0\0\0abcd"])
def test_a_wav_that_holds_more_than_its_header_says(size, more, voice, write_audio, tmp_path):
    content = wav_with_size(write_audio("a.wav", voice).read_bytes(), size) + more
    audio = same_everywhere(tmp_path, content, SECONDS, tolerance=0.001)
    np.testing.assert_allclose(audio.samples[: len(voice)], voice, atol=1e-4)
    if size:
        assert f"ends at {size // 2 / RATE:.3f} s, but" in audio.notes[0]


@pytest.mark.parametrize(
    ("form", "name", "layout"), [("WAV", b"data", "<I"), ("AIFF", b"SSND", ">I"), ("CAF", b"data", ">q")]
)
def test_without_ffmpeg_what_is_left_unread_is_an_error(form, name, layout, voice, write_audio, monkeypatch):
    monkeypatch.setenv("PATH", "")
    path = write_audio("a.bin", voice, format=form)
    content = path.read_bytes()
    place = content.index(name) + 4
    path.write_bytes(content[:place] + struct.pack(layout, 4008) + content[place + struct.calcsize(layout) :])
    for read in (read_audio, audio_info):
        with pytest.raises(AudioError, match=r"a\.bin: by its header it ends at 0\.12. s, but \d+ bytes lie behind"):
            read(path)


def test_what_lies_behind_the_audio_is_told_from_audio(voice, write_audio, monkeypatch):
    """Chunks, tags and padding: read without ffmpeg, without a note."""
    monkeypatch.setenv("PATH", "")
    art = bytes(range(256)) * 20
    id3 = b"TAG" + b"x" * 125
    ape = art + b"APETAGEX" + struct.pack("<4I", 2000, len(art) + 32, 1, 0) + bytes(8)
    for form, more in [
        ("WAV", b"LIST" + struct.pack("<I", len(art)) + art),
        ("WAV", b"LIST\x03\0\0\0abc\0id3 \x03\0\0\0abcbext\x04\0\0\0abcd" + b"cue " + struct.pack("<I", 5120) + art),
        ("WAV", bytes(5000)),
        ("AIFF", b"ID3 " + struct.pack(">I", len(art)) + art),
        ("CAF", b"info" + struct.pack(">q", len(art)) + art),
        ("MP3", id3),
        ("MP3", ape + id3),
        ("MP3", bytes(5000)),
        ("FLAC", id3),
    ]:
        path = write_audio("a.bin", voice, format=form)
        path.write_bytes(path.read_bytes() + more)
        audio = read_audio(path)
        assert audio.notes == ()
        assert audio.duration == audio_info(path).duration == pytest.approx(SECONDS, abs=0.001)


@needs_ffmpeg
@pytest.mark.parametrize("form", ["MP3", "FLAC", "OGG"])
def test_junk_behind_a_stream_is_a_note(form, voice, write_audio):
    path = write_audio("a.bin", voice, format=form)
    path.write_bytes(path.read_bytes() + b"some other bytes" * 20)
    audio = read_audio(path)
    assert audio.duration == pytest.approx(SECONDS, abs=0.1)
    assert (form == "MP3") == bool(audio.notes)  # decoders of the others read beyond their end


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_one_tolerance_for_durations_of_all_codecs(form, rate, write_audio, tone):
    path = write_audio("a.bin", tone(440, rate, 1.0), rate, format=form)
    seconds = audio_info(path).duration
    assert read_audio(path, duration=seconds + 0.2).duration == read_audio(path).duration == seconds
    with pytest.raises(AudioError, match=r"asked for 0\.000 to 1\.\d+ s, but it ends at 1\.\d+ s") as caught:
        read_audio(path, duration=seconds + 0.3)
    assert caught.value.fault is AudioFault.TOO_SHORT


@needs_ffmpeg
@pytest.mark.parametrize(("form", "options"), [("mp3", []), ("mp3", ["-ar", "8000"]), ("ipod", []), ("webm", [])])
def test_the_durations_of_ffprobe_can_be_read(form, options, encode, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(encode(form, *options, seekable=True))
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", path]
    said = float(subprocess.run(command, capture_output=True, check=True).stdout)
    assert read_audio(path, duration=said).duration == pytest.approx(SECONDS, abs=0.1)


def test_a_part_behind_the_end_that_the_header_claims(voice, write_audio):
    path = write_audio("a.ogg", voice, format="OGG")
    path.write_bytes(path.read_bytes() * 2)
    if shutil.which("ffmpeg"):
        part = read_audio(path, start=SECONDS + 0.5, duration=1.0)
        np.testing.assert_array_equal(part.samples, read_audio(path).samples[5 * RATE // 2 :][:RATE])
    else:
        with pytest.raises(AudioError, match="put an ffmpeg on the PATH"):
            read_audio(path, start=SECONDS + 0.5, duration=1.0)


@pytest.mark.parametrize(
    "gains", [(1, -1), (1, -0.8), (-0.9, 1), (1, -1, 1, -1), (1, -0.5, -0.5)], ids=lambda v: str(v)
)
def test_channels_that_cancel_each_other_are_not_mixed(gains, voice, write_audio):
    x = voice[:, None] * np.array(gains, np.float32)
    loudest = x[:, int(np.abs(gains).argmax())]
    for audio in (read_audio(write_audio("a.wav", x, subtype="FLOAT")), as_audio(x, RATE)):
        np.testing.assert_allclose(audio.samples, loudest, atol=1e-7)
        assert audio.notes == (f"its {len(gains)} channels cancel each other: the loudest alone is used there",)
    quiet = read_audio(write_audio("a.wav", x, subtype="FLOAT"), channel=1)
    np.testing.assert_array_equal(quiet.samples, x[:, 1])


def test_channels_that_cancel_for_a_while(voice, write_audio):
    x = np.stack([voice, voice], 1)
    x[RATE:, 1] *= -1
    audio = read_audio(write_audio("a.wav", x, subtype="FLOAT"))
    np.testing.assert_allclose(audio.samples, voice, atol=1e-7)
    assert audio.notes == ("its 2 channels cancel each other in 50% of it: the loudest alone is used there",)


def test_channels_of_different_speakers_are_mixed(voice):
    rng = np.random.default_rng(1)
    for channels in (2, 8, 64):
        x = 0.1 * rng.standard_normal((RATE, channels)).astype(np.float32)
        np.testing.assert_allclose(as_audio(x, RATE).samples, x.mean(axis=1), atol=1e-7)
        alone = np.zeros((RATE, channels), np.float32)  # one of them speaks, the others are silent
        alone[:, 0] = voice[:RATE]
        np.testing.assert_allclose(as_audio(alone, RATE).samples, alone.mean(axis=1), atol=1e-7)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_raw_samples_are_read_at_the_rate_that_is_stated(rate, tone, tmp_path):
    x = tone(440, rate, 1.0)
    content = np.round(x * 32767).astype("<i2").tobytes()
    (tmp_path / "a.raw").write_bytes(content + b"\0")
    for source in (tmp_path / "a.raw", content, io.BytesIO(content)):
        audio = read_audio(source, raw_rate=rate)
        assert (audio.sample_rate, len(audio.samples), audio.notes) == (rate, rate, ())
        np.testing.assert_allclose(audio.samples, x, atol=1e-4)
    with pytest.raises(AudioError, match=r"audio data: not readable audio .*raw 16-bit samples need --raw"):
        read_audio(content)
    with pytest.raises(AudioError, match="sample rate 100 Hz"):
        read_audio(content, raw_rate=100)


def test_errors_of_a_stream_carry_its_name():
    for content, problem in [(b"", r"is empty \(0 bytes\)"), (b"no audio" * 99, "not readable audio")]:
        with pytest.raises(AudioError, match=f"^stdin: {problem}"):
            read_audio(io.BytesIO(content), name="stdin")


def test_write_and_read_of_lengths_by_soundfile_agree(voice, write_audio):
    """What libsndfile writes is healthy: its header is believed, and no file is decoded twice."""
    for form, subtype in [("WAV", "PCM_16"), ("RF64", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "OPUS"), ("W64", "PCM_16")]:
        path = write_audio("a.bin", voice, format=form, subtype=subtype)
        assert audio_info(path).frames == soundfile.info(path).frames == len(read_audio(path).samples)
