"""`asr evaluate`, `asr compare`: word error rates, and whether two differ by more than chance."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asr.cli.console import MODEL, Decoding, Device, check_paths, commands, examples, parse_words, say, watch

app = commands()


@app.command(
    epilog=examples(
        "asr evaluate --model runs/digits data/digits/test.jsonl --output-dir runs/digits/eval",
        "asr evaluate --model digits data/digits/test.jsonl",
        "asr evaluate --model runs/english --lm lm --rescore nlm dev.jsonl --output-dir runs/english/eval_nlm",
    )
)
def evaluate(
    manifest: Annotated[Path, typer.Argument(metavar="MANIFEST", help="Utterances with texts (.jsonl).")],
    model: Annotated[str | None, MODEL] = None,
    output_dir: Annotated[Path | None, typer.Option(help="Write wer.json, ref.trn and hyp.trn here.")] = None,
    expect: Annotated[float | None, typer.Option(help="A WER (fraction) to print beside the measured one.")] = None,
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
    """Word error rate of a model on a manifest, with its 95 % interval. Reuses a result stored in --output-dir."""
    check_paths(manifest, lm, vocabulary, rescore, model=model, output_dir=output_dir)
    words, entries = parse_words(vocabulary, lm, hotwords, rescore)
    from asr.cli.tables import print_evaluation
    from asr.decode.options import DecoderOptions
    from asr.evaluate.run import stored_evaluation
    from asr.model.folder import find_model
    from asr.transcribe import Transcriber

    folder = find_model(model)
    weights = lm_weight, word_insertion_bonus, unk_score
    options = DecoderOptions(lm, words, beam, *weights, closed_vocabulary, entries, rescore, rescore_weight)
    record = None
    if output_dir is not None:
        record = stored_evaluation(output_dir, folder, manifest, options.for_model(folder).record())
    if record is not None:
        say(f"{output_dir}: already evaluated")
    else:
        transcriber = Transcriber.load(folder, device, options)
        record = transcriber.evaluate(manifest, output_dir, lambda items, total: watch(items, total, "evaluating"))
    print_evaluation(record, expect)
    if record["failed"]:
        say(f"{record['failed']} of {record['utterances'] + record['failed']} utterances could not be read: not scored")
        raise typer.Exit(1)


@app.command(epilog=examples("asr compare runs/english/eval runs/english/eval_lm"))
def compare(
    first: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder that asr evaluate --output-dir wrote.")],
    second: Annotated[Path, typer.Argument(metavar="FOLDER", help="Another one, of the same manifest.")],
) -> None:
    """Compare two evaluations of the same test set by a paired test: is one better, or may it be chance?"""
    from asr.evaluate.score import compare as run

    found = run(first, second)
    typer.echo(f"WER {100 * found.first:.2f} % and {100 * found.second:.2f} % of {found.words:,} words")
    relative = "" if found.relative is None else f" ({100 * found.relative:+.1f} % of the errors)"
    typer.echo(f"difference {100 * found.difference:+.2f} points{relative}")
    if found.low is not None and found.high is not None and found.p_value is not None:
        interval = f"95 % interval {100 * found.low:+.2f} to {100 * found.high:+.2f} points"
        typer.echo(f"{interval}, p = {found.p_value:.2g}, paired by {found.unit}")
