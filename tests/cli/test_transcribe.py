"""The command line as a user meets it: exit statuses, one clear line for what is wrong."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from helpers import ROOT
from helpers.command_line import asr, asr_process
from typer.testing import CliRunner

from asr.audio import write_wav
from asr.cli.main import app
from asr.data.manifest import Utterance, write_manifest
from asr.model.folder import save_model
from asr.writers import SUFFIXES

RATE = 8000
HEART = ROOT / "data/samples/heart_16k.flac"


@pytest.fixture(scope="session")
def model(tmp_path_factory, untrained) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(untrained, folder)
    return folder


def speech(seconds=0.6, rate=RATE, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate))).astype(np.float32)


@pytest.fixture
def bad_files(tmp_path):
    """name -> (path, what the one line must say; None where a right result is expected)"""
    folder = tmp_path / "bad"
    folder.mkdir()
    write_wav(folder / "good.wav", speech(), RATE)
    (folder / "empty.wav").write_bytes(b"")
    (folder / "text.wav").write_text("this is not audio\n" * 20)
    soundfile.write(folder / "cut.flac", speech(3), RATE)
    (folder / "cut.flac").write_bytes((folder / "cut.flac").read_bytes()[:9000])
    soundfile.write(folder / "none.wav", np.zeros(0), RATE)
    nan = speech()
    nan[1000] = np.nan
    soundfile.write(folder / "nan.wav", nan, RATE, subtype="FLOAT")
    (folder / "header.wav").write_bytes((folder / "good.wav").read_bytes()[:44])
    soundfile.write(folder / "slow.wav", speech(rate=100, seconds=9), 100)
    soundfile.write(folder / "seven.wav", np.stack([speech(seed=s) for s in range(7)], axis=1), RATE)
    return folder, {
        "good.wav": None,
        "seven.wav": None,
        "empty.wav": "empty",
        "text.wav": "not readable audio",
        "cut.flac": "cut",
        "none.wav": "no samples",
        "nan.wav": "sample 1000 (at 0.125 s) is NaN",
        "header.wav": "no samples",
        "slow.wav": "100 Hz",
        "missing.wav": "No such file",
    }


def test_bad_input_is_one_line_each_and_the_rest_is_done(bad_files, model):
    folder, expected = bad_files
    done = asr_process("transcribe", "--model", model, *[folder / name for name in expected])
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == sum(word is not None for word in expected.values())
    for name, word in expected.items():
        if word is None:
            assert any(line.startswith(f"{folder / name}\t") for line in done.stdout.splitlines()), name
        else:
            [line] = [line for line in errors if name in line]
            assert word in line
    assert "seven.wav: 7 channels averaged to one" in done.stderr
    assert done.stderr.splitlines()[-1] == "8 of 10 failed"


@pytest.mark.parametrize("name", ["empty.wav", "text.wav", "cut.flac", "nan.wav", "slow.wav", "missing.wav"])
def test_a_single_bad_file_fails(bad_files, model, name):
    done = asr("transcribe", "--model", model, bad_files[0] / name)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


def test_folder_without_audio(tmp_path, model):
    done = asr("transcribe", "--model", model, tmp_path)
    assert done.returncode == 1
    assert "no audio files in this folder" in done.stderr


def test_one_file_gives_its_text_alone(tmp_path, model):
    write_wav(tmp_path / "a.wav", speech(), RATE)
    alone = asr("transcribe", "--model", model, tmp_path / "a.wav")
    stdin = asr_process("transcribe", "--model", model, "-", stdin=(tmp_path / "a.wav").read_bytes())
    assert alone.returncode == stdin.returncode == 0
    assert alone.stdout == stdin.stdout
    assert len(alone.stdout.splitlines()) == 1


def test_a_folder_of_one_is_printed_like_a_folder_of_two(tmp_path, model):
    def printed(*arguments):
        done = CliRunner().invoke(app, ["transcribe", "--model", str(model), *map(str, arguments)])
        assert done.exit_code == 0, done.output
        return done.stdout.splitlines()

    folder = tmp_path / "in"
    write_wav(folder / "a.wav", speech(), RATE)
    [line] = printed(folder)
    assert line.startswith(f"{folder}/a.wav\t")
    write_manifest(tmp_path / "list.jsonl", [Utterance("u", folder / "a.wav", 0.6)])
    assert printed(tmp_path / "list.jsonl")[0].startswith("u\t")
    for name in (b"line\nbreak.wav", b"no\xffutf8.wav"):
        shutil.copy(folder / "a.wav", folder / os.fsdecode(name))
    names = [line.split("\t")[0] for line in printed(folder)]
    assert names == [f"{folder}/{name}" for name in ("a.wav", r"line\nbreak.wav", r"no\udcffutf8.wav")]
    named = [json.loads(line)["audio"] for line in printed("--format", "json", folder)]
    assert named == [str(folder / os.fsdecode(name)) for name in (b"a.wav", b"line\nbreak.wav", b"no\xffutf8.wav")]


def test_stdin_is_read_like_a_file(tmp_path, model):
    """What only ffmpeg reads, a header that claims nothing, raw samples; and errors that name stdin."""
    write_wav(tmp_path / "a.wav", speech(), RATE)
    (tmp_path / "a.raw").write_bytes((speech() * 32767).astype("<i2").tobytes())
    raw = asr("transcribe", "--model", model, "--raw", RATE, tmp_path / "a.raw")
    piped = asr("transcribe", "--model", model, "--raw", RATE, "-", stdin=(tmp_path / "a.raw").read_bytes())
    assert (raw.returncode, piped.returncode, raw.stdout) == (0, 0, piped.stdout), raw.stderr + piped.stderr
    no_rate = asr("transcribe", "--model", model, "-", stdin=(tmp_path / "a.raw").read_bytes())
    assert no_rate.returncode == 1
    assert "error: stdin: not readable audio" in no_rate.stderr
    assert "raw 16-bit samples need --raw" in no_rate.stderr
    if shutil.which("ffmpeg"):
        subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", tmp_path / "a.m4a"], check=True)
        named = asr("transcribe", "--model", model, tmp_path / "a.m4a")
        stdin = asr("transcribe", "--model", model, "-", stdin=(tmp_path / "a.m4a").read_bytes())
        assert (named.returncode, stdin.returncode, named.stdout) == (0, 0, stdin.stdout), named.stderr + stdin.stderr


def test_all_formats_are_written_and_say_the_same(tmp_path, model):
    for name in "ab":
        write_wav(tmp_path / "in" / f"{name}.wav", speech(seed=ord(name)), RATE)
    done = asr("transcribe", "--model", model, "--format", "all", "--output-dir", tmp_path / "out", tmp_path / "in")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == sorted(f"{name}{suffix}" for name in "ab" for suffix in SUFFIXES.values())
    said = (tmp_path / "out" / "a.txt").read_text().split()
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    assert [word["text"] for segment in record["segments"] for word in segment["words"]] == said
    rows = [line.split() for line in (tmp_path / "out" / "a.ctm").read_text().splitlines() if line]
    assert [(row[0], row[4]) for row in rows] == [("a", word) for word in said]
    alone = asr("transcribe", "--model", model, "--format", "vtt", tmp_path / "in" / "a.wav")
    assert alone.stdout == (tmp_path / "out" / "a.vtt").read_text()
    assert " ".join(re.findall(r"-->.*\n(.*)", alone.stdout)).split() == said


def test_json_has_words_with_times_and_confidences(tmp_path, model):
    soundfile.write(tmp_path / "a.flac", speech(2, rate=22050), 22050)
    done = asr("transcribe", "--model", model, "--format", "json", tmp_path / "a.flac")
    result = json.loads(done.stdout)
    assert result["audio"] == str(tmp_path / "a.flac")
    assert result["duration"] == pytest.approx(2.0, abs=0.001)
    words = [word for segment in result["segments"] for word in segment["words"]]
    assert " ".join(word["text"] for word in words) == result["text"]
    for word in words:
        assert 0 <= word["start"] < word["end"] <= 2.0
        assert 0 <= word["confidence"] <= 1


def test_manifest_and_output_dir(tmp_path, model):
    write_wav(tmp_path / "long.wav", speech(3), RATE)
    utterances = [Utterance(f"u{i}", tmp_path / "long.wav", 0.5, start=i * 0.5) for i in range(4)]
    write_manifest(tmp_path / "list.json", utterances)
    done = asr("transcribe", "--model", model, "--output-dir", tmp_path / "out", tmp_path / "list.json")
    assert (done.returncode, done.stdout) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"u{i}.txt" for i in range(4)]


def test_ids_cannot_write_outside_the_output_folder(tmp_path, model):
    write_wav(tmp_path / "a.wav", speech(), RATE)
    ids = ["../../evil", "list.jsonl/../../../evil", "/etc/evil", "s1.001", "s1.002", ".."]
    write_manifest(tmp_path / "list.jsonl", [Utterance(i, tmp_path / "a.wav", 0.5) for i in ids])
    out = tmp_path / "deep" / "out"
    done = asr("transcribe", "--model", model, "--output-dir", out, tmp_path / "list.jsonl")
    assert done.returncode == 0, done.stderr
    made = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.txt")}
    assert len(made) == len(ids)
    assert all(name.startswith("deep/out/") for name in made)
    assert {"deep/out/s1.001.txt", "deep/out/s1.002.txt"} <= made


def test_output_keeps_a_folders_tree_and_loses_no_name(tmp_path, model):
    for name in ("in/x/a.wav", "in/y/a.wav"):
        write_wav(tmp_path / name, speech(), RATE)
    soundfile.write(tmp_path / "in/x/a.flac", speech(), RATE)
    asr("transcribe", "--model", model, "--output-dir", tmp_path / "out", tmp_path / "in")
    made = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.txt"))
    assert made == ["x/a.2.txt", "x/a.txt", "y/a.txt"]


def test_evaluate_writes_what_it_promises(tmp_path, model):
    utterances = []
    for i, text in enumerate(["ab b", "a", "b b"]):
        write_wav(tmp_path / f"{i}.wav", speech(seed=i), RATE)
        utterances.append(Utterance(f"{i}", tmp_path / f"{i}.wav", 0.6, text, speaker="s(1)"))
    write_manifest(tmp_path / "m.jsonl", utterances)
    out = tmp_path / "eval"
    done = asr("evaluate", "--model", model, tmp_path / "m.jsonl", "--output-dir", out, "--expect", "0.5")
    assert done.returncode == 0, done.stderr
    assert "expected" in done.stdout
    record = json.loads((out / "wer.json").read_text())
    for key in [
        "format",
        "wer",
        "cer",
        "ser",
        "hits",
        "substitutions",
        "deletions",
        "insertions",
        "words",
        "utterances",
        "wer_ci95",
        "ci_method",
        "ci_unit",
        "rtf",
        "normalizer",
        "decoder",
        "model",
        "manifest",
        "manifest_sha256",
        "seed",
        "device",
        "asr_version",
    ]:
        assert key in record, key
    assert record["words"] == 5
    assert record["hits"] + record["substitutions"] + record["deletions"] == 5
    references = (out / "ref.trn").read_text().splitlines()
    assert references == ["ab b (s.1.-0)", "a (s.1.-1)", "b b (s.1.-2)"]
    assert len((out / "hyp.trn").read_text().splitlines()) == 3
    again = asr("evaluate", "--model", model, tmp_path / "m.jsonl", "--output-dir", out)
    assert "already evaluated" in again.stderr
    (tmp_path / "1.wav").unlink()
    broken = asr("evaluate", "--model", model, tmp_path / "m.jsonl")
    assert broken.returncode == 1
    assert "1 of 3 utterances could not be read" in broken.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["transcribe"], 2, "Missing argument"),
        (["transcribe", "x.wav", "--format", "docx"], 2, "'docx' is not one of"),
        (["transcribe", HEART, "--format", "all"], 2, "name a folder"),
        (["transcribe", HEART, HEART, "--format", "vtt"], 2, "vtt is one recording a file"),
        (["frobnicate"], 2, "No such command"),
        (["transcribe", "--model", "nope", "x.wav"], 1, "neither a model folder"),
        (["train", "nope.yaml"], 1, "nope.yaml: No such file"),
        (["data", "prepare", "nope"], 1, "no recipe"),
        (["--version"], 0, ""),
    ],
)
def test_usage(arguments, status, says):
    done = asr_process(*arguments)
    assert done.returncode == status
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_the_traceback():
    assert "Traceback" in asr_process("--debug", "train", "nope.yaml").stderr


def commands(group, *above):
    """The words of every command there is."""
    for name, command in group.commands.items():
        words = (*above, name)
        yield from commands(command, *words) if hasattr(command, "commands") else [" ".join(words)]


COMMANDS = list(commands(typer.main.get_command(app)))


def test_there_are_all_the_commands():
    assert len(COMMANDS) == len(set(COMMANDS)) >= 20


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_in_its_help(command):
    done = asr(*command.split(), "--help")
    assert done.returncode == 0
    assert f"asr {command}" in done.stdout.split("Examples:")[1]


def test_help_imports_neither_torch_nor_numpy():
    heavy = "('torch', 'numpy', 'soundfile', 'pydantic_core')"
    code = f"import sys, asr.cli.main; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_info_names_versions_and_model(model):
    done = asr("info", "--model", model)
    assert done.returncode == 0
    for word in ("torch ", "torchaudio ", "cuda ", "encoder ", "n_mels=", "| parameters |"):
        assert word in done.stdout
