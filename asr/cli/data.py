"""`asr data`: corpora, from archives to manifests that will train."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from asr.cli.console import check_paths, commands, examples, say, watch
from asr.errors import AsrError
from asr.util.format import as_time, plural

if TYPE_CHECKING:
    from asr.corpus.check.lines import CheckSettings

app = commands(help="Corpora: from archives to manifests.", no_args_is_help=True)

CorpusArgument = Annotated[
    str, typer.Argument(metavar="RECIPE", help="A recipe's folder, or its name under ./recipes.")
]


DataOption = Annotated[Path, typer.Option(envvar="DATA", help="Where corpora live.")]
MirrorOption = Annotated[str | None, typer.Option(envvar="MIRROR", help="A folder or URL that holds the archives.")]
PartsOption = Annotated[
    str, typer.Option(help="Names of archives, separated by commas; default: all that are not optional.")
]
SourceOption = Annotated[
    list[str] | None,
    typer.Option("--from", help="Take the corpus from here: an unpacked folder, archives, or their URLs."),
]
VerifyOption = Annotated[bool, typer.Option(help="Compare archives with their published checksums.")]


@app.command(
    epilog=examples(
        "asr data download mini_librispeech",
        "asr data download librispeech --parts train-clean-100,dev-clean --data /big/disk",
        "asr data download yesno --mirror https://mirror.example/corpora --no-verify",
    )
)
def download(
    recipe: CorpusArgument,
    parts: PartsOption = "",
    data: DataOption = Path("data"),
    mirror: MirrorOption = None,
    source: SourceOption = None,
    verify: VerifyOption = True,
) -> None:
    """Download a recipe's archives and unpack them. An interrupted download resumes."""
    from asr.corpus.recipe import find_recipe
    from asr.corpus.recipe import prepare as run

    folder = find_recipe(recipe)
    typer.echo(run(folder, data, mirror, verify, split_names(parts), source or (), manifests=False))


@app.command(
    epilog=examples(
        "asr data prepare yesno",
        "asr data prepare librispeech --parts train-clean-100,dev-clean,test-clean --data /big/disk",
        "asr data prepare common_voice --from cv-corpus-21.0-2025-03-14-cy.tar.gz",
        "asr data prepare custom --from ~/recordings",
    )
)
def prepare(
    recipe: CorpusArgument,
    parts: PartsOption = "",
    data: DataOption = Path("data"),
    mirror: MirrorOption = None,
    source: SourceOption = None,
    verify: VerifyOption = True,
    again: Annotated[bool, typer.Option("--again", help="Rewrite the manifests, when the corpus has changed.")] = False,
) -> None:
    """Download a recipe's corpus and write its manifests. Finished steps are skipped."""
    from asr.corpus.recipe import find_recipe
    from asr.corpus.recipe import prepare as run

    run(find_recipe(recipe), data, mirror, verify, split_names(parts), source or (), again)


def split_names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


Manifests = Annotated[list[Path], typer.Argument(metavar="MANIFEST...", help="Taken together as one corpus.")]


