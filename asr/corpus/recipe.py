"""Recipes: `prepare.py` in a recipe's folder names archives and yields utterances; this module does the rest."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import json
import logging
import re
import shutil
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import unquote, urlsplit

from asr.corpus.download import SUFFIXES, Archive, fetch, find_in_mirror, gigabytes, mirror_folder, unpack
from asr.data.manifest import write_manifests
from asr.errors import AsrError, DownloadError, ManifestError
from asr.util.files import folder_lock, replace_file
from asr.util.format import as_time, plural

logger = logging.getLogger(__name__)

PREPARED = "prepared.json"
TEMPLATE = "custom"
README = """# {name}

What is spoken, by whom, under which license, and where it comes from.

```sh
bash recipes/{name}/run.sh
```

downloads, prepares, trains with [{name}.yaml]({name}.yaml) and prints the WER of the test part: … % (… to …) on …, in …
minutes. Settings and environment variables are those of [all recipes](../../docs/recipes.md).

## Parts

Utterances, hours and speakers of train, dev (on which the checkpoint is chosen) and test, and whose split that is.
"""


def find_recipe(name: str) -> Path:
    """A recipe's folder: given as such, or by its name under ./recipes. Raises AsrError."""
    for folder in (Path(name), Path("recipes") / name):
        if (folder / "prepare.py").is_file():
            return folder
    there = ", ".join(sorted(path.parent.name for path in Path("recipes").glob("*/prepare.py")))
    hint = f"./recipes has {there}" if there else "there is no ./recipes here; recipes live in the project's repository"
    raise AsrError(f"{name}: no recipe (a folder with prepare.py); {hint}")


def prepare(
    recipe: Path,
    data: Path,
    mirror: str | None,
    verify: bool,
    parts: Sequence[str] = (),
    sources: Sequence[str] = (),
    again: bool = False,
    manifests: bool = True,
) -> Path:
    """Download and unpack a recipe's archives to `data/<recipe>/corpus`, each to a folder of its name, and write
    manifests to `data/<recipe>`; returns that folder, or the corpus's where no manifests are wanted. Finished steps are
    skipped: what is unpacked is not downloaded again, even where the archive is gone. `again` rewrites the manifests.

    parts: the archives' names; none: all that are not optional. sources: the corpus from somewhere else, as one folder
    in which it lies unpacked (it is used in place), as archives, or as their URLs. Raises AsrError.

    prepare.py defines ARCHIVES, a list of `Archive`, and `utterances(corpus, made)`, which yields (part, Utterance):
    `corpus` is the folder with the unpacked archives, `made` one for audio the recipe makes itself.
    """
    recipe = recipe.resolve()
    with own_traceback(recipe / "prepare.py"):
        module = load(recipe / "prepare.py")
    home = data / recipe.name
    digest = hashlib.sha256((recipe / "prepare.py").read_bytes()).hexdigest()
    given = [_identity(source) for source in sources]
    chosen = [] if sources else _choose(module.ARCHIVES, parts)
    busy = DownloadError(f"{home}: another process is preparing it; wait for it to finish")
    with folder_lock(home, busy):
        stamp = _stamp(home)
        if (
            manifests
            and not again
            and stamp.get("prepare.py") == digest
            and stamp.get("from", []) == given
            and all(
                fnmatch.filter(stamp.get("archives", [each.name]), each.name)
                for archive in chosen
                for each in (find_in_mirror(archive, mirror) if archive.extra else [archive])
            )
            and all((home / f"{part}.jsonl").is_file() for part in stamp["parts"])
        ):
            logger.info(f"{home}: already prepared")
            return home
        corpus = _obtain_corpus(chosen, sources, home, mirror, verify)
        if not manifests:
            return corpus
        (home / PREPARED).unlink(missing_ok=True)  # from here on the manifests are neither the old nor the new
        with own_traceback(recipe / "prepare.py"):
            found = write_manifests(home, module.utterances(corpus, home / "made"))
        if not found:
            raise ManifestError(f"{recipe.name}: prepare.py found no utterances in {corpus}")
        for part in set(stamp.get("parts", [])) - set(found):
            (home / f"{part}.jsonl").unlink(missing_ok=True)
        for part, (count, seconds) in found.items():
            logger.info(f"{home / part}.jsonl: {plural(count, 'utterance')}, {as_time(seconds)}")
        for use in ("train", "dev", "test"):
            if not any(part.startswith(use) for part in found):
                logger.warning(f"{home}: nothing for {use} in what is there")
        unpacked = sorted(folder.name for folder in corpus.glob("*")) if not sources else []
        stamp = {"prepare.py": digest, "parts": list(found), "archives": unpacked, "from": given}
        replace_file(home / PREPARED, json.dumps(stamp))
    return home


