"""`asr data`: corpora, from archives to manifests that will train."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.console import examples, say

data_app = typer.Typer(help="Corpora: from archives to manifests.", no_args_is_help=True, rich_markup_mode="markdown")

CorpusArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe's folder, or its name under ./recipes.")
]


@data_app.command(
    epilog=examples(
        "asr data prepare yesno", "asr data prepare digits --data /big/disk --mirror https://mirror.example/corpora"
    )
)
def prepare(
    recipe: CorpusArgument,
    data: Annotated[Path, typer.Option(help="Where corpora live.")] = Path("data"),
    mirror: Annotated[str | None, typer.Option(help="A folder or URL that holds the archives.")] = None,
    verify: Annotated[bool, typer.Option(help="Compare archives with their published checksums.")] = True,
) -> None:
    """Download a recipe's corpus and write its manifests. What is already done is not done again."""
    from asr.data.recipe import find_recipe
    from asr.data.recipe import prepare as run

    run(find_recipe(recipe), data, mirror, verify, say)
