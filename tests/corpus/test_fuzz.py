"""More than two thousand damaged manifests, tables, folders and archives: a result or one line that says what is wrong;
nothing hangs, nothing is written outside of the folder asked for."""

import contextlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from helpers import ROOT
from helpers.damage import JSON, KEYS, SOUND, Corpus, archive, damage, make_odd, odd_values, write
from typer.testing import CliRunner

from asr.cli.main import app
from asr.cli.tables import format_stats
from asr.config import Config
from asr.corpus import check as run
from asr.corpus.check.lines import CheckSettings
from asr.corpus.download import unpack
from asr.corpus.export import EXPORTS, export_manifest
from asr.corpus.layouts import LAYOUTS, detect_layout, read_nemo
from asr.corpus.layouts.common import require_unique_ids
from asr.corpus.recipe import prepare
from asr.corpus.split import split_manifest
from asr.corpus.stats import collect
from asr.data.manifest import Manifest, Utterance, read_lines, write_manifest
from asr.errors import AsrError, DownloadError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes, devices and alarms")

CASES = dict.fromkeys(SOUND, 120) | {"odd values": len(JSON) * len(KEYS), "archive": 400}
LIMIT_S = 60  # of one case, which takes milliseconds: a hang, not a slow machine
LAYOUT = {"csv": "table", "tsv": "table", "bars": "table", "common voice": "table"}
RECIPE = {"common voice": "common_voice", "librispeech": "librispeech"}
RECIPES = ROOT / "recipes"


class Hang(BaseException):
    """Nothing that product code would catch."""


