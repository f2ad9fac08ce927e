"""Archives: from their public home or a mirror to a folder, resumed, verified, unpacked safely."""

from __future__ import annotations

import hashlib
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
TIMEOUT_S = 60
BLOCK = 2**20

Say = Callable[[str], None]


@dataclass(frozen=True)
class Archive:
    """A file of a corpus. path: its place under a mirror; urls: its public homes, tried in order;
    sha256: as published, None where the publisher gives none."""

    path: str
    urls: tuple[str, ...]
    sha256: str | None = None


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
            say(f"warning: {local} differs from the published archive (sha256); used because the mirror is a local folder")
        return local
    if target.is_file():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    urls = [f"{mirror.rstrip('/')}/{archive.path}"] if mirror is not None else list(archive.urls)
    errors = []
    for url in urls:
        try:
            part = _download(url, target.with_name(target.name + ".part"), say)
            if verify and archive.sha256 and (found := file_sha256(part)) != archive.sha256:
                part.unlink()
                raise DownloadError(f"{url}: sha256 is {found}, published is {archive.sha256}; not used and deleted")
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
        with tarfile.open(archive) as tar:
            tar.extractall(part, filter="data")
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        shutil.rmtree(part, ignore_errors=True)
        raise DownloadError(f"{archive}: cannot be unpacked: {error}") from None
    part.replace(folder)


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _download(url: str, part: Path, say: Say) -> Path:
    """Fetch to `part`, going on where an earlier transfer broke off; retried with growing pauses."""
    say(f"downloading {url}")
    for attempt in range(TRIES):
        try:
            return _transfer(url, part)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the part on disk is not a beginning of what is offered
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code != 429:
                raise DownloadError(f"{url}: {error.code} {error.reason}") from None
            reason = f"{error.code} {error.reason}"
        except (OSError, ValueError) as error:
            reason = str(getattr(error, "reason", error))
        if attempt + 1 < TRIES:
            say(f"{url}: {reason}; trying again")
            time.sleep(2.0**attempt)
    raise DownloadError(f"{url}: {reason} ({TRIES} tries); what was received is kept, the same command goes on from there")


def _transfer(url: str, part: Path) -> Path:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": f"asr/{__version__}"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        if response.headers.get_content_type() == "text/html":
            raise DownloadError(f"{url}: a web page came instead of an archive")
        resumed = response.status == 206 and str(response.headers.get("Content-Range", "")).startswith(f"bytes {have}-")
        length = response.headers.get("Content-Length")
        expected = None if length is None else int(length) + (have if resumed else 0)
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
    size = part.stat().st_size
    if expected is not None and size < expected:
        raise OSError(f"the connection closed after {size} of {expected} bytes")
    return part
