"""Archives to folders: what would leave the folder or fill the disk is refused; a folder is complete or not there."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asr.errors import DownloadError
from asr.util.files import require_file

BLOCK = 2**20
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
