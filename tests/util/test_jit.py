"""Compiled functions with a cache on the disk, and without one where nothing can be written."""

import os
import subprocess
import sys

PROGRAM = """
import sys
from asr.util.jit import cache_folder, is_compiled
import functions
cold = not is_compiled(functions.double)
print(functions.double(21), cache_folder(), sum(functions.double.stats.cache_hits.values()), cold)
assert is_compiled(functions.double)
"""


def run(tmp_path, cache):
    (tmp_path / "functions.py").write_text(
        "from asr.util.jit import jit\n\n\n@jit\ndef double(x):\n    return 2 * x\n", encoding="utf-8"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, cwd=tmp_path
    )
    return done.stdout.split()


def test_code_is_compiled_once(tmp_path):
    cache = tmp_path / "cache"
    first, second = run(tmp_path, cache), run(tmp_path, cache)
    assert (first[0], *first[2:]) == ("42", "0", "True")
    assert (second[0], *second[2:]) == ("42", "1", "False")
    assert second[1].startswith(str(cache))


def test_without_a_folder_it_is_compiled_every_time(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    assert run(tmp_path, tmp_path / "file") == ["42", "None", "0", "True"]
