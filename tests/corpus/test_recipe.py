"""What `asr data download` and `prepare` do with a recipe: parts, a corpus from elsewhere, work already done."""

import functools
import http.server
import shutil
import tarfile
import threading
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from asr.cli.main import app
from asr.corpus.recipe import prepare
from asr.data.manifest import Manifest
from asr.errors import AsrError, DownloadError
from asr.util.files import folder_lock

PREPARE = """
from asr.corpus.download import Archive
from asr.data.manifest import Utterance

ARCHIVES = [
    Archive("home/one.tar.gz"),
    Archive("home/two.tar", optional=True),
    Archive("home/huge.tar", ("http://127.0.0.1:1/",), gigabytes=1e9, optional=True),
]


def utterances(corpus, made):
    for path in sorted(corpus.rglob("*.wav")):
        yield path.parent.name, Utterance(path.stem, path, 1.0, path.read_text())
"""


@pytest.fixture
def corpus(tmp_path):
    """A recipe `talk` with an archive of two parts and an optional one, and a mirror that has them."""
    (tmp_path / "talk").mkdir()
    (tmp_path / "talk" / "prepare.py").write_text(PREPARE)
    (tmp_path / "mirror" / "home").mkdir(parents=True)
    for name, mode, files in (("one.tar.gz", "w:gz", ["train/a", "train/b", "test/c"]), ("two.tar", "w", ["more/d"])):
        with tarfile.open(tmp_path / "mirror" / "home" / name, mode) as tar:
            for file in files:
                path = tmp_path / "unpacked" / name / f"{file}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"text of {file}")
                tar.add(path, f"talk/{file}.wav")
    return tmp_path


@pytest.fixture
def run(corpus):
    """run(parts=…, sources=…) -> the ids by part; what was said is in caplog."""

    def call(mirror=str(corpus / "mirror"), **how):
        home = prepare(corpus / "talk", corpus / "data", mirror, True, **how)
        return {path.stem: "".join(u.id for u in Manifest(path)) for path in home.glob("*.jsonl")}

    return call


