"""report.html of a run: its curves, warnings and settings in one file that needs neither network nor scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asr.evaluate.calibration import draw, number
from asr.util.files import replace_file

MAX_POINTS = 300  # of a curve; more would not be seen
MAX_WARNINGS = 20


class Chart(NamedTuple):
    """curves: name -> (kind of records, key of the value in them); values are multiplied by `factor`."""

    title: str
    curves: dict[str, tuple[str, str]]
    factor: float = 1.0
    logarithmic: bool = False


def steps_and_epochs(key: str) -> dict[str, tuple[str, str]]:
    return {"steps": ("step", key), "epochs": ("epoch", key)}


CHARTS = (
    Chart("Loss of an utterance", steps_and_epochs("loss"), logarithmic=True),
    Chart("Error rates on the development set, %", {"WER": ("epoch", "dev_wer"), "CER": ("epoch", "dev_cer")}, 100),
    Chart("Learning rate", steps_and_epochs("lr")),
    Chart("Throughput, seconds of audio a second", steps_and_epochs("audio_per_s")),
    Chart("Frames whose best symbol is the blank, %", steps_and_epochs("blank_fraction"), 100),
    Chart("Norm of the gradient", steps_and_epochs("gradient_norm"), logarithmic=True),
    Chart(
        "Lost time and work, %",
        {"waiting for data": ("epoch", "data_wait_fraction"), "padding": ("epoch", "padding_fraction")},
        100,
    ),
)

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1320px; margin: 2em auto; padding: 0 1em }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 1em 2em }
figure { margin: 0 }
svg { width: 100% }
pre { overflow-x: auto }
"""


def write_report(run: Path) -> Path:
    """Write the run's report.html from what its metrics.jsonl and config.yaml hold so far, and return its path."""
    records = read_metrics(run / "metrics.jsonl")
    settings = run / "config.yaml"
    settings_text = settings.read_text(encoding="utf-8", errors="replace") if settings.is_file() else ""
    name = escape(run.resolve().name)
    page = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{name}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
        f"<h1>{name}</h1>\n<p>{escape(summary(records))}</p>",
        "<main>",
        *[figure(chart, records) for chart in CHARTS],
        "</main>",
        warnings(records),
        f"<details><summary>Settings</summary>\n<pre>{escape(settings_text)}</pre></details>",
        "</body>\n</html>\n",
    ]
    replace_file(run / "report.html", "\n".join(page))
    return run / "report.html"


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl; empty if there is no file. An unfinished line of a killed run is ignored."""
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
    return records


def series(records: Sequence[dict[str, Any]], kind: str, key: str) -> np.ndarray:
    """(points, 2): steps and values from records of one kind, without values that are not finite. More than MAX_POINTS
    are reduced to means of neighbors."""
    pairs = [(record["step"], record.get(key)) for record in records if record.get("kind") == kind]
    points = np.array([(x, y) for x, y in pairs if isinstance(y, (int, float)) and math.isfinite(y)]).reshape(-1, 2)
    if len(points) <= MAX_POINTS:
        return points
    return np.array([piece.mean(0) for piece in np.array_split(points, MAX_POINTS)])


def figure(chart: Chart, records: Sequence[dict[str, Any]]) -> str:
    """A chart as HTML."""
    curves = {name: series(records, *where) * [1.0, chart.factor] for name, where in chart.curves.items()}
    drawn = draw(chart.title, "step", curves, chart.logarithmic)
    nothing = "" if drawn else ": nothing yet"
    return f"<figure><figcaption>{escape(chart.title)}{nothing}</figcaption>\n{drawn or ''}</figure>"


def summary(records: Sequence[dict[str, Any]]) -> str:
    """Where the run stands, in a line."""
    epochs = [record for record in records if record.get("kind") == "epoch" and isinstance(record.get("epoch"), int)]
    if not epochs:
        return "No epoch is complete yet."
    last = epochs[-1]
    line = f"{last['epoch']} epochs, {number(last['step'])} steps, {last.get('elapsed_s', 0) / 60:.1f} min."
    rates = [record.get("dev_wer") for record in epochs]
    validated = [
        record for record, rate in zip(epochs, rates, strict=True) if isinstance(rate, float) and math.isfinite(rate)
    ]
    if validated:
        best = min(validated, key=lambda record: record["dev_wer"])
        line += f" Lowest development WER {100 * best['dev_wer']:.2f} %, in epoch {best['epoch']}."
    rate = next((record.get("dev_wer") for record in records if record.get("kind") == "start"), None)
    if isinstance(rate, float) and math.isfinite(rate):
        line += f" Before the first epoch {100 * rate:.2f} %."
    return line


def warnings(records: Sequence[dict[str, Any]]) -> str:
    """The last MAX_WARNINGS skipped steps and unreadable recordings, as HTML."""
    lines = []
    for record in records:
        if record.get("kind") == "skipped":
            who = ", ".join(map(str, record.get("utterances", [])))
            lines.append(f"step {record['step']} skipped: {record.get('why')} ({who})")
        elif record.get("kind") == "unreadable":
            lines += [f"step {record['step']}, left out: {failure}" for failure in record.get("utterances", [])]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines[-MAX_WARNINGS:])
    return f"<h2>Warnings ({len(lines)})</h2>\n<ul>{items}</ul>"
