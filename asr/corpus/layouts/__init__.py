"""Corpora as others lay them out -> utterances, and which layout a corpus has, from the files that mark it.

Each reader takes a path and `failed`, which is told what is wrong with an utterance that is left out; without it the
first such error is raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from asr.audio import AUDIO_SUFFIXES
from asr.corpus.layouts.common import NAMES
from asr.corpus.layouts.plain import read_audio_alone, read_folder, read_librispeech, read_table
from asr.corpus.layouts.toolkits import first_object, is_cut, lhotse_pairs, read_kaldi, read_lhotse, read_nemo
from asr.data.manifest import Utterance
from asr.errors import ManifestError
from asr.util.files import walk
from asr.util.format import some

Reader = Callable[..., Iterator[Utterance]]  # reader(path, failed=…)

# Name -> reader and what marks the layout.
LAYOUTS: dict[str, tuple[Reader, str]] = {
    "kaldi": (read_kaldi, "wav.scp"),
    "lhotse": (read_lhotse, "recordings.jsonl.gz with supervisions.jsonl.gz, or cuts.jsonl.gz"),
    "librispeech": (read_librispeech, "*.trans.txt"),
    "table": (read_table, "a .csv or .tsv file"),
    "nemo": (read_nemo, "a .jsonl, .json or .list file of JSON Lines"),
    "folder": (read_folder, "audio with .txt files beside it"),
    "audio": (read_audio_alone, "audio alone, with --layout audio"),
}
TABLES = (".csv", ".tsv", ".psv")
LINES = (".jsonl", ".ndjson")


def detect_layout(path: Path, layout: str | None = None) -> tuple[str, Path]:
    """The name of the layout, one of LAYOUTS, and the path its reader wants: of a folder with one table, the table.

    layout: the name where it is known; then only the path is found. Raises ManifestError when there is no layout, or
    more than one could be meant, saying which.
    """
    path = Path(path)
    if layout is not None and layout not in LAYOUTS:
        raise ManifestError(f"no layout '{layout}'; there are {', '.join(LAYOUTS)}")
    if not path.exists():
        raise ManifestError(f"{path}: no such file or folder")
    if not path.is_dir():
        return layout or _of_file(path), path
    found = [(name, file) for name, file in _in_folder(path, layout) if layout in (None, name)]
    if len(found) == 1:
        return found[0]
    if found:
        candidates = some(f"{file.name if file != path else path} ({name})" for name, file in found)
        raise ManifestError(f"{path}: more than one could be meant: {candidates}; name the file, or give --layout")
    marks = [LAYOUTS[layout][1]] if layout is not None else [mark for _, mark in LAYOUTS.values()]
    below = sorted({str(file.parent) for file in path.glob("*/wav.scp")})
    hint = f"; there is Kaldi data in {some(below, 3)}: import one of them" if below else ""
    raise ManifestError(f"{path}: no corpus found (looked for {'; '.join(marks)}){hint}")


def _in_folder(folder: Path, layout: str | None) -> list[tuple[str, Path]]:
    """Layouts the folder may have. JSON Lines, which may be made from the rest, and text beside audio count where
    nothing else describes the audio, or they are asked for. Audio alone has to be: no text goes missing in silence."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    pairs = lhotse_pairs(folder)
    of_lhotse = {path for pair in pairs for path in pair}
    found = [("kaldi", folder)] if (folder / "wav.scp").is_file() else []
    found += [("lhotse", recordings) for recordings, _ in pairs]
    found += [("librispeech", folder)] if next(walk(folder, "*.trans.txt"), None) else []
    found += [("table", path) for path in files if path.suffix.lower() in TABLES]
    if not any(layout in (None, name) for name, _ in found):
        found += [(kind, path) for path in files if path not in of_lhotse and (kind := _of_lines(path))]
        found += [("folder", folder)] if _has_sidecar(folder) else []
    return [*found, ("audio", folder)] if layout == "audio" else found


def _of_file(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    if name.endswith(TABLES):
        return "table"
    if name.endswith(LINES) and ("recordings" in name or "supervisions" in name):
        return "lhotse"
    if layout := _of_lines(path) or ("nemo" if name.endswith((".json", ".list")) else None):
        return layout
    raise ManifestError(f"{path}: which layout is this? Give --layout, one of {', '.join(LAYOUTS)}")


def _of_lines(path: Path) -> str | None:
    """lhotse or nemo, by what a file of JSON Lines begins with; None for another file."""
    name = path.name.lower().removesuffix(".gz")
    first = first_object(path) if name.endswith((*LINES, ".json", ".list", ".txt")) else None
    if is_cut(first):
        return "lhotse"
    return "nemo" if name.endswith(LINES) or any(key in NAMES["audio"] for key in first or ()) else None


def _has_sidecar(folder: Path) -> bool:
    return any(
        path.suffix.lower() in AUDIO_SUFFIXES and any(path.with_suffix(suffix).is_file() for suffix in (".txt", ".TXT"))
        for path in walk(folder)
    )
