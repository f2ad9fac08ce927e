"""Archives: from their public home or a mirror to a folder, resumed, verified, unpacked safely."""

from __future__ import annotations

import hashlib
import http.client
import shutil
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from asr.errors import DownloadError
from asr.version import __version__

TRIES = 4
PAUSE_S = 1.0  # before the second try, then twice as long each time
TIMEOUT_S = 60
BLOCK = 2**20
SUFFIXES = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".zip")

Say = Callable[[str], None]


@dataclass(frozen=True)
class Archive:
    """A file of a corpus. path: its place under a mirror; urls: its public homes, tried in order; sha256, md5: as
    published, None where the publisher gives none; gigabytes: its size, roughly, to say before it is fetched;
    optional: fetched only where it is asked for by its name, the file's without suffix (`--parts train-other-500`)."""

    path: str
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    md5: str | None = None
    gigabytes: float | None = None
    optional: bool = False

    @property
    def name(self) -> str:
        """openslr/12/train-other-500.tar.gz -> train-other-500."""
        return archive_stem(self.path)


def archive_stem(path: str) -> str:
    """The file's name without the suffix of its kind: what its folder is called once it is unpacked."""
    name = Path(path).name
    for suffix in SUFFIXES:
        name = name.removesuffix(suffix)
    return name


def fetch(archive: Archive, folder: Path, mirror: str | None, verify: bool, say: Say) -> Path:
    """Have the archive in `folder` and return its path; what is there and right is not fetched again.

    mirror: a local folder (a published checksum that differs gives a warning: people re-pack corpora) or a URL.
    Raises DownloadError when nothing that passes the checksum can be had.
    """
    target = folder / Path(archive.path).name
    if mirror is not None and "://" not in mirror:
        local = Path(mirror).expanduser() / archive.path
        if not local.is_file():
            raise DownloadError(f"{local}: not in the mirror folder; MIRROR must hold {archive.path}")
        if verify and archive.sha256 and file_sha256(local) != archive.sha256:
            say(f"warning: {local} differs from the published archive (sha256); used as the mirror is a local folder")
        return local
    if target.is_file():
        if difference := _difference(target, archive, verify):
            raise DownloadError(f"{target}: {difference}; delete it to have it fetched again")
        return target
    folder.mkdir(parents=True, exist_ok=True)
    urls = [f"{mirror.rstrip('/')}/{archive.path}"] if mirror is not None else list(archive.urls)
    errors = [] if urls else [f"{archive.path}: has no public address; get it by hand and set MIRROR to its folder"]
    for url in urls:
        try:
            part = _download(url, target.with_name(target.name + ".part"), say)
            if difference := _difference(part, archive, verify):
                part.unlink()
                raise DownloadError(f"{url}: {difference}; not used and deleted")
            part.replace(target)
            return target
        except DownloadError as error:
            errors.append(str(error))
    raise DownloadError("; ".join(errors))


def unpack(archive: Path, folder: Path) -> None:
    """Extract a tar archive so that `folder` exists only when complete. Members may not leave it."""
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with tarfile.open(archive, tarinfo=_Member) as tar:
            tar.extractall(part, filter="data")
            while tar.fileobj is not None and tar.fileobj.read(BLOCK):  # gzip compares its checksum at the very end
                pass
        part.replace(folder)
    except Exception as error:  # tarfile answers damage with anything from KeyError to zlib.error
        shutil.rmtree(part, ignore_errors=True)
        raise DownloadError(f"{archive}: cannot be unpacked ({error}); if it is damaged, delete it") from None


class _Member(tarfile.TarInfo):
    """A damaged or missing header is an error. By itself tarfile takes it for the end, and the rest goes missing."""

    @classmethod
    def frombuf(cls, buf: bytes, encoding: str, errors: str) -> tarfile.TarInfo:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"damaged or cut short: {error}") from None


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _difference(path: Path, archive: Archive, verify: bool) -> str | None:
    """How a file is not what was published; None where it is, or where that cannot be told."""
    if not verify or archive.sha256 is None or (found := file_sha256(path)) == archive.sha256:
        return None
    return f"sha256 is {found}, published is {archive.sha256}"


def _download(url: str, part: Path, say: Say) -> Path:
    """Fetch to `part`, going on where an earlier transfer broke off; retried with growing pauses."""
    say(f"downloading {url}")
    for attempt in range(TRIES):
        try:
            return _transfer(url, part)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing beyond the part: it is all there, or not a beginning of what is offered
                if part.is_file() and error.headers.get("Content-Range") == f"bytes */{part.stat().st_size}":
                    return part
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code != 429:
                raise DownloadError(f"{url}: {error.code} {error.reason}") from None
            reason = f"{error.code} {error.reason}"
        except (http.client.InvalidURL, ValueError) as error:
            raise DownloadError(f"{url}: {error}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        if attempt + 1 < TRIES:
            say(f"{url}: {reason}; trying again")
            time.sleep(PAUSE_S * 2**attempt)
    raise DownloadError(
        f"{url}: {reason} ({TRIES} tries); what was received is kept, the same command goes on from there"
    )


def _transfer(url: str, part: Path) -> Path:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": f"asr/{__version__}"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        if response.headers.get_content_type() == "text/html":
            raise DownloadError(f"{url}: a web page came instead of an archive")
        resumed = response.status == 206
        if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            part.unlink(missing_ok=True)
            raise OSError("the server sent another range than was asked for")
        length = response.headers.get("Content-Length", "")
        expected = int(length) + (have if resumed else 0) if length.isdecimal() else None
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
    size = part.stat().st_size
    if expected is not None and size < expected:
        raise OSError(f"the connection closed after {size} of {expected} bytes")
    return part
