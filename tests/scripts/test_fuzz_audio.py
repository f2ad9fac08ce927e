"""The fuzz script at work: a few damaged files, none of which breaks a rule, and a rule that breaks."""

import shutil

import fuzz_audio
import pytest

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")


@pytest.mark.slow
def test_damaged_files_are_read_whole_or_something_is_said():
    ends, broken = fuzz_audio.fuzz(25, seed=1)
    assert broken == []
    assert sum(ends.values()) == 25
    assert len(ends) == 3  # read, with a note, refused


def test_a_file_read_too_short_is_found(tmp_path, write_audio, tone, monkeypatch):
    path = write_audio("a.wav", tone(seconds=2.0))
    assert fuzz_audio.judge(path) == ("read", "")
    short = fuzz_audio.read_audio(path, duration=1.0)
    monkeypatch.setattr(fuzz_audio, "read_audio", lambda _: short)
    assert fuzz_audio.judge(path) == ("read", "1.000 s shorter than ffmpeg's 2.000 s, and nothing said")