def _obtain_corpus(
    archives: list[Archive], sources: Sequence[str], home: Path, mirror: str | None, verify: bool
) -> Path:
    """The folder of the unpacked corpus, after downloading what is missing."""
    if any(Path(source).is_dir() or _is_list(source) for source in sources):
        if len(sources) > 1:
            raise DownloadError(f"--from {' '.join(sources)}: give one folder that holds the whole corpus, or archives")
        return Path(sources[0]).absolute()
    if sources:
        # Apart from the recipe's own archives, and from what was given another time.
        names = "\n".join(map(_identity, sources))
        corpus = home / "given" / hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        archives, mirror = [_given(source) for source in sources], None
    elif archives:
        corpus = home / "corpus"
        for archive in archives:
            if archive.extra and not find_in_mirror(archive, mirror):
                logger.info(f"{archive.path}: left out, in no mirror folder")
        archives = [found for archive in archives for found in find_in_mirror(archive, mirror)]
    else:
        raise DownloadError(
            f"{home.name}: has no archives of its own; give the corpus's folder with --from, or CORPUS=FOLDER before"
            " the recipe's command"
        )
    missing = [archive for archive in archives if not (corpus / archive.name).is_dir()]
    for archive in archives:
        if archive not in missing:
            logger.info(f"{corpus / archive.name}: already there")
    _refuse_a_full_disk(missing, home, mirror)
    for unfinished in corpus.glob("*.part"):  # of an extraction that was interrupted: no part of the corpus
        shutil.rmtree(unfinished)
    # All before the first is unpacked: what is missing is known early.
    paths = [fetch(archive, home / "archives", mirror, verify) for archive in missing]
    for archive, path in zip(missing, paths, strict=True):
        logger.info(f"unpacking {path}")
        unpack(path, corpus / archive.name)
    return corpus


def new_recipe(name: str, recipes: Path) -> Path:
    """Make `recipes/<name>` from the template `recipes/custom`; returns the folder. Raises AsrError."""
    template, folder = recipes / TEMPLATE, recipes / name
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise AsrError(f"{name}: a recipe's name is made of a-z, 0-9 and _, and begins with a letter")
    if not (template / "prepare.py").is_file():
        raise AsrError(f"{template}: the template is not there; run this in a clone of the project, or give --recipes")
    if folder.exists():
        raise AsrError(f"{folder}: already exists; choose another name")
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    for path in sorted(template.iterdir()):
        if path.is_file():
            target = part / path.name.replace(TEMPLATE, name)
            target.write_text(re.sub(rf"\b{TEMPLATE}\b", name, path.read_text(encoding="utf-8")), encoding="utf-8")
            target.chmod(path.stat().st_mode)
    (part / "README.md").write_text(README.format(name=name), encoding="utf-8")
    part.replace(folder)
    return folder


def _choose(archives: list[Archive], parts: Sequence[str]) -> list[Archive]:
    names = [archive.name for archive in archives]
    for part in parts:
        if part not in names:
            raise DownloadError(f"--parts {part}: there is no such archive; there are {', '.join(names) or 'none'}")
    return [archive for archive in archives if (archive.name in parts if parts else not archive.optional)]


def _is_list(source: str) -> bool:
    """A table or another list of audio: a corpus may be that."""
    return Path(source).is_file() and not source.lower().endswith(SUFFIXES)


def _identity(source: str) -> str:
    """How a source is recognized: its full path, or its address without the signature, which changes."""
    return source.partition("?")[0] if "://" in source else str(Path(source).resolve())


def _given(source: str) -> Archive:
    """An archive by its URL or its path."""
    if "://" in source:
        try:
            return Archive(Path(unquote(urlsplit(source).path)).name or "archive", (source,))
        except ValueError as error:
            raise DownloadError(f"--from {source}: {error}") from None
    if not Path(source).is_file():
        raise DownloadError(f"--from {source}: neither a folder nor an archive nor a URL")
    return Archive(str(Path(source).absolute()))


def _refuse_a_full_disk(archives: list[Archive], home: Path, mirror: str | None) -> None:
    """Archive and what is in it, which is no smaller, must fit. Raises DownloadError."""
    needed = 0.0
    for archive in archives:
        size = gigabytes(archive, mirror)
        name = home / "archives" / Path(archive.path).name
        have = sum(path.stat().st_size for path in (name, Path(f"{name}.part")) if path.is_file()) / 1e9
        needed += size + (max(size - have, 0.0) if mirror_folder(mirror) is None else 0.0)
    free = shutil.disk_usage(home).free / 1e9
    if needed > free:
        raise DownloadError(
            f"{home}: needs {needed:.1f} GB at least, {free:.1f} GB are free; choose another disk (--data, DATA=), or"
            " fewer archives (--parts)"
        )


@contextmanager
def own_traceback(path: Path) -> Iterator[None]:
    """A bug in the user's own prepare.py raises AsrError with its traceback, from that file on. What is missing on the
    disk, and what names the remedy itself, passes unchanged."""
    try:
        yield
    except (AsrError, OSError):
        raise
    except Exception as error:
        found = traceback.TracebackException.from_exception(error)
        inside = [number for number, frame in enumerate(found.stack) if frame.filename == str(path)]
        found.stack = traceback.StackSummary.from_list(found.stack[inside[0] :] if inside else [])
        why = "" if inside or isinstance(error, SyntaxError) else "; utterances() must yield (part, Utterance)"
        raise AsrError(f"{path}: does not run{why}\n{''.join(found.format()).rstrip()}") from error


def load(path: Path) -> ModuleType:
    """prepare.py as a module. Raises AsrError where it does not define what it must."""
    spec = importlib.util.spec_from_file_location(f"asr_recipe_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    for name, kind in (("ARCHIVES", "the list of the corpus's archives"), ("utterances", "the function that reads it")):
        if not hasattr(module, name):
            raise AsrError(f"{path}: defines no {name}, {kind}; see recipes/yesno/prepare.py")
    return module


def _stamp(home: Path) -> dict[str, Any]:
    """What the last preparation left: the sum of prepare.py, what it read and the parts it wrote."""
    try:
        stamp = json.loads((home / PREPARED).read_text(encoding="utf-8"))
        return stamp if isinstance(stamp.get("parts"), list) else {}
    except (OSError, ValueError, AttributeError):
        return {}
