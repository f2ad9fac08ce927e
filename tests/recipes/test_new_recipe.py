"""A new corpus, added as docs/add-a-corpus.md says, from its archive on a server to a WER."""

import json
import os
import re
import shutil
import subprocess
import tarfile

import pytest
from helpers import ROOT
from helpers.servers import pack, serving, sound

from asr.corpus.recipe import new_recipe
from asr.data.manifest import Manifest
from asr.errors import AsrError

PAGE = (ROOT / "docs" / "add-a-corpus.md").read_text(encoding="utf-8")
[PREPARE] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def recipes(tmp_path):
    """A folder of recipes as in a clone, with the template and what all scripts share."""
    shutil.copytree(ROOT / "recipes" / "custom", tmp_path / "recipes" / "custom")
    shutil.copy(ROOT / "recipes" / "options.sh", tmp_path / "recipes")
    return tmp_path / "recipes"


def asr_command(folder, *words, **environment):
    return subprocess.run(
        words, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip


def corpus_files():
    yield "meetings-1.0/README", "about the corpus\n"
    rows = ["file\tperson\twords"]
    for person in (*range(1, 5), 11, 12):
        for number in range(3):
            name = f"{person}/turn{number}"
            yield f"meetings-1.0/{name}.flac", sound(".flac", 16_000, 2.0, 100 * person + number)
            rows.append(f"{name}.wav\t{person}\tpoint {('one', 'two', 'three')[number]}")
    yield "meetings-1.0/transcripts.tsv", "\n".join(rows) + "\n"


@pytest.mark.skipif(shutil.which("bash") is None, reason="run.sh needs bash")
def test_a_corpus_added_in_under_thirty_lines(recipes, tmp_path):
    assert len(PREPARE.splitlines()) < 30
    done = asr_command(tmp_path, "asr", "new-recipe", "meetings")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "recipes/meetings"
    (recipes / "meetings" / "prepare.py").write_text(PREPARE)
    pack(tmp_path / "mirror" / "meetings" / "meetings-1.0.tar.gz", corpus_files())
    with serving(tmp_path / "mirror") as server:
        server.broken.add("meetings/meetings-1.0.tar.gz")
        done = asr_command(
            tmp_path, "bash", "recipes/meetings/run.sh", "train.epochs=1", "model.hidden_size=8", MIRROR=server.url
        )
    assert done.returncode == 0, done.stderr
    parts = {part: Manifest(tmp_path / "data" / "meetings" / f"{part}.jsonl") for part in ("train", "dev", "test")}
    assert {part: len(manifest) for part, manifest in parts.items()} == {"train": 12, "dev": 3, "test": 3}
    assert {u.speaker for u in parts["test"]} == {"12"}
    assert json.loads((tmp_path / "runs" / "meetings" / "eval" / "wer.json").read_text())["words"] == 6


@pytest.mark.skipif(shutil.which("bash") is None, reason="run.sh needs bash")
@pytest.mark.usefixtures("quick_asr")
def test_the_template_itself_takes_a_folder(recipes, tmp_path):
    for pitch, person in enumerate("abcd", 3):
        (tmp_path / "mine" / person).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "mine" / person / f"{number}.wav").write_bytes(sound(".wav", 16_000, 2.0, 100 * pitch + number))
            (tmp_path / "mine" / person / f"{number}.txt").write_text(f"{person} says {'no ' * number}yes\n")
    done = asr_command(
        tmp_path,
        "bash",
        "recipes/custom/run.sh",
        "train.epochs=1",
        "model.hidden_size=8",
        CORPUS=str(tmp_path / "mine"),
    )
    assert done.returncode == 0, done.stderr
    assert "0 errors" in done.stdout + done.stderr
    speakers = [
        {u.speaker for u in Manifest(tmp_path / "data" / "custom" / f"{part}.jsonl")}
        for part in ("train", "dev", "test")
    ]
    assert set.union(*speakers) == set("abcd")
    assert sum(map(len, speakers)) == 4
    rows = [f"mine/{path.parent.name}/{path.name},{path.with_suffix('.txt').read_text().strip()},{path.parent.name}"
            for path in sorted((tmp_path / "mine").rglob("*.wav"))]  # fmt: skip
    (tmp_path / "list.csv").write_text("\n".join(["audio,text,speaker", *rows, "mine/gone.wav,no,a"]))
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as tar:
        for name in ("mine", "list.csv"):
            tar.add(tmp_path / name, f"project/{name}")
    for source in ("list.csv", "packed.tar.gz"):
        done = asr_command(tmp_path, "asr", "data", "prepare", "custom", "--data", source[:4], "--from", source)
        assert done.returncode == 0, done.stderr
        assert "left out: " in done.stderr
        assert len(Manifest(tmp_path / source[:4] / "custom" / "train.jsonl")) == len(
            Manifest(tmp_path / "data" / "custom" / "train.jsonl")
        )
    without = asr_command(tmp_path, "bash", "recipes/custom/run.sh", DATA="elsewhere", CDPATH=".")
    assert without.returncode == 1
    assert "CORPUS=FOLDER" in without.stderr


def test_names_that_are_no_recipes(recipes):
    made = new_recipe("meetings_2", recipes)
    assert sorted(path.name for path in made.iterdir()) == ["README.md", "meetings_2.yaml", "prepare.py", "run.sh"]
    assert "custom" not in "".join(path.read_text() for path in made.iterdir())
    assert "bash recipes/meetings_2/run.sh" in (made / "README.md").read_text()
    assert "own recordings" not in (made / "README.md").read_text()
    assert os.access(made / "run.sh", os.X_OK) == os.access(recipes / "custom" / "run.sh", os.X_OK)
    for name in ("meetings_2", "../up", "Two Words", "", "custom"):
        with pytest.raises(AsrError):
            new_recipe(name, recipes)
    with pytest.raises(AsrError, match="the template is not there"):
        new_recipe("meetings", recipes / "nowhere")
