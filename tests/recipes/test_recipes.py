"""Every recipe from its archive's true layout, served over HTTP on this machine, to wer.json, as a user runs it."""

import functools
import gzip
import http.server
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import ROOT

from asr.config import load_config
from asr.corpus.recipe import prepare
from asr.data.manifest import Manifest
from asr.errors import AsrError

RATE = 8000


def tone(pitch: float, seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * RATE)) / RATE
    noise = 0.01 * np.random.default_rng(int(pitch)).standard_normal(len(t))
    return 0.3 * np.sin(2 * np.pi * pitch * t) + noise


def yesno_files():
    """24 recordings named by their eight words, a high tone for yes and a low one for no."""
    rng = np.random.default_rng(0)
    for number in rng.permutation(256)[:24]:
        labels = [int(bit) for bit in f"{number:08b}"]
        pieces = [np.concatenate([tone(900 if label else 300, 0.3), np.zeros(800)]) for label in labels]
        yield f"waves_yesno/{'_'.join(map(str, labels))}.wav", np.concatenate(pieces)


def digits_files():
    """Two speakers, takes enough for each part."""
    for speaker, factor in (("ann", 1.0), ("bob", 0.8)):
        for take in (0, 1, 5, 6, 10, 11):
            for digit in range(10):
                name = f"free-spoken-digit-dataset-1.0.10/recordings/{digit}_{speaker}_{take}.wav"
                yield name, tone(factor * (300 + 200 * digit), 0.25 + 0.01 * take)


def librispeech_files(part, speakers):
    """A tone for each word."""
    pitches = {"ONE": 300, "TWO": 500, "AND": 700, "MORE": 900}
    for speaker, factor in speakers.items():
        folder = f"LibriSpeech/{part}/{speaker}/1"
        texts = {f"{speaker}-1-{n:04}": text for n, text in enumerate(("ONE AND ONE", "TWO MORE", "MORE AND TWO"))}
        for name, text in texts.items():
            yield f"{folder}/{name}.wav", np.concatenate([tone(factor * pitches[word], 0.4) for word in text.split()])
        yield f"{folder}/{speaker}-1.trans.txt", "".join(f"{name} {text}\n" for name, text in texts.items())


