"""Archives to folders: what would leave the folder or fill the disk is refused, what is interrupted never counts."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from asr.errors import DownloadError

BLOCK = 2**20
HEADER = 512  # bytes that any member takes in a tar archive
# Sound and text shrink to a tenth at most, silence further; archives made to fill disks shrink to a thousandth.
LARGEST_RATIO = 200
LEAST = 100 * 2**20  # bytes that any archive may unpack to


def unpack(archive: Path, folder: Path) -> None:
    """Extract a tar archive (plain, gzip, bzip2, xz) so that `folder` exists only when it is complete.

    Raises DownloadError for damage and for members that have no place in a corpus: absolute paths, `..`, links that
    leave the folder, devices; and where much more comes out than an archive of this size can honestly hold.
    """
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
        raise DownloadError(f"{archive}: cannot be unpacked ({error}); if it is damaged, delete it") from None


def _bounded(tar: tarfile.TarFile, size: int) -> Iterator[tarfile.TarInfo]:
    """The members, as long as they add up to what `size` bytes of archive can honestly hold."""
    most = max(LARGEST_RATIO * size, LEAST)
    total = 0
    for member in tar:
        if member.name.startswith("/"):  # tarfile would put it inside: no corpus is packed like this
            raise tarfile.ExtractError(f"an absolute path: {member.name}")
        total += HEADER + member.size
        if total > most:
            raise tarfile.ExtractError(f"an archive bomb: over {most / 1e9:.1f} GB come out of {size / 1e6:.1f} MB")
        yield member


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
