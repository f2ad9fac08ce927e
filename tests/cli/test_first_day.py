"""What goes wrong on the first day: said before torch is loaded, by its own name, with what to do."""

import os
import subprocess
import sys

import pytest
from helpers import ROOT
from typer.testing import CliRunner

from asr.cli.main import app
from asr.corpus.recipe import prepare
from asr.errors import AsrError

# Runs a command and tells whether torch was loaded by then.
PROBE = """
import sys
from asr.__main__ import main
sys.argv = ["asr", *sys.argv[1:]]
try:
    main()
finally:
    print("torch" in sys.modules)
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.wav").write_bytes((ROOT / "data" / "samples" / "rms_8k.wav").read_bytes())
    (tmp_path / "a.jsonl").write_text('{"audio": "a.wav", "duration": 1, "text": "one"}\n')
    (tmp_path / "lm").mkdir()
    (tmp_path / "c.yaml").write_text("data: {train: a.jsonl, dev: a.jsonl}\n")
    return tmp_path


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("transcribe gone.wav", "gone.wav"),
        ("transcribe gone1.wav gone2.jsonl", "gone1.wav"),
        ("transcribe --model gone a.wav", "gone"),
        ("transcribe --lm gone a.wav", "gone"),
        ("transcribe --hotword @gone a.wav", "gone"),
        ("transcribe --output-dir a.jsonl a.wav", "--output-dir"),
        ("transcribe --device gpu a.wav", "device 'gpu'"),
        ("align gone.wav one", "gone.wav"),
        ("align --model gone a.wav one", "gone"),
        ("align --output-dir a.jsonl a.wav one", "--output-dir"),
        ("inspect gone.wav", "gone.wav"),
        ("inspect --model gone a.wav", "gone"),
        ("evaluate gone.jsonl", "gone.jsonl"),
        ("evaluate --model gone a.jsonl", "gone"),
        ("evaluate --output-dir a.jsonl a.jsonl", "--output-dir"),
        ("train gone.yaml", "gone.yaml"),
        ("train c.yaml data.train=gone.jsonl", "gone.jsonl: no such file (data.train)"),
        ("train c.yaml data.dev=gone.jsonl --dry-run", "gone.jsonl: no such file (data.dev)"),
        ("train c.yaml train.init=gone", "gone"),
        ("train c.yaml augment.noise.manifest=gone.jsonl", "gone.jsonl"),
        ("train c.yaml run=a.jsonl", "a.jsonl: is a file"),
        ("train c.yaml device=gpu", "device 'gpu'"),
        ("make-model gone.pt new", "gone.pt"),
        ("info --model gone", "gone"),
        ("lm train gone.txt --output new", "gone.txt"),
        ("lm convert gone --output new", "gone"),
        ("lm tune gone a.jsonl --model digits", "gone"),
        ("lm tune lm gone.jsonl --model digits", "gone.jsonl"),
        ("lm tune lm a.jsonl --model gone", "gone"),
        ("data check gone.jsonl", "gone.jsonl"),
        ("data check a.jsonl --model gone", "gone"),
    ],
)
def test_what_is_missing_is_said_before_torch_is_loaded(here, command, named):
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *command.split()],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "False\n"), done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert named in line


def test_one_missing_recording_does_not_stop_the_others(here):
    done = CliRunner().invoke(app, ["transcribe", "--model", "digits", "gone.wav", "a.wav"])
    assert (done.exit_code, done.stdout) == (1, "a.wav\tzero eight zero zero three two one\n")


@pytest.mark.parametrize(
    "command", ["transcribe gone.wav", "transcribe gone.wav a.wav", "data check gone.jsonl", "lm train gone.txt -o new"]
)
def test_debug_always_shows_a_traceback(here, command):
    for debug in ([], ["--debug"]):
        done = CliRunner().invoke(app, [*debug, *command.split()])
        assert ("Traceback (most recent call last)" in done.stderr) == bool(debug)
        assert "error: gone." in done.stderr
        assert done.exit_code == 1


def test_messages_of_devices_fit_flag_and_setting(here):
    for command in (["transcribe", "--device", "cuda:99", "a.wav"], ["train", "c.yaml", "device=cuda:99"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 1
        assert "error: device 'cuda:99': " in done.stderr
        assert "device=" not in done.stderr


def test_an_unfinished_run_names_what_to_do(here):
    (here / "run" / "checkpoints").mkdir(parents=True)
    done = CliRunner().invoke(app, ["transcribe", "--model", "run", "a.wav"])
    assert "repeat its asr train command to continue" in done.stderr
    assert "make-model" not in done.stderr  # there is no checkpoint yet
    for name in ("last.pt", "best.pt"):
        (here / "run" / "checkpoints" / name).touch()
        done = CliRunner().invoke(app, ["transcribe", "--model", "run", "a.wav"])
        assert f"asr make-model run/checkpoints/{name} FOLDER" in done.stderr


# --- one's own recipe

GOOD = """
ARCHIVES = []


