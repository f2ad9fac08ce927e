"""Curves as SVG, without a library: nothing to load, and a training draws after every epoch."""

from __future__ import annotations

import math
from html import escape

import numpy as np

LEFT, RIGHT, TOP, BOTTOM = 48, 392, 10, 194  # of the area that curves are drawn in
COLORS = ("#8aa4c8", "#d9660f")


def draw(title: str, along: str, curves: dict[str, np.ndarray], logarithmic: bool = False) -> str | None:
    """One or two curves, (points, 2) by name, over what `along` says; None where there are no points.

    A value that is not positive has no place on a logarithmic axis and is left out.
    """
    if logarithmic:
        curves = {name: points[points[:, 1] > 0] for name, points in curves.items()}
    curves = {name: points for name, points in curves.items() if len(points)}
    if not curves:
        return None
    x, y = np.concatenate(list(curves.values())).T
    steps, levels = ticks(x.max()), decades(y.min(), y.max()) if logarithmic else ticks(y.max())
    scale = math.log10 if logarithmic else float
    bottom, top = scale(levels[0]), scale(levels[-1])

    def across(step: float) -> float:
        return LEFT + (RIGHT - LEFT) * step / steps[-1]

    def up(value: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (scale(value) - bottom) / (top - bottom)

    out = [f'<svg viewBox="0 0 400 220" role="img" aria-label="{escape(title)}" font-size="11" fill="#888">']
    for level in levels:
        place = up(level)
        out.append(f'<line x1="{LEFT}" x2="{RIGHT}" y1="{place:.1f}" y2="{place:.1f}" stroke="#888" opacity=".3"/>')
        out.append(f'<text x="{LEFT - 5}" y="{place + 4:.1f}" text-anchor="end">{number(level)}</text>')
    for step in steps:
        anchor = "end" if step == steps[-1] else "middle"
        out.append(f'<text x="{across(step):.1f}" y="{BOTTOM + 16}" text-anchor="{anchor}">{number(step)}</text>')
    names = ""
    for (name, points), color in zip(curves.items(), COLORS, strict=False):
        places = [f"{across(step):.1f},{up(value):.1f}" for step, value in points]
        places += places[: len(places) == 1]  # a single point is drawn as a line to itself
        pen = f'fill="none" stroke="{color}" stroke-width="1.8" stroke-linejoin="round" stroke-linecap="round"'
        out.append(f'<polyline {pen} points="{" ".join(places)}"/>')
        names += f'<tspan fill="{color}" dx="10">{name} {number(points[-1][1])}</tspan>'
    out.append(f'<text x="{LEFT}" y="218">{along}{names}</text></svg>')
    return "\n".join(out)


def ticks(top: float) -> list[float]:
    """From 0 to at least `top` in at most five round steps."""
    top = top if top > 0 else 1.0
    power = 10.0 ** math.floor(math.log10(top / 5))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= 0.999999 * top / 5)
    return [i * step for i in range(math.ceil(0.999999 * top / step) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Powers of ten, or of their roots, from at most `low` to at least `high`."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high)) + 1
    return np.logspace(first, last, max(last - first, 3) + 1).tolist() if last - first < 9 else [low, high]


def number(value: float) -> str:
    """To three digits, thousands apart: 12,000 and 0.00125."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
