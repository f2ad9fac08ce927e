"""What commands print as tables: an evaluation, and the trials of `asr lm tune`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from asr.evaluate.tune import Trial
from asr.util.format import plural


def print_evaluation(record: dict[str, Any], expect: float | None = None) -> None:
    """Print what a wer.json holds, and next to the WER the one that was promised."""
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_row("manifest", escape(record["manifest"]))
    wer = _percent(record["wer"])
    if record["wer_ci95"]:
        low, high = record["wer_ci95"]
        if low <= 0 and high >= 1:
            wer += "   95 % interval 0 to 100 % or more: too few words to tell"
        else:
            how = f"{record['ci_method']}, by {record['ci_unit']}"
            wer += f"   95 % interval {_percent(low)} to {_percent(high)} ({how})"
    table.add_row("WER", wer)
    if expect is not None:
        table.add_row("expected", f"{_percent(expect)} or less")
    errors = {kind: record[f"{kind}s"] for kind in ("substitution", "deletion", "insertion")}
    kinds = ", ".join(plural(count, kind) for kind, count in errors.items())
    table.add_row("errors", f"{sum(errors.values()):,} in {plural(record['words'], 'word')}: {kinds}")
    table.add_row("CER", _percent(record["cer"]))
    table.add_row("wrong utterances", f"{_percent(record['ser'])} of {record['utterances']}")
    if confidence := record.get("confidence"):
        error = f"off by {_percent(confidence['ece'])} on average (ECE, {len(confidence['bins'])} bins)"
        table.add_row("confidences", error)
    table.add_row("normalizer", record["normalizer"])
    table.add_row("decoder", record["decoder"]["kind"])
    table.add_row("real-time factor", f"{record['rtf']:.4f} on {record['device']}" if record["rtf"] else "–")
    console = Console() if Console().is_terminal else Console(width=200)
    console.print(table)


def _percent(fraction: float | None) -> str:
    return "–" if fraction is None else f"{100 * fraction:.2f} %"


def print_trials(trials: Sequence[Trial], best: Trial) -> None:
    """Print weights of a language model and what errors they leave, in the order they were tried."""
    table = Table("LM weight", "word bonus", "unknown score", "WER", "CER", "", box=box.SIMPLE)
    for trial in trials:
        numbers = [f"{weight:g}" for weight in trial.weights]
        table.add_row(*numbers, _percent(trial.wer), _percent(trial.cer), "best" if trial is best else "")
    Console().print(table)
