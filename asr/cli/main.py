"""The command line: parse, call, print. Results go to stdout, everything else to stderr.

Exit status: 0 done, 1 failed (one clear line), 2 wrong usage, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr import __version__
from asr.cli import data, evaluate, inspect, lexicon, lm, train, transcribe
from asr.cli.console import commands, examples, say, set_up_logging

app = commands(help="Recurrent speech recognition: RNN, LSTM and GRU encoders with CTC.", no_args_is_help=True)
for part in (transcribe, train, evaluate, inspect):
    app.add_typer(part.app)
app.add_typer(data.app, name="data")
app.add_typer(lexicon.app, name="lexicon")
app.add_typer(lm.app, name="lm")


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    set_up_logging(debug)
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command("new-recipe", epilog=examples("asr new-recipe meetings"))
def new_recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the corpus: a-z, 0-9 and _.")],
    recipes: Annotated[Path, typer.Option(help="The folder of recipes.")] = Path("recipes"),
) -> None:
    """Make recipes/NAME from the template: prepare.py, a config, run.sh and README.md to be filled in."""
    from asr.corpus.recipe import new_recipe as make

    folder = make(name, recipes)
    typer.echo(folder)
    say(f"next: say in {folder / 'prepare.py'} where the corpus is and what it holds, then bash {folder / 'run.sh'}")
