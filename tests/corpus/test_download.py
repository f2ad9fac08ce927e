"""Fetching and unpacking archives: against a real server on this machine that breaks off, lies and moves, and against
archives made to break out of their folder."""

import hashlib
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from asr.corpus.download import BLOCK, Archive, fetch, find_in_mirror, gigabytes
from asr.errors import DownloadError
from asr.util.files import file_sha256

CONTENT = bytes(range(256)) * 12_000  # 3 MB: more than one block
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT at every address; `answers` holds what to do with the next requests instead, in order, and
    `ranges` the Range header of every request that came."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.ranges = [], []

    def url(self, path="corpus.tar"):
        return f"http://127.0.0.1:{self.server_port}/{path}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.ranges.append(self.headers.get("Range"))
        answer = self.server.answers.pop(0) if self.server.answers else whole_or_range
        answer(self)

    do_HEAD = do_GET

    def reply(self, status, body=b"", length=None, **headers):
        """length: the Content-Length to claim, None for the true one, "" for none."""
        self.send_response(status)
        headers = {"Content-Type": "application/x-tar", "Content-Length": len(body) if length is None else length} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        for name, value in headers.items():
            if value != "":
                self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def whole_or_range(request):
    asked = request.headers.get("Range")
    first = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
    if first >= len(CONTENT):
        request.reply(416, Content_Range=f"bytes */{len(CONTENT)}")
    elif asked:
        request.reply(206, CONTENT[first:], Content_Range=f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
    else:
        request.reply(200, CONTENT)


def whole(request):
    """A server that does not know ranges."""
    request.reply(200, CONTENT)


def half(request):
    """The connection breaks half-way."""
    request.reply(200, CONTENT[: len(CONTENT) // 2], length=len(CONTENT))


def half_in_chunks(request):
    request.protocol_version = "HTTP/1.1"
    request.reply(200, length="", Transfer_Encoding="chunked")
    request.wfile.write(b"%x\r\n" % len(CONTENT) + CONTENT[: len(CONTENT) // 2])
    request.close_connection = True


def hang_up(request):
    request.close_connection = True


def fail(status):
    return lambda request: request.reply(status, b"sorry")


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr("asr.corpus.download.PAUSE_S", 0.001)
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def get(server, tmp_path):
    """get(sha256=…) -> the path that fetching the server's archive gives."""

    def fetch_archive(*urls, sha256=SHA256, md5=None, mirror=None, verify=True):
        archive = Archive("home/corpus.tar", urls or (server.url(),), sha256, md5)
        return fetch(archive, tmp_path / "archives", mirror, verify)

    return fetch_archive


def left_over(tmp_path):
    return sorted(os.listdir(tmp_path / "archives"))


def test_download_and_nothing_the_second_time(server, get, tmp_path, caplog):
    path = get()
    assert path == tmp_path / "archives" / "corpus.tar"
    assert path.read_bytes() == CONTENT
    assert left_over(tmp_path) == ["corpus.tar"]
    assert get() == path
    assert server.ranges == [None]
    assert caplog.messages == [f"downloading {server.url()}"]


@pytest.mark.parametrize("broken", [half, half_in_chunks])
def test_a_broken_transfer_is_resumed_where_it_ended(broken, server, get, caplog):
    server.answers = [broken, fail(503), hang_up]
    assert get().read_bytes() == CONTENT
    assert server.ranges == [None, *[f"bytes={len(CONTENT) // 2}-"] * 3]
    assert len([line for line in caplog.messages if line.endswith("; trying again")]) == 3


def test_the_same_command_later_goes_on_from_what_was_received(server, get, tmp_path):
    server.answers = [half] + [hang_up] * 3
    with pytest.raises(DownloadError, match=r"\(4 tries\); what was received is kept"):
        get()
    assert left_over(tmp_path) == ["corpus.tar.part"]
    assert get().read_bytes() == CONTENT
    assert server.ranges[-1] == f"bytes={len(CONTENT) // 2}-"
    assert left_over(tmp_path) == ["corpus.tar"]


def test_a_server_that_ignores_ranges_starts_over(server, get):
    server.answers = [half, whole]
    assert get().read_bytes() == CONTENT
    assert server.ranges[1] is not None


def test_a_server_that_sends_another_range_is_not_believed(server, get):
    server.answers = [half, lambda r: r.reply(206, CONTENT[:100], Content_Range=f"bytes 0-99/{len(CONTENT)}")]
    assert get(sha256=None).read_bytes() == CONTENT
    assert server.ranges[2] is None


def test_what_was_received_completely_is_not_fetched_again(server, get, tmp_path):
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "corpus.tar.part").write_bytes(CONTENT)
    assert get().read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_a_part_longer_than_the_archive_starts_over(server, get, tmp_path):
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "corpus.tar.part").write_bytes(CONTENT + b"x")
    assert get().read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT) + 1}-", None]


def test_a_wrong_checksum_is_refused_and_deleted(server, get, tmp_path):
    with pytest.raises(DownloadError, match=f"sha256 is {SHA256}, published is 0000; not used and deleted"):
        get(sha256="0000")
    assert left_over(tmp_path) == []
    path = get(sha256="0000", verify=False)
    assert path.read_bytes() == CONTENT
    with pytest.raises(DownloadError, match=r"corpus\.tar: sha256 is .*; delete it to download it again"):
        get(sha256="0000")
    assert get(sha256="0000", verify=False) == path


def test_a_web_page_is_not_an_archive(server, get, tmp_path):
    server.answers = [lambda r: r.reply(200, b"<html>log in</html>", Content_Type="text/html; charset=utf-8")]
    with pytest.raises(DownloadError, match="a web page came instead of an archive"):
        get(sha256=None)
    assert left_over(tmp_path) == []
    assert len(server.ranges) == 1


def test_a_web_page_that_calls_itself_an_archive(server, get, tmp_path):
    server.answers = [lambda r: r.reply(200, b"\n <!DOCTYPE html><p>log in</p>")]
    with pytest.raises(DownloadError, match="a web page came instead of an archive; not used and deleted"):
        get(sha256=None)
    assert left_over(tmp_path) == []


def test_an_md5_is_a_checksum_too(get, tmp_path):
    with pytest.raises(DownloadError, match=r"md5 is .*, published is 0000; not used and deleted"):
        get(sha256=None, md5="0000")
    assert get(sha256=None, md5=hashlib.md5(CONTENT).hexdigest()).read_bytes() == CONTENT


def test_tries_count_from_the_last_that_brought_something(server, get):
    def a_little(request):
        first = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        answer = {"Content_Range": f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"} if first else {}
        request.reply(206 if first else 200, CONTENT[first:][:400_000], length=len(CONTENT) - first, **answer)

    server.answers = [a_little, fail(503), fail(503)] * 3
    assert get().read_bytes() == CONTENT


def test_little_pieces_of_connections_that_stall_add_up(server, get, monkeypatch):
    monkeypatch.setattr("asr.corpus.download.TIMEOUT_S", 1.0)
    piece = BLOCK * 2 // 3

    def stall(request):
        first = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        answer = {"Content_Range": f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}"} if first else {}
        request.reply(206 if first else 200, CONTENT[first:][:piece], length=len(CONTENT) - first, **answer)
        request.wfile.flush()
        server.stalled.wait(30)

    server.stalled = threading.Event()
    server.answers = [stall, stall]
    assert get().read_bytes() == CONTENT
    server.stalled.set()
    assert server.ranges == [None, f"bytes={piece}-", f"bytes={2 * piece}-"]


def test_a_file_that_changed_on_the_server_starts_over(server, get):
    def other(request):  # as servers do that know If-Range
        same = request.headers.get("If-Range") == '"new"'
        (whole_or_range if same else whole)(request)

    server.answers = [lambda r: r.reply(200, b"x" * 1_000_000, length=len(CONTENT), ETag='"old"'), other]
    assert get(sha256=None).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1000000-"]


def test_a_changed_file_without_a_tag_is_found_by_its_checksum_and_fetched_again(server, get, tmp_path):
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "corpus.tar.part").write_bytes(b"x" * 1_000_000)
    assert get().read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000000-", None]


def test_a_server_that_sends_less_than_the_rest_is_asked_again(server, get):
    def some(request):
        request.reply(206, CONTENT[1536000:2000000], Content_Range=f"bytes 1536000-1999999/{len(CONTENT)}")

    server.answers = [half, some]
    assert get(sha256=None).read_bytes() == CONTENT
    assert server.ranges[2] == "bytes=2000000-"


def test_a_server_that_wants_a_pause_gets_it(server, get, monkeypatch):
    pauses = []
    monkeypatch.setattr("asr.corpus.download.time.sleep", pauses.append)
    server.answers = [lambda r: r.reply(429, Retry_After="7"), lambda r: r.reply(503, Retry_After="99999"), fail(503)]
    assert get().read_bytes() == CONTENT
    assert pauses == [7, 300, 0.004]


def test_what_does_not_fit_on_the_disk_is_refused_before_it_comes(server, get, tmp_path):
    server.answers = [lambda r: r.reply(200, CONTENT, length=10**18)]
    with pytest.raises(DownloadError, match=r"1000000000\.00 GB are to come, .* GB are free"):
        get()
    assert len(server.ranges) == 1


def test_a_signature_in_an_address_is_not_shown(server, get, caplog):
    get(server.url("corpus.tar?key=secret"))
    server.answers = [fail(403)]
    with pytest.raises(DownloadError) as error:
        fetch(Archive("b.tar", (server.url("b.tar?key=secret"),)), get().parent, None, True)
    assert "secret" not in f"{caplog.messages} {error.value}"


def test_answers_that_will_not_change_are_not_asked_for_again(server, get):
    for status in (403, 404, 410):
        server.answers, server.ranges[:] = [fail(status)], []
        with pytest.raises(DownloadError, match=rf"http://127.*corpus\.tar: {status} "):
            get()
        assert server.ranges == [None]
    for url in ("http://127.0.0.1:1 2/x", "nonsense://x/y", "no-scheme", "http://ü ü/x"):
        with pytest.raises(DownloadError):
            get(url)


def test_the_next_public_home_is_tried_after_one_failed(server, get):
    server.answers = [fail(404)]
    assert get(server.url("old.tar"), server.url("new.tar")).read_bytes() == CONTENT
    get().unlink()
    server.answers = [fail(404), fail(404)]
    with pytest.raises(DownloadError, match=r"old\.tar: 404 .*; .*new\.tar: 404"):
        get(server.url("old.tar"), server.url("new.tar"))


def test_a_content_length_that_is_wrong(server, get, tmp_path):
    server.answers = [lambda r: r.reply(200, CONTENT, length=len(CONTENT) + 1), lambda r: r.reply(416)]
    assert get().read_bytes() == CONTENT
    assert server.ranges[1:] == [f"bytes={len(CONTENT)}-", None]
    get().unlink()
    server.answers = [lambda r: r.reply(200, CONTENT, length=len(CONTENT) - 1)]
    with pytest.raises(DownloadError, match="sha256"):
        get()
    for length in ("", "many"):
        server.answers = [lambda r, length=length: r.reply(200, CONTENT, length=length)]
        path = get()
        assert path.read_bytes() == CONTENT
        path.unlink()


def test_mirrors(server, get, tmp_path, caplog):
    assert get(mirror=server.url("mirror/")).read_bytes() == CONTENT
    assert caplog.messages == [f"downloading {server.url('mirror/home/corpus.tar')}"]
    local = tmp_path / "mirror" / "home" / "corpus.tar"
    with pytest.raises(DownloadError, match=r"MIRROR must hold home/corpus\.tar"):
        get(mirror=str(tmp_path / "mirror"))
    local.parent.mkdir(parents=True)
    local.write_bytes(b"repacked")
    repacked = file_sha256(local)
    assert get(mirror=(tmp_path / "mirror").as_uri()) == local
    for sha256, verify, warnings in [(SHA256, True, 1), (SHA256, False, 0), (None, True, 0), (repacked, True, 0)]:
        caplog.clear()
        assert get(sha256=sha256, mirror=str(tmp_path / "mirror"), verify=verify) == local
        assert len([record for record in caplog.records if record.levelname == "WARNING"]) == warnings


def test_an_archive_without_a_public_address(tmp_path):
    with pytest.raises(DownloadError, match=r"ldc/timit\.tar: has no public address; .* MIRROR"):
        fetch(Archive("ldc/timit.tar", ()), tmp_path, None, True)


def test_a_pattern_names_the_one_archive_of_a_mirror_folder(tmp_path):
    pattern = Archive("voices/corpus-*.tar.gz")
    with pytest.raises(DownloadError, match=r"corpus-\*\.tar\.gz: it has no public address; .*--from"):
        find_in_mirror(pattern, "http://127.0.0.1:1")
    (tmp_path / "voices").mkdir()
    for count, name in enumerate(["none", "corpus-en.tar.gz", "corpus-cy.tar.gz"]):
        (tmp_path / "voices" / name).touch()
        if count == 1:
            assert [found.name for found in find_in_mirror(pattern, tmp_path.as_uri())] == ["corpus-en"]
    with pytest.raises(DownloadError, match="2 files match"):
        find_in_mirror(pattern, str(tmp_path))


def telling(length):
    return lambda request: request.reply(200, length=length)


def moved(request):
    request.reply(302, Location=request.server.url("elsewhere.tar"))


def test_a_size_is_asked_for_where_the_archive_will_come_from(server):
    archive = Archive("home/corpus.tar", gigabytes=7.0)
    server.answers += [telling(5_000_000_000), moved, telling(6_000_000_000)]
    assert [gigabytes(archive, mirror) for mirror in (server.url(""), server.url(""), None)] == [5, 6, 7]


@pytest.mark.parametrize(
    "answer", [fail(405), hang_up, moved, *map(telling, ["", 0, -5, "5, 5", "9" * 400, "9" * 5000])]
)
def test_without_a_size_that_makes_sense_the_published_one_counts(server, answer):
    server.answers += [answer] * 20
    assert gigabytes(Archive("home/corpus.tar", gigabytes=7.0), server.url("")) == 7.0


@pytest.mark.parametrize("mirror", ["http://[x", "://x", "http://", "http://127.0.0.1:99999", "ftp://127.0.0.1:1"])
def test_a_mirror_that_is_no_address_is_one_line(mirror, tmp_path, monkeypatch):
    monkeypatch.setattr("asr.corpus.download.PAUSE_S", 0.001)
    archive = Archive("home/corpus.tar", gigabytes=7.0)
    assert gigabytes(archive, mirror) == 7.0
    with pytest.raises(DownloadError):
        fetch(archive, tmp_path, mirror, True)
