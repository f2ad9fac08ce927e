"""What all commands share: errors as one line, messages, progress, examples."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

import typer
from typer.core import TyperGroup

from asr.errors import AsrError

INTERRUPTED = 130
Item = TypeVar("Item")


def say(line: str) -> None:
    typer.echo(line, err=True)


def watch(items: Iterable[Item], total: int | None, what: str) -> Iterable[Item]:
    """The items, with a progress bar on stderr where a person waits for many of them, or for nobody knows how many."""
    if (total is not None and total < 10) or not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, what, total=total, console=Console(stderr=True), transient=True)


class Commands(TyperGroup):
    """Turns errors meant for people into one line and the exit status; --debug lets the traceback through."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader of our output left: `asr … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except (AsrError, OSError) as error:
            if ctx.params.get("debug"):
                raise
            say(f"error: {error}")
            raise typer.Exit(1) from None


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "Examples:\n\n" + "\n\n".join(f"`{line}`" for line in lines)
