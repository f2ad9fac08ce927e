"""What lies below a folder: as Path.rglob finds it, through links as well, each folder once."""

from pathlib import Path

import pytest

from asr.util.files import walk


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
