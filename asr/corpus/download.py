"""Archives from their public homes or a mirror: resumed, verified, complete or not at all; and what is in them, where
what would leave its folder or fill the disk is refused."""

from __future__ import annotations

import http.client
import logging
import os
import re
import shutil
import socket
import sys
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from asr import __version__
from asr.errors import DownloadError
from asr.util.files import file_digest, require_file

if TYPE_CHECKING:
    from rich.progress import Progress

TRIES = 4  # in a row that bring nothing
PAUSE_S = 1.0  # before the second try, then twice as long each time
MAX_PAUSE_S = 300.0  # that a server may ask for
TIMEOUT_S = 60
SIZE_TIMEOUT_S = 10  # for an answer that can be done without
BLOCK = 2**20
AGENT = {"User-Agent": f"asr/{__version__}"}
OPENSLR = (
    "https://www.openslr.org",
    "https://openslr.trmal.net",
    "https://openslr.elda.org",
    "https://openslr.magicdatatech.com",
)
SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar")
HEADER = 512  # bytes that any member takes in a tar archive
# Sound and text shrink to a tenth at most, silence further; archives made to fill disks shrink to a thousandth.
MAX_RATIO = 200
MAX_SMALL_BYTES = 100 * 2**20  # bytes that any archive may unpack to
# Bytes of a header that only describes the next member. Those of long names have a few thousand; all is read at once.
MAX_HEADER_BYTES = 2**14
DESCRIPTIONS = (
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
)

Parts = tuple[str, ...]  # of a path

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Archive:
    """A file of a corpus. path: its place under a mirror, which may be a pattern (`cv-corpus-*.tar.gz`) where there is
    no public home; urls: its public homes, tried in order; sha256, md5: as published, None where the publisher gives
    none; gigabytes: its size, roughly, to say before it is fetched; optional: fetched only where it is asked for by its
    name, the file's without suffix (`--parts train-other-500`); label: goes before the name, where two archives of a
    recipe have the same file name; extra: taken where a mirror folder has it, all that match a pattern, else left out.
    """

    path: str
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    md5: str | None = None
    gigabytes: float | None = None
    optional: bool = False
    label: str = ""
    extra: bool = False

    @property
    def name(self) -> str:
        """openslr/12/train-other-500.tar.gz -> train-other-500: what its folder is called once it is unpacked."""
        name = Path(self.path).name
        for suffix in SUFFIXES:
            name = name.removesuffix(suffix)
        return f"{self.label}-{name}" if self.label else name


def openslr(path: str, **fields: Any) -> Archive:
    """A file of openslr.org, `12/dev-clean.tar.gz`, with its mirrors; fields: the other fields of an Archive."""
    return Archive(f"openslr/{path}", tuple(f"{home}/resources/{path}" for home in OPENSLR), **fields)


def mirror_folder(mirror: str | None) -> Path | None:
    """The folder that a mirror is, given as such or as file://; None where it is a server, or there is none."""
    if mirror is None:
        return None
    if mirror.startswith("file://"):
        return Path(urllib.request.url2pathname(urlsplit(mirror).path))
    return None if "://" in mirror else Path(mirror).expanduser()


def find_in_mirror(archive: Archive, mirror: str | None) -> list[Archive]:
    """The archive as a list of one; where its path is a pattern, the file of a mirror folder that it matches; of an
    extra one, every file there that it matches. Raises DownloadError where a pattern does not mean one file."""
    if "*" not in archive.path and not archive.extra:
        return [archive]
    folder = mirror_folder(mirror)
    paths = sorted(folder.glob(archive.path)) if folder is not None else []
    found = [replace(archive, path=path.relative_to(str(folder)).as_posix()) for path in paths]
    if archive.extra or len(found) == 1:
        return found
    there = f"{len(found)} files match in {folder}" if folder is not None else "it has no public address"
    raise DownloadError(
        f"{archive.path}: {there}; download the archive you want from its home and give it by name, --from FILE-OR-URL"
        " (CORPUS=… before a recipe's command)"
    )


