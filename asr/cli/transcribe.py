"""`asr transcribe`: recordings to text."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from asr.cli.console import Device, Result, commands, describe_model, examples, say, watch, write_results
from asr.cli.decoding import (
    BeamOption,
    ClosedVocabularyOption,
    HotwordOption,
    LmOption,
    LmWeightOption,
    UnkScoreOption,
    WordInsertionBonusOption,
)
from asr.errors import AsrError

app = commands()


class TextFormat(str, Enum):
    txt = "txt"
    json = "json"


@app.command(
    epilog=examples(
        "asr transcribe call.wav",
        "asr transcribe --format json --output-dir out recordings/",
        "asr transcribe --model runs/digits/model list.jsonl",
        "asr transcribe --model runs/books --lm lm --hotword Quilter --hotword @names.txt call.wav",
        "cat call.wav | asr transcribe -",
    )
)
def transcribe(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="FILE|FOLDER|MANIFEST|-", help="Recordings, folders, manifests (.jsonl); - is stdin."),
    ],
    model: Annotated[str | None, typer.Option(help="A model folder, a run folder or a built-in model's name.")] = None,
    form: Annotated[
        TextFormat, typer.Option("--format", help="txt: the text; json: one object a recording, with words and times.")
    ] = TextFormat.txt,
    output_dir: Annotated[Path | None, typer.Option(help="Write one file a recording here, not to stdout.")] = None,
    device: Device = "auto",
    beam: BeamOption = None,
    lm: LmOption = None,
    lm_weight: LmWeightOption = None,
    word_insertion_bonus: WordInsertionBonusOption = None,
    unk_score: UnkScoreOption = None,
    closed_vocabulary: ClosedVocabularyOption = False,
    hotwords: HotwordOption = None,
) -> None:
    """Turn recordings into text. Without --model the built-in model is used."""
    from asr.decode.lexicon import parse_hot_words
    from asr.transcribe import DecoderOptions, Transcriber, find_jobs
    from asr.writers import format_transcript

    options = DecoderOptions(
        lm, parse_hot_words(hotwords or ()), beam, lm_weight, word_insertion_bonus, unk_score, closed_vocabulary
    )
    transcriber = Transcriber.load(model, device, options)
    if model is None:
        say(describe_model(transcriber.recognizer.name, transcriber.recognizer.training_record))
    jobs, errors = find_jobs(inputs)
    total = len(jobs) + len(errors)
    named = total > 1 and form is TextFormat.txt and output_dir is None

    def results() -> Iterator[Result]:
        yield from errors
        for job, result in transcriber.transcribe_all(jobs):
            if isinstance(result, AsrError):
                yield result
                continue
            for note in result.notes:
                say(f"{job.name}: {note}")
            line = format_transcript(result, job.name, form.value)
            yield job.output, f"{job.name}\t{line}" if named else line

    write_results(watch(results(), total, "transcribing"), total, output_dir, f".{form.value}")
