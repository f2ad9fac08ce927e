"""The command line: parse, call, print. Results go to stdout, everything else to stderr.

Exit status: 0 done, 1 failed (one clear line), 2 wrong usage, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli import align, inspect
from asr.cli.bench import bench_app
from asr.cli.console import INTERRUPTED, Commands, Result, examples, introduce, job_of, put_out, say, watch
from asr.cli.data import data_app
from asr.cli.decoding import Decoding, decodes
from asr.cli.lm import lm_app
from asr.errors import AsrError, AudioError
from asr.version import __version__

if TYPE_CHECKING:
    from asr.transcribe import Job

app = typer.Typer(
    cls=Commands,
    help="Recurrent speech recognition: RNN, LSTM and GRU encoders with CTC.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data_app, name="data")
app.add_typer(lm_app, name="lm")
app.add_typer(bench_app, name="bench")
app.command(epilog=align.EXAMPLES)(align.align)
app.command(epilog=inspect.EXAMPLES)(inspect.inspect)

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


@app.command(
    epilog=examples(
        "asr transcribe call.wav",
        "asr transcribe --format json --output-dir out recordings/",
        "asr transcribe --model runs/digits/model list.jsonl",
        "asr transcribe --model runs/books --lm lm --hotword Quilter --hotword @names.txt call.wav",
        "cat call.wav | asr transcribe -",
    )
)
@decodes
def transcribe(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="FILE|FOLDER|MANIFEST|-", help="Recordings, folders, manifests (.jsonl); - is stdin."),
    ],
    model: Annotated[str | None, typer.Option(help="A model folder, a run folder or a built-in model's name.")] = None,
    form: Annotated[str, typer.Option("--format", help="txt, or json: one object a recording.")] = "txt",
    output_dir: Annotated[Path | None, typer.Option(help="Write one file a recording here, not to stdout.")] = None,
    device: Device = "auto",
    *,
    decoding: Decoding,
) -> None:
    """Turn recordings into text. Without --model the built-in model is used."""
    if form not in ("txt", "json"):
        raise typer.BadParameter(f"'{form}' is neither txt nor json", param_hint="--format")
    from asr import pretrained
    from asr.transcribe import Transcriber
    from asr.writers import format_transcript

    # By its folder: a folder ./digits of the user's must not pass for it.
    transcriber = Transcriber.load(model or pretrained.HERE / "digits", device)
    transcriber.decoder = decoding.decoder(transcriber.recognizer)
    if model is None:
        say(introduce(transcriber.recognizer.name, transcriber.recognizer.training_record))
    jobs, errors = find_jobs(inputs)
    total = len(jobs) + len(errors)
    named = total > 1 and form == "txt" and output_dir is None

    def results() -> Iterator[Result]:
        yield from errors
        for job, result in watch(transcriber.transcribe_all(jobs), len(jobs), "transcribing"):
            if isinstance(result, AsrError):
                yield result
                continue
            for note in result.notes:
                say(f"{job.name}: {note}")
            line = format_transcript(result, job.name, form)
            yield job.output, f"{job.name}\t{line}" if named else line

    put_out(results(), total, output_dir, f".{form}")


def find_jobs(inputs: Iterable[str]) -> tuple[list[Job], list[AsrError]]:
    """What the arguments of `transcribe` name, in order; and those that name nothing."""
    from asr.audio import find_audio
    from asr.data.manifest import Manifest
    from asr.transcribe import Job

    jobs: list[Job] = []
    errors: list[AsrError] = []
    for name in inputs:
        try:
            if os.path.isdir(name):
                found = find_audio(Path(name))
                jobs.extend(Job(str(path), path, path.relative_to(name).with_suffix("")) for path in found)
            elif name.endswith(".jsonl"):
                jobs.extend(map(job_of, Manifest(name)))
            else:
                jobs.append(job_of(name))
        except AsrError as error:
            errors.append(error)
    if not jobs and not errors:
        errors.append(AudioError(f"{' '.join(inputs)}: nothing to transcribe"))
    return jobs, errors


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

        for name, value in measure(settings, say):
            typer.echo(f"{name:24} {value}")
        return
    from asr.train.run import train as run_training

    if run_training(settings, say) == "interrupted":
        raise typer.Exit(INTERRUPTED)


@app.command(
    epilog=examples(
        "asr evaluate --model runs/digits data/digits/test.jsonl --output-dir runs/digits/eval",
        "asr evaluate data/digits/test.jsonl",
    )
)
@decodes
def evaluate(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Utterances with texts (.jsonl).")],
    model: Annotated[str, typer.Option(help="A model folder, a run folder or a built-in model's name.")] = "digits",
    output_dir: Annotated[Path | None, typer.Option(help="Write wer.json, ref.trn and hyp.trn here.")] = None,
    expect: Annotated[float | None, typer.Option(help="A WER (fraction) to print beside the measured one.")] = None,
    device: Device = "auto",
    *,
    decoding: Decoding,
) -> None:
    """Word error rate of a model on a manifest, with its 95 % interval. A stored result of the same is shown again."""
    from asr.evaluate import run as evaluation
    from asr.evaluate.score import diagnose
    from asr.evaluate.table import print_table
    from asr.pretrained import find_model

    folder = find_model(model)
    used = decoding.record()
    record = evaluation.stored_evaluation(output_dir, folder, manifest, used) if output_dir is not None else None
    advice = None
    if record is None:
        from asr.data.manifest import Manifest
        from asr.device import resolve_device
        from asr.model.recognizer import Recognizer

        recognizer = Recognizer.load(folder, resolve_device(device))
        utterances = Manifest(manifest)
        decoder = decoding.decoder(recognizer)
        watched = watch(utterances, len(utterances), "evaluating")
        result = evaluation.evaluate_manifest(recognizer, utterances, watched, decoder)
        for failure in result.failed:
            say(f"error: {failure}")
        scores = result.score()
        advice = diagnose(scores)
        if advice and decoding.lm is not None:
            advice += "; or the language model outweighs the audio: lower --lm-weight, raise --word-bonus"
        record = evaluation.make_record(result, scores, recognizer, folder, manifest, used)
        if output_dir is not None:
            evaluation.write_evaluation(output_dir, result, record)
    else:
        say(f"{output_dir}: already evaluated")
    print_table(record, expect)
    if advice:
        say(f"hint: {advice}")
    if record["failed"]:
        say(f"{record['failed']} of {record['utterances'] + record['failed']} utterances could not be read: not scored")
        raise typer.Exit(1)


@app.command(epilog=examples("asr models"))
def models() -> None:
    """List the built-in models."""
    import json

    from asr import pretrained

    for name in pretrained.names():
        config = json.loads((pretrained.HERE / name / "config.json").read_text(encoding="utf-8"))
        typer.echo(introduce(name, config.get("training") or {}).removeprefix("model "))


@app.command(epilog=examples("asr compare runs/english/eval runs/english/eval_lm"))
def compare(
    first: Annotated[Path, typer.Argument(metavar="FOLDER", help="That asr evaluate --output-dir wrote.")],
    second: Annotated[Path, typer.Argument(metavar="FOLDER", help="Another, of the same manifest.")],
) -> None:
    """Whether one evaluation is better than another of the same test set, or it may be chance: a paired test."""
    from asr.evaluate.compare import compare as run

    found = run(first, second)
    typer.echo(f"WER {100 * found.first:.2f} % and {100 * found.second:.2f} % of {found.words:,} words")
    relative = "" if found.relative is None else f" ({100 * found.relative:+.1f} % of the errors)"
    typer.echo(f"difference {100 * found.difference:+.2f} points{relative}")
    if found.low is not None and found.high is not None and found.p_value is not None:
        interval = f"95 % interval {100 * found.low:+.2f} to {100 * found.high:+.2f} points"
        typer.echo(f"{interval}, p = {found.p_value:.2g}, paired by {found.unit}")


@app.command("make-model", epilog=examples("asr make-model runs/digits/checkpoints/epoch-012.pt models/digits-12"))
def make_model(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT.pt", help="In a run's folder checkpoints.")],
    output: Annotated[Path, typer.Argument(metavar="FOLDER", help="The new model folder.")],
    blank_bias: Annotated[
        float, typer.Option(help="Nats in favour of silence: fewer words heard in noise, more missed.")
    ] = 0.0,
    lead_s: Annotated[
        float, typer.Option(min=0, max=10, help="Seconds from a word's start to its first frame; default 0.08.")
    ] = 0.08,
    calibrate: Annotated[
        Path | None, typer.Option(metavar="MANIFEST", help="Fit confidences to this, which was not trained on.")
    ] = None,
) -> None:
    """Make a model folder from any checkpoint of a run; train.keep_checkpoints=N keeps those of its N best epochs."""
    from asr.train.model_folder import make_model as make

    make(checkpoint, output, blank_bias, lead_s, calibrate)
    typer.echo(output)


@app.command("new-recipe", epilog=examples("asr new-recipe meetings"))
def new_recipe(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the corpus: a-z, 0-9 and _.")],
    recipes: Annotated[Path, typer.Option(help="The folder of recipes.")] = Path("recipes"),
) -> None:
    """Make recipes/NAME from the template: prepare.py, a config, run.sh and README.md to be filled in."""
    from asr.data.recipe import new_recipe as make

    folder = make(name, recipes)
    typer.echo(folder)
    say(f"next: say in {folder / 'prepare.py'} where the corpus is and what it holds, then bash {folder / 'run.sh'}")


@app.command(epilog=examples("asr info", "asr info --model runs/digits"))
def info(
    model: Annotated[str | None, typer.Option(help="Also describe this model.")] = None,
) -> None:
    """Versions, devices and a model's make-up: what a bug report needs."""
    import platform

    from asr.libraries import describe_ffmpeg, describe_libraries

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
        from asr.model.recognizer import Recognizer
        from asr.pretrained import find_model
        from asr.train.card import model_card

        folder = find_model(model)
        recognizer = Recognizer.load(folder)
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


def main() -> None:
    """Entry point of the console script: run a command and exit with its status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a pipe on Windows would have a code page that lacks most letters
            stream.reconfigure(encoding="utf-8", errors=stream.errors)
    app()
