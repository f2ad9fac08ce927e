"""`asr inspect`, `asr models`, `asr info`: what a model sees, which models there are, what is installed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr import __version__
from asr.cli.console import MODEL, Device, check_paths, commands, describe_model, examples, load_transcriber, say

app = commands()


@app.command(
    epilog=examples(
        "asr inspect call.wav",
        "asr inspect --output call.png --model runs/digits call.wav",
        "asr inspect --start 61.5 --duration 20 lecture.mp3",
    )
)
def inspect(
    recording: Annotated[Path, typer.Argument(metavar="AUDIO")],
    output: Annotated[
        Path | None, typer.Option(help="The picture to write (PNG); default: AUDIO's name, here.")
    ] = None,
    model: Annotated[str | None, MODEL] = None,
    start: Annotated[float, typer.Option(min=0, help="Seconds from the beginning.")] = 0.0,
    duration: Annotated[float | None, typer.Option(min=0, help="Seconds; default: all, up to a minute.")] = None,
    device: Device = "auto",
) -> None:
    """Draw a recording as the model sees it: waveform with words, spectrogram, probability of each token over time."""
    picture = output or Path(f"{recording.stem}.png")
    if picture.is_dir():
        raise typer.BadParameter(f"{picture} is a folder: name a file", param_hint="--output")
    check_paths(recording, model=model)
    from asr.audio import audio_info, read_audio
    from asr.inspect import draw
    from asr.inspect import inspect as run

    transcriber = load_transcriber(model, device)
    audio = read_audio(recording, transcriber.sample_rate, start=start, duration=duration)
    found = run(transcriber, audio)
    header = audio_info(recording)
    channels = "mono" if header.channels == 1 else f"{header.channels} channels"
    for name, value in [("file", f"{header.format}, {header.sample_rate} Hz, {channels}"), *found.rows()]:
        typer.echo(f"{name:10} {value}")
    draw(found, transcriber.recognizer, picture)
    say(f"{picture}: written")


@app.command(epilog=examples("asr models"))
def models() -> None:
    """List the built-in models."""
    import json

    from asr.model.folder import BUILT_IN, built_in_models

    for name in built_in_models():
        config = json.loads((BUILT_IN / name / "config.json").read_text(encoding="utf-8"))
        typer.echo(describe_model(name, config.get("training") or {}))


@app.command(epilog=examples("asr info", "asr info --model runs/digits"))
def info(
    model: Annotated[str | None, typer.Option(help="Also describe this model.")] = None,
) -> None:
    """Show versions, devices and a model's architecture: what a bug report needs."""
    import platform

    check_paths(model=model)
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
        from asr.model.folder import find_model, load_model, model_card

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
