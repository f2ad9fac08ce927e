"""`asr align` as a user meets it: one recording, a manifest, every format, and one clear line for what is wrong."""

import json
import re
from functools import partial

import pytest
from helpers import ROOT
from helpers.command_line import asr, asr_process

from asr.data.manifest import Manifest, Utterance, write_manifest

SAMPLES = ROOT / "data/samples"
HEART = SAMPLES / "heart_16k.flac"
SAID = "four one five nine two six five"


align = partial(asr, "align", "--model", "digits")


def errors(done):
    assert "Traceback" not in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def test_a_text_and_a_file_of_it_and_stdin_give_the_same(tmp_path):
    (tmp_path / "said.txt").write_bytes(b"\xef\xbb\xbf" + SAID.replace(" ", "\r\n").encode())
    plain = align(HEART, SAID)
    file = align(HEART, tmp_path / "said.txt")
    stdin = align("-", SAID, stdin=HEART.read_bytes())
    assert (plain.returncode, file.returncode, stdin.returncode) == (0, 0, 0), plain.stderr
    assert plain.stdout == file.stdout
    result = json.loads(plain.stdout)
    assert result["words"] == json.loads(stdin.stdout)["words"]
    assert result["audio"] == str(HEART)
    assert [word["text"] for word in result["words"]] == SAID.split()
    assert "may not have been said" not in plain.stderr


def test_words_that_were_not_said_are_listed():
    done = align(HEART, "four one five zero nine two eight six five")
    assert done.returncode == 0
    # The one beside it is crowded out of its frames and may be listed too.
    found = re.search(r"^[23] of 9 words score below 0.5 .*:\n", done.stderr, re.MULTILINE)
    listed = done.stderr[found.end() :].splitlines()
    scores = [float(line.split()[0]) for line in listed]
    assert scores == sorted(scores)
    assert sorted(line.split("  ")[3] for line in listed[:2]) == ["eight", "zero"]
    assert all(line.endswith(f"in {HEART}") for line in listed)


def test_a_manifest_goes_on_after_a_bad_utterance(tmp_path):
    good = list(Manifest(SAMPLES / "samples.jsonl"))
    bad = [
        Utterance("silent", HEART, 1.0),
        Utterance("gone", tmp_path / "gone.wav", 1.0, "one"),
        Utterance("part", HEART, 1.0, "four one five nine two six five " * 4),
        Utterance("spelled", HEART, 3.4, "4 one 5"),
    ]
    write_manifest(tmp_path / "m.json", [*bad, *good])
    done = align("--format", "textgrid", "--output-dir", tmp_path / "out", tmp_path / "m.json")
    assert (done.returncode, done.stdout) == (1, "")
    expected = ["silent: no text", "gone.wav: No such file", "part: the text is too long", "spelled: the model has no"]
    for line, words in zip(errors(done), expected, strict=True):
        assert words in line
    assert done.stderr.splitlines()[-1] == "4 of 8 failed"
    made = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert made == sorted(f"{utterance.id}.TextGrid" for utterance in good)


def test_ctm_of_a_manifest_and_of_a_recording():
    done = align("--format", "ctm", SAMPLES / "samples.jsonl")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[0] for row in rows if row[4] == "zero"] == ["rms_8k"] * 3
    alone = align("--format", "ctm", HEART, SAID).stdout
    assert alone.splitlines() == [line for line in done.stdout.splitlines() if line.startswith("heart_16k ")]


def test_srt_and_unknown_words_left_out():
    text = "Hello: four one five, nine two six five."
    refused = align("--format", "srt", HEART, text)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no tokens for 'Hello:'" in errors(refused)[0]
    done = align("--format", "srt", "--skip-unknown", HEART, text)
    assert done.returncode == 0
    assert done.stdout.splitlines()[2] == "four one five, nine two six five."
    assert "left out, as the model has no tokens for them: 'Hello:'" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        ([], 2, "Missing argument"),
        ([HEART], 2, "is missing"),
        ([SAMPLES / "samples.jsonl", "one"], 2, "brings its own texts"),
        ([HEART, SAID, "--format", "txt"], 2, "'txt' is not one of"),
        ([SAMPLES / "samples.jsonl", "--format", "srt"], 2, "name a folder"),
        ([HEART, SAID, "--format", "all"], 2, "name a folder"),
        (["nowhere.jsonl"], 1, "nowhere.jsonl: No such file"),
        (["nowhere.wav", SAID], 1, "nowhere.wav: No such file"),
        ([HEART, "nowhere.txt"], 1, "nowhere.txt: no such file"),
        ([HEART, HEART], 1, "not UTF-8 (byte"),
        ([HEART, " "], 1, "no words to align"),
        ([SAMPLES, SAID], 1, "is a folder"),
        ([HEART, SAID, "--model", "nope"], 1, "neither a model folder"),
        ([HEART, SAID, "--device", "tpu"], 1, "use auto, cpu"),
    ],
)
def test_usage(arguments, status, says):
    done = align(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert status == 2 or len(errors(done)) == 1


def test_an_empty_manifest_and_a_broken_one(tmp_path):
    (tmp_path / "m.jsonl").write_bytes(b"\n")
    assert errors(align(tmp_path / "m.jsonl")) == [f"error: {tmp_path / 'm.jsonl'}: no utterances"]
    (tmp_path / "m.jsonl").write_bytes(b'{"audio": "a.wav", "duration": NaN, "text": "one"}\n')
    assert "line 1: duration is nan" in errors(align(tmp_path / "m.jsonl"))[0]


def test_names_that_are_not_utf8(tmp_path):
    path = tmp_path / b"caf\xe9.flac".decode(errors="surrogateescape")
    try:
        path.write_bytes(HEART.read_bytes())
    except OSError:
        pytest.skip("this file system has UTF-8 names only")
    done = asr_process("align", "--model", "digits", path, SAID)
    assert json.loads(done.stdout)["audio"] == str(path)
