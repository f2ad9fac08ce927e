"""What commands share: errors as one line, messages, progress, examples, options, results."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import traceback
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
from typer.core import TyperGroup

from asr.errors import AsrError
from asr.util.files import replace_file
from asr.util.format import printable
from asr.util.libraries import library_errors
from asr.util.runtime import check_device
from asr.util.signals import described, handling, interrupt

if TYPE_CHECKING:
    from asr.decode.options import DecoderOptions
    from asr.transcribe import Transcriber

INTERRUPTED = 130
NAME_BYTES = 240  # of 255 that a file's name may have: .part and a number may be added
Item = TypeVar("Item")
# Of one recording: an error, or its output path without suffix and the texts to be written, by suffix.
Result = AsrError | tuple[Path, dict[str, str]]

MODEL = typer.Option(help="A model folder, a run folder or a built-in model's name.")
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", callback=check_device)]


class Decoding:
    """Types of the command-line options for decoding; see asr.decode.options.DecoderOptions."""

    Beam = Annotated[
        int | None,
        typer.Option(
            min=1, help="Beam search that keeps this many prefixes; default: 512 with a language model, else greedy."
        ),
    ]
    Lm = Annotated[
        Path | None,
        typer.Option(metavar="LM", help="A language model: a folder, an ARPA file, or none; default: the model's own."),
    ]
    LmWeight = Annotated[
        float | None, typer.Option(help="Weight of the language model; default: what it was tuned to, or 1.")
    ]
    WordInsertionBonus = Annotated[
        float | None, typer.Option(help="Added for every word, in nats; default: as tuned, or 0.")
    ]
    UnkScore = Annotated[
        float | None,
        typer.Option(
            help="Added for every word the language model lacks, in nats, so below 0; default: as tuned, or -20."
            " With --vocabulary for every token of a word that it lacks; default: -2."
        ),
    ]
    ClosedVocabulary = Annotated[
        bool, typer.Option("--closed-vocabulary", help="Take all speech for words of the language model, or hot words.")
    ]
    Rescore = Annotated[
        Path | None,
        typer.Option(metavar="NLM", help="A neural language model that chooses among the best texts found."),
    ]
    RescoreWeight = Annotated[
        float | None, typer.Option(help="Its share beside the language model, 0 to 1; default: as tuned, or 0.5.")
    ]
    Hotwords = Annotated[
        list[str] | None,
        typer.Option(
            "--hotword",
            metavar="NAME[:WEIGHT]|@FILE",
            help="Listen for this word; weight in nats a letter. Repeatable.",
        ),
    ]
    Vocabulary = Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Hear only the words and phrases in this file: one a line, perhaps with a tab and a weight.",
        ),
    ]


def say(line: str) -> None:
    """Print a message to stderr."""
    typer.echo(line, err=True)


def fail(error: Exception) -> None:
    """Say what is wrong, with --debug after where it was found."""
    if logging.getLogger("asr").isEnabledFor(logging.DEBUG):
        say("".join(traceback.format_exception(error)).rstrip())
    say(f"error: {error}")


def check_paths(*inputs: str | Path | None, model: str | None = None, output_dir: Path | None = None) -> None:
    """Find out what is missing before torch is loaded, which takes seconds.

    inputs: not only files: "-" is stdin, None is nothing, and NO_LM stands for itself.

    Raises AsrError for an input or a model that is not there, and for an output folder that is a file.
    """
    from asr.config import NO_LM
    from asr.model.folder import find_model

    find_model(model)
    for path in inputs:
        if path is not None and str(path) not in ("-", NO_LM) and not os.path.exists(path):
            raise AsrError(f"{path}: No such file or directory")
    if output_dir is not None and output_dir.exists() and not output_dir.is_dir():
        raise AsrError(f"{output_dir}: is a file; --output-dir names a folder")


class Lines(logging.Handler):
    """Writes what the library logs to stderr, one line a message; warnings and errors with their level."""

    def line(self, record: logging.LogRecord) -> str:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        return prefix + record.getMessage()

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(self.line(record), err=True)


def set_up_logging(debug: bool = False) -> None:
    """Show what the library logs on stderr; debug: tracebacks and details as well. Calling it again does nothing."""
    logger = logging.getLogger("asr")
    if not any(type(handler) is Lines for handler in logger.handlers):
        logger.addHandler(Lines())
    logger.setLevel(logging.DEBUG if debug else logging.INFO)


def watch(items: Iterable[Item], total: int | None, what: str) -> Iterable[Item]:
    """The items, with a progress bar on a terminal if there are ten or more, or an unknown number (total None)."""
    if (total is not None and total < 10) or not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, what, total=total, console=Console(stderr=True), transient=True)


class Commands(TyperGroup):
    """Commands that turn an expected error into one line and an exit status; --debug lets the traceback through."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with handling(interrupt), library_errors():
                return super().invoke(ctx)
        except KeyboardInterrupt as stopped:
            number = stopped.args[0] if stopped.args else signal.SIGINT
            say(described(number))
            raise typer.Exit(128 + number) from None
        except BrokenPipeError:  # the reader of our output left: `asr … | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except (AsrError, OSError) as error:
            fail(error)
            raise typer.Exit(1) from None


