"""`asr transcribe`: recordings to text. `asr align`: when each word of a text was said."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from asr.cli.console import (
    MODEL,
    Decoding,
    Device,
    Result,
    check_paths,
    commands,
    examples,
    load_transcriber,
    parse_words,
    say,
    watch,
    write_results,
)
from asr.errors import AsrError, ManifestError, TextError, error_context
from asr.util.format import printable

if TYPE_CHECKING:
    from asr.decode.align import AlignedWord, Alignment
    from asr.model.recognizer import Recognizer
    from asr.transcribe import Job, Transcript

FORMATS = (
    "txt: the text; json: words with times; srt, vtt: subtitles; tsv: subtitles as a table; ctm: a line a word;"
    " textgrid: for Praat; all: a file of each."
)
DOUBTFUL = 0.5  # words that score less are listed
LISTED = 20  # of them at most
app = commands()


@app.command(
    epilog=examples(
        "asr transcribe call.wav",
        "asr transcribe --format json --output-dir out recordings/",
        "asr transcribe --format srt film.mkv > film.srt",
        "asr transcribe --model runs/digits/model list.jsonl",
        "asr transcribe --model runs/books --lm lm --hotword Quilter --hotword @names.txt call.wav",
        "asr transcribe --model runs/books --vocabulary commands.txt call.wav",
        "cat call.wav | asr transcribe -",
        "arecord -t raw -f S16_LE -r 16000 | asr transcribe --raw 16000 -",
    )
)
def transcribe(
    inputs: Annotated[
        list[str],
        typer.Argument(metavar="FILE|FOLDER|MANIFEST|-", help="Recordings, folders, manifests (.jsonl); - is stdin."),
    ],
    model: Annotated[str | None, MODEL] = None,
    form: Annotated[
        Literal["txt", "json", "srt", "vtt", "tsv", "ctm", "textgrid", "all"], typer.Option("--format", help=FORMATS)
    ] = "txt",
    output_dir: Annotated[Path | None, typer.Option(help="Write files here, one a recording, not to stdout.")] = None,
    raw: Annotated[
        int | None,
        typer.Option(metavar="HZ", help="Files and stdin hold raw samples at this rate: 16-bit, little-endian, mono."),
    ] = None,
    device: Device = "auto",
    beam: Decoding.Beam = None,
    lm: Decoding.Lm = None,
    lm_weight: Decoding.LmWeight = None,
    word_insertion_bonus: Decoding.WordInsertionBonus = None,
    unk_score: Decoding.UnkScore = None,
    closed_vocabulary: Decoding.ClosedVocabulary = False,
    hotwords: Decoding.Hotwords = None,
    vocabulary: Decoding.Vocabulary = None,
    rescore: Decoding.Rescore = None,
    rescore_weight: Decoding.RescoreWeight = None,
) -> None:
    """Turn recordings into text. Without --model the built-in model "english" is used."""
    there = any(name == "-" or os.path.exists(name) for name in inputs)  # one that is missing does not stop the others
    check_paths(lm, vocabulary, rescore, *(() if there else inputs), model=model, output_dir=output_dir)
    words, entries = parse_words(vocabulary, lm, hotwords, rescore)
    from asr.decode.options import DecoderOptions
    from asr.transcribe import find_jobs
    from asr.writers import SUFFIXES

    jobs, errors = find_jobs(inputs, raw)
    total = len(jobs) + len(errors)
    require_folder(form, output_dir, total)
    forms = list(SUFFIXES) if form == "all" else [form]
    weights = lm_weight, word_insertion_bonus, unk_score
    options = DecoderOptions(lm, words, beam, *weights, closed_vocabulary, entries, rescore, rescore_weight)
    transcriber = load_transcriber(model, device, options)
    alone = total == 1 == len(inputs) and jobs and jobs[0].name in (inputs[0], "stdin")
    named = not alone and form == "txt" and output_dir is None

    def results() -> Iterator[Result]:
        yield from errors
        for job, result in transcriber.transcribe_all(jobs):
            if isinstance(result, AsrError):
                yield result
                continue
            for note in result.notes:
                say(f"{job.name}: {note}")
            texts = format_all(result, job, forms)
            yield job.output, {".txt": f"{printable(job.name)}\t{result.text}"} if named else texts

    write_results(watch(results(), total, "transcribing"), total, output_dir)


@app.command(
    epilog=examples(
        'asr align call.wav "four one nine zero"',
        "asr align --format srt lecture.mp3 lecture.txt > lecture.srt",
        "asr align --format textgrid --output-dir aligned --model runs/mine test.jsonl",
    )
)
def align(
    recording: Annotated[
        str,
        typer.Argument(metavar="AUDIO|MANIFEST", help="A recording (- is stdin), or a manifest with texts (.jsonl)."),
    ],
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT|TEXTFILE", help="What is said in AUDIO, or a file that holds it.")
    ] = None,
    model: Annotated[str | None, MODEL] = None,
    form: Annotated[
        Literal["json", "srt", "vtt", "tsv", "ctm", "textgrid", "all"],
        typer.Option("--format", help=FORMATS.removeprefix("txt: the text; ")),
    ] = "json",
    output_dir: Annotated[Path | None, typer.Option(help="Write files here, one a recording, not to stdout.")] = None,
    skip_unknown: Annotated[
        bool, typer.Option("--skip-unknown", help="Leave out words that the model has no tokens for.")
    ] = False,
    device: Device = "auto",
) -> None:
    """Find when each word of a text was said. Words that seem not to have been said are listed, the least likely first.

    Times are seconds from the beginning of the recording, or of the part of it that a manifest names. A word's score
    is the mean probability of its tokens, from 0 to 1.
    """
    from asr.data.manifest import Manifest, is_manifest

    listed = is_manifest(recording)
    if listed and text is not None:
        raise typer.BadParameter("a manifest brings its own texts", param_hint="TEXT")
    if not listed and text is None:
        raise typer.BadParameter(
            "what is said in the recording, or a file that holds it, is missing", param_hint="TEXT"
        )
    check_paths(recording, model=model, output_dir=output_dir)
    from asr.transcribe import Job
    from asr.writers import SUFFIXES

    if listed:
        utterances = Manifest(recording)
        if len(utterances) == 0:
            raise ManifestError(f"{recording}: no utterances")
        pairs: Iterable[tuple[Job, str | None]] = ((Job.of(utterance), utterance.text) for utterance in utterances)
        count = len(utterances)
    else:
        pairs, count = [(Job.of(recording), read_text(text or ""))], 1
    require_folder(form, output_dir, count)
    forms = [each for each in SUFFIXES if each != "txt"] if form == "all" else [form]
    recognizer = load_transcriber(model, device).recognizer

    def results() -> Iterator[Result]:
        words = 0
        doubtful: list[tuple[float, str, AlignedWord]] = []
        for job, said in watch(pairs, count, "aligning"):
            try:
                alignment = align_job(recognizer, job, said, skip_unknown)
            except AsrError as error:
                yield error
                continue
            words += len(alignment.words)
            doubtful += [(word.score, job.name, word) for word in alignment.words if word.score < DOUBTFUL]
            yield job.output, format_all(alignment, job, forms)
        report(doubtful, words)

    write_results(results(), count, output_dir)


def format_all(result: Transcript | Alignment, job: Job, forms: Iterable[str]) -> dict[str, str]:
    """A result in several formats, by suffix. CTM calls a file as its output is called, without ending."""
    from asr.writers import SUFFIXES, format_result

    stem = job.output.as_posix() if job.name == str(job.source) else job.name
    return {SUFFIXES[form]: format_result(result, stem if form == "ctm" else job.name, form) for form in forms}


def require_folder(form: str, output_dir: Path | None, recordings: int) -> None:
    """Raise BadParameter for a format of one recording a file, or all formats, without a folder to write files to."""
    from asr.writers import ONE_A_FILE

    if output_dir is None and (form == "all" or (form in ONE_A_FILE and recordings > 1)):
        why = "all formats are several files" if form == "all" else f"{form} is one recording a file"
        raise typer.BadParameter(f"{why}: name a folder", param_hint="--output-dir")


def align_job(recognizer: Recognizer, job: Job, said: str | None, skip_unknown: bool) -> Alignment:
    """Read a recording and align it with what was said. Errors name the recording.

    Raises ManifestError without a text, AudioError for unreadable audio, TextError for a text that cannot be aligned.
    """
    from asr.decode.align import align
    from asr.text import listed

    if said is None:
        raise ManifestError(f"{job.name}: no text to align")
    audio = job.read(recognizer.sample_rate)
    for note in audio.notes:
        say(f"{job.name}: {note}")
    with error_context(job.name):
        alignment = align(recognizer, audio.samples, said, skip_unknown)
    if alignment.skipped:
        say(f"{job.name}: left out, as the model has no tokens for them: {listed(alignment.skipped)}")
    return alignment


def read_text(text: str) -> str:
    """The contents of the file `text` if there is one, otherwise the text itself. Raises TextError if not UTF-8."""
    if not os.path.exists(text) or os.path.isdir(text):
        if text.endswith(".txt"):
            raise TextError(f"{text}: no such file")
        return text
    try:
        return Path(text).read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TextError(f"{text}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise TextError(f"{text}: not UTF-8 (byte {error.start}); save it as UTF-8") from None


def report(doubtful: list[tuple[float, str, AlignedWord]], words: int) -> None:
    """Print the words of the lowest scores, for the user to listen to. words: the number of all words."""
    if not doubtful:
        return
    say(f"{len(doubtful)} of {words} words score below {DOUBTFUL:g} and may not have been said:")
    for score, name, word in sorted(doubtful, key=lambda each: each[0])[:LISTED]:
        say(f"  {score:.2f}  {word.start:.2f} to {word.end:.2f} s  {word.text}  in {name}")
    if len(doubtful) > LISTED:
        say(f"  and {len(doubtful) - LISTED} more")
