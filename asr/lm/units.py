"""What n-gram models count: the words of a text, or its characters with a visible space."""

from __future__ import annotations

from collections.abc import Sequence

UNKNOWN, START, END = SPECIAL = ("<unk>", "<s>", "</s>")
UNKNOWN_ID, START_ID, END_ID = range(3)  # their numbers in every model
UNITS = ("word", "character")
SPACE = "\u2581"  # a space among characters: in files, spaces separate units


def units_of(unit: str, text: str) -> Sequence[str]:
    """A normalized text as units."""
    return text.split() if unit == "word" else text.replace(" ", SPACE)
