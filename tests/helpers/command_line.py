"""The `asr` command, in this process or as one of its own."""

import subprocess
import sys
from types import SimpleNamespace

from typer.testing import CliRunner

from asr.cli.main import app


def asr(*arguments: object, stdin: bytes | None = None) -> SimpleNamespace:
    """Run a command here: in a process of its own, loading torch takes longer than most commands.

    An exception that the command line does not turn into a message is raised.
    """
    done = CliRunner().invoke(app, [str(each) for each in arguments], input=stdin, catch_exceptions=False)
    return SimpleNamespace(returncode=done.exit_code, stdout=done.stdout, stderr=done.stderr)


def asr_process(*arguments: object, stdin: bytes | None = None) -> SimpleNamespace:
    """Run a command as a user does."""
    command = [sys.executable, "-m", "asr", *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=300, check=False)
    return SimpleNamespace(returncode=done.returncode, stdout=done.stdout.decode(), stderr=done.stderr.decode())
