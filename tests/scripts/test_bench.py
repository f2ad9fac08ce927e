"""The measurements of `scripts/bench`: what they measure is what they say, and their figures are written whole."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from bench import decoding, scale
from bench.corpus import MADE_UP, write_corpus
from helpers import ROOT

from asr.audio import audio_info, write_wav
from asr.data.manifest import Manifest, Utterance, write_manifest
from asr.errors import ManifestError

BENCH = str(ROOT / "scripts" / "bench")


def bench_data(*arguments):
    command = [sys.executable, BENCH, "data", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def recordings(tmp_path):
    """A manifest of three pieces, two of them of one file."""
    samples = np.linspace(-0.5, 0.5, 16_000, dtype=np.float32)
    for name in ("a.wav", "b.wav"):
        write_wav(tmp_path / name, samples, 8_000)
    places = [("a.wav", 0.0, 2.0), ("a.wav", 0.5, 1.25), ("b.wav", 1.0, 0.5)]
    utterances = [Utterance(str(i), tmp_path / name, d, "é", start=s) for i, (name, s, d) in enumerate(places)]
    write_manifest(tmp_path / "some.jsonl", utterances)
    return tmp_path / "some.jsonl"


def test_figures_of_both_kinds(recordings, tmp_path):
    output = tmp_path / "new" / "b.json"
    done = bench_data("--lines", 400, "--manifest", recordings, "--workers", 1, "--repeat", 1, "--output", output)
    assert done.returncode == 0, done.stderr
    record = json.loads(output.read_text())
    assert record["machine"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    stages = {row["stage"]: row for row in record["scale"]}
    assert list(stages) == ["imports", "load", "shuffle", "start", "split", "check"]
    for row in stages.values():
        assert row["status"] == 0
        assert row["per_100k_s"] == pytest.approx(row["cpu_s"] * 250, abs=0.2)
    if sys.platform != "win32":
        assert stages["start"]["peak_mb"] > stages["load"]["peak_mb"] > 10
    measured = [(row["reader"], row["workers"]) for row in record["decoding"] if "missing" not in row]
    assert {("asr", 0), ("asr", 1), ("soundfile", 0), ("soundfile", 1)} <= set(measured)
    for row in record["decoding"]:
        if "missing" in row:
            assert f"{row['reader']:12}missing".split() in [line.split() for line in done.stdout.splitlines()]
        else:
            assert row["audio_s"] == 3.8
            assert row["audio_per_s"] > 0
            assert (row["ratio"] == 1.0) == (row["reader"] == "soundfile")
    assert "400 lines" in done.stdout


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "m.jsonl: no utterances"),
        ("?\n", "m.jsonl, line 1: not JSON"),
        ('{"audio": "gone.wav", "duration": 1}\n', "gone.wav: No such file"),
    ],
)
def test_what_cannot_be_measured_is_one_line(tmp_path, content, says):
    (tmp_path / "m.jsonl").write_text(content)
    done = bench_data("--lines", 0, "--manifest", tmp_path / "m.jsonl")
    assert done.returncode == 1
    assert says in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_the_manifest_made_up_for_scale_is_like_librispeech(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        scale.write_lines(tmp_path / name, 3000)
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    utterances = list(Manifest(tmp_path / "a.jsonl"))
    assert len({utterance.id for utterance in utterances}) == 3000
    assert 11 < np.mean([utterance.duration for utterance in utterances]) < 13.5
    assert 150 < np.mean([len(utterance.text) for utterance in utterances]) < 220
    assert len({utterance.speaker for utterance in utterances}) > 1000


@pytest.mark.parametrize("stage", ["load", "shuffle", "start", "split", "check"])
def test_a_stage_that_fails_says_so(tmp_path, stage):
    (tmp_path / "train.jsonl").write_text('{"audio": "a"}\n')
    row = scale.run_stage(stage, tmp_path / "train.jsonl", 1)
    assert row["status"] == 1
    assert row["seconds"] is None


def test_recordings_are_made_in_their_formats_and_lengths(tmp_path):
    total = write_corpus(tmp_path, 20.0)
    assert 20 <= total < 40
    for kind in MADE_UP:
        manifest = Manifest(tmp_path / f"{kind}.jsonl")
        assert manifest.durations.sum() == pytest.approx(total)
        for utterance in manifest:
            info = audio_info(utterance.audio)
            assert kind.upper() in info.format
            assert info.duration == pytest.approx(utterance.duration, abs=1e-3)


@pytest.mark.parametrize("peer", list(decoding.PEERS))
def test_every_reader_gives_the_same_samples(recordings, peer):
    try:
        read = decoding.PEERS[peer]()
        read(str(recordings.with_name("a.wav")), 0.0, 2.0)
    except (ImportError, RuntimeError, OSError):
        pytest.skip(f"{peer} is not here")
    manifest = Manifest(recordings)
    batches = list(decoding.own_batches(manifest, [[0], [1], [2]])(0))
    for utterance, batch in zip(manifest, batches, strict=True):
        samples = read(str(utterance.audio), utterance.start, utterance.duration)
        assert samples.dtype == torch.float32
        torch.testing.assert_close(samples, batch.waveforms[0], rtol=0, atol=1e-6)


def test_no_utterances_is_an_error(tmp_path):
    (tmp_path / "none.jsonl").write_text("\n")
    with pytest.raises(ManifestError, match="no utterances"):
        next(decoding.measure(tmp_path / "none.jsonl", (0,), 1))
