"""What `asr data check` and `asr data stats` print."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from asr.corpus.check.report import Report
from asr.corpus.check.rules import ERROR, Finding
from asr.corpus.stats import Stats, bins
from asr.util.format import as_time, plural, printable

MAX_TEXT = 40  # characters shown of an example's text
BAR = 50  # characters of the longest bar of a histogram


def print_report(report: Report) -> None:
    """Findings as a table, errors first, each with its worst examples and the remedy; then one line that sums up."""
    console = Console() if Console().is_terminal else Console(width=160)
    if report.findings:
        table = Table(box=box.SIMPLE, show_header=False, padding=(0, 1))
        for finding in report.findings:
            _add_finding(table, finding)
        console.print(table)
    console.print(Text(_summary(report)))


def _summary(report: Report) -> str:
    errors = sum(finding.level == ERROR for finding in report.findings)
    warnings = len(report.findings) - errors
    line = f"{plural(report.utterances, 'utterance')}, {as_time(3600 * report.hours)}"
    line += "" if report.audio else ", audio not looked at"
    if report.dropped:
        line += f"; {plural(len(report.dropped), 'line')} to be left out"
    return f"{line}; {plural(errors, 'error')}, {plural(warnings, 'warning')}"


def _add_finding(table: Table, finding: Finding) -> None:
    style = "bold red" if finding.level == ERROR else "bold yellow"
    table.add_row(Text(finding.level, style), Text(finding.name, "bold"), Text(plural(finding.count, finding.unit)))
    for example in finding.examples:
        text = example.text if len(example.text) <= MAX_TEXT else example.text[: MAX_TEXT - 1] + "…"
        table.add_row("", Text("  " + printable(example.what)), Text(printable(f"{example.value}   {text}".strip())))
    table.add_row("", Text("  → " + finding.remedy, "italic"), "", end_section=True)


def format_stats(stats: Stats) -> str:
    """Everything as text of several lines."""
    lines = [f"{name:24} {value}" for name, value in stats.rows()]
    for name, values in stats.histograms():
        shown = bins(values)
        highest, width = max(count for _, count in shown), max(len(label) for label, _ in shown)
        lines += ["", name]
        for label, count in shown:
            bar = "#" * max(round(BAR * count / highest), int(count > 0))
            lines.append(f"  {label:>{width}}  {count:>9,}  {bar}".rstrip())
    return "\n".join(lines)
