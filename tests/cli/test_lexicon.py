"""`asr lexicon`: from a dictionary to a G2P model and a lexicon of a text's words."""

import json
import os
import zipfile
from hashlib import sha256

import pytest
from helpers.command_line import asr

from asr.errors import DownloadError
from asr.lexicon import cmudict
from asr.lexicon.pronunciations import Pronunciations

SOUNDS = {"a": "AE", "i": "IH", "o": "AA", "b": "B", "d": "D", "k": "K", "n": "N", "s": "S", "t": "T", "x": "K S"}
WORDS = [a + b + c + d for a in "bdknst" for b in "aio" for c in "bdnsx" for d in "aio"]


def sounds(word):
    return " ".join(SOUNDS[letter] for letter in word)


@pytest.fixture
def dictionary(tmp_path):
    path = tmp_path / "words.dict"
    path.write_text(";;; made up\n" + "".join(f"{word} {sounds(word)}\n" for word in WORDS) + "bada(2) B AA D AE\n")
    return path


@pytest.fixture
def g2p(dictionary, tmp_path):
    done = asr("lexicon", "train", dictionary, "--output", tmp_path / "g2p", "--heldout", 20)
    assert done.stdout == "20 held-out words: 0.00 % wrong, phone error rate 0.00 %\n"
    return tmp_path / "g2p"


def test_train_measures_on_words_it_did_not_see(dictionary, g2p, tmp_path):
    record = json.loads((g2p / "lm.json").read_text())["record"]
    assert record["words"] == len(WORDS) - 20
    assert record["heldout"]["words"] == 20
    assert record["dictionary"]["file"] == "words.dict"
    tests = tmp_path / "tests.dict"
    tests.write_text("bada B IH D AE\ntxtx T K S T K S\nq K\n")  # the first is wrong, the last cannot be spelled
    done = asr("lexicon", "train", dictionary, "--output", tmp_path / "other", "--heldout", tests)
    assert done.stdout == "3 held-out words: 66.67 % wrong, phone error rate 18.18 %\n"
    assert json.loads((tmp_path / "other" / "lm.json").read_text())["record"]["words"] == len(WORDS) - 1


def test_train_replaces_only_when_asked(dictionary, g2p):
    done = asr("lexicon", "train", dictionary, "--output", g2p)
    assert done.returncode == 1
    assert "is there already; choose another name, or --force" in done.stderr
    assert asr("lexicon", "train", dictionary, "--output", g2p, "--force", "--heldout", 0).stdout == ""
    done = asr("lexicon", "train", dictionary, "--output", g2p, "--force", "--heldout", 1000)
    assert f"--heldout 1000: {dictionary} has {len(WORDS)} words; hold out fewer" in done.stderr


def test_make(dictionary, g2p, tmp_path):
    (tmp_path / "text.txt").write_text("Bada, \u201cBADA\u201d! <unk> Kisx in 1984.\n")
    (tmp_path / "set.jsonl").write_text('{"id": "a", "audio": "a.wav", "duration": 1, "text": "tobao bada"}\n')
    (tmp_path / "lm.txt").write_text("dixo sada\n")
    asr("lm", "train", tmp_path / "lm.txt", "--output", tmp_path / "lm")
    output = tmp_path / "lexicon.dict"
    command = ("lexicon", "make", tmp_path / "text.txt", tmp_path / "set.jsonl", tmp_path / "lm", "--dict", dictionary)
    done = asr(*command, "--g2p", g2p, "--output", output)
    assert done.returncode == 0
    assert output.read_text().splitlines() == [
        "bada B AE D AE",
        "bada(2) B AA D AE",
        "dixo D IH K S AA",
        "in IH N",
        "kisx K IH S K S",
        "sada S AE D AE",
        "tobao T AA B AE AA",
    ]
    assert f"{output}: 6 words, 3 of them from {dictionary}" in done.stderr
    assert f"3 words pronounced by {g2p}: kisx (K IH S K S), in (IH N), tobao (T AA B AE AA)" in done.stderr
    assert "1 word left out: 1984; spell them as they are spoken, or: asr lexicon add" in done.stderr
    done = asr(*command, "--output", output)
    assert done.returncode == 1
    done = asr(*command, "--output", output, "--force")
    assert "4 words left out: kisx, in, 1984, tobao; --g2p guesses them" in done.stderr
    assert len(Pronunciations.load(output).words) == 3


