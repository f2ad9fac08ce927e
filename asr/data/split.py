"""One manifest -> training, development and test parts that share no speaker, in given shares of the audio."""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from asr.data.manifest import Manifest, line_id, read_lines
from asr.errors import ManifestError

ALIKE = 1.25  # times the shortest: units among which the draw chooses, where each is longer than a part's share


@dataclass(frozen=True)
class Part:
    """A part that was written. speakers: their number, None when lines have none; shared: how many of its different
    texts the training part has too, of how many."""

    path: Path
    utterances: int
    seconds: float
    speakers: int | None
    shared: tuple[int, int]


class _Columns:
    """What is needed of every line, as arrays: its unit (what is not divided), its speaker and a hash of its text."""

    def __init__(self, path: Path, by: str) -> None:
        self.by = by
        self.units, self.speakers, self.texts = array("q"), array("q"), array("q")
        self.unit_codes: dict[str, int] = {}
        self.speaker_codes: dict[str, int] = {}
        self.without_speaker: list[int] = []
        self.durations = Manifest(path, visit=self._add).durations

    def _add(self, row: int, line: dict[str, Any]) -> None:
        speaker = line.get("speaker")
        if speaker is None:
            self.without_speaker.append(row)
            self.speakers.append(-1)
        else:
            self.speakers.append(self.speaker_codes.setdefault(str(speaker), len(self.speaker_codes)))
        if self.by == "utterance":
            # The start, as parts of one file may share an id; one utterance in the list twice goes to one part.
            unit = f"{line_id(line)} {float(line.get('start', 0.0))}"
            self.units.append(self.unit_codes.setdefault(unit, len(self.unit_codes)))
        self.texts.append(hash(line.get("text") or None))


def split_manifest(
    path: Path,
    shares: dict[str, float],
    folder: Path | None = None,
    *,
    by: str = "speaker",
    seed: int = 0,
    force: bool = False,
) -> list[Part]:
    """Write train.jsonl and one file for each of `shares` (name -> share of the audio, 0 to 1) to a folder, by default
    the manifest's own. Returns the parts, train first.

    by: "speaker" keeps each speaker in one part, "utterance" does not mind. The same seed gives the same parts, in
    whatever order the lines are. Lines keep their order and keys. Raises ManifestError when lines have no speaker,
    when there are fewer speakers than parts, and, unless forced, when a file is there already.
    """
    folder = path.parent if folder is None else folder
    names = ["train", *(name for name, share in shares.items() if share > 0)]
    files = [folder / f"{name}.jsonl" for name in names]
    _check_files(path, files, force)
    columns = _Columns(path, by)
    if by == "speaker" and columns.without_speaker:
        raise ManifestError(
            f"{path}: {len(columns.without_speaker)} of {len(columns.durations)} utterances have no speaker; add them,"
            " or split --by utterance, which tells little about voices the model never heard"
        )
    codes, known = (columns.speakers, columns.speaker_codes) if by == "speaker" else (columns.units, columns.unit_codes)
    units = np.array(codes, dtype=np.int64)
    if len(known) < len(names):
        what = "speakers" if by == "speaker" else "utterances"
        advice = "; split --by utterance, or leave a part out (--dev 0)" if by == "speaker" else ""
        raise ManifestError(f"{path}: {len(known)} {what} cannot make {len(names)} parts{advice}")
    # Whole microseconds: sums of fractions would depend on the order of the lines.
    lengths = np.bincount(units, weights=np.round(1e6 * columns.durations), minlength=len(known))
    part_of_unit = assign(list(known), lengths.tolist(), [shares[name] for name in names[1:]], seed)
    parts = np.array(part_of_unit)[units]
    _write_parts(path, files, parts.tolist())
    return [_summary(file, parts == number, parts == 0, columns) for number, file in enumerate(files)]


