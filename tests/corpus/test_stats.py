"""What a corpus holds, counted from its manifest; audio is not decoded."""

import json

import numpy as np
import pytest
import soundfile
from helpers.command_line import asr_process

from asr.cli.tables import format_stats
from asr.corpus.stats import bins, collect, write_png
from asr.errors import ManifestError


@pytest.fixture
def manifest(tmp_path, tone):
    """Four utterances of two speakers, one without text; two of them in real files."""
    soundfile.write(tmp_path / "a.wav", tone(rate=8000), 8000)
    soundfile.write(tmp_path / "b.flac", tone(rate=16000), 16000)
    lines = [
        {"id": "1", "audio": "a.wav", "duration": 1.0, "text": "one  two", "speaker": "ann"},
        {"id": "2", "audio": "b.flac", "duration": 2.0, "text": "three", "speaker": "bob"},
        {"id": "3", "audio": "c.flac", "duration": 4.0, "text": "four", "speaker": "bob"},
        {"id": "4", "audio": "d", "duration": 1.0},
    ]
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_counts(manifest):
    stats = collect([manifest])
    assert stats.durations.tolist() == [1, 2, 4, 1]
    assert stats.lengths.tolist() == [7, 5, 4]  # white space made single
    assert stats.paces.tolist() == [7, 2.5, 1]
    assert stats.words == 4
    assert stats.symbols["e"] == 3
    assert stats.speaker_s == {"ann": 1, "bob": 6}
    assert stats.suffixes == {"wav": 1, "flac": 2, "no suffix": 1}
    assert stats.rates == {"8000 Hz mono": 1, "16000 Hz mono": 1, "unreadable": 2}
    assert dict(stats.rows())["without text"] == "1"


def test_several_manifests_are_one_corpus(manifest, tmp_path):
    (tmp_path / "n.jsonl").write_text('{"audio": "a.wav", "duration": 1, "speaker": "ann", "text": "one"}\n')
    stats = collect([manifest, tmp_path / "n.jsonl"])
    assert len(stats.durations) == 5
    assert stats.speaker_s == {"ann": 2, "bob": 6}


def test_headers_are_read_of_a_few_files_spread_over_all(tmp_path, tone):
    soundfile.write(tmp_path / "a.wav", tone(rate=8000, seconds=0.1), 8000)
    soundfile.write(tmp_path / "z.wav", tone(rate=16000, seconds=0.1), 16000)
    lines = [f'{{"audio": "{"a" if i < 500 else "z"}.wav", "duration": 0.1}}\n' for i in range(1000)]
    (tmp_path / "m.jsonl").write_text("".join(lines))
    rates = collect([tmp_path / "m.jsonl"]).rates
    assert rates.total() <= 100
    assert rates["8000 Hz mono"] == pytest.approx(rates["16000 Hz mono"], abs=1)


def test_bins_hold_every_value():
    rng = np.random.default_rng(0)
    for values in (rng.gamma(3, 2, 1000), np.array([0.0]), np.array([5.0] * 9), np.array([1.0] * 999 + [1e6])):
        shown = bins(values)
        assert sum(count for _, count in shown) == len(values)
        assert len(shown) <= 16
    assert bins(np.array([1.0] * 999 + [1e6]))[-1] == ("1.1 and more", 1)
    assert bins(np.array([14.2, 14.9, 15.1, 27.9]))[0] == ("14 to 16", 3)


def test_the_text_for_people(manifest):
    text = format_stats(collect([manifest]))
    assert "hours by speaker         min 0.000, median 0.001, max 0.002 h" in text
    durations = text.partition("duration, s\n")[2].partition("\n\n")[0]
    assert [len(line.split()[-1]) for line in durations.splitlines() if "#" in line] == [50, 25, 25]


def test_the_picture_is_a_png(manifest, tmp_path):
    write_png(collect([manifest]), tmp_path / "new" / "h.png")
    assert (tmp_path / "new" / "h.png").read_bytes().startswith(b"\x89PNG")
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_what_cannot_be_read_is_named(tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"audio": "a", "duration": 1}\n{"audio": "b"}\n')
    (tmp_path / "empty.jsonl").write_text("\n")
    for name, problem in [("bad.jsonl", "line 2: no 'duration'"), ("empty.jsonl", "no utterances"), (".", "directory")]:
        with pytest.raises(ManifestError, match=problem):
            collect([tmp_path / name])


def test_the_command(manifest, tmp_path):
    done = asr_process("data", "stats", manifest, "--png", tmp_path / "h.png")
    assert done.returncode == 0, done.stderr
    assert "utterances               4" in done.stdout
    assert (tmp_path / "h.png").exists()
