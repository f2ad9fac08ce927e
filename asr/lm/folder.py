"""A language model's folder: lm.json (what it is), words.txt (one a line, in order), ngrams.safetensors (mapped)."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from asr import __version__
from asr.errors import ModelError
from asr.lm.trie import Tables, shapes
from asr.util.files import write_atomic

FORMAT_VERSION = 1
WEIGHTS = (
    "lm_weight",
    "word_insertion_bonus",
    "unk_score",
)  # of a search, see asr.decode.beam; lm.json may hold them


def save_folder(folder: Path, tables: Tables, words: Sequence[str], about: dict[str, Any]) -> None:
    """Write a model, whole or not at all. Another model there is replaced; any other folder is refused (ModelError)."""
    from safetensors.numpy import save

    if folder.exists() and not (folder / "lm.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder}: is there and is not a language model; choose another name")
    fields = tables._asdict()
    arrays = {name: np.ascontiguousarray(value) for name, value in fields.items() if isinstance(value, np.ndarray)}
    numbers = {name: value for name, value in fields.items() if name not in arrays}
    head = {"format_version": FORMAT_VERSION, "asr_version": __version__, **about, "packing": numbers}
    folder = folder.absolute()
    part, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{end}") for end in ("part", "old"))
    part.mkdir(parents=True)
    try:
        (part / "ngrams.safetensors").write_bytes(save(arrays))
        (part / "words.txt").write_bytes("\n".join(words).encode())
        (part / "lm.json").write_text(_json(head), encoding="utf-8")
        if folder.exists():
            folder.rename(old)
        part.rename(folder)
    finally:
        for leftover in (part, old):
            shutil.rmtree(leftover, ignore_errors=True)


def read_about(folder: Path) -> dict[str, Any]:
    """What lm.json says, of a version that can be read. Raises ModelError."""
    path = folder / "lm.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"{folder}: not a language model (no lm.json)") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: unreadable: {error}") from None
    version = about.get("format_version") if isinstance(about, dict) else None
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path}: format_version is {version!r}, this asr {__version__} reads {FORMAT_VERSION};"
            " a newer asr may be needed"
        )
    return about


def store_tuned(folder: Path, tuned: dict[str, Any]) -> None:
    """Put weights, and where they come from, into a model's lm.json; nothing else in the folder changes."""
    write_atomic(folder / "lm.json", _json(read_about(folder) | {"tuned": tuned}))


def load_folder(folder: Path) -> tuple[Tables, list[str], dict[str, Any]]:
    """Map a model: its arrays stay on the disk until they are asked. Raises ModelError naming the file at fault."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # maps the file; the one for numpy copies it

    about, path = read_about(folder), folder / "ngrams.safetensors"
    try:
        arrays = {name: tensor.numpy() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: unreadable or damaged: {error}") from None
    try:
        numbers = {name: int(value) for name, value in about.pop("packing").items()}
        tables = Tables(**{name: value for name, value in (arrays | numbers).items() if name in Tables._fields})
        words = (folder / "words.txt").read_bytes().decode().split("\n")
        for name, shape in shapes(tables).items():
            if arrays[name].shape != shape:
                raise ValueError(f"{name} is {arrays[name].shape}, should be {shape}")
        if len(words) != len(tables.unigrams):
            raise ValueError(f"{len(words)} lines in words.txt for {len(tables.unigrams)} words")
        tuned = about.setdefault("tuned", {})
        tuned |= {name: float(tuned[name]) for name in WEIGHTS if name in tuned}
        if "platt_scaling" in tuned:
            slope, offset = map(float, tuned["platt_scaling"])
            if not (0 <= slope <= 1e3 and abs(offset) <= 1e3):
                raise ValueError(f"platt_scaling is {slope}, {offset}")
            tuned["platt_scaling"] = slope, offset
        if not all(abs(tuned[name]) <= 1000 for name in WEIGHTS if name in tuned):
            raise ValueError(f"tuned is {tuned}")
    except (OSError, KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError) as error:
        raise ModelError(f"{folder}: a damaged language model: {error}") from None
    return tables, words, about


def _json(about: dict[str, Any]) -> str:
    return json.dumps(about, indent=2, ensure_ascii=False) + "\n"