def utterances(corpus, made):
    yield "train", None
"""


@pytest.mark.parametrize(
    ("source", "named"),
    [
        (GOOD.replace("yield", "yield 1 / 0,"), "ZeroDivisionError"),
        (GOOD.replace('yield "train", None', 'return open_table(corpus)'), "NameError: name 'open_table'"),
        (GOOD.replace("ARCHIVES = []", "import nothing_of_that_name"), "ModuleNotFoundError"),
        (GOOD.replace("def", "dfe"), "SyntaxError"),
        (GOOD.replace('yield "train", None', "return None"), "must yield (part, Utterance)"),
        (GOOD.replace('yield "train", None', 'yield "train"'), "must yield (part, Utterance)"),
        (GOOD, "must yield (part, Utterance)"),
    ],
)  # fmt: skip
def test_a_bug_in_prepare_py_shows_its_own_traceback(tmp_path, source, named):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "prepare.py").write_text(source)
    (tmp_path / "corpus").mkdir()
    done = CliRunner().invoke(
        app,
        ["data", "prepare", str(tmp_path / "mine"), "--data", str(tmp_path), "--from", str(tmp_path / "corpus")],
    )
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {tmp_path / 'mine' / 'prepare.py'}: does not run")
    assert named in done.stderr
    assert "typer" not in done.stderr
    assert "console.py" not in done.stderr


def test_without_a_network_the_remedies_are_named(tmp_path):
    (tmp_path / "mine").mkdir()
    archive = 'from asr.corpus.download import Archive\nARCHIVES = [Archive("mine/a.tar.gz")]\n'
    (tmp_path / "mine" / "prepare.py").write_text(archive + GOOD.replace("ARCHIVES = []", ""))
    with pytest.raises(
        AsrError, match=r"MIRROR=FOLDER \(--mirror\) that holds mine/a\.tar\.gz, or CORPUS=PATH \(--from\)"
    ):
        prepare(tmp_path / "mine", tmp_path, None, verify=True)


def test_unknown_speakers_are_said(here):
    (here / "flat").mkdir()
    for number in range(4):
        (here / "flat" / f"{number}.wav").write_bytes((here / "a.wav").read_bytes())
        (here / "flat" / f"{number}.txt").write_text(f"word {number}\n")
    (here / "list.csv").write_text("audio,text,who\n" + "".join(f"flat/{n}.wav,word {n},ann\n" for n in range(4)))
    for source in ("flat", "list.csv"):
        done = CliRunner().invoke(app, ["data", "import", source, "--output", f"{source}.jsonl"])
        assert done.exit_code == 0, done.stderr
        assert "no speakers are known" in done.stderr
        assert f"asr data split {source}.jsonl --by utterance" in done.stderr
    done = CliRunner().invoke(app, ["data", "import", "list.csv", "--speaker", "who", "--output", "known.jsonl"])
    assert "no speakers" not in done.stderr
    done = CliRunner().invoke(app, ["data", "split", "known.jsonl", "--by", "utterance"])
    assert "tells little about voices the model never heard" in done.stderr
