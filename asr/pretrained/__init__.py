"""The built-in models: one folder each, small, with a model card."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def names() -> list[str]:
    return sorted(path.parent.name for path in HERE.glob("*/config.json"))


def folder(name: str) -> Path | None:
    """The folder of a built-in model, None when there is none of that name."""
    return HERE / name if name in names() else None