def gigabytes(archive: Archive, mirror: str | None) -> float:
    """The archive's size where it will come from, as people re-pack corpora; else as published, 0 where unknown."""
    published = archive.gigabytes or 0.0
    home = mirror_folder(mirror)
    if home is not None:
        return _size(home / archive.path) / 1e9 or published
    if mirror is None:
        return published
    try:
        request = urllib.request.Request(_in_mirror(archive, mirror), method="HEAD", headers=AGENT)
        with urllib.request.urlopen(request, timeout=SIZE_TIMEOUT_S) as response:
            length = response.headers.get("Content-Length", "")
        return (int(length) / 1e9 if length.isdecimal() else 0.0) or published
    except (OSError, ValueError, OverflowError, http.client.HTTPException):  # said when the archive is fetched
        return published


def fetch(archive: Archive, folder: Path, mirror: str | None, verify: bool) -> Path:
    """Download the archive to `folder` and return its path; a correct one is not downloaded again. One whose path is
    absolute stays where it is.

    mirror: a local folder (a published checksum that differs gives a warning: people re-pack corpora) or a URL.
    Raises DownloadError when no source has a file that passes the checksum.
    """
    target = folder / Path(archive.path).name
    if Path(archive.path).is_absolute():
        return Path(archive.path)
    home = mirror_folder(mirror)
    if home is not None:
        local = home / archive.path
        if not local.is_file():
            raise DownloadError(f"{local}: not in the mirror folder; MIRROR must hold {archive.path}")
        if difference := _difference(local, archive, verify):
            logger.warning(f"{local}: {difference}; used all the same, because the mirror is a local folder")
        return local
    if target.is_file():
        if difference := _difference(target, archive, verify):
            raise DownloadError(f"{target}: {difference}; delete it to download it again")
        return target
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DownloadError(f"{folder}: {error.strerror}; name another folder") from None
    urls = [_in_mirror(archive, mirror)] if mirror is not None else list(archive.urls)
    errors = [] if urls else [f"{archive.path}: has no public address; get it by hand and set MIRROR to its folder"]
    part = target.with_name(target.name + ".part")
    for url in urls:
        try:
            resumed = part.exists()
            difference = _download(url, part) or _difference(part, archive, verify)
            if difference and resumed:  # the beginning may be of another file: once more, all of it
                part.unlink()
                difference = _download(url, part) or _difference(part, archive, verify)
            if difference:
                part.unlink()
                raise DownloadError(f"{url.partition('?')[0]}: {difference}; not used and deleted")
            part.replace(target)
            return target
        except DownloadError as error:
            errors.append(str(error))
    corpus = ", or CORPUS=PATH (--from) of the archive or the unpacked corpus" if target.name.endswith(SUFFIXES) else ""
    raise DownloadError(
        f"{'; '.join(errors)}. Without a network, name what you have: MIRROR=FOLDER (--mirror) that holds"
        f" {archive.path}{corpus}"
    )


def _in_mirror(archive: Archive, mirror: str) -> str:
    return f"{mirror.rstrip('/')}/{archive.path}"


def _difference(path: Path, archive: Archive, verify: bool) -> str | None:
    """How a file is not what was published; None where it is, or where that cannot be told."""
    for algorithm, published in (("sha256", archive.sha256), ("md5", archive.md5)):
        if verify and published is not None and (found := file_digest(path, algorithm)) != published:
            return f"{algorithm} is {found}, published is {published}"
    return None