def test_add_and_lookup(dictionary, g2p):
    before = dictionary.read_text()
    assert asr("lexicon", "add", dictionary, "Tax\u00ed", "T", "AE", "K", "S", "IH").stdout == "tax\u00ed T AE K S IH\n"
    assert "has this already" in asr("lexicon", "add", dictionary, "bada", "B", "AE", "D", "AE").stderr
    assert asr("lexicon", "add", dictionary, "tikatika", "--g2p", g2p).stdout == "tikatika T IH K AE T IH K AE\n"
    assert dictionary.read_text() == before + "tax\u00ed T AE K S IH\ntikatika T IH K AE T IH K AE\n"
    for arguments, message in (
        (["zob", "Z", "AA", "B"], "no word has Z; there are AA AE B D IH K N S T (--force adds others)"),
        (["zob"], "give its phones, or a model that guesses them: --g2p"),
        (["a b", "AE"], "is not one word"),
        (["zob", "--g2p", g2p], "'zob': 'z' is in no word that the G2P was trained on"),
    ):
        done = asr("lexicon", "add", dictionary, *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert message in done.stderr
    assert asr("lexicon", "add", dictionary, "zob", "Z", "AA", "B", "--force").returncode == 0
    done = asr("lexicon", "lookup", dictionary, "bada", "Zob!")
    assert done.stdout.splitlines() == [
        f"bada\tB AE D AE\t{dictionary}",
        f"bada\tB AA D AE\t{dictionary}",
        f"zob\tZ AA B\t{dictionary}",
    ]
    done = asr("lexicon", "lookup", dictionary, "nanna", "kino", "--g2p", g2p)
    assert [line.split("\t")[:2] for line in done.stdout.splitlines()] == [
        ["nanna", "N AE N N AE"],
        ["kino", "K IH N AA"],
    ]
    assert f"\t{g2p}, " in done.stdout
    done = asr("lexicon", "lookup", dictionary, "nanna", "bada")
    assert (done.returncode, done.stdout.count("\n")) == (1, 2)
    assert "has no 'nanna'; --g2p guesses it" in done.stderr


def test_a_g2p_of_other_phones_is_refused(g2p, tmp_path):
    other = tmp_path / "other.dict"
    other.write_text("bada b a d a\n")
    done = asr("lexicon", "lookup", other, "dada", "--g2p", g2p)
    assert done.returncode == 1
    assert "are not those of the lexicon" in done.stderr


def wheel(folder, files):
    """A package index of one folder, as pip takes it from the environment."""
    folder.mkdir()
    about = "pocketsphinx-5.1.1.dist-info"
    files = {**files, f"{about}/METADATA": "Metadata-Version: 2.1\nName: pocketsphinx\nVersion: 5.1.1\n"}
    files[f"{about}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(folder / "pocketsphinx-5.1.1-py3-none-any.whl", "w") as made:
        for name, text in files.items():
            made.writestr(name, text)
        made.writestr(f"{about}/RECORD", "")
    return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder), "PIP_CONFIG_FILE": os.devnull}


def test_download(dictionary, tmp_path, monkeypatch):
    index = wheel(tmp_path / "good", {f"pocketsphinx/model/en-us/{cmudict.NAME}": dictionary.read_text()})
    for name, value in index.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(DownloadError, match=r"its cmudict-en-us.dict is not the one that is known"):
        cmudict.fetch_cmudict(tmp_path / "a")
    monkeypatch.setattr(cmudict, "SHA256", sha256(dictionary.read_bytes()).hexdigest())
    made = cmudict.fetch_cmudict(tmp_path / "a")
    assert made.read_text() == dictionary.read_text()
    assert list((tmp_path / "a").iterdir()) == [made]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert cmudict.fetch_cmudict(tmp_path / "a") == made  # it is there
    with pytest.raises(DownloadError, match=r"pip cannot download it \(ERROR: .*put a dictionary at"):
        cmudict.fetch_cmudict(tmp_path / "b")
    assert not (tmp_path / "b").exists()
    monkeypatch.setenv("PIP_FIND_LINKS", wheel(tmp_path / "other", {"a/b.txt": "other"})["PIP_FIND_LINKS"])
    with pytest.raises(DownloadError, match="is not the one that is known"):
        cmudict.fetch_cmudict(tmp_path / "b")


def test_the_download_command(dictionary, tmp_path):
    (tmp_path / cmudict.NAME).write_text(dictionary.read_text())
    assert asr("lexicon", "download", "--output", tmp_path).stdout == f"{tmp_path / cmudict.NAME}\n"
