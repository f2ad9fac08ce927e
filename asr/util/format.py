"""Formatting numbers, lists and names for messages."""

from __future__ import annotations

from collections.abc import Iterable


def plural(count: int, noun: str, many: str = "") -> str:
    """1 utterance, 1,400 utterances; many: the plural, if it is not the noun and an s."""
    return f"{count:,} {noun if count == 1 else many or f'{noun}s'}"


def as_time(seconds: float) -> str:
    """5.0 s, 12.4 min, 1.35 h: in the largest unit that gives 1 or more."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.2f} h"


def percent(fraction: float | None) -> str:
    """0.25 -> "25.00 %"; a dash where there is no rate."""
    return "–" if fraction is None else f"{100 * fraction:.2f} %"


def some(items: Iterable[object], max_shown: int = 5) -> str:
    """a, b, c and 4 more."""
    shown = list(map(str, items))
    more = f" and {len(shown) - max_shown:,} more" if len(shown) > max_shown else ""
    return ", ".join(shown[:max_shown]) + more


def printable(text: object) -> str:
    """The text on one line: what a terminal would not print is escaped, a line break as \\n."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
