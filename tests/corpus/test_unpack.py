"""Archives made to break out of their folder, damaged ones, and extraction that is interrupted."""

import gzip
import io
import os
import random
import signal
import subprocess
import sys
import tarfile

import pytest

from asr.corpus.download import unpack
from asr.errors import DownloadError


def member(name, content=b"", **fields):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


def write_tar(path, *members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for info, content in members:
            tar.addfile(info, io.BytesIO(content))
    return path


def everything_below(folder):
    return sorted(os.path.relpath(f"{base}/{name}", folder) for base, _, names in os.walk(folder) for name in names)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_a_good_archive(mode, tmp_path):
    members = [
        member("corpus/a.wav", b"a" * 5000),
        member("corpus/sub/b.txt", b"b", mode=0),
        member("corpus/link", type=tarfile.SYMTYPE, linkname="sub/b.txt"),
    ]
    unpack(write_tar(tmp_path / "c.tar", *members, mode=mode), tmp_path / "new" / "corpus")
    assert everything_below(tmp_path / "new") == [f"corpus/corpus/{n}" for n in ("a.wav", "link", "sub/b.txt")]
    assert (tmp_path / "new/corpus/corpus/link").read_bytes() == b"b"


@pytest.mark.parametrize(
    "members",
    [
        [member("../outside", b"x")],
        [member("a/../../outside", b"x")],
        [member("link", type=tarfile.SYMTYPE, linkname=".."), member("link/outside", b"x")],
        [member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
        [member("sub/link", type=tarfile.SYMTYPE, linkname="../../outside")],
        [member("link", type=tarfile.LNKTYPE, linkname="../outside")],
        [member("link", type=tarfile.LNKTYPE, linkname="missing")],
        [member("device", type=tarfile.CHRTYPE, devmajor=1, devminor=3)],
        [member("disk", type=tarfile.BLKTYPE)],
        [member("pipe", type=tarfile.FIFOTYPE)],
    ],
    ids=lambda members: members[-1][0].name + members[0][0].linkname,
)
def test_members_that_leave_the_folder_or_are_no_files(members, tmp_path):
    archive = write_tar(tmp_path / "c.tar", member("first", b"good"), *members)
    (tmp_path / "home").mkdir()
    with pytest.raises(DownloadError, match=r"c\.tar: cannot be unpacked"):
        unpack(archive, tmp_path / "home" / "corpus")
    assert everything_below(tmp_path) == ["c.tar"]
    assert os.listdir(tmp_path / "home") == []


def test_an_absolute_name_is_refused(tmp_path):
    archive = write_tar(tmp_path / "c.tar", member("first", b"good"), member(f"{tmp_path}/outside", b"x"))
    with pytest.raises(DownloadError, match="an absolute path"):
        unpack(archive, tmp_path / "corpus")
    assert everything_below(tmp_path) == ["c.tar"]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("kind", ["one large file", "many empty files"])
def test_archive_bombs(kind, mode, tmp_path, monkeypatch):
    least = 2**20
    monkeypatch.setattr("asr.corpus.download.MAX_SMALL_BYTES", least)

    class Zeros(io.RawIOBase):
        def read(self, size=-1):
            return bytes(size)

    with tarfile.open(tmp_path / "c.tar", mode) as tar:
        if kind == "one large file":
            tar.addfile(member("zeros", size=2**24)[0], Zeros())
        else:
            header = member("empty/" + "x" * 90)[0].tobuf()
            for _ in range(least // len(header) // 1000 + 1):
                tar.fileobj.write(header * 1000)
    with pytest.raises(DownloadError, match="an archive bomb: over"):
        unpack(tmp_path / "c.tar", tmp_path / "corpus")
    assert os.listdir(tmp_path) == ["c.tar"]


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_archives_cut_short(mode, tmp_path):
    noise = random.Random(0).randbytes
    archive = write_tar(tmp_path / "c.tar", *(member(f"{i}", noise(3000)) for i in range(20)), mode=mode)
    content = archive.read_bytes()
    lengths = [int(share * len(content)) for share in (0.0, 0.001, 0.3, 0.51, 0.8)]
    if mode == "w":
        lengths += [3584 * 5, 3584 * 5 + 100, 3584 * 20]  # before, in and after a header
    for length in lengths:
        archive.write_bytes(content[:length])
        with pytest.raises(DownloadError, match=r"c\.tar: cannot be unpacked"):
            unpack(archive, tmp_path / "corpus")
        assert os.listdir(tmp_path) == ["c.tar"]


@pytest.mark.parametrize("mode", ["w:gz", "w:bz2", "w:xz"])
def test_one_changed_byte_in_a_compressed_archive(mode, tmp_path):
    draw = random.Random(0)
    archive = write_tar(tmp_path / "c.tar", member("a.txt", b"seven words that repeat " * 400), mode=mode)
    content = archive.read_bytes()
    for place in draw.sample(range(10, len(content)), 40):
        changed = bytearray(content)
        changed[place] ^= draw.randint(1, 255)
        archive.write_bytes(changed)
        with pytest.raises(DownloadError):
            unpack(archive, tmp_path / "corpus")
        assert os.listdir(tmp_path) == ["c.tar"]


def test_random_damage_unpacks_or_is_a_download_error(tmp_path):
    draw = random.Random(0)
    members = [member(f"{i}", b"x" * 700) for i in range(3)] + [member("l", type=tarfile.LNKTYPE, linkname="1")]
    archive = write_tar(tmp_path / "c.tar", *members)
    content = archive.read_bytes()
    outcomes = set()
    for number in range(200):
        changed = bytearray(content)
        for _ in range(draw.randint(1, 8)):
            changed[draw.randrange(4000)] = draw.randrange(256)
        archive.write_bytes(gzip.compress(changed) if number % 2 else changed)
        try:
            unpack(archive, tmp_path / "home" / str(number))
            outcomes.add("unpacked")
        except DownloadError:
            outcomes.add("refused")
            assert not (tmp_path / "home" / str(number)).exists()
        assert sorted(os.listdir(tmp_path)) == ["c.tar", "home"]
        assert not [name for name in os.listdir(tmp_path / "home") if name.endswith(".part")]
    assert outcomes == {"unpacked", "refused"}


def test_things_that_are_no_archive(tmp_path):
    for name, content in [("page.tar.gz", b"<html></html>"), ("empty.tar", b""), ("a.zip", b"PK\3\4" + bytes(99))]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DownloadError, match=f"{name}: cannot be unpacked"):
            unpack(tmp_path / name, tmp_path / "corpus")
    with pytest.raises(DownloadError, match="No such file"):
        unpack(tmp_path / "missing.tar", tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_a_damaged_header_does_not_end_the_archive_in_silence(tmp_path):
    archive = write_tar(tmp_path / "c.tar", *(member(f"{i}", b"x") for i in range(9)))
    content = bytearray(archive.read_bytes())
    content[4 * 1024 + 150] ^= 1  # the checksum of the fifth header
    archive.write_bytes(content)
    with pytest.raises(DownloadError, match="damaged or cut short: bad checksum"):
        unpack(archive, tmp_path / "corpus")


@pytest.mark.parametrize("killed", [True, False])
def test_an_interrupted_extraction_is_not_taken_for_finished(killed, tmp_path):
    """A process that may write no more than 10 kB a file is killed at the second member, or sees the disk as full."""
    archive = write_tar(tmp_path / "c.tar", member("1", b"a"), member("2", b"b" * 20_000), member("3", b"c"))
    code = f"""
import resource, signal, sys
from pathlib import Path
from asr.corpus.download import unpack
signal.signal(signal.SIGXFSZ, signal.SIG_DFL if {killed} else signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
unpack(Path("c.tar"), Path("corpus"))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False, capture_output=True, text=True)
    if killed:
        assert done.returncode == -signal.SIGXFSZ
        assert os.listdir(tmp_path / "corpus.part")
    else:
        assert "DownloadError: c.tar: cannot be unpacked ([Errno 27] File too large)" in done.stderr
    assert not (tmp_path / "corpus").exists()
    unpack(archive, tmp_path / "corpus")
    assert everything_below(tmp_path / "corpus") == ["1", "2", "3"]
    assert sorted(os.listdir(tmp_path)) == ["c.tar", "corpus"]


def test_an_existing_folder_is_not_overwritten(tmp_path):
    archive = write_tar(tmp_path / "c.tar", member("1", b"a"))
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "mine").touch()
    with pytest.raises(DownloadError, match="cannot be unpacked"):
        unpack(archive, tmp_path / "corpus")
    assert everything_below(tmp_path) == ["c.tar", "corpus/mine"]
