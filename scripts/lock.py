"""Renew requirements.lock: the newest versions that pyproject.toml admits, for every Python and system.

python3 scripts/lock.py             all anew
python3 scripts/lock.py --keep      only what pyproject.toml has come to ask for

It needs nothing but the standard library and a package index; uv, which resolves for all Pythons and systems at once,
goes into a temporary environment.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
UV = "uv==0.13.9"
OLDEST_PYTHON = "3.10"
# Of the pairs that load, the one with wheels for every Python and system, which GPU machines bring as well.
PAIR = ("torch==2.11.0", "torchaudio==2.11.0")
HEADER = """\
# Exact versions of everything asr needs, extras included: pip install -c requirements.lock -e .
# Written by scripts/lock.py.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="keep the versions that are locked")
    arguments = parser.parse_args()
    lock = ROOT / "requirements.lock"
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        bin = Path(folder, "Scripts" if os.name == "nt" else "bin")
        subprocess.run([bin / "python", "-m", "pip", "install", "--quiet", UV], check=True)
        # What builds the package is no dependency of it, but must not depend on the day either.
        project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
        build = re.findall(r'^requires = \["(.*)"\]$', project, re.MULTILINE)
        extra = Path(folder, "extra.in")
        extra.write_text("\n".join((*PAIR, *build)))
        output = Path(folder, "lock")
        if arguments.keep and lock.exists():
            output.write_text(lock.read_text(encoding="utf-8"), encoding="utf-8")
        command = [bin / "uv", "pip", "compile", "--quiet", "--universal", f"--python-version={OLDEST_PYTHON}"]
        command += ["--all-extras", "--strip-extras", "--no-emit-index-url", "--no-annotate", "--no-header"]
        # A wheel for everybody, but for one synthesizer, which is there as source alone.
        command += ["--only-binary=:all:", "--no-binary=ttspico", f"--output-file={output}"]
        subprocess.run([*command, ROOT / "pyproject.toml", extra], check=True, stdout=subprocess.DEVNULL)
        lock.write_text(HEADER + output.read_text(encoding="utf-8"), encoding="utf-8")
    print(f"{lock}: {sum('==' in line for line in lock.read_text(encoding='utf-8').splitlines())} versions")


if __name__ == "__main__":
    main()
