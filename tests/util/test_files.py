"""What lies below a folder: as Path.rglob finds it, through links as well, each folder once. Files written whole."""

import subprocess
import sys
from pathlib import Path
from threading import Barrier, Thread

import pytest

from asr.util.files import atomic_write, replace_file, walk


@pytest.fixture
def tree(tmp_path):
    """Files, one beside them that macOS made, and a folder named like a file."""
    for name in ("a/b/1.wav", "a/b/2.txt", "a/1.wav", "c/clips/3.wav", "1.wav", "a/._1.wav"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).touch()
    (tmp_path / "tree" / "c" / "folder.wav").mkdir()
    return tmp_path / "tree"


def names(folder: Path, pattern: str = "*") -> list[str]:
    return [path.relative_to(folder).as_posix() for path in walk(folder, pattern)]


@pytest.mark.parametrize("pattern", ["*", "*.wav", "1.*", "b/*.*", "clips/*.wav", "*/b/*", "tree/*", "a/*/*"])
def test_as_rglob_finds_it(tree, monkeypatch, pattern):
    files = [path for path in tree.rglob(pattern) if path.is_file() and path.name != "._1.wav"]
    assert sorted(walk(tree, pattern)) == sorted(files)
    monkeypatch.chdir(tree)
    assert len(list(walk(".", pattern))) == len(files)


def test_links_are_followed_and_loops_end(tree, tmp_path):
    (tmp_path / "far/deep").mkdir(parents=True)
    (tmp_path / "far/deep/4.wav").touch()
    (tree / "c/linked").symlink_to(tmp_path / "far")
    (tmp_path / "far/loop").symlink_to(tree)
    (tree / "self").symlink_to("self")
    assert names(tree, "*.wav") == ["1.wav", "a/1.wav", "a/b/1.wav", "c/clips/3.wav", "c/linked/deep/4.wav"]
    assert names(tree, "linked/*/*") == ["c/linked/deep/4.wav"]


def test_a_real_folder_comes_before_a_link_to_it(tree):
    (tree / "0").symlink_to("a/b")
    (tree / "zero").symlink_to("0")
    assert names(tree, "2.txt") == ["a/b/2.txt"]


def test_no_folder_no_files(tmp_path):
    assert list(walk(tmp_path / "none")) == []


# --- files that are written whole


def test_several_may_write_a_file_at_once_and_one_of_them_wins(tmp_path):
    path, ready = tmp_path / "a.json", Barrier(8)
    failed = []

    def write(number):
        try:
            for _ in range(30):
                ready.wait()
                replace_file(path, f"{number}" * 50_000)
        except Exception as error:
            failed.append(error)

    threads = [Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert path.read_text() in {f"{number}" * 50_000 for number in range(8)}
    assert list(tmp_path.iterdir()) == [path]


def test_processes_that_write_one_file_do_not_meet(tmp_path):
    code = "import sys\nfrom pathlib import Path\nfrom asr.util.files import replace_file\n"
    code += "for _ in range(200): replace_file(Path(sys.argv[1]), sys.argv[2] * 10_000)"
    command = [sys.executable, "-c", code, str(tmp_path / "lm.json")]
    started = [subprocess.Popen([*command, letter], stderr=subprocess.PIPE) for letter in "ab"]
    assert [process.communicate()[1] for process in started] == [b"", b""]
    assert (tmp_path / "lm.json").read_text() in ("a" * 10_000, "b" * 10_000)


@pytest.mark.parametrize("name", ["a.json", "ñ" * 120 + ".json", "no-suffix"])
def test_nothing_is_left_where_writing_fails_and_names_may_be_long(tmp_path, name):
    replace_file(tmp_path / name, "old")
    with pytest.raises(TypeError), atomic_write(tmp_path / name) as file:
        file.write("not bytes")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "old"