def commands(**options: Any) -> typer.Typer:
    """An empty group of commands, set up like all of them."""
    return typer.Typer(
        cls=Commands,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
        **options,
    )


def examples(*lines: str) -> str:
    """The examples at the end of a command's help."""
    return "Examples:\n\n" + "\n\n".join(f"`{line}`" for line in lines)


def describe_model(name: str, record: dict[str, Any]) -> str:
    """A model's name, what it understands and how well: the first line a newcomer sees."""
    line = f"{name}: {record.get('description') or 'no description'}"
    for result in record.get("results", [])[:1]:
        low, high = result["wer_ci95"]
        line += f" WER {100 * result['wer']:.2f} % (95 %: {100 * low:.2f} to {100 * high:.2f}) on {result['set']}."
    return line


def parse_words(
    vocabulary: Path | None, lm: Path | None, hotwords: list[str] | None, rescore: Path | None
) -> tuple[dict[str, float | None], dict[str, float] | None]:
    """The hot words and the vocabulary that options give. Raises BadParameter for options that exclude each other."""
    from asr.decode.lexicon import parse_hot_words

    if vocabulary is None:
        return parse_hot_words(hotwords or ()), None
    if lm is not None or hotwords or rescore is not None:
        raise typer.BadParameter(
            "is a language model of its own: leave out --lm, --hotword and --rescore, and give its words weights",
            param_hint="--vocabulary",
        )
    from asr.decode.vocabulary import read_vocabulary

    return {}, read_vocabulary(vocabulary)


def load_transcriber(model: str | None, device: str, options: DecoderOptions | None = None) -> Transcriber:
    """Load the model. If none was named, tell the user what the built-in one understands."""
    from asr.transcribe import Transcriber

    transcriber = Transcriber.load(model, device, options)
    gc.freeze()  # it stays until the end, when the collector would look at every object once more
    if model is None:
        say(f"model {describe_model(transcriber.recognizer.name, transcriber.recognizer.training_record)}")
    return transcriber


def write_results(results: Iterable[Result], total: int, folder: Path | None) -> None:
    """Write the results of `total` recordings into the folder, a file for each text, or to stdout without one.

    Errors are printed as they come, those of writing too; if there were any, the command exits with status 1 at the
    end.
    """
    given: Counter[str] = Counter()
    failed = 0
    for result in results:
        if isinstance(result, AsrError):
            failed += 1
            fail(result)
        elif folder is None:
            for text in result[1].values():
                typer.echo(_utf8(text).decode())
        else:
            name = _unused_name(result[0], max(result[1], key=len), given)
            try:
                for suffix, text in result[1].items():
                    path = folder / name.with_name(name.name + suffix)
                    replace_file(path, _utf8(f"{text}\n"))
            except OSError as error:
                failed += 1
                say(f"error: {printable(path)}: {error.strerror or error}")
    if failed:
        if total > 1:
            say(f"{failed} of {total} failed")
        raise typer.Exit(1)


def _utf8(text: str) -> bytes:
    """What UTF-8 lacks, of file names that are not in it, as an escape."""
    return text.encode("utf-8", "backslashreplace")


def _unused_name(output: Path, suffix: str, given: Counter[str]) -> Path:
    """The name of a result's files, without suffix: output's own or, where that was given before, with .2, .3 … behind
    it; cut to the length that file systems take with the suffix.

    given: all names, each with the number that was given last. Case does not tell files apart on every disk.
    """
    stem = output.name
    while len(os.fsencode(stem + suffix)) > NAME_BYTES:
        stem = stem[:-1]
    own = name = output.with_name(stem)

    def key(path: Path) -> str:
        return unicodedata.normalize("NFC", str(path)).casefold()

    while key(name) in given:
        given[key(own)] += 1
        name = own.with_name(f"{own.name}.{given[key(own)]}")
    given[key(name)] = 1
    return name
