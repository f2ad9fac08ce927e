"""Recipes: `prepare.py` in a recipe's folder names archives and yields utterances; this module does the rest."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from asr.data.download import Archive, fetch, unpack
from asr.data.manifest import Utterance, write_manifest
from asr.errors import AsrError, ManifestError

Say = Callable[[str], None]

PREPARED = "prepared.json"


def find_recipe(name: str) -> Path:
    """A recipe's folder: given as such, or by its name under ./recipes. Raises AsrError."""
    for folder in (Path(name), Path("recipes") / name):
        if (folder / "prepare.py").is_file():
            return folder
    there = ", ".join(sorted(path.parent.name for path in Path("recipes").glob("*/prepare.py")))
    hint = f"./recipes has {there}" if there else "there is no ./recipes here; recipes live in the project's repository"
    raise AsrError(f"{name}: no recipe (a folder with prepare.py); {hint}")


def prepare(recipe: Path, data: Path, mirror: str | None, verify: bool, say: Say) -> Path:
    """Download, unpack and write manifests below `data/<recipe>`; returns that folder. Done work is not done again.

    prepare.py defines ARCHIVES, a list of `Archive`, and `utterances(corpus, made)`, which yields (part, Utterance):
    `corpus` is the folder with the unpacked archives, `made` one for audio the recipe makes itself.
    """
    recipe = recipe.resolve()
    module = _load(recipe / "prepare.py")
    for name, kind in (("ARCHIVES", "the list of the corpus's archives"), ("utterances", "the function that reads it")):
        if not hasattr(module, name):
            raise AsrError(f"{recipe / 'prepare.py'}: defines no {name}, {kind}; see recipes/yesno/prepare.py")
    archives: list[Archive] = module.ARCHIVES
    home = data / recipe.name
    written = hashlib.sha256((recipe / "prepare.py").read_bytes()).hexdigest()
    stamp = _stamp(home)
    if stamp.get("prepare.py") == written and all((home / f"{part}.jsonl").is_file() for part in stamp["parts"]):
        say(f"{home}: already prepared")
        return home
    for archive in archives:
        path = fetch(archive, home / "archives", mirror, verify, say)
        corpus = home / "corpus" / archive.name
        if not corpus.is_dir():
            say(f"unpacking {path}")
            unpack(path, corpus)
    parts: dict[str, list[Utterance]] = {}
    for part, utterance in module.utterances(home / "corpus", home / "made"):
        parts.setdefault(part, []).append(utterance)
    if not parts:
        raise ManifestError(f"{recipe.name}: prepare.py found no utterances in {home / 'corpus'}")
    for part, found in parts.items():
        write_manifest(home / f"{part}.jsonl", found)
        hours = sum(utterance.duration for utterance in found) / 3600
        say(f"{home / part}.jsonl: {len(found)} utterances, {hours:.2f} h")
    (home / PREPARED).write_text(json.dumps({"prepare.py": written, "parts": list(parts)}), encoding="utf-8")
    return home


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"asr_recipe_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _stamp(home: Path) -> dict[str, Any]:
    """What the last preparation left: the sum of prepare.py and the parts it wrote."""
    try:
        stamp = json.loads((home / PREPARED).read_text(encoding="utf-8"))
        return stamp if isinstance(stamp.get("parts"), list) else {}
    except (OSError, ValueError, AttributeError):
        return {}
