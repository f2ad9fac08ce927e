"""`python -m asr`, and the console script."""

from __future__ import annotations

import sys

from asr.errors import LibraryError
from asr.util.libraries import library_errors


def main() -> None:
    """Run a command and exit with its status; what the command line itself needs may be missing."""
    try:
        with library_errors():
            from asr.cli.main import main as run
    except LibraryError as error:
        sys.exit(f"error: {error}")
    run()


if __name__ == "__main__":
    main()
