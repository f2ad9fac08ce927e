"""`asr lm`: language models."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from asr.cli.console import INTERRUPTED, MODEL, Device, check_paths, commands, examples, say, watch
from asr.cli.data import DataOption, MirrorOption
from asr.errors import ConfigError, ModelError
from asr.util.format import percent, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asr.lm.model import LanguageModel
    from asr.lm.trie import Level


FEW_WORDS = 500  # with fewer, a single error outweighs the effect of the weights

EMBEDDING_SIZE = 256  # at most, of a neural model
NGRAM_ONLY = ("order", "unit", "prune", "megabytes", "vocabulary", "min_count", "bits", "force")
NEURAL_ONLY = ("cell", "layers", "hidden_size", "subwords", "epochs", "dropout", "seed", "device")

Unit = Literal["word", "character"]

app = commands(help="Language models from plain text.", no_args_is_help=True)

OutputOption = Annotated[
    Path, typer.Option("--output", "-o", help="The folder to make; or an ARPA file: NAME.arpa, also .gz, .bz2, .xz.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace a language model that was tuned.")]
BitsOption = Annotated[int, typer.Option(help="Bits of each stored probability and backoff weight, 2 to 16.")]


@app.command(epilog=examples("asr lm download", "asr lm download --data /big/disk"))
def download(data: DataOption = Path("data"), mirror: MirrorOption = None) -> None:
    """Download the text for English language models that belongs to LibriSpeech: 803 million words of books, 1.5 GB.

    None of the books is read in its dev and test parts; some are in its training parts (OpenSLR 11, public domain). An
    interrupted download resumes. Prints the path.
    """
    from asr.corpus.download import fetch, openslr

    text = openslr("11/librispeech-lm-norm.txt.gz", gigabytes=1.5)
    typer.echo(fetch(text, data / "librispeech_lm", mirror, verify=True))


@app.command(
    epilog=examples(
        "asr lm train books.txt.xz --output lm",
        "asr lm train --order 4 --prune 0,0,1 --vocabulary 200000 a.txt b.txt.gz --output lm",
        "asr lm train books.txt.xz --megabytes 8 --output lm",
        "asr lm train books.txt.xz data/english/train.jsonl --output lm",
        "asr lm train --unit character --order 6 transcripts.txt --output characters",
        "asr lm train books.txt --heldout dev.txt --output lm.arpa.gz",
        "asr lm train books.txt --without data/yesno/dev.jsonl --output lm",
        "asr lm train books.txt.xz --neural --heldout dev.txt --output nlm",
        "asr lm train books.txt.xz --neural --cell gru --hidden-size 256 --epochs 2 --output small",
    )
)
def train(
    context: typer.Context,
    texts: Annotated[
        list[Path], typer.Argument(metavar="TEXT...", help="One sentence a line, also .gz, .bz2, .xz; or manifests.")
    ],
    output: OutputOption,
    order: Annotated[int, typer.Option(help="Words (or characters) of the longest n-grams.")] = 3,
    unit: Annotated[Unit, typer.Option(help="What the model counts.")] = "word",
    normalizer: Annotated[str, typer.Option(help="How to normalize the text: as the recognizer does.")] = "basic",
    prune: Annotated[
        str, typer.Option(metavar="N,N,...", help="For each order, leave out n-grams that occur N times or less.")
    ] = "0",
    megabytes: Annotated[
        float | None,
        typer.Option(help="Leave out the least useful n-grams, so that the folder is not larger."),
    ] = None,
    vocabulary: Annotated[int | None, typer.Option(help="Keep this many of the most frequent words.")] = None,
    min_count: Annotated[int, typer.Option(help="Keep words that occur at least this often.")] = 1,
    heldout: Annotated[Path | None, typer.Option(metavar="TEXT", help="Measure the perplexity on this text.")] = None,
    without: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="MANIFEST",
            help="Leave out sentences that share seven words in a row with this one, such as dev.",
        ),
    ] = None,
    bits: BitsOption = 8,
    drop_marks: Annotated[
        bool, typer.Option("--drop-marks", help="Leave out [noise], <laugh>, (inaudible) and the like.")
    ] = False,
    force: ForceOption = False,
    neural: Annotated[bool, typer.Option("--neural", help="Train a recurrent network over subwords.")] = False,
    cell: Annotated[Literal["rnn", "lstm", "gru"], typer.Option(help="--neural: of the network.")] = "lstm",
    layers: Annotated[int, typer.Option(min=1, help="--neural: recurrent layers.")] = 1,
    hidden_size: Annotated[int, typer.Option(min=1, help="--neural: of a layer.")] = 512,
    subwords: Annotated[int, typer.Option(min=1, help="--neural: how many to learn from the text.")] = 4000,
    epochs: Annotated[float, typer.Option(help="--neural: passes over the text; 0.5 is half of it.")] = 1.0,
    dropout: Annotated[float, typer.Option(help="--neural: less for more text.")] = 0.1,
    seed: Annotated[int, typer.Option(min=0, help="--neural: of the first weights and of the order.")] = 0,
    device: Device = "auto",
) -> None:
    """Estimate an n-gram model (interpolated modified Kneser-Ney); a text of 50 million words needs 4 GB of memory.

    Words that are left out of the vocabulary count as `<unk>`.

    With --neural, train a recurrent network instead, for hours: it rescores what a search with the n-gram model finds
    (`asr evaluate --rescore`). Ctrl-C saves; the same command resumes.
    """
    try:
        limits = tuple(int(limit) for limit in prune.split(","))
    except ValueError:
        raise typer.BadParameter(f"'{prune}' is not a comma-separated list of numbers", param_hint="--prune") from None
    for name in NGRAM_ONLY if neural else NEURAL_ONLY:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            raise typer.BadParameter(f"{'not with' if neural else 'only with'} --neural", param_hint=option)
    check_paths(*texts, heldout, *(without or ()))
    from asr.data.manifest import Manifest

    manifests = map(Manifest, without or ())
    unknown_to_it = (utterance.text or "" for each in manifests for utterance in each)
    if neural:
        from asr.lm.fit import NetworkConfig, NeuralConfig
        from asr.lm.fit import train as run_neural

        network = NetworkConfig(cell, layers, hidden_size, min(hidden_size, EMBEDDING_SIZE))
        settings = NeuralConfig(
            network, subwords, epochs, dropout, seed=seed, normalizer=normalizer, drop_marks=drop_marks
        )
        trained = run_neural(
            texts, settings, output, heldout, unknown_to_it, device, lambda steps: watch(steps, len(steps), "training")
        )
        if trained is None:
            raise typer.Exit(INTERRUPTED)
        say(f"{output}: {cell} of {hidden_size} × {layers}, {len(trained.tokens):,} subwords")
        _print_perplexity(trained.record, "word")
        return
    _refuse_to_replace(output, force)
    from asr.lm.estimate import LmConfig
    from asr.lm.estimate import train as run

    config = LmConfig(order, unit, normalizer, limits, megabytes, vocabulary, min_count, bits, drop_marks)
    model, levels = run(texts, config, heldout, unknown_to_it)
    _write(output, model, levels)
    _print_perplexity(model.record, unit)


@app.command(epilog=examples("asr lm convert 3-gram.arpa.gz --output lm", "asr lm convert lm --output lm.arpa"))
def convert(
    model: Annotated[Path, typer.Argument(metavar="LM", help="An ARPA file, perhaps compressed, or a model's folder.")],
    output: OutputOption,
    normalizer: Annotated[
        str | None, typer.Option(help="The normalizer of an ARPA file's text: the file does not say.")
    ] = None,
    unit: Annotated[Unit | None, typer.Option(help="What an ARPA file counts.")] = None,
    bits: BitsOption = 8,
    force: ForceOption = False,
) -> None:
    """Convert an ARPA file into a folder, which loads at once and is small, or back."""
    check_paths(model)
    from dataclasses import replace

    from asr.lm.arpa import is_arpa
    from asr.lm.estimate import LmConfig
    from asr.lm.model import LanguageModel
    from asr.lm.trie import levels_of

    if not model.is_dir() and is_arpa(output):
        raise ConfigError(f"{output}: {model} is an ARPA file already; give a folder's name")
    _refuse_to_replace(output, force)
    loaded = LanguageModel.load(model, bits)
    about = LmConfig(unit=unit or loaded.unit, normalizer=normalizer or loaded.normalizer or "none", bits=bits)
    loaded = replace(loaded, unit=about.unit, normalizer=about.normalizer if normalizer else loaded.normalizer)
    _write(output, loaded, levels_of(loaded.tables))


@app.command(
    epilog=examples("asr lm sample nlm", 'asr lm sample nlm --count 20 --prompt "it was a dark" --temperature 0.7')
)
def sample(
    lm: Annotated[Path, typer.Argument(metavar="LM", help="A language model's folder, or an ARPA file.")],
    count: Annotated[int, typer.Option(min=1, help="How many sentences.")] = 5,
    prompt: Annotated[str, typer.Option(help="How all of them begin.")] = "",
    temperature: Annotated[
        float, typer.Option(min=0.01, max=100, help="Below 1: more of what is likely; above: more surprises.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Another one draws other sentences.")] = 0,
) -> None:
    """Write sentences drawn at random from a language model, neural or not: what it takes for its text."""
    check_paths(lm)
    from asr.lm.model import LanguageModel, is_neural

    model: Any
    if is_neural(lm):
        from asr.lm.neural import NeuralLanguageModel

        model = NeuralLanguageModel.load(lm)
    else:
        model = LanguageModel.load(lm)
    for sentence in model.sample(count, prompt, temperature, seed):
        typer.echo(sentence)


@app.command(
    epilog=examples(
        "asr lm tune lm data/mini_librispeech/dev.jsonl --model runs/mini_librispeech",
        "asr lm tune nlm data/mini_librispeech/dev.jsonl --model runs/mini_librispeech --lm lm",
    )
)
def tune(
    lm: Annotated[Path, typer.Argument(metavar="LM", help="A language model's folder, neural or not.")],
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Utterances with texts: a development set.")],
    model: Annotated[str, MODEL],
    beam: Annotated[int, typer.Option(min=1, help="Prefixes kept.")] = 512,
    closed_vocabulary: Annotated[
        bool, typer.Option("--closed-vocabulary", help="Only words of the language model are heard.")
    ] = False,
    device: Device = "auto",
    searched: Annotated[
        Path | None,
        typer.Option("--lm", help="For a neural model: that of the search; default: the recognizer's own."),
    ] = None,
) -> None:
    """Find the weights with the fewest word errors, and store them in the folder: `--lm` then uses them.

    The audio goes through the model once, then a few dozen beam searches follow. Of a neural model it is the weight
    beside the tuned model of the search, which `--rescore` then uses; one search is enough.
    """
    if lm.is_file():
        raise ModelError(f"{lm}: an ARPA file stores no weights: asr lm convert {lm} --output FOLDER, and tune that")
    check_paths(lm, searched, manifest, model=model)
    from asr.lm.model import is_neural

    if is_neural(lm):
        _tune_rescoring(lm, searched, manifest, model, beam, closed_vocabulary, device)
        return
    if searched is not None:
        raise typer.BadParameter(f"only to tune a neural language model; {lm} is none", param_hint="--lm")
    from dataclasses import replace

    from asr.cli.tables import print_trials
    from asr.data.manifest import Manifest
    from asr.decode.beam import BeamSettings, prepare
    from asr.evaluate import tune as tuning
    from asr.lm.model import LanguageModel
    from asr.model.folder import LM, find_model, load_model

    language, folder, listed = LanguageModel.load(lm), find_model(model), Manifest(manifest)
    settings = BeamSettings(beam=beam, closed_vocabulary=closed_vocabulary)
    if tuning.is_tuned(language, settings, folder, manifest):
        say(f"{lm}: already tuned with this model and manifest")
        return
    recognizer = load_model(folder, device)
    # Before the audio is computed, so that what does not fit fails at once.
    prepare(recognizer.tokenizer, recognizer.text.normalizer, settings, language).warm_up()
    development = tuning.compute_log_probs(recognizer, listed, watch(listed, len(listed), "computing"))
    for failure in development.failed:
        say(f"error: {failure}")
    trials = list(watch(tuning.tune(recognizer, language, development, settings), None, "tuning"))
    best = tuning.best_of(trials)
    weighted = replace(settings, **best.weights._asdict())
    platt_scaling = tuning.calibrate(recognizer, language, development, weighted)
    print_trials(trials, best)  # before anything that may fail, as the search took long
    words = sum(len(reference.split()) for reference in development.references)
    if len({trial[1:] for trial in trials}) == 1:
        say("note: all weights gave the same errors: those stored are merely the first that were tried")
    elif words < FEW_WORDS:
        say(f"note: {plural(words, 'word')} are too few to tell weights apart: use a manifest with {FEW_WORDS} or more")
    tuning.store(lm, best, platt_scaling, settings, recognizer, folder, manifest)
    own = lm.resolve() == (folder / LM).resolve()
    say(f"{lm}: stored; asr evaluate and asr transcribe use these weights{'' if own else f' with --lm {lm}'}")
    if development.failed:
        say(f"{len(development.failed)} of {len(listed)} utterances could not be read: left out")
        raise typer.Exit(1)


def _tune_rescoring(
    lm: Path, searched: Path | None, manifest: Path, model: str, beam: int, closed_vocabulary: bool, device: str
) -> None:
    from asr.data.manifest import Manifest
    from asr.decode.beam import BeamSearch
    from asr.decode.options import DecoderOptions
    from asr.evaluate import tune as tuning
    from asr.lm.model import store_tuned
    from asr.transcribe import Transcriber

    options = DecoderOptions(searched, beam=beam, closed_vocabulary=closed_vocabulary, rescore=lm)
    transcriber, listed = Transcriber.load(model, device, options), Manifest(manifest)
    search = transcriber.decoder
    assert isinstance(search, BeamSearch)
    development = tuning.compute_log_probs(transcriber.recognizer, listed, watch(listed, len(listed), "computing"))
    for failure in development.failed:
        say(f"error: {failure}")
    trials = list(watch(tuning.tune_rescoring(transcriber.recognizer, search, development), None, "tuning"))
    best = min(trials, key=lambda trial: trial[1])
    for weight, wer in trials:
        typer.echo(f"weight {weight:.1f}: WER {percent(wer)}{', the best' if (weight, wer) == best else ''}")
    names = {"model": transcriber.recognizer.name, "lm": str(transcriber.options.lm), "manifest": manifest.name}
    store_tuned(lm, {"rescore_weight": best[0], "wer": best[1], "beam": beam, **names})
    say(f"{lm}: stored; asr evaluate and asr transcribe use this weight with --rescore {lm}")
    if development.failed:
        say(f"{len(development.failed)} of {len(listed)} utterances could not be read: left out")
        raise typer.Exit(1)


def _refuse_to_replace(output: Path, force: bool) -> None:
    """Raise ModelError if `output` is a neural language model, or one with tuned weights, unless forced."""
    from asr.lm.model import is_neural, read_about

    about = {}
    if not force and (output / "lm.json").is_file():
        with suppress(ModelError):  # a damaged one is no loss
            about = read_about(output)
    if about and is_neural(output):
        raise ModelError(f"{output}: holds a neural language model; choose another folder, or --force to replace it")
    if about.get("tuned"):
        raise ModelError(f"{output}: holds tuned weights; choose another folder, or --force to replace the model there")


def _print_perplexity(record: dict[str, Any], unit: str) -> None:
    measured = record.get("perplexity")
    if measured is not None:
        typer.echo(
            f"perplexity {measured['all']:.2f}; without the {measured['unknown']:,} unknown of {measured['units']:,}"
            f" {unit}s {measured['known']:.2f}"
        )


def _write(output: Path, model: LanguageModel, levels: Sequence[Level]) -> None:
    from asr.lm.arpa import is_arpa, write_arpa

    if is_arpa(output):
        write_arpa(output, model.words, levels)
    else:
        model.save(output)
    say(f"{output}: order {model.order}, {len(model.words):,} words, {sum(map(len, levels)):,} n-grams")
