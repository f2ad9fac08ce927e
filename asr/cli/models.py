"""`asr models`, `asr info`: what is there."""

from __future__ import annotations

from typing import Annotated

import typer

from asr import __version__
from asr.cli.console import commands, describe_model, examples, say

app = commands()


@app.command(epilog=examples("asr models"))
def models() -> None:
    """List the built-in models."""
    import json

    from asr.model.folder import BUILT_IN, built_in_models

    for name in built_in_models():
        config = json.loads((BUILT_IN / name / "config.json").read_text(encoding="utf-8"))
        typer.echo(describe_model(name, config.get("training") or {}).removeprefix("model "))


@app.command(epilog=examples("asr info", "asr info --model runs/digits"))
def info(
    model: Annotated[str | None, typer.Option(help="Also describe this model.")] = None,
) -> None:
    """Versions, devices and a model's make-up: what a bug report needs."""
    import platform

    from asr.util.libraries import describe_ffmpeg, describe_libraries

    rows = [("asr", __version__), ("python", platform.python_version()), ("system", platform.platform())]
    libraries, failing = describe_libraries()
    rows += [*libraries, ("ffmpeg", describe_ffmpeg())]
    if "torch" not in failing:
        import torch

        rows.append(("cpu threads", str(torch.get_num_threads())))
        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        rows.append(("cuda", ", ".join(devices) or "none"))
    card = ""
    if model is not None and not failing:
        from asr.model.card import model_card
        from asr.model.folder import find_model, load_model

        folder = find_model(model)
        recognizer = load_model(folder)
        rows.append(("model", str(folder)))
        for name, settings in (("encoder", recognizer.config), ("features", recognizer.features.config)):
            rows.append((name, " ".join(f"{key}={value}" for key, value in settings)))
        card = f"\n{model_card(recognizer)}"
    for name, value in rows:
        typer.echo(f"{name:16} {value}")
    typer.echo(card, nl=False)
    for problem in failing.values():
        say(f"error: {problem}")
    if failing:
        raise typer.Exit(1)
