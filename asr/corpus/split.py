"""One manifest -> training, development and test parts that share no speaker, in given shares of the audio."""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from asr.data.manifest import encode_record, read_lines, record_id
from asr.errors import ManifestError
from asr.util.files import atomic_write

ALIKE = 1.25  # times the shortest: units among which the draw chooses, where each is longer than a part's share


@dataclass(frozen=True)
class SplitPart:
    """A part that was written. speakers: their number, None when lines have none; shared: how many of its different
    texts the training part has too, of how many."""

    path: Path
    utterances: int
    seconds: float
    speakers: int | None
    shared: tuple[int, int]


class _Names:
    """A number for each different name, and that of every line; -1 for none."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}
        self.numbers = array("q")

    def add(self, name: str | None) -> None:
        self.numbers.append(-1 if name is None else self.known.setdefault(name, len(self.known)))


def split_manifest(
    path: Path,
    shares: dict[str, float],
    folder: Path | None = None,
    *,
    by: str = "speaker",
    seed: int = 0,
    force: bool = False,
) -> list[SplitPart]:
    """Write train.jsonl and one file for each of `shares` (name -> share of the audio, 0 to 1) to a folder, by default
    the manifest's own. Returns the parts, train first.

    by: "speaker" keeps each speaker in one part, "utterance" does not mind. The same seed gives the same parts, in
    whatever order the lines are. Lines keep their order and keys. Raises ManifestError when lines have no speaker,
    when there are fewer speakers than parts, and, unless forced, when a file already exists.
    """
    folder = path.parent if folder is None else folder
    names = ["train", *(name for name, share in shares.items() if share > 0)]
    files = [folder / f"{name}.jsonl" for name in names]
    _check_files(path, files, force)
    speakers, ids = _Names(), _Names()
    seconds, hashes = array("d"), array("q")
    for line in read_lines(path):
        record = line.parse()
        speakers.add(str(record["speaker"]) if "speaker" in record else None)
        if by == "utterance":
            # The start, as parts of one file may share an id; one utterance in the list twice goes to one part.
            ids.add(f"{record_id(record)} {float(record.get('start', 0.0))}")
        seconds.append(record["duration"])
        hashes.append(hash(record.get("text") or None))
    durations = np.array(seconds)
    units = speakers if by == "speaker" else ids  # what is not divided
    if by == "speaker" and -1 in speakers.numbers:
        raise ManifestError(
            f"{path}: {speakers.numbers.count(-1)} of {len(durations)} utterances have no speaker; add them, or split"
            " --by utterance, which tells little about voices the model never heard"
        )
    if len(units.known) < len(names):
        advice = "; split --by utterance, or leave a part out (--dev 0)" if by == "speaker" else ""
        raise ManifestError(f"{path}: {len(units.known)} {by}s cannot make {len(names)} parts{advice}")
    rows = np.array(units.numbers)
    # Whole microseconds: sums of fractions would depend on the order of the lines.
    lengths = np.bincount(rows, weights=np.round(1e6 * durations), minlength=len(units.known))
    part_of_unit = assign(list(units.known), lengths.tolist(), [shares[name] for name in names[1:]], seed)
    parts = np.array(part_of_unit)[rows]
    _write_parts(path, files, parts.tolist())
    columns = durations, np.array(speakers.numbers), np.array(hashes)
    training = columns[2][parts == 0]
    return [
        _summary(file, training, *(column[parts == number] for column in columns)) for number, file in enumerate(files)
    ]


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
        room, limit = share * total, len(free) - part  # one each for the parts still to come, and for training
        taken: list[int] = []
        for unit in free:
            if len(taken) < limit and lengths[unit] <= room:
                taken.append(unit)
                room -= lengths[unit]
        if not taken:
            max_length = ALIKE * min(lengths[unit] for unit in free)
            taken = [next(unit for unit in free if lengths[unit] <= max_length)]
        elif len(taken) < limit:
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
            raise ManifestError(f"{file}: already exists; give another --output-dir, or --force to overwrite")


def _write_parts(path: Path, files: Sequence[Path], parts: Sequence[int]) -> None:
    """All parts or none. Lines stay as they are but for where audio is."""
    home, folder = os.path.abspath(path.parent), os.path.abspath(files[0].parent)
    with ExitStack() as stack:
        writers = [stack.enter_context(atomic_write(file)) for file in files]
        for part, line in zip(parts, read_lines(path), strict=False):
            record = line.parse()
            if home != folder:
                record = {"id": record_id(record)} | record  # as it was, whatever becomes of the path
                record["audio"] = _moved(record["audio"], home, folder)
            writers[part].write(encode_record(record))
        for writer in writers:  # a full disk is noticed before the first has its name
            writer.flush()


def _moved(audio: str, home: str, folder: str) -> str:
    """The path of a manifest's audio as a manifest in another folder names it: relative where the audio is below."""
    full = os.path.normpath(os.path.join(home, audio))
    inside = full.removeprefix(os.path.join(folder, ""))
    return inside.replace(os.sep, "/")


def _summary(
    file: Path, training: np.ndarray, durations: np.ndarray, speakers: np.ndarray, texts: np.ndarray
) -> SplitPart:
    """training: hashes of the training part's texts; the others are of this part's utterances."""
    own = np.unique(texts[texts != hash(None)])
    different = np.unique(speakers)
    return SplitPart(
        path=file,
        utterances=len(durations),
        seconds=float(durations.sum()),
        speakers=None if -1 in different else len(different),
        shared=(int(np.isin(own, training).sum()), len(own)),
    )