def assign(units: Sequence[str], lengths: Sequence[float], shares: Sequence[float], seed: int) -> list[int]:
    """A part for every unit: 0 for training, 1 … for the shares. Units, in an order drawn by the seed and their names
    alone, go to a part while they fit into its share of the total length, and one more if that brings it closer. Each
    part has one at least: where all are too long, the first that is about as short as the shortest. Raises
    ManifestError when there are fewer units than parts.

    lengths: in any unit. Sums of fractions depend on their order; sums of whole numbers do not."""
    if len(units) <= len(shares):
        raise ManifestError(f"{len(units)} speakers or utterances cannot make {len(shares) + 1} parts")
    free = sorted(range(len(units)), key=lambda unit: _draw(seed, units[unit]))
    total = sum(lengths)
    part_of = [0] * len(units)
    for part, share in reversed(list(enumerate(shares, 1))):
        room, most = share * total, len(free) - part  # one each for the parts still to come, and for training
        taken: list[int] = []
        for unit in free:
            if len(taken) < most and lengths[unit] <= room:
                taken.append(unit)
                room -= lengths[unit]
        if not taken:
            longest = ALIKE * min(lengths[unit] for unit in free)
            taken = [next(unit for unit in free if lengths[unit] <= longest)]
        elif len(taken) < most:
            kept = set(taken)
            closest = min((unit for unit in free if unit not in kept), key=lambda unit: abs(room - lengths[unit]))
            if abs(room - lengths[closest]) < room:
                taken.append(closest)
        for unit in taken:
            part_of[unit] = part
        free = [unit for unit in free if not part_of[unit]]
    return part_of


def _draw(seed: int, name: str) -> bytes:
    return blake2b(f"{seed} {name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _check_files(path: Path, files: Sequence[Path], force: bool) -> None:
    for file in files:
        if file.exists() and path.exists() and file.samefile(path):
            raise ManifestError(f"{path}: is one of the files to be written; give another --output-dir")
        if file.exists() and not force:
            raise ManifestError(f"{file}: is there already; give another --output-dir, or --force to overwrite")


def _write_parts(path: Path, files: Sequence[Path], parts: Sequence[int]) -> None:
    """All parts under temporary names, renamed when all are written. Lines stay as they are but for where audio is."""
    home, folder = os.path.abspath(path.parent), os.path.abspath(files[0].parent)
    os.makedirs(folder, exist_ok=True)
    encode = json.JSONEncoder(ensure_ascii=False).encode
    temporary = [file.with_name(file.name + ".part") for file in files]
    try:
        with ExitStack() as stack:
            writers = [stack.enter_context(part.open("wb")) for part in temporary]
            for part, (_, line) in zip(parts, read_lines(path), strict=False):
                if isinstance(line, ManifestError):
                    raise line
                if home != folder:
                    line = {"id": line_id(line)} | line  # as it was, whatever becomes of the path
                    line["audio"] = _moved(line["audio"], home, folder)
                # What UTF-8 lacks, of file names that are not in it, is written as JSON's escape.
                writers[part].write(encode(line).encode("utf-8", "backslashreplace") + b"\n")
        for part, file in zip(temporary, files, strict=True):
            part.replace(file)
    finally:
        for part in temporary:
            part.unlink(missing_ok=True)


def _moved(audio: str, home: str, folder: str) -> str:
    """The path of a manifest's audio as a manifest in another folder names it: relative where the audio is below."""
    full = os.path.normpath(os.path.join(home, audio))
    inside = full.removeprefix(os.path.join(folder, ""))
    return inside.replace(os.sep, "/")


def _summary(file: Path, chosen: np.ndarray, training: np.ndarray, columns: _Columns) -> Part:
    texts = np.array(columns.texts, dtype=np.int64)
    spoken = texts != hash(None)
    own = np.unique(texts[chosen & spoken])
    speakers = np.unique(np.array(columns.speakers, dtype=np.int64)[chosen])
    return Part(
        path=file,
        utterances=int(chosen.sum()),
        seconds=float(columns.durations[chosen].sum()),
        speakers=None if -1 in speakers else len(speakers),
        shared=(int(np.isin(own, texts[training & spoken]).sum()), len(own)),
    )
