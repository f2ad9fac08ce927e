"""The comparison of recognizers: our own part of it, from recordings to the table."""

import json
import re
import subprocess
import sys

import numpy as np
from bench_peers import moonshine_tokens, read_audio, read_manifest, spelled
from helpers import ROOT

from asr.audio import write_wav

SAMPLES = ROOT / "data" / "samples" / "samples.jsonl"


def bench_peers(*arguments):
    command = [sys.executable, str(ROOT / "scripts" / "bench_peers.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_recordings_become_a_table(tmp_path):
    done = bench_peers("asr", SAMPLES, "--output", tmp_path, "--model", "digits", "--most", 3)
    assert done.returncode == 0, done.stderr
    heard = [json.loads(line) for line in (tmp_path / "asr-digits.jsonl").read_text().splitlines()]
    assert [line["id"] for line in heard] == ["rms_8k", "heart_16k", "kumo_stereo"]
    assert all(line["cpu_s"] > 0 for line in heard)
    worse = [line | {"system": "another", "text": line["text"].replace("zero", "Oh,"), "cpu_s": 10} for line in heard]
    (tmp_path / "another.jsonl").write_text("".join(json.dumps(line) + "\n" for line in worse))
    done = bench_peers("compare", SAMPLES, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    _, _, another, own = (re.split(" *[|] *", line)[1:-1] for line in done.stdout.splitlines())
    assert another[:2] == ["another", "15.8%"]  # 3 of 19
    assert another[3] == "2.989"  # 30 / 10.04
    assert own[:2] == ["asr digits", "0.0%"]
    assert float(own[4]) > 1


def test_only_the_same_utterances_are_compared(tmp_path):
    line = {"id": "rms_8k", "text": "zero", "cpu_s": 1, "audio_s": 1, "system": "a", "megabytes": 1}
    (tmp_path / "a.jsonl").write_text(json.dumps(line))
    (tmp_path / "b.jsonl").write_text(json.dumps(line | {"id": "heart_16k"}))
    done = bench_peers("compare", SAMPLES, "--output", tmp_path)
    assert done.returncode == 1
    assert "b.jsonl is of other utterances" in done.stderr
    assert "Traceback" not in done.stderr


def test_words_heard_where_nothing_is_said_are_counted(tmp_path):
    (tmp_path / "m.jsonl").write_text('{"id": "hum", "audio": "hum.wav", "duration": 1, "text": ""}')
    line = {"id": "hum", "text": "and then", "cpu_s": 1, "audio_s": 1, "system": "a", "megabytes": 1}
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "a.jsonl").write_text(json.dumps(line))
    done = bench_peers("compare", tmp_path / "m.jsonl", "--output", tmp_path / "bench")
    assert "| a | 2 words |" in done.stdout


def test_utterances_are_taken_evenly(tmp_path):
    lines = [{"id": f"{speaker}{i}", "speaker": speaker} for speaker in "ab" for i in range(3)]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [line["id"] for line in read_manifest(tmp_path / "m.jsonl", 4)] == ["a0", "a1", "b0", "b1"]
    assert read_manifest(tmp_path / "m.jsonl", None) == lines


def test_a_part_of_a_file_is_read_at_16_khz(tmp_path):
    write_wav(tmp_path / "a.wav", np.concatenate([np.zeros(8000), np.full(8000, 0.5)]), 8000)
    line = {"audio": "a.wav", "start": 1.25, "duration": 0.5}
    samples = read_audio(tmp_path / "m.jsonl", line)
    assert samples.shape == (8000,)
    assert samples.dtype == np.float32
    np.testing.assert_allclose(samples[2000:6000], 0.5, atol=0.01)


def test_abbreviations_are_words():
    assert spelled("Mr. Lee and Mrs Day met Dr. St. John; a mister Drew") == (
        "mister Lee and missus Day met doctor saint John; a mister Drew"
    )


def test_a_token_may_be_long():
    long = b"x" * 300
    assert moonshine_tokens(b"\x01a" + bytes([128 + 300 % 128, 300 // 128]) + long + b"\x00\x01b") == [
        b"a",
        long,
        b"",
        b"b",
    ]