@app.command(
    epilog=examples(
        "asr data check train.jsonl",
        "asr data check train.jsonl --config mine.yaml model.subsampling=2",
        "asr data check train.jsonl --against test.jsonl --fix clean.jsonl",
        "asr data check test.jsonl --model runs/digits --format json",
    )
)
def check(
    arguments: Annotated[
        list[str],
        typer.Argument(metavar="MANIFEST... [KEY=VALUE]...", help="Taken together as one corpus; settings to change."),
    ],
    against: Annotated[
        list[Path] | None,
        typer.Option(
            help="Another part (repeatable). Shared audio and ids are errors, shared speakers and texts warnings."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Check for training with this config.")] = None,
    model: Annotated[str | None, typer.Option(help="Check for this model: its rate, its symbols.")] = None,
    audio: Annotated[bool, typer.Option(help="Decode the audio as well.")] = True,
    fix: Annotated[
        Path | None, typer.Option(help="Write the lines without errors here, the rest to *.dropped.tsv; exit 0.")
    ] = None,
    drop_marks: Annotated[
        bool, typer.Option("--drop-marks", help="With --fix: leave [noise], <laugh>, (inaudible) … out of the texts.")
    ] = False,
    form: Annotated[Literal["txt", "json"], typer.Option("--format", help="A table, or one JSON object.")] = "txt",
) -> None:
    """Check whether manifests can be trained on.

    Errors (exit 1) break training or leak test data into it; warnings (exit 0) deserve a look. Without --config or
    --model: characters, 16 kHz, a hop of 10 ms, subsampling 4.
    """
    overrides = [argument for argument in arguments if "=" in argument and not os.path.exists(argument)]
    manifests = [Path(argument) for argument in arguments if argument not in overrides]
    if not manifests:
        raise typer.BadParameter("name at least one manifest (.jsonl)", param_hint="MANIFEST")
    if config is not None and model is not None:
        raise typer.BadParameter("give one of --config and --model, not both", param_hint="--model")
    if overrides and config is None:
        raise typer.BadParameter(f"'{overrides[0]}' changes a config: name it with --config", param_hint="KEY=VALUE")
    if drop_marks and fix is None:
        raise typer.BadParameter("where to write texts without marks? Name a file with --fix", param_hint="--fix")
    if fix is not None and (fix.is_dir() or os.path.realpath(fix) in map(os.path.realpath, manifests)):
        raise typer.BadParameter(f"{fix} is a folder, or what is checked: name another file", param_hint="--fix")
    check_paths(*manifests, *(against or ()), model=model)
    from asr.cli.tables import print_report
    from asr.corpus import check as run

    settings = check_settings(config, model, overrides, manifests[0])
    report = run.check(manifests, settings, audio=audio, against=against or (), progress=watch)
    if form == "json":
        typer.echo(json.dumps(report.to_json()))
    else:
        print_report(report)
    rate, wanted = max(report.rates, default=0), settings.config.features.sample_rate
    if 0 < rate < wanted and not settings.named:
        say(
            f"no audio is above {rate} Hz: train with features.sample_rate={rate}, or check with your"
            " training config (--config)"
        )
    kept = 0
    if fix is not None:
        kept = run.fix(manifests, report.dropped, fix, drop_marks)
        say(f"{fix}: {plural(kept, 'utterance')}; {len(report.dropped):,} left out")
    if report.failed and not kept:
        raise typer.Exit(1)


def check_settings(config: Path | None, model: str | None, overrides: list[str], manifest: Path) -> CheckSettings:
    """The settings to check utterances against: a model's, a config's with what follows from the manifest, or the
    defaults."""
    from asr.config import Config, load_config
    from asr.corpus.check.lines import CheckSettings

    if model is not None:
        from asr.model.folder import find_model, load_model

        found = load_model(find_model(model))
        judge = Config(features=found.features.config, model=found.config, text=found.text)
        return CheckSettings(judge, found.tokenizer)
    if config is not None:
        from asr.train.initial import adopt, learn_subwords, with_init
        from asr.train.schedule import with_sizes

        settings = with_sizes(adopt(with_init(load_config(config, overrides), manifest)), manifest)
        return CheckSettings(settings, subwords=learn_subwords(settings, manifest))
    return CheckSettings(Config(), named=False)


@app.command(epilog=examples("asr data stats train.jsonl", "asr data stats train.jsonl dev.jsonl --png durations.png"))
def stats(
    manifests: Manifests,
    png: Annotated[Path | None, typer.Option(help="Draw the histograms into this file as well.")] = None,
) -> None:
    """Hours, speakers, words, symbols, and histograms of durations and texts. Audio is not decoded."""
    from asr.cli.tables import format_stats
    from asr.corpus.stats import collect, write_png

    if png is not None and png.is_dir():
        raise typer.BadParameter(f"{png} is a folder: name a file", param_hint="--png")
    found = collect(manifests)
    typer.echo(format_stats(found))
    if png is not None:
        write_png(found, png)
        say(f"{png}: written")


Layout = Literal["kaldi", "lhotse", "librispeech", "table", "nemo", "folder", "audio"]
Column = Annotated[str | None, typer.Option(help="Of a table: the column's name, or its number from 1.")]


@app.command(
    "import",
    epilog=examples(
        "asr data import recordings/ --output mine.jsonl",
        "asr data import cv-corpus/cy/validated.tsv --output cy.jsonl",
        "asr data import list.csv --audio file --text said --speaker who --audio-folder wav --output list.jsonl",
        "asr data import kaldi/data/train --output train.jsonl",
        "asr data import musan/noise --layout audio --output noise.jsonl",
    ),
)
def import_corpus(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A folder, a table or a list that describes audio.")],
    output: Annotated[Path, typer.Option(help="The manifest to write (.jsonl).")],
    layout: Annotated[Layout | None, typer.Option(help="audio: recordings without texts; default: detected.")] = None,
    audio: Column = None,
    text: Column = None,
    speaker: Column = None,
    id: Column = None,
    start: Column = None,
    end: Column = None,
    duration: Column = None,
    lang: Column = None,
    delimiter: Annotated[str | None, typer.Option(help="Of a table; default: tab, |, ; or comma.")] = None,
    quotes: Annotated[
        bool | None, typer.Option("--quotes/--no-quotes", help="Of a table: whether cells may be in double quotes.")
    ] = None,
    audio_folder: Annotated[Path | None, typer.Option(help="Of a table: where the audio is.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the manifest.")] = False,
) -> None:
    """Write a manifest of your audio and texts: .txt files beside audio, tables, Kaldi, lhotse, NeMo, WeNet."""
    from asr.corpus.layouts import LAYOUTS, detect_layout
    from asr.corpus.layouts.common import require_unique_ids
    from asr.corpus.stats import collect
    from asr.data.manifest import write_manifest

    if output.exists() and not force:
        raise AsrError(f"{output}: already exists; give another --output, or --force to overwrite")
    found, source = detect_layout(path, layout)
    options: dict[str, Any] = {"audio": audio, "text": text, "speaker": speaker, "id": id, "start": start, "end": end}
    options |= {"duration": duration, "lang": lang, "quotes": quotes, "audio_folder": audio_folder}
    options["delimiter"] = "\t" if delimiter in ("tab", "\\t") else delimiter
    options = {key: value for key, value in options.items() if value is not None}
    if options and found != "table":
        raise typer.BadParameter(f"only for tables; {source} is read as {found}", param_hint=f"--{next(iter(options))}")
    say(f"reading {source} as {'a manifest' if found == 'nemo' else found}")
    failures = Failures()
    reader = LAYOUTS[found][0](source, failed=failures.add, **options)
    write_manifest(output, require_unique_ids(watch(reader, None, "importing"), failures.add))
    stats = collect([output])
    utterances, texts, speakers = len(stats.durations), len(stats.lengths), len(stats.speaker_s)
    length = as_time(stats.durations.sum())
    typer.echo(f"{output}: {plural(utterances, 'utterance')}, {length}, {plural(speakers, 'speaker')}")
    if texts < utterances:
        say(f"without text, to be transcribed but not trained on: {utterances - texts}")
    if texts and not speakers:
        say(
            "no speakers are known: a test on a part of this tells nothing about voices the model never heard; a"
            " sub-folder for each speaker, or a table's column (--speaker), would tell them apart"
        )
    if texts:
        by = "" if speakers else " --by utterance"
        say(f"next: asr data check {output}; asr data split {output}{by}")
    failures.end()


@app.command(
    epilog=examples(
        "asr data export train.jsonl --to kaldi --output kaldi/data/train",
        "asr data export train.jsonl --to lhotse --output lhotse/train",
    )
)
def export(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST")],
    to: Annotated[Literal["kaldi", "lhotse"], typer.Option(help="The toolkit that is to read it.")],
    output: Annotated[Path, typer.Option(help="The folder to write.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of an earlier export.")] = False,
) -> None:
    """Write a manifest as a Kaldi data folder, or as lhotse's recordings and supervisions. Audio stays where it is."""
    from asr.corpus.export import export_manifest
    from asr.data.manifest import Manifest

    failures = Failures()
    count = export_manifest(Manifest(manifest), to, output, force, failures.add)
    typer.echo(f"{output}: {plural(count, 'utterance')}")
    failures.end()


@app.command(
    epilog=examples(
        "asr data split mine.jsonl",
        "asr data split mine.jsonl --dev 0.05 --test 0.05 --seed 1 --output-dir parts",
        "asr data split mine.jsonl --test 0 --by utterance",
    )
)
def split(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST")],
    dev: Annotated[float, typer.Option(min=0, max=1, help="Share of the audio for dev.jsonl; 0: none.")] = 0.1,
    test: Annotated[float, typer.Option(min=0, max=1, help="Share of the audio for test.jsonl; 0: none.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Another seed draws other speakers.")] = 0,
    by: Annotated[
        Literal["speaker", "utterance"], typer.Option(help="speaker: no speaker is in two parts.")
    ] = "speaker",
    output_dir: Annotated[Path | None, typer.Option(help="Where to write; default: beside the manifest.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of an earlier split.")] = False,
) -> None:
    """Split a manifest into train.jsonl, dev.jsonl and test.jsonl; by default no speaker is in two of them."""
    from asr.corpus.split import split_manifest

    if not dev + test < 1:
        raise typer.BadParameter(f"--dev {dev:g} and --test {test:g} leave nothing to train on", param_hint="--dev")
    parts = split_manifest(manifest, {"dev": dev, "test": test}, output_dir, by=by, seed=seed, force=force)
    total = sum(part.seconds for part in parts) or 1.0
    for part in parts:
        speakers = "" if part.speakers is None else f", {plural(part.speakers, 'speaker')}"
        share = f"{as_time(part.seconds)} ({100 * part.seconds / total:.1f} %)"
        typer.echo(f"{part.path}: {plural(part.utterances, 'utterance')}, {share}{speakers}")
    if by == "utterance":
        say("the parts may share speakers: the WER of dev and test tells little about voices the model never heard")
    for part in parts[1:]:
        common, different = part.shared
        say(f"{part.path.name}: {common} of its {different} different texts are in train.jsonl too")


class Failures:
    """Counts utterances that are left out, and prints the first errors."""

    max_shown = 20

    def __init__(self) -> None:
        self.count = 0

    def add(self, error: AsrError) -> None:
        self.count += 1
        if self.count <= self.max_shown:
            say(f"error: {error}")

    def end(self) -> None:
        """Exit with status 1 if anything failed."""
        if self.count:
            more = f", {self.count - self.max_shown} of them not shown" if self.count > self.max_shown else ""
            say(f"left out: {self.count}{more}")
            raise typer.Exit(1)
