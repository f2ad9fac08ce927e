"""What checks find, and its worst examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

ERROR, WARNING = "error", "warning"
WORST = 5  # examples shown of each finding


@dataclass
class Example:
    """One of the worst. what: an utterance's row, until `run.check` puts its id, or a name; place: "FILE, line N"
    where there is one; text: the utterance's."""

    what: int | str
    value: str
    place: str = ""
    text: str = ""


@dataclass
class Finding:
    """Something wrong. level: "error" breaks training, "warning" is to be looked at; count: how many `unit`s it
    concerns; rows: all utterances it concerns."""

    name: str
    level: str
    count: int
    unit: str
    remedy: str
    examples: list[Example]
    rows: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


def of_utterances(
    name: str, level: str, remedy: str, rows: np.ndarray, worst: Iterable[tuple[int, str]]
) -> Finding | None:
    """What was found of `rows`; nothing where there are none. worst: rows and what is wrong with them."""
    examples = [Example(int(row), value) for row, value in worst]
    return Finding(name, level, len(rows), "utterance", remedy, examples, rows) if len(rows) else None


def of_things(name: str, remedy: str, unit: str, things: list[tuple[str, int]]) -> Finding | None:
    """A warning about symbols, rates … and how often they occur, the worst first; nothing where there are none."""
    examples = [Example(thing, f"× {count:,}") for thing, count in things[: 2 * WORST]]
    return Finding(name, WARNING, len(things), unit, remedy, examples) if things else None
