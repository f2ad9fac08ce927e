"""What commands print as tables: evaluations, the trials of `asr lm tune`, what `asr data check` and `stats` find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from asr.corpus.check.findings import ERROR, Report
from asr.corpus.stats import Stats, bins
from asr.evaluate.tune import Trial
from asr.util.format import as_time, percent, plural, printable

MAX_TEXT = 40  # characters shown of an example's text
BAR = 50  # characters of the longest bar of a histogram


def print_evaluation(record: dict[str, Any], expect: float | None = None) -> None:
    """Print what a wer.json holds. expect: a WER (fraction) to print beside the measured one."""
    table = Table(box=box.SIMPLE, show_header=False)
    table.add_row("manifest", escape(record["manifest"]))
    wer = percent(record["wer"])
    if record["wer_ci95"]:
        low, high = record["wer_ci95"]
        if low <= 0 and high >= 1:
            wer += "   95 % interval 0 to 100 % or more: too few words to tell"
        else:
            how = f"{record['ci_method']}, by {record['ci_unit']}"
            wer += f"   95 % interval {percent(low)} to {percent(high)} ({how})"
    table.add_row("WER", wer)
    if expect is not None:
        table.add_row("expected", f"{percent(expect)} or less")
    errors = {kind: record[f"{kind}s"] for kind in ("substitution", "deletion", "insertion")}
    kinds = ", ".join(plural(count, kind) for kind, count in errors.items())
    table.add_row("errors", f"{sum(errors.values()):,} in {plural(record['words'], 'word')}: {kinds}")
    if record.get("per") is not None:
        table.add_row("homophones", f"{record['homophones']:,} of the substitutions sound like what was said")
        table.add_row("phone errors", percent(record["per"]))
    table.add_row("CER", percent(record["cer"]))
    table.add_row("wrong utterances", f"{percent(record['ser'])} of {record['utterances']}")
    if confidence := record.get("confidence"):
        error = f"off by {percent(confidence['ece'])} on average (ECE, {len(confidence['bins'])} bins)"
        table.add_row("confidences", error)
    table.add_row("normalizer", record["normalizer"])
    table.add_row("decoder", record["decoder"]["kind"])
    table.add_row("real-time factor", f"{record['rtf']:.4f} on {record['device']}" if record["rtf"] else "–")
    _console(200).print(table)


def print_trials(trials: Sequence[Trial], best: Trial) -> None:
    """Print the error rate of each set of language model weights, in the order they were tried."""
    table = Table("LM weight", "word bonus", "unknown score", "WER", "CER", "", box=box.SIMPLE)
    for trial in trials:
        numbers = [f"{weight:g}" for weight in trial.weights]
        table.add_row(*numbers, percent(trial.wer), percent(trial.cer), "best" if trial is best else "")
    Console().print(table)


def print_report(report: Report) -> None:
    """Print the findings as a table, errors first, each with its worst examples and a remedy; then a summary line."""
    table = Table(box=box.SIMPLE, show_header=False, padding=(0, 1))
    for finding in report.findings:
        style = "bold red" if finding.level == ERROR else "bold yellow"
        table.add_row(Text(finding.level, style), Text(finding.name, "bold"), plural(finding.count, finding.unit))
        for example in finding.examples:
            text = example.text if len(example.text) <= MAX_TEXT else example.text[: MAX_TEXT - 1] + "…"
            value = printable(f"{example.value}   {text}".strip())
            table.add_row("", Text("  " + printable(example.what)), Text(value))
        table.add_row("", Text("  → " + finding.remedy, "italic"), "", end_section=True)
    console = _console(160)
    if report.findings:
        console.print(table)
    errors = sum(finding.level == ERROR for finding in report.findings)
    line = f"{plural(report.utterances, 'utterance')}, {as_time(3600 * report.hours)}"
    line += "" if report.audio else ", audio not looked at"
    line += f"; {plural(len(report.dropped), 'line')} to be left out" if report.dropped else ""
    console.print(Text(f"{line}; {plural(errors, 'error')}, {plural(len(report.findings) - errors, 'warning')}"))


def format_stats(stats: Stats) -> str:
    """All statistics as lines of text, with histograms."""
    lines = [f"{name:24} {value}" for name, value in stats.rows()]
    for name, values in stats.histograms():
        shown = bins(values)
        highest, width = max(count for _, count in shown), max(len(label) for label, _ in shown)
        lines += ["", name]
        for label, count in shown:
            bar = "#" * max(round(BAR * count / highest), int(count > 0))
            lines.append(f"  {label:>{width}}  {count:>9,}  {bar}".rstrip())
    return "\n".join(lines)


def _console(width: int) -> Console:
    """A console as wide as the terminal, or `width` characters if stdout is not one."""
    return Console() if Console().is_terminal else Console(width=width)