def _is_page(path: Path) -> bool:
    """Whether it is a web page: log-in and error pages come with any content type."""
    with path.open("rb") as file:
        return file.read(512).lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _download(url: str, part: Path) -> str | None:
    """Download to `part`, resuming an earlier transfer; retry with growing pauses. Returns what is obviously wrong with
    the file, if anything."""
    shown = url.partition("?")[0]  # what follows may be a signature that is secret
    have = _size(part)
    logger.info(f"downloading {shown}" + (f", resuming after {have / 1e6:.1f} MB" if have else ""))
    failures = 0
    while True:
        before, asked_to_wait = _size(part), 0.0
        try:
            _transfer(url, part)
            return "a web page came instead of an archive" if _is_page(part) else None
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing beyond the part: it is all there, or not a beginning of what is offered
                if part.is_file() and error.headers.get("Content-Range") == f"bytes */{_size(part)}":
                    return None
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code != 429:
                raise DownloadError(f"{shown}: {error.code} {error.reason}") from None
            reason = f"{error.code} {error.reason}"
            wanted = error.headers.get("Retry-After", "")
            asked_to_wait = min(float(wanted), MAX_PAUSE_S) if wanted.isdecimal() else 0.0
        except (http.client.InvalidURL, ValueError) as error:
            raise DownloadError(f"{shown}: {error}") from None
        except (OSError, http.client.HTTPException) as error:
            cause = getattr(error, "reason", error)
            reason = str(cause) or type(error).__name__
            if not _size(part) and isinstance(cause, (socket.gaierror, ConnectionRefusedError)):
                raise DownloadError(f"{shown}: {reason}") from None  # nobody there: the next home, or a mirror
        failures = 1 if _size(part) > before else failures + 1
        if failures == TRIES:
            break
        logger.info(f"{shown}: {reason}; trying again")
        time.sleep(max(PAUSE_S * 2 ** (failures - 1), asked_to_wait))
    kept = "; what was received is kept, rerun to resume" if _size(part) else ""
    raise DownloadError(f"{shown}: {reason} ({TRIES} tries){kept}")


def _transfer(url: str, part: Path) -> None:
    """One request for what `part` lacks, or for everything where the server has another file now than it began with."""
    have, version = _size(part), part.with_name(part.name + ".version")
    request = urllib.request.Request(url, headers=AGENT)
    if have:
        request.add_header("Range", f"bytes={have}-")
        if version.is_file():
            request.add_header("If-Range", version.read_text(encoding="latin-1"))
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        if response.headers.get_content_type() == "text/html":
            raise DownloadError(f"{url.partition('?')[0]}: a web page came instead of an archive")
        resumed = response.status == 206
        range_sent = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if resumed and (range_sent is None or int(range_sent[1]) != have):
            part.unlink(missing_ok=True)
            raise OSError("the server sent another range than was asked for")
        done = have if resumed else 0
        length = response.headers.get("Content-Length", "")
        expected = int(length) + done if length.isdecimal() else None
        if resumed and range_sent is not None and range_sent[2] != "*":
            expected = int(range_sent[2])
        free = shutil.disk_usage(part.parent).free
        if expected is not None and expected - done > free:
            raise DownloadError(
                f"{part}: {(expected - done) / 1e9:.2f} GB are to come, {free / 1e9:.2f} GB are free on this disk"
            )
        if not resumed:
            _remember(version, response.headers.get("ETag", ""))
        with part.open("ab" if resumed else "wb") as file, _bar() as bar:
            task = bar.add_task(part.name.removesuffix(".part"), total=expected, completed=done)
            while block := response.read1(BLOCK):  # what came before a connection breaks is not lost
                file.write(block)
                bar.advance(task, len(block))
    if expected is not None and _size(part) < expected:
        raise OSError(f"the connection closed after {_size(part)} of {expected} bytes")
    version.unlink(missing_ok=True)


