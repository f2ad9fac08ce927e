"""A report for people: what `asr data check` prints."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asr.corpus.check.findings import ERROR, Finding
from asr.corpus.check.report import Report
from asr.util.format import as_time, plural

TEXT_SHOWN = 40  # characters of an example's text


def print_report(report: Report) -> None:
    """Findings as a table, errors first, each with its worst examples and the remedy; then one line that sums up."""
    console = Console() if Console().is_terminal else Console(width=160)
    if report.results:
        table = Table(box=box.SIMPLE, show_header=False, padding=(0, 1))
        for result in report.results:
            _add(table, result)
        console.print(table)
    console.print(Text(summary(report)))


def summary(report: Report) -> str:
    errors = sum(result.level == ERROR for result in report.results)
    warnings = len(report.results) - errors
    line = f"{plural(report.utterances, 'utterance')}, {as_time(3600 * report.hours)}"
    line += "" if report.audio else ", audio not looked at"
    if report.dropped:
        line += f"; {plural(len(report.dropped), 'line')} to be left out"
    return f"{line}; {plural(errors, 'error')}, {plural(warnings, 'warning')}"


def _add(table: Table, result: Finding) -> None:
    style = "bold red" if result.level == ERROR else "bold yellow"
    table.add_row(Text(result.level, style), Text(result.name, "bold"), Text(plural(result.count, result.unit)))
    for example in result.examples:
        text = example.text if len(example.text) <= TEXT_SHOWN else example.text[: TEXT_SHOWN - 1] + "…"
        table.add_row("", Text("  " + _printable(example.what)), Text(_printable(f"{example.value}   {text}".strip())))
    table.add_row("", Text("  → " + result.remedy, "italic"), "", end_section=True)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
