"""`asr inspect`: a picture of one recording as the model sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.console import Device, commands, describe_model, examples, say

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
    model: Annotated[str | None, typer.Option(help="A model folder, a run folder or a built-in model's name.")] = None,
    start: Annotated[float, typer.Option(min=0, help="Seconds from the beginning.")] = 0.0,
    duration: Annotated[float | None, typer.Option(min=0, help="Seconds; default: all, up to a minute.")] = None,
    device: Device = "auto",
) -> None:
    """Draw a recording as the model sees it: waveform with words, spectrogram, probability of each token over time."""
    picture = output or Path(f"{recording.stem}.png")
    if picture.is_dir():
        raise typer.BadParameter(f"{picture} is a folder: name a file", param_hint="--output")
    from asr.audio import audio_info, read_audio
    from asr.inspect import draw
    from asr.inspect import inspect as run
    from asr.transcribe import Transcriber

    transcriber = Transcriber.load(model, device)
    audio = read_audio(recording, transcriber.sample_rate, start=start, duration=duration)
    if model is None:
        say(describe_model(transcriber.recognizer.name, transcriber.recognizer.training_record))
    found = run(transcriber, audio)
    header = audio_info(recording)
    channels = "mono" if header.channels == 1 else f"{header.channels} channels"
    for name, value in [("file", f"{header.format}, {header.sample_rate} Hz, {channels}"), *found.rows()]:
        typer.echo(f"{name:10} {value}")
    draw(found, transcriber.recognizer, picture)
    say(f"{picture}: written")
