"""Compiled functions: their machine code is kept, wherever anything can be written."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from asr.util.jit import cache_folders

PROGRAM = """
import ctypes
import struct
import sys
if sys.platform == "linux":  # without its capabilities root may write no more than others
    assert ctypes.CDLL(None).capset(struct.pack("Ii", 0x20080522, 0), bytes(24)) == 0
from asr.util.jit import is_compiled
import functions
compiled = is_compiled(functions.double)
print(functions.double(21), sum(functions.double.stats.cache_hits.values()), compiled)
assert is_compiled(functions.double)
"""
FUNCTIONS = """
import numpy as np
from asr.util.jit import jit

@jit
def double(x):
    return 2 * np.full(1, x)[0]
"""
COMPILED, LOADED = "42 0 False\n", "42 1 True\n"  # what the program prints
posix = pytest.mark.skipif(os.name != "posix", reason="Windows has temporary files for each user")


@pytest.fixture
def run(tmp_path):
    """Runs the program in a process of its own, with a folder for machine code."""
    (tmp_path / "functions.py").write_text(FUNCTIONS, encoding="utf-8")
    (tmp_path / "temporary").mkdir()
    temporary = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(tmp_path / "temporary"))
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])

    def run(cache, program=PROGRAM):
        environment = os.environ | temporary | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": paths}
        command = [sys.executable, "-c", program]
        return subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout

    return run


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def own(tmp_path):
    return tmp_path / "temporary" / (f"asr-{os.getuid()}" if os.name == "posix" else "asr")


def test_code_is_compiled_once(run, tmp_path):
    assert run(tmp_path / "cache") == COMPILED
    assert run(tmp_path / "cache") == LOADED
    assert files(tmp_path / "cache")
    assert not files(tmp_path / "temporary")


def test_without_a_folder_it_is_kept_among_the_temporary_files(run, tmp_path):
    assert run(tmp_path / "functions.py") == COMPILED
    assert run(tmp_path / "functions.py") == LOADED
    assert files(own(tmp_path))
    if os.name == "posix":
        assert own(tmp_path).stat().st_mode & 0o777 == 0o700


@posix
def test_code_in_a_folder_that_is_read_only_is_used(run, tmp_path):
    cache = tmp_path / "cache"
    assert run(cache) == COMPILED
    for folder in (cache, *filter(Path.is_dir, cache.rglob("*"))):
        folder.chmod(0o500)
    (tmp_path / "temporary").chmod(0o500)
    assert run(cache) == LOADED


@posix
def test_code_that_somebody_else_may_have_put_there_is_not_used(run, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    cache = tmp_path / "cache"
    assert run(cache) == COMPILED
    for folder in (cache, *filter(Path.is_dir, cache.rglob("*"))):
        folder.chmod(0o555)
        os.chown(folder, 65534, 65534)
    assert run(cache) == COMPILED
    assert files(own(tmp_path))


@posix
@pytest.mark.parametrize("trap", ["none", "link", "writable by others", "somebody else's"])
def test_a_temporary_folder_that_others_may_write_to_is_not_used(tmp_path, monkeypatch, trap):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", os.devnull)
    folder = own(tmp_path)
    folder.mkdir()
    folder.chmod(0o777 if trap == "writable by others" else 0o755)
    if trap == "link":
        folder.rename(tmp_path / "elsewhere")
        folder.symlink_to(tmp_path / "elsewhere")
    elif trap == "somebody else's":
        if os.geteuid() != 0:
            pytest.skip("only root can give files away")
        os.chown(folder, 65534, 65534)
    found = cache_folders.__wrapped__()
    assert [folder in path.parents for path in found] == ([True] if trap == "none" else [])


@posix
def test_a_full_disk_does_not_stop_it(run, tmp_path):
    full = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    assert run(tmp_path / "cache", full + PROGRAM.replace("assert is_compiled", "is_compiled")) == COMPILED