ARCHIVES = {
    "openslr/1/waves_yesno.tar.gz": yesno_files,
    "digits/v1.0.10.tar.gz": digits_files,
    "openslr/31/train-clean-5.tar.gz": lambda: librispeech_files("train-clean-5", {"19": 1.0, "26": 1.1, "32": 0.9}),
    "openslr/31/dev-clean-2.tar.gz": lambda: librispeech_files("dev-clean-2", {"84": 0.95}),
}


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    """URL of an HTTP server on loopback that has the archives where a mirror has them."""
    folder = tmp_path_factory.mktemp("mirror")
    for path, files in ARCHIVES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(folder / path, "w:gz") as tar:
            for name, content in files():
                if isinstance(content, str):
                    buffer = io.BytesIO(content.encode())
                    buffer.seek(0, io.SEEK_END)
                else:
                    buffer = io.BytesIO()
                    soundfile.write(buffer, content, RATE, format="WAV", subtype="PCM_16")
                member = tarfile.TarInfo(name)
                member.size = buffer.tell()
                buffer.seek(0)
                tar.addfile(member, buffer)
    handler = functools.partial(QuietHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def recipe(name, mirror, folder, *settings, **environment):
    """Run a recipe's script as in its README."""
    variables = {**os.environ, "MIRROR": mirror, "VERIFY": "0", **environment}
    variables |= {"DATA": str(folder / "data"), "RUN": str(folder / "run")}
    return subprocess.run(
        ["bash", str(ROOT / "recipes" / name / "run.sh"), "train.epochs=1", "model.hidden_size=16", *settings],
        cwd=folder, env=variables, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="run.sh needs bash")


@needs_bash
def test_yesno(mirror, tmp_path, request):
    done = recipe("yesno", mirror, tmp_path)
    assert done.returncode == 0, done.stderr
    data = tmp_path / "data" / "yesno"
    counts = {part: len(Manifest(data / f"{part}.jsonl")) for part in ("train", "dev", "test")}
    assert counts == {"train": 10, "dev": 2, "test": 12}
    kaldi = {part: {u.id for u in Manifest(data / f"kaldi_{part}.jsonl")} for part in ("train", "dev", "test")}
    assert not kaldi["test"] & (kaldi["train"] | kaldi["dev"])
    assert max(kaldi["train"] | kaldi["dev"]) < min(kaldi["test"])
    for path in ("eval/wer.json", "eval/kaldi/wer.json", "model/config.json", "kaldi/model/config.json"):
        assert (tmp_path / "run" / path).is_file(), path
    request.getfixturevalue("quick_asr")
    again = recipe("yesno", mirror, tmp_path)
    assert again.returncode == 0
    for words in ("already prepared", "already finished", "already evaluated"):
        assert words in again.stderr
    other = recipe("yesno", mirror, tmp_path, "model.cell=gru")
    assert other.returncode == 1
    assert "model.cell was lstm, is gru" in other.stderr


@needs_bash
@pytest.mark.usefixtures("quick_asr")
def test_digits_and_a_held_out_speaker(mirror, tmp_path):
    done = recipe("digits", mirror, tmp_path, "compose.utterances_per_epoch=20", "train.batch_seconds=30")
    assert done.returncode == 0, done.stderr
    data, run = tmp_path / "data" / "digits", tmp_path / "run"
    assert [len(Manifest(data / f"{part}.jsonl")) for part in ("train", "test_single", "test", "dev")] == [
        40,
        40,
        500,
        200,
    ]
    takes = {
        part: {int(u.id.split("_")[2]) for u in Manifest(data / f"{part}.jsonl")} for part in ("train", "test_single")
    }
    assert takes == {"train": {10, 11}, "test_single": {0, 1}}
    for string, noisy in zip(Manifest(data / "test.jsonl"), Manifest(data / "test_noisy.jsonl"), strict=True):
        assert string.text == noisy.text
        assert 1 <= len(string.text.split()) <= 10
    for path in ("eval/wer.json", "eval/single/wer.json", "eval/noisy/wer.json"):
        assert json.loads((run / path).read_text())["words"] > 0
    heldout = tmp_path / "heldout"
    heldout.mkdir()
    shutil.copytree(tmp_path / "data", heldout / "data")
    done = recipe("digits", mirror, heldout, "compose.utterances_per_epoch=20", "heldout=bob")
    assert done.returncode == 0, done.stderr
    assert "20 training utterances" in done.stderr
    record = json.loads((heldout / "run" / "eval" / "wer.json").read_text())
    assert record["manifest"].endswith("heldout_bob.jsonl")


DICTIONARY = """\
one W AH N
two T UW
to T UW
and AE N D
and(2) AH N D
more M AO R
nor N AO R
war W AO R
man M AE N
"""


@needs_bash
@pytest.mark.usefixtures("quick_asr")
def test_mini_librispeech_from_texts_to_tuned_weights(mirror, tmp_path):
    data, run = tmp_path / "data" / "mini_librispeech", tmp_path / "run"
    (tmp_path / "data" / "cmudict").mkdir(parents=True)
    (tmp_path / "data" / "cmudict" / "cmudict-en-us.dict").write_text(DICTIONARY)
    settings = ("model.layers=1", "augment.codec.prob=0", "train.ctc_epochs=0", "device=cpu")
    (tmp_path / "a.txt").write_text("one and two\nmore to nora\n" * 20)
    (tmp_path / "b.txt").write_text("to one war\none man and more\n" * 20)

    without_text = recipe("mini_librispeech", mirror, tmp_path, *settings)
    assert without_text.returncode == 1
    assert 'name texts of your own, one sentence a line: TEXT="' in without_text.stderr

    done = recipe("mini_librispeech", mirror, tmp_path, *settings, TEXT=f"{tmp_path / 'a.txt'} {tmp_path / 'b.txt'}")
    assert done.returncode == 0, done.stderr
    assert "nora" in (data / "lexicon.dict").read_text()  # guessed
    tuned = json.loads((run / "model" / "lm" / "lm.json").read_text())["tuned"]
    assert tuned["manifest"] == "dev.jsonl"
    for folder, kind in (("eval", "beam"), ("eval/phones", "greedy")):
        record = json.loads((run / folder / "wer.json").read_text())
        assert (record["words"], record["decoder"]["kind"]) == (8, kind)
    again = recipe("mini_librispeech", mirror, tmp_path, *settings, TEXT=str(tmp_path / "a.txt"))
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("already") == 5  # prepared, finished, tuned, evaluated twice
    assert "note: TEXT is not used: " in again.stderr
    gone = recipe("mini_librispeech", mirror, tmp_path, *settings, TEXT=f"{tmp_path / 'a.txt'}\n{tmp_path / 'c.txt'}")
    assert gone.returncode == 2
    assert f"error: {tmp_path / 'c.txt'}: no such file (TEXT)" in gone.stderr


@needs_bash
@pytest.mark.usefixtures("quick_asr")
def test_mini_librispeech_with_letters_and_the_public_text(mirror, tmp_path):
    public = tmp_path / "data" / "librispeech_lm" / "librispeech-lm-norm.txt.gz"
    public.parent.mkdir(parents=True)
    public.write_bytes(gzip.compress(b"ONE AND TWO\nMORE TO NORA\n" * 400))
    (tmp_path / "data" / "cmudict").mkdir()
    (tmp_path / "data" / "cmudict" / "cmudict-en-us.dict").write_text(DICTIONARY)
    letters = ("text.tokens=characters", "train.loss=ctc", "data.lexicon=", "data.lm=", "data.g2p=")
    done = recipe("mini_librispeech", mirror, tmp_path, *letters, "model.layers=1", "augment.codec.prob=0")
    assert done.returncode == 0, done.stderr
    assert len(gzip.decompress((tmp_path / "data/mini_librispeech/text.txt.gz").read_bytes()).splitlines()) == 50
    assert json.loads((tmp_path / "run" / "eval" / "wer.json").read_text())["decoder"]["kind"] == "greedy"


def test_a_recipe_whose_manifests_are_gone_is_prepared_again(mirror, tmp_path, caplog):
    caplog.set_level(logging.INFO, "asr")
    for _ in range(2):
        prepare(ROOT / "recipes/yesno", tmp_path, mirror, False)
    assert caplog.messages[-1].endswith("already prepared")
    (tmp_path / "yesno" / "dev.jsonl").unlink()
    prepare(ROOT / "recipes/yesno", tmp_path, mirror, False)
    assert len(Manifest(tmp_path / "yesno" / "dev.jsonl")) == 2


@pytest.mark.parametrize("missing", ["ARCHIVES", "utterances"])
def test_an_incomplete_prepare_is_named(tmp_path, missing):
    lines = {"ARCHIVES": "ARCHIVES = []", "utterances": "def utterances(corpus, made): return []"}
    (tmp_path / "prepare.py").write_text("\n".join(line for name, line in lines.items() if name != missing))
    with pytest.raises(AsrError, match=f"prepare.py: defines no {missing}"):
        prepare(tmp_path, tmp_path / "data", None, True)


@needs_bash
@pytest.mark.usefixtures("quick_asr")
def test_nothing_is_evaluated_before_the_training_has_finished(mirror, tmp_path):
    done = recipe("digits", mirror, tmp_path, "compose.utterances_per_epoch=200", "train.max_minutes=1e-6")
    assert done.returncode == 0, done.stderr
    assert done.stderr.rstrip().endswith("rerun to resume")
    empty = recipe("digits", mirror, tmp_path, "heldout=")
    assert empty.returncode == 2


@needs_bash
@pytest.mark.usefixtures("quick_asr")
def test_wrong_checksum_is_refused(mirror, tmp_path):
    done = recipe("yesno", mirror, tmp_path, VERIFY="1")
    assert done.returncode == 1
    assert "published is c3f49e0c" in done.stderr
    assert not list((tmp_path / "data").rglob("*.wav"))


@pytest.mark.parametrize("path", sorted(ROOT.glob("recipes/*/*.yaml")), ids=lambda p: p.name)
def test_every_shipped_config_loads_and_says_command_minutes_and_number(path):
    config = load_config(path)
    assert config.description
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    script = "pretrained.sh" if path.stem.startswith("pretrained") else "run.sh"
    assert f"recipes/{path.parent.name}/{script}" in first


@pytest.mark.parametrize("path", sorted(filter(Path.is_dir, ROOT.glob("recipes/*"))), ids=lambda p: p.name)
def test_every_recipe_is_complete(path):
    for name in ("README.md", "prepare.py", "run.sh"):
        assert (path / name).is_file(), name


def test_words_are_cut_out_of_recordings(tmp_path):
    """Real sentences: what is cut out is in the file, short, and a few words of its text."""
    sentences = ROOT / "data" / "sentences" / "sentences.jsonl"
    command = [sys.executable, ROOT / "recipes" / "english" / "words.py", sentences, tmp_path / "words.jsonl"]
    done = subprocess.run([*command, "--recordings", "3"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    whole, made = list(Manifest(sentences)), list(Manifest(tmp_path / "words.jsonl"))
    assert [utterance.text for utterance in made[: len(whole)]] == [utterance.text for utterance in whole]
    pieces = made[len(whole) :]
    assert 3 <= len(pieces) <= 6
    for piece in pieces:
        parent = next(utterance for utterance in whole if piece.id.startswith(f"{utterance.id}_"))
        assert piece.audio.samefile(parent.audio)
        assert 0 <= piece.start < piece.start + piece.duration <= parent.duration + 1e-3
        assert 0.25 <= piece.duration <= 1.7
        assert f" {piece.text} " in f" {parent.text} "
        assert 1 <= len(piece.text.split()) <= 3
    assert len({piece.id for piece in pieces}) == len(pieces)
