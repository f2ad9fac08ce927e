"""Numbers as people say them."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """1 utterance, 1,400 utterances."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def as_time(seconds: float) -> str:
    """5.0 s, 12.4 min, 1.35 h: in the largest unit of which it is one at least."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.2f} h"
