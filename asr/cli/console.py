"""What all commands share: errors as one line, messages, progress, examples."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
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


def introduce(name: str, record: dict[str, Any]) -> str:
    """Which model is used, what it understands and how well: the first line a newcomer sees."""
    line = f"model {name}: {record.get('description') or 'no description'}"
    for result in record.get("results", [])[:1]:
        low, high = result["wer_ci95"]
        line += f" WER {100 * result['wer']:.2f} % (95 %: {100 * low:.2f} to {100 * high:.2f}) on {result['set']}."
    return line


def safe_name(name: str) -> Path:
    """A file name for any id: no separators, so that nothing is written outside the output folder."""
    return Path(re.sub(r"[^\w.-]+", "_", name)[:200].lstrip(".") or "recording")


def write_output(folder: Path, output: Path, suffix: str, line: str, taken: Counter[Path]) -> None:
    """Write one result; a second recording of the same name becomes name.2."""
    taken[output] += 1
    number = f".{taken[output]}" if taken[output] > 1 else ""
    target = folder / output.with_name(f"{output.name}{number}{suffix}")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + ".part")
    part.write_text(line + "\n", encoding="utf-8")
    part.replace(target)
