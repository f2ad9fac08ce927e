"""Set everything up in `.venv`, on any machine with Python 3.10 or newer; needs nothing but the standard library.

Versions are those of requirements.lock, whatever the package index offers today.

python3 scripts/setup.py            install, then transcribe data/sentences with the built-in model
python3 scripts/setup.py --test     install what the tests need as well, then run them
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".venv"
BIN = FOLDER / ("Scripts" if os.name == "nt" else "bin")


def run(*command: str | Path) -> None:
    """Run a command in the repository's folder, show it, and stop with its status when it fails."""
    print("$", *command, file=sys.stderr, flush=True)
    status = subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode
    if status:
        if "--quiet" in command:
            print("failed; the same command without --quiet says more", file=sys.stderr)
        sys.exit(status)


def works(python: Path) -> bool:
    """Whether this is a Python that asr runs on, with pip; not so where making the environment was interrupted."""
    probe = "import pip, sys; sys.exit(sys.version_info < (3, 10))"
    try:
        return subprocess.run([python, "-c", probe], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--test", action="store_true", help="install what the tests need and run them")
    arguments = parser.parse_args()
    if sys.version_info < (3, 10):  # noqa: UP036  this script is what an older Python is started on
        sys.exit(f"asr needs Python 3.10 or newer, this is {sys.version.split()[0]}")
    python = BIN / ("python.exe" if os.name == "nt" else "python")
    if not works(python):
        print(f"making {FOLDER}", file=sys.stderr)
        venv.create(FOLDER, with_pip=True, clear=True)
    print("installing; the first time takes minutes, torch alone is several GB", file=sys.stderr, flush=True)
    began = time.monotonic()
    # Python compiles what is used, when it is first used; compiling everything here would take a third of the time.
    options = ("--quiet", "--disable-pip-version-check", "--no-compile", "-c", "requirements.lock")
    pip = (python, "-m", "pip", "install", *options)
    # Without isolation asr is built by the setuptools of the lock; otherwise pip would take the newest for it.
    run(*pip, "setuptools")
    # compat: a clone named asr would otherwise hide the package from scripts that lie beside it
    editable = ("--no-build-isolation", "--config-settings", "editable_mode=compat", "-e")
    run(*pip, *editable, ".[test]" if arguments.test else ".")
    minutes, size = (time.monotonic() - began) / 60, sum(os.lstat(path).st_size for path in FOLDER.rglob("*"))
    print(f"installed in {minutes:.1f} min; .venv has {size / 1e9:.1f} GB", file=sys.stderr, flush=True)
    if arguments.test:
        print("running the tests, about fifteen minutes on two cores", file=sys.stderr, flush=True)
        run(python, "-m", "pytest")
    else:
        run(BIN / "asr", "transcribe", "data/sentences")
        activate = r".venv\Scripts\activate" if os.name == "nt" else "source .venv/bin/activate"
        print(f"done; to use asr in this shell: {activate}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"error: {error}")