def _remember(version: Path, tag: str) -> None:
    """Keep the tag that tells whether the server still has the same file; weak ones do not."""
    if tag.startswith('"') and tag.isascii():
        version.write_text(tag, encoding="latin-1")
    else:
        version.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _bar() -> Progress:
    """Bytes, speed and time left, where a person watches."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.progress import TransferSpeedColumn as Speed

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), Speed(), TimeRemainingColumn()
    unseen = not sys.stderr.isatty()
    return Progress(*columns, console=Console(stderr=True), transient=True, disable=unseen)


def unpack(archive: Path, folder: Path) -> None:
    """Extract a tar archive (plain, gzip, bzip2, xz) so that `folder` exists only when it is complete.

    Raises DownloadError for damage and for members that have no place in a corpus: absolute paths, `..`, links that
    leave the folder, devices; and where much more comes out than an archive of this size can honestly hold.
    """
    require_file(archive, DownloadError)
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with tarfile.open(archive, tarinfo=_Member) as tar:
            tar.extractall(part, members=_bounded(tar, archive.stat().st_size), filter="data")
            while tar.fileobj is not None and tar.fileobj.read(BLOCK):  # gzip compares its checksum at the very end
                pass
        part.replace(folder)
    except Exception as error:  # tarfile answers damage with anything from KeyError to zlib.error
        shutil.rmtree(part, ignore_errors=True)
        reason = " ".join(str(error).split())  # tarfile's may have several lines
        raise DownloadError(f"{archive}: cannot be unpacked ({reason}); if it is damaged, get it again") from None


def _bounded(tar: tarfile.TarFile, size: int) -> Iterator[tarfile.TarInfo]:
    """The members, as long as they add up to what `size` bytes of archive can honestly hold."""
    limit = max(MAX_RATIO * size, MAX_SMALL_BYTES)
    total = 0
    links: set[Parts] = set()
    for member in tar:
        _refuse_ways_out(member, links)
        if member.size < 0:  # tarfile would go back and find the same member again, for ever
            raise tarfile.ExtractError(f"{member.name}: a size of {member.size} bytes")
        segments: Any = member.sparse or ()  # (offset, length) of a file with holes
        holes_filled = sum(length for _, length in segments)
        total += HEADER + max(member.size, holes_filled)
        if total > limit:
            raise tarfile.ExtractError(f"an archive bomb: over {limit / 1e9:.1f} GB come out of {size / 1e6:.1f} MB")
        yield member


def _refuse_ways_out(member: tarfile.TarInfo, links: set[Parts]) -> None:
    """Raise ExtractError for a member that could lead out of the folder, now or once other members are there.

    tarfile's filter looks at what is on the disk when the member's turn comes, and older Pythons lose their way in
    paths beyond the system's limit. This looks at names alone: nothing lies behind a link, and a link goes up from
    where it lies, no further than to the top, before it goes down. links: those of earlier members, added to.
    """
    path = _parts(member.name)
    if member.name.startswith("/"):  # tarfile would put it inside: no corpus is packed like this
        raise tarfile.ExtractError(f"an absolute path: {member.name}")
    if ".." in path or _any_link(path[:-1], links):
        raise tarfile.ExtractError(f"a path through '..' or a link: {member.name}")
    target = _parts(member.linkname)
    if member.issym():
        up = next((n for n, part in enumerate(target) if part != ".."), len(target))
        if member.linkname.startswith("/") or up >= len(path) or ".." in target[up:]:
            raise tarfile.ExtractError(f"a link that may leave the folder: {member.name} to {member.linkname}")
        links.add(path)
    elif member.islnk() and (".." in target or _any_link(target, links)):  # where a link lies is where it starts from
        raise tarfile.ExtractError(f"a hard link through '..' or to a link: {member.name} to {member.linkname}")


def _parts(name: str) -> Parts:
    """Case apart, which some file systems do not tell."""
    return tuple(part for part in name.replace(os.sep, "/").casefold().split("/") if part not in ("", "."))


def _any_link(path: Parts, links: set[Parts]) -> bool:
    """Whether the path, or a folder on its way, is one of the links."""
    return bool(links) and any(path[: n + 1] in links for n in range(len(path)))


class _Member(tarfile.TarInfo):
    """A damaged or missing header is an error. By itself tarfile takes it for the end, and the rest goes missing."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        try:
            member = super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]  # typeshed lacks it
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"damaged or cut short: {error}") from None
        if member.type in DESCRIPTIONS and member.size > MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {member.size} bytes")
        return member
