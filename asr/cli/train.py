"""`asr train`, `asr make-model`: from a config to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.console import INTERRUPTED, commands, examples

app = commands()


@app.command(
    epilog=examples(
        "asr train recipes/yesno/yesno.yaml",
        "asr train recipes/digits/digits.yaml model.cell=gru train.epochs=20 run=runs/gru",
        "asr train recipes/digits/digits.yaml --dry-run",
        "asr train recipes/digits/digits.yaml train.overfit=10 run=runs/overfit",
    )
)
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings to change.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show shapes, counts and time; write nothing.")] = False,
) -> None:
    """Train a model. The same command resumes a run that was interrupted."""
    from asr.config import load_config

    settings = load_config(config, overrides or ())
    if dry_run:
        from asr.train.dry_run import dry_run as measure

        for name, value in measure(settings):
            typer.echo(f"{name:24} {value}")
        return
    from asr.train.loop import Outcome
    from asr.train.run import train as run_training

    if run_training(settings) is Outcome.INTERRUPTED:
        raise typer.Exit(INTERRUPTED)


@app.command("make-model", epilog=examples("asr make-model runs/digits/checkpoints/epoch-012.pt models/digits-12"))
def make_model(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT.pt", help="In a run's folder checkpoints.")],
    output: Annotated[Path, typer.Argument(metavar="FOLDER", help="The new model folder.")],
    blank_bias: Annotated[
        float, typer.Option(help="Nats in favor of silence: fewer words heard in noise, more missed.")
    ] = 0.0,
    emission_delay_s: Annotated[
        float, typer.Option(min=0, max=10, help="Seconds from a word's start to its first frame; default 0.08.")
    ] = 0.08,
    calibrate: Annotated[
        Path | None, typer.Option(metavar="MANIFEST", help="Fit confidences to this, which was not trained on.")
    ] = None,
) -> None:
    """Make a model folder from any checkpoint of a run; train.keep_checkpoints=N keeps those of its N best epochs."""
    from asr.train.model_folder import make_model as make

    make(checkpoint, output, blank_bias, emission_delay_s, calibrate)
    typer.echo(output)
