"""Which torchaudio loads beside which torch: pairs from the package index, each tried in a temporary environment.

python3 scripts/pairs.py 2.13.0 2.14.1 -- 2.11.0 2.11.1     every torch before the dashes with every torchaudio behind

A torch takes a minute and 5 GB on Linux, given back before the next. What loads belongs into FITTING in
asr/util/libraries.py, and into the ranges of pyproject.toml. It needs nothing but the standard library.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TRIAL = """
import torch
from torchaudio.functional import forced_align, melscale_fbanks
melscale_fbanks(257, 0.0, 8000.0, 80, 16000)
forced_align(torch.randn(1, 20, 5).log_softmax(-1), torch.tensor([[1, 2, 3]], dtype=torch.int32), blank=0)
"""


def main() -> None:
    if "--" not in sys.argv[1:] or "--help" in sys.argv:
        sys.exit(__doc__)
    middle = sys.argv.index("--")
    for torch in sys.argv[1:middle]:
        with tempfile.TemporaryDirectory() as folder:
            venv.create(folder, with_pip=True)
            python = Path(folder, "Scripts/python.exe" if os.name == "nt" else "bin/python")
            pip = (python, "-m", "pip", "install", "--quiet", "--no-compile")
            subprocess.run([*pip, f"torch=={torch}", "numpy"], check=True)
            for audio in sys.argv[middle + 1 :]:
                subprocess.run([*pip, "--no-deps", f"torchaudio=={audio}"], check=True)
                done = subprocess.run([python, "-c", TRIAL], capture_output=True, text=True, check=False)
                outcome = "loads" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]
                print(f"torch {torch}, torchaudio {audio}: {outcome}", flush=True)


if __name__ == "__main__":
    main()
