"""`asr train`, `asr make-model`: from a config to a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from asr.cli.console import INTERRUPTED, check_paths, commands, examples
from asr.errors import TrainError
from asr.util.runtime import check_device

if TYPE_CHECKING:
    from asr.config import Config

app = commands()


@app.command(
    epilog=examples(
        "asr train recipes/yesno/yesno.yaml",
        "asr train recipes/digits/digits.yaml model.cell=gru train.epochs=20 run=runs/gru",
        "asr train fine.yaml train.init=digits run=runs/fine",
        "asr train recipes/digits/digits.yaml --dry-run",
        "asr train recipes/digits/digits.yaml train.overfit=10 run=runs/overfit",
    )
)
def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings to change.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show shapes, counts and time; write nothing.")] = False,
) -> None:
    """Train a model. The same command resumes a run that was interrupted.

    What CONFIG leaves out follows from the size of the corpus. train.init=MODEL starts from another model, built-in or
    your own (docs/fine-tune.md): little speech is enough then; auto decides by the corpus. After a finished run, it is
    the way to train on.
    """
    from asr.config import load_config

    settings = load_config(config, overrides or ())
    check_files(settings)
    if dry_run:
        from asr.train.dry_run import dry_run as measure

        for name, value in measure(settings):
            typer.echo(f"{name:24} {value}")
        return
    from asr.train.loop import Outcome
    from asr.train.run import train as run_training

    if run_training(settings) is Outcome.INTERRUPTED:
        raise typer.Exit(INTERRUPTED)


def check_files(config: Config) -> None:
    """Find out what is missing before torch is loaded. Raises AsrError."""
    from asr.data.subset import require_manifest

    check_device(config.device)
    if (config.run / "model" / "config.json").is_file():
        return  # finished: nothing is read any more
    require_manifest(config.data.train, "data.train")
    if not config.train.overfit:
        require_manifest(config.data.dev, "data.dev")
    check_paths(config.augment.noise.manifest, model=None if config.train.init == "auto" else config.train.init)
    if config.run.exists() and not config.run.is_dir():
        raise TrainError(f"{config.run}: is a file; run=DIR names the folder of a run")


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
    weights: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="How to store them: fp16 halves the file, int8 makes it a quarter. They are used as fp32."),
    ] = "fp32",
) -> None:
    """Make a model folder from any checkpoint of a run; train.keep_checkpoints=N keeps those of its N best epochs."""
    check_paths(checkpoint, calibrate)
    from asr.model.folder import refuse_model_in

    refuse_model_in(output)
    from asr.train.model_folder import make_model as make

    make(checkpoint, output, blank_bias, emission_delay_s, calibrate, weights)
    typer.echo(output)