@pytest.fixture
def place(tmp_path):
    """A folder with `corpus`, `target`, what must stay as it is (`outside`) and what is odd (`odd`)."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "precious").write_text("precious")
    make_odd(tmp_path / "odd")
    return tmp_path


def fresh(place: Path, *names: str) -> None:
    for name in names:
        shutil.rmtree(place / name, ignore_errors=True)
        (place / name).mkdir()


@contextlib.contextmanager
def watched(place: Path):
    """Raise Hang after LIMIT_S; assert that only `target` changed."""

    def ring(*_):
        for pipe in [path for path in place.rglob("*") if path.is_fifo()]:  # lets go of threads that wait for it
            os.close(os.open(pipe, os.O_RDWR | os.O_NONBLOCK))
        raise Hang(f"more than {LIMIT_S} s")

    before = listing(place)
    old = signal.signal(signal.SIGALRM, ring)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    assert listing(place) == before


def listing(place: Path) -> list[tuple]:
    """Everything in `place` that is not below `target`, with sizes and times."""
    found = []
    for folder, folders, files in os.walk(place):
        if folder == str(place):
            folders.remove("target")
        for name in (*folders, *files):
            status = os.lstat(os.path.join(folder, name))
            found.append((folder, name, status.st_mode, status.st_size, status.st_mtime_ns, status.st_nlink))
    return sorted(found)


class Outcomes:
    """Counts of results and of errors that are meant for people."""

    def __init__(self) -> None:
        self.counts = Counter()

    def of(self, function, *arguments, **how):
        """What the function returns, None where it refuses in one line."""
        try:
            result = function(*arguments, **how)
        except (AsrError, OSError) as error:
            self.refused(error)
            return None
        self.counts["done"] += 1
        return result

    def refused(self, error: Exception) -> None:
        self.counts["refused"] += 1
        assert str(error).strip()
        assert "\n" not in str(error), repr(error)[:200]


def read_corpus(kind: str, place: Path, outcomes: Outcomes) -> None:
    """The readers of a corpus, its recipe, and all that is done with the manifest."""
    corpus, target = place / "corpus", place / "target"
    outcomes.of(detect_layout, corpus)
    read, _ = LAYOUTS[LAYOUT.get(kind, kind)]

    def everything(source: Path, **how) -> list[Utterance]:
        return list(read(source, **how))

    for source in sources(kind, corpus):
        outcomes.of(everything, source)
        found = outcomes.of(everything, source, failed=outcomes.refused)
        if found is not None:
            outcomes.of(write_manifest, target / "all.jsonl", require_unique_ids(found))
    recipe = RECIPES / RECIPE.get(kind, "custom")
    outcomes.of(prepare, recipe, target / "data", None, True, sources=[str(corpus)])
    if (target / "all.jsonl").exists():
        use_manifest(target / "all.jsonl", target, outcomes)


def sources(kind: str, corpus: Path) -> list[Path]:
    if kind == "common voice":
        return [corpus / "cy" / f"{part}.tsv" for part in ("train", "dev")]
    tables = {"csv": "table.csv", "tsv": "table.tsv", "bars": "metadata.csv", "nemo": "all.json"}
    return [corpus / tables[kind] if kind in tables else corpus]


def use_manifest(path: Path, target: Path, outcomes: Outcomes) -> None:
    outcomes.of(lambda: [line.parse() for line in read_lines(path)])
    manifest = outcomes.of(Manifest, path)
    if manifest is not None:
        assert len(list(manifest)) == len(manifest)
        for to in EXPORTS:
            outcomes.of(export_manifest, manifest, to, target / to, True, outcomes.refused)
    report = outcomes.of(run.check, [path], CheckSettings(Config()), workers=1)
    if report is not None:
        outcomes.of(run.fix, [path], report.dropped, target / "fixed.jsonl")
        outcomes.of(run.check, [path], CheckSettings(Config()), audio=False, against=[path])
    statistics = outcomes.of(collect, [path])
    if statistics is not None:
        outcomes.of(format_stats, statistics)
    outcomes.of(split_manifest, path, {"dev": 0.2, "test": 0.2}, target / "parts", by="utterance")
    outcomes.of(split_manifest, path, {"dev": 0.2}, target / "parts", by="speaker", force=True)


def test_there_are_enough_cases():
    assert sum(CASES.values()) >= 2_000


@pytest.mark.parametrize(("kind", "cases"), [(kind, CASES[kind]) for kind in [*SOUND, "odd values"]])
def test_damaged_corpora(kind, cases, place):
    outcomes, failures = Outcomes(), []
    for number in range(cases):
        fresh(place, "corpus", "target")
        write(place / "corpus", made(kind, number))
        try:
            with watched(place):
                if kind == "odd values":
                    outcomes.of(lambda: list(read_nemo(place / "corpus" / "all.json", failed=outcomes.refused)))
                if kind in ("odd values", "manifest"):
                    use_manifest(place / "corpus" / "all.jsonl", place / "target", outcomes)
                else:
                    read_corpus(kind, place, outcomes)
        except (Exception, Hang) as error:
            failures.append(f"{kind} {number}: {type(error).__name__}: {str(error)[:300]}")
    assert not failures, "\n".join(failures)
    assert outcomes.counts["done"] > cases
    assert outcomes.counts["refused"] > cases / 2


def made(kind: str, number: int) -> Corpus:
    return odd_values(number) if kind == "odd values" else damage(random.Random(f"{kind} {number}"), SOUND[kind])


def test_damaged_archives(place):
    outcomes, failures = Outcomes(), []
    for number in range(CASES["archive"]):
        fresh(place, "corpus", "target")
        path = place / "corpus" / "a.tar.gz"
        path.write_bytes(archive(random.Random(number), place / "outside"))
        try:
            with watched(place):
                outcomes.of(unpack, path, place / "target" / "a")
            assert [name for name in os.listdir(place / "target") if name != "a"] == []
            for folder, folders, files in os.walk(place / "target"):
                for name in (*folders, *files):
                    assert is_inside(place / "target" / "a", os.path.join(folder, name))
        except (Exception, Hang) as error:
            failures.append(f"{number}: {type(error).__name__}: {str(error)[:300]}")
    assert not failures, "\n".join(failures)
    assert min(outcomes.counts["done"], outcomes.counts["refused"]) > CASES["archive"] / 10


def is_inside(folder: Path, path: str) -> bool:
    """Whether it is a file, a folder or a link that does not leave `folder`; not a pipe or a device."""
    try:
        end = Path(os.path.realpath(path, strict=True))
    except OSError:  # a link to nowhere, or to itself
        return True
    return end.is_relative_to(folder.resolve()) and (end.is_file() or end.is_dir())


def ways_out(kind: str, tar: tarfile.TarFile, outside: Path) -> None:
    """Members that each seem harmless to tarfile's own filter, in one version of Python or another."""

    def add(name: str, type: bytes, target: str = "", content: bytes = b"") -> None:
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = type, target, len(content)
        tar.addfile(member, io.BytesIO(content))

    if kind == "a path beyond the limit of the system":
        deep, steps = "d" * 247, "abcdefghijklmnop"
        for level, step in enumerate(steps):
            add("/".join([deep] * (level + 1)), tarfile.DIRTYPE)
            add("/".join([*[deep] * level, step]), tarfile.SYMTYPE, deep)
        long = "/".join(steps) + "/" + "l" * 254
        add(long, tarfile.SYMTYPE, "../" * len(steps))
        for up in ("..", "../.."):
            add(f"out{len(up)}", tarfile.SYMTYPE, f"{long}/{up}/{outside.name}")
            add("precious", tarfile.LNKTYPE, f"out{len(up)}/precious")
            add("precious", tarfile.REGTYPE, content=b"overwritten")
    elif kind == "a link that is moved up":
        add("a/b/link", tarfile.SYMTYPE, "../../x")
        add("moved", tarfile.LNKTYPE, "a/b/link")
    elif kind == "a link on the way that comes later":
        add("link", tarfile.SYMTYPE, f"later/../{outside.name}")
        add("later", tarfile.SYMTYPE, ".")
    elif kind == "a size below zero":
        add("a", tarfile.REGTYPE)
        header = bytearray(tarfile.TarInfo("b").tobuf(tarfile.GNU_FORMAT))
        header[124:136] = (-512).to_bytes(12, "big", signed=True)
        header[148:156] = b"%06o\0 " % (sum(header) - sum(header[148:156]) + 8 * 32)
        tar.fileobj.write(header)
    elif kind == "a header that fills the memory":
        add("././@LongLink", tarfile.GNUTYPE_LONGNAME, content=b"x" * 10**6)
        add("a", tarfile.REGTYPE)


