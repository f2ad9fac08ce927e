"""Archives as their publishers pack them, and a server on this machine that offers them and fails on purpose."""

import io
import tarfile
import threading
from collections.abc import Iterable
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import soundfile

FORMATS = {".wav": ("WAV",), ".flac": ("FLAC",), ".mp3": ("MP3",), ".opus": ("OGG", "OPUS")}


def sound(suffix: str, rate: int, seconds: float = 1.2, pitch: float = 300.0) -> bytes:
    """A file's content: a tone in a little noise, another one for every pitch."""
    t = np.arange(round(seconds * rate)) / rate
    noise = 0.01 * np.random.default_rng(int(pitch)).standard_normal(len(t))
    buffer = io.BytesIO()
    kind, *subtype = FORMATS[suffix.lower()]
    soundfile.write(buffer, 0.3 * np.sin(2 * np.pi * pitch * t) + noise, rate, *subtype, format=kind)
    return buffer.getvalue()


def archive(files: Iterable[tuple[str, bytes | str]], compression: str = "gz") -> bytes:
    """A tar archive's content."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as tar:
        for name, content in files:
            raw = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return buffer.getvalue()


def pack(path: Path, files: Iterable[tuple[str, bytes | str]]) -> Path:
    """Write an archive, compressed as its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(archive(files, "bz2" if path.suffix == ".bz2" else "gz"))
    return path


class Mirror(ThreadingHTTPServer):
    """Serves a folder, ranges included. What is put into `broken` or `spoilt`, a path below the folder, is broken off
    half-way or has a wrong byte the next time it is asked for; `sent` holds (path, first byte, bytes) of every answer.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.broken: set[str] = set()
        self.spoilt: set[str] = set()
        self.sent: list[tuple[str, int, int]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Mirror

    def do_HEAD(self) -> None:
        path = self.server.folder / urlsplit(self.path).path.lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(path.stat().st_size))
        self.end_headers()

    def do_GET(self) -> None:
        path = urlsplit(self.path).path.lstrip("/")
        if not (self.server.folder / path).is_file():
            self.send_error(404)
            return
        content = (self.server.folder / path).read_bytes()
        asked = self.headers.get("Range")
        first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        body = content[first:]
        if path in self.server.broken:
            self.server.broken.remove(path)
            body = body[: len(body) // 2]
        if path in self.server.spoilt:
            self.server.spoilt.remove(path)
            body = body[:-9] + bytes([body[-9] ^ 1]) + body[-8:]
        self.server.sent.append((path, first, len(body)))
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(folder: Path):
    """A Mirror of the folder, as long as the block runs."""
    with Mirror(folder) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
