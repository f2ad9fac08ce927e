"""`python -m asr`, and the console script."""

from __future__ import annotations

import io
import sys

from asr.util.signals import take_over


def main() -> None:
    """Run a command and exit with its status. A library that the command line itself needs may be missing."""
    take_over()
    from asr.errors import LibraryError
    from asr.util.libraries import library_errors

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # on Windows, pipes have a legacy code page without most letters
            stream.reconfigure(encoding="utf-8", errors=stream.errors)
    try:
        with library_errors():
            from asr.cli.main import app
    except LibraryError as error:
        sys.exit(f"error: {error}")
    app()


if __name__ == "__main__":
    main()