@pytest.mark.parametrize(
    ("kind", "problem"),
    [
        ("a path beyond the limit of the system", "through '..' or a link"),
        ("a link that is moved up", "a hard link"),
        ("a link on the way that comes later", "may leave the folder"),
        ("a size below zero", "a size of -512 bytes"),
        ("a header that fills the memory", "a header of 1000000 bytes"),
    ],
)
def test_ways_out_of_an_archive(kind, problem, place):
    fresh(place, "corpus", "target")
    path = place / "corpus" / "a.tar"
    with tarfile.open(path, "w") as tar:
        ways_out(kind, tar, place / "outside")
    with watched(place), pytest.raises(DownloadError, match=problem):
        unpack(path, place / "target" / "a")
    assert (place / "outside" / "precious").read_text() == "precious"
    assert os.listdir(place / "target") == []


COMMANDS = {
    "check": "data check {corpus}/all.jsonl --fix {target}/fixed.jsonl",
    "check as json": "data check {corpus}/all.jsonl --no-audio --format json",
    "stats": "data stats {corpus}/all.jsonl",
    "split": "data split {corpus}/all.jsonl --by utterance --output-dir {target}",
    "export": "data export {corpus}/all.jsonl --to kaldi --output {target}/kaldi",
    "import": "data import {corpus} --output {target}/imported.jsonl",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_line(command, place):
    kinds = ["manifest", "odd values"] if command != "import" else [kind for kind in SOUND if kind != "common voice"]
    words = COMMANDS[command].format(corpus=place / "corpus", target=place / "target").split()
    statuses, failures = Counter(), []
    for kind in kinds:
        for number in range(0, CASES[kind], CASES[kind] // (12 // len(kinds) + 1)):
            fresh(place, "corpus", "target")
            write(place / "corpus", made(kind, number))
            with watched(place):
                done = CliRunner().invoke(app, words)
            statuses[done.exit_code] += 1
            if not isinstance(done.exception, (SystemExit, type(None))) or "Traceback" in done.stderr:
                failures.append(f"{kind} {number}: {done.exception!r:.300}")
    assert not failures, "\n".join(failures)
    assert set(statuses) <= {0, 1, 2}
    assert statuses[1]


@pytest.mark.parametrize("words", ["check /dev/stdin", "stats /dev/stdin", "split /dev/stdin --output-dir x"])
def test_standard_input_that_nobody_writes_to(words, place):
    command = [sys.executable, "-m", "asr", "data", *words.split()]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=place) as process:
        process.wait(timeout=LIMIT_S)
        assert process.stderr.read() == b"error: /dev/stdin: is a pipe or a device; let it be written to a file first\n"
    assert process.returncode == 1
