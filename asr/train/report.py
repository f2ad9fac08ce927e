"""report.html of a run: its curves, warnings and settings in one file that needs neither network nor scripts."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

MOST_POINTS = 300  # of a curve; more would not be seen
MOST_DOTS = 60
MOST_WARNINGS = 20
WIDTH, HEIGHT = 400, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 392, 10, 194  # of the area that curves are drawn in

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """What the records of one kind hold under `key`, at their steps."""

    name: str
    kind: str
    key: str


@dataclass(frozen=True)
class Chart:
    title: str
    curves: tuple[Curve, ...]
    factor: float = 1.0
    logarithmic: bool = False


def of_steps_and_epochs(title: str, key: str, factor: float = 1.0, logarithmic: bool = False) -> Chart:
    return Chart(title, (Curve("steps", "step", key), Curve("epochs", "epoch", key)), factor, logarithmic)


CHARTS = (
    of_steps_and_epochs("Loss of an utterance", "loss", logarithmic=True),
    Chart(
        "Errors on the development part, %", (Curve("WER", "epoch", "dev_wer"), Curve("CER", "epoch", "dev_cer")), 100
    ),
    of_steps_and_epochs("Learning rate", "lr"),
    of_steps_and_epochs("Throughput, seconds of audio a second", "audio_per_s"),
    of_steps_and_epochs("Frames whose best symbol is the blank, %", "blank_share", 100),
    of_steps_and_epochs("Norm of the gradient", "gradient_norm", logarithmic=True),
)

STYLE = """
:root { color-scheme: light dark }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 1320px; margin: 2em auto; padding: 0 1em }
main { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 1em 2em }
figure { margin: 0 }
svg { width: 100%; font-size: 11px; fill: currentColor }
.grid { stroke: currentColor; stroke-opacity: .15 }
.curve { fill: none; stroke-width: 1.8; stroke-linejoin: round }
.step { stroke: #8aa4c8; stroke-width: 1 }
.first { stroke: #1f6fd0 }
.second { stroke: #d9660f }
circle { stroke-width: 0 }
circle.first, .first-name { fill: #1f6fd0 }
circle.second, .second-name { fill: #d9660f }
.step-name { fill: #8aa4c8 }
td, th { text-align: right; padding: 0 1.2em 0 0 }
pre { overflow-x: auto }
"""


def write_report(run: Path) -> Path:
    """Draw the run's metrics.jsonl and config.yaml, as far as they go, into its report.html, and return its path."""
    path = run / "report.html"
    part = path.with_name(path.name + ".part")
    part.write_text(report(run), encoding="utf-8")
    part.replace(path)
    return path


def report(run: Path) -> str:
    """The page: HTML with inline SVG."""
    records = read_metrics(run / "metrics.jsonl")
    settings = run / "config.yaml"
    settings_text = settings.read_text(encoding="utf-8", errors="replace") if settings.is_file() else ""
    name = escape(run.resolve().name)
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{name}</title>\n<style>{STYLE}</style>\n</head>\n<body>",
            f"<h1>{name}</h1>\n<p>{escape(summary(records))}</p>",
            "<main>",
            *[draw(chart, records) for chart in CHARTS],
            "</main>",
            warnings(records),
            epochs_table(records),
            f"<details><summary>Settings</summary>\n<pre>{escape(settings_text)}</pre></details>",
            "</body>\n</html>\n",
        ]
    )


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a metrics.jsonl, without a line that a killed run was writing; none where there is no file."""
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and isinstance(record.get("step"), int):
            records.append(record)
    return records


def series(records: Sequence[dict[str, Any]], curve: Curve, factor: float = 1.0) -> Points:
    """(step, value) of the curve; records without a finite number are left out."""
    pairs = ((record["step"], finite(record, curve.key)) for record in records if record.get("kind") == curve.kind)
    return [(step, factor * y) for step, y in pairs if y is not None]


def finite(record: dict[str, Any], key: str) -> float | None:
    """The number under `key`, None where there is none."""
    value = record.get(key)
    return value if isinstance(value, (int, float)) and math.isfinite(value) else None


def thinned(points: Points) -> Points:
    """Means of neighbours, so that at most MOST_POINTS are left."""
    if len(points) <= MOST_POINTS:
        return points
    return [tuple(piece.mean(0).tolist()) for piece in np.array_split(np.array(points), MOST_POINTS)]


def ticks(top: float) -> list[float]:
    """From 0 to at least `top` in at most five round steps."""
    top = top if top > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(top / 5))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.999999 * top / 5)
    return [i * step for i in range(math.ceil(0.999999 * top / step) + 1)]


def decades(low: float, high: float) -> list[float]:
    """From at most `low` to at least `high`: 1, 2, 5, 10 … where that is few, else powers of ten."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    fine = [factor * 10.0**power for power in range(first, last + 1) for factor in (1, 2, 5)]
    below = [tick for tick in fine if tick <= low][-1:]
    inside = [tick for tick in fine if low < tick < high]
    above = [tick for tick in fine if tick >= high and tick > low][:1]
    stride = 1 + (last - first) // 6
    coarse = [10.0**power for power in range(first, last + stride, stride)]
    return [*below, *inside, *above] if len(inside) < 7 else coarse


def draw(chart: Chart, records: Sequence[dict[str, Any]]) -> str:
    """One figure. A value that is not positive has no place on a logarithmic axis and is left out."""
    drawn = [thinned(series(records, curve, chart.factor)) for curve in chart.curves]
    if chart.logarithmic:
        drawn = [[(x, y) for x, y in points if y > 0] for points in drawn]
    every = [point for points in drawn for point in points]
    if not every:
        return f"<figure><figcaption>{escape(chart.title)}: nothing yet</figcaption></figure>"
    lowest, highest = min(y for _, y in every), max(y for _, y in every)
    steps = ticks(max(x for x, _ in every))
    levels = decades(lowest, highest) if chart.logarithmic else ticks(highest)
    scale = math.log10 if chart.logarithmic else float
    bottom, top = scale(levels[0]), scale(levels[-1])

    def place(x: float, y: float) -> tuple[float, float]:
        share = (scale(y) - bottom) / (top - bottom)
        return LEFT + (RIGHT - LEFT) * x / steps[-1], BOTTOM - (BOTTOM - TOP) * share

    out = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">']
    for level in levels:
        y = place(0, level)[1]
        out.append(f'<line class="grid" x1="{LEFT}" x2="{RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        out.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{number(level)}</text>')
    for step in steps:
        x = place(step, levels[0])[0]
        anchor = "end" if step == steps[-1] else "middle"
        out.append(f'<text x="{x:.1f}" y="{BOTTOM + 16}" text-anchor="{anchor}">{number(step)}</text>')
    colours = iter(("first", "second"))
    looks = ["step" if curve.kind == "step" else next(colours) for curve in chart.curves]
    for curve, look, points in zip(chart.curves, looks, drawn, strict=True):
        places = [place(*point) for point in points]
        out.append(f'<polyline class="curve {look}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>')
        if curve.kind == "epoch" and len(points) <= MOST_DOTS:
            for (x, y), (step, value) in zip(places, points, strict=True):
                about = f"{curve.name}, step {number(step)}: {number(value)}"
                out.append(f'<circle class="{look}" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{about}</title></circle>')
    names = "".join(
        f'<tspan class="{look}-name" dx="10">{curve.name} {number(points[-1][1])}</tspan>'
        for curve, look, points in zip(chart.curves, looks, drawn, strict=True)
        if points
    )
    out.append(f'<text x="{LEFT}" y="{HEIGHT - 2}">step{names}</text></svg>')
    return f"<figure><figcaption>{escape(chart.title)}</figcaption>\n" + "\n".join(out) + "</figure>"


def number(value: float) -> str:
    """To three digits, thousands apart: 12,000 and 0.00125."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def summary(records: Sequence[dict[str, Any]]) -> str:
    """Where the run stands, in a line."""
    epochs = epochs_of(records)
    if not epochs:
        return "No epoch has come to its end yet."
    last = epochs[-1]
    line = f"{last['epoch']} epochs, {number(last['step'])} steps, {(finite(last, 'elapsed_s') or 0) / 60:.1f} min."
    validated = [record for record in epochs if finite(record, "dev_wer") is not None]
    if validated:
        best = min(validated, key=lambda record: record["dev_wer"])
        line += f" Lowest development WER {100 * best['dev_wer']:.2f} %, in epoch {best['epoch']}."
    return line


def epochs_of(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record.get("kind") == "epoch" and isinstance(record.get("epoch"), int)]


def warnings(records: Sequence[dict[str, Any]]) -> str:
    """The steps that were skipped and the recordings that could not be read: the last of them."""
    lines = []
    for record in records:
        if record.get("kind") == "skipped":
            who = ", ".join(map(str, record.get("utterances", [])))
            lines.append(f"step {record['step']} skipped: {record.get('why')} ({who})")
        elif record.get("kind") == "unreadable":
            lines += [f"step {record['step']}, left out: {failure}" for failure in record.get("utterances", [])]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines[-MOST_WARNINGS:])
    return f"<h2>Warnings ({len(lines)})</h2>\n<ul>{items}</ul>"


def epochs_table(records: Sequence[dict[str, Any]]) -> str:
    columns = {"loss": ("loss", 1), "dev WER, %": ("dev_wer", 100), "dev CER, %": ("dev_cer", 100)}
    columns |= {"blank, %": ("blank_share", 100), "× real time": ("audio_per_s", 1)}
    columns |= {"padding, %": ("padding_share", 100), "waiting for data, %": ("data_wait_share", 100)}
    rows = ["".join(f"<th>{name}</th>" for name in ("epoch", *columns))]
    for record in epochs_of(records):
        values = ((finite(record, key), factor) for key, factor in columns.values())
        cells = ["–" if value is None else number(factor * value) for value, factor in values]
        rows.append("".join(f"<td>{cell}</td>" for cell in (record["epoch"], *cells)))
    table = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f"<details><summary>Epochs</summary>\n<table>{table}</table></details>"