@contextmanager
def served(folder):
    """The address of a server of that folder, as long as the block runs."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_optional_archives_come_when_they_are_asked_for_and_stay(run, caplog):
    assert run() == {"train": "ab", "test": "c"}
    assert run(parts=["two"]) == {"train": "ab", "test": "c", "more": "d"}
    assert run() == run(parts=["one", "two"]) == {"train": "ab", "test": "c", "more": "d"}
    assert [line for line in caplog.messages if line.endswith("already prepared")] == [caplog.messages[-1]] * 2
    with pytest.raises(DownloadError, match="--parts three: there is no such archive; there are one, two, huge"):
        run(parts=["three"])


def test_what_was_unpacked_needs_no_archive_any_more(run, corpus, caplog):
    run()
    for path in (corpus / "mirror" / "home").iterdir():
        path.unlink()
    assert run(again=True) == {"train": "ab", "test": "c"}
    assert not [line for line in caplog.messages if line.endswith("already prepared")]


def test_a_folder_is_used_in_place_and_read_again_on_demand(run, corpus):
    sources = [str(corpus / "unpacked")]
    assert run(sources=sources) == {"train": "ab", "test": "c", "more": "d"}
    audio = next(iter(Manifest(corpus / "data" / "talk" / "train.jsonl"))).audio
    assert audio == corpus / "unpacked" / "one.tar.gz" / "train" / "a.wav"
    (corpus / "unpacked" / "one.tar.gz" / "train" / "e.wav").write_text("late")
    assert run(sources=sources)["train"] == "ab"
    assert run(sources=sources, again=True)["train"] == "abe"
    assert run()["train"] == "ab"
    with pytest.raises(DownloadError, match="one folder that holds the whole corpus, or archives"):
        run(sources=[*sources, "two.tar"])
    with pytest.raises(DownloadError, match="nowhere: neither a folder nor an archive nor a URL"):
        run(sources=["nowhere"])


def test_archives_by_path_and_by_address(run, corpus):
    home = corpus / "mirror" / "home"
    with served(home) as url:
        sources = [str(home / "one.tar.gz"), f"{url}/two.tar?Signature=x"]
        assert run(sources=sources, mirror=None)["more"] == "d"


def test_a_corpus_that_cannot_fit_is_refused_before_anything_is_fetched(run, corpus):
    with pytest.raises(DownloadError, match=r"data/talk: needs 2000000000\.0 GB at least, .* GB are free; .*--parts"):
        run(parts=["huge"], mirror=None)
    assert not list((corpus / "data").rglob("*.part"))
    (corpus / "talk" / "prepare.py").write_text(PREPARE.replace("gigabytes=1e9", "gigabytes=1e-9"))
    with pytest.raises(DownloadError, match="Connection refused"):
        run(parts=["huge"], mirror=None)


def test_a_mirror_may_hold_a_smaller_corpus_than_the_public_one(run, corpus):
    shutil.copy(corpus / "mirror" / "home" / "two.tar", corpus / "mirror" / "home" / "huge.tar")
    with served(corpus / "mirror") as url:
        assert run(parts=["huge"], mirror=url) == {"more": "d"}
    shutil.rmtree(corpus / "data")
    assert run(parts=["huge"]) == {"more": "d"}
    shutil.rmtree(corpus / "data")
    with pytest.raises(DownloadError, match=r"needs 2000000000\.0 GB"):  # a mirror that does not tell
        run(parts=["huge"], mirror="http://127.0.0.1:1")


def test_archives_given_at_different_times_do_not_mix(run, corpus):
    given = {}
    for name in ("welsh", "breton"):
        given[name] = corpus / name / "recordings.tar"
        given[name].parent.mkdir()
        with tarfile.open(given[name], "w") as tar:
            for file in ("train/a", "dev/b") if name == "welsh" else ("train/c",):
                (corpus / "text").write_text(name)
                tar.add(corpus / "text", f"talk/{file}.wav")
    assert run(sources=[str(given["welsh"])]) == {"train": "a", "dev": "b"}
    assert run(sources=[str(given["breton"])]) == {"train": "c"}  # and no part of another corpus beside it
    assert run() == {"train": "ab", "test": "c"}
    assert run(sources=[str(given["welsh"])]) == {"train": "a", "dev": "b"}


def test_relative_sources_are_told_apart(run, corpus, monkeypatch):
    for name in ("here", "there"):
        (corpus / name / "rec" / "train").mkdir(parents=True)
        (corpus / name / "rec" / "train" / f"{name}.wav").write_text(name)
        monkeypatch.chdir(corpus / name)
        assert run(sources=["rec"]) == {"train": name}


def test_a_preparation_that_fails_half_way_is_not_taken_for_done(run, corpus, caplog):
    before = run()
    (corpus / "talk" / "prepare.py").write_text(
        PREPARE + "\nwhole = utterances\n\n\ndef utterances(corpus, made):\n"
        "    for number, pair in enumerate(whole(corpus, made)):\n"
        "        if number == 2:\n            raise OSError(28, 'No space left on device')\n        yield pair\n"
    )
    with pytest.raises(OSError, match="No space"):
        run()
    assert not list((corpus / "data").rglob("*.part"))
    (corpus / "talk" / "prepare.py").write_text(PREPARE)
    assert run() == before
    assert not caplog.messages[-1].endswith("already prepared")


def test_one_process_at_a_time(run, corpus):
    with folder_lock(corpus / "data" / "talk", AsrError("busy")), pytest.raises(DownloadError, match="another"):
        run()
    assert run() == {"train": "ab", "test": "c"}


def test_download_alone_gives_the_folder_and_does_nothing_twice(corpus, caplog):
    for _ in range(2):
        folder = prepare(corpus / "talk", corpus / "data", str(corpus / "mirror"), True, manifests=False)
    assert sorted(path.name for path in folder.rglob("*.wav")) == ["a.wav", "b.wav", "c.wav"]
    assert caplog.messages[-1] == f"{folder / 'one'}: already there"
    assert not list((corpus / "data").rglob("*.jsonl"))


def test_a_recipe_without_archives_wants_a_folder(corpus):
    (corpus / "talk" / "prepare.py").write_text(PREPARE + "\nARCHIVES = []\n")
    with pytest.raises(AsrError, match="talk: has no archives of its own; give the corpus's folder with --from"):
        prepare(corpus / "talk", corpus / "data", None, True, manifests=False)


def test_the_commands_honour_the_environment_of_run_sh(corpus):
    environment = {"DATA": str(corpus / "here"), "MIRROR": str(corpus / "mirror")}
    fetched = CliRunner().invoke(app, ["data", "download", str(corpus / "talk")], env=environment)
    assert (fetched.exit_code, fetched.stdout) == (0, f"{corpus}/here/talk/corpus\n")
    done = CliRunner().invoke(app, ["data", "prepare", str(corpus / "talk")], env=environment)
    assert done.stderr.splitlines()[1:] == [
        f"{corpus}/here/talk/test.jsonl: 1 utterance, 1.0 s",
        f"{corpus}/here/talk/train.jsonl: 2 utterances, 2.0 s",
        f"warning: {corpus}/here/talk: nothing for dev in what is there",
    ]
