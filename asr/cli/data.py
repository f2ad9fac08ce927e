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


DataOption = Annotated[Path, typer.Option(help="Where corpora live.")]
MirrorOption = Annotated[str | None, typer.Option(help="A folder or URL that holds the archives.")]
PartsOption = Annotated[str, typer.Option(help="Archives, by name and with commas; default: those not optional.")]
SourceOption = Annotated[
    list[str] | None,
    typer.Option("--from", help="The corpus from here: a folder in which it lies unpacked, archives, or their URLs."),
]
VerifyOption = Annotated[bool, typer.Option(help="Compare archives with their published checksums.")]


@data_app.command(
    epilog=examples(
        "asr data download mini_librispeech",
        "asr data download librispeech --parts train-clean-100,dev-clean --data /big/disk",
        "asr data download yesno --mirror https://mirror.example/corpora --no-verify",
    )
)
def download(
    recipe: CorpusArgument,
    parts: PartsOption = "",
    data: DataOption = Path("data"),
    mirror: MirrorOption = None,
    source: SourceOption = None,
    verify: VerifyOption = True,
) -> None:
    """Fetch a recipe's archives and unpack them. An interrupted transfer goes on where it was."""
    from asr.data.recipe import download as run
    from asr.data.recipe import find_recipe

    typer.echo(run(find_recipe(recipe), data, mirror, verify, say, split_names(parts), source or ()))


@data_app.command(
    epilog=examples(
        "asr data prepare yesno",
        "asr data prepare librispeech --parts train-clean-100,dev-clean,test-clean --data /big/disk",
        "asr data prepare common_voice --from cv-corpus-21.0-2025-03-14-cy.tar.gz",
        "asr data prepare custom --from ~/recordings",
    )
)
def prepare(
    recipe: CorpusArgument,
    parts: PartsOption = "",
    data: DataOption = Path("data"),
    mirror: MirrorOption = None,
    source: SourceOption = None,
    verify: VerifyOption = True,
    again: Annotated[bool, typer.Option("--again", help="Write the manifests anew: the corpus changed.")] = False,
) -> None:
    """Download a recipe's corpus and write its manifests. What is already done is not done again."""
    from asr.data.recipe import find_recipe
    from asr.data.recipe import prepare as run

    run(find_recipe(recipe), data, mirror, verify, say, split_names(parts), source or (), again)


def split_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]
