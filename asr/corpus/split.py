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
    # Numbers of the speakers, and of the units that are not divided: speakers again, or utterances.
    speakers: dict[str | None, int] = {}
    units: dict[str | None, int] = speakers if by == "speaker" else {}
    of_speaker, of_unit, texts, seconds = array("q"), array("q"), array("q"), array("d")
    for line in read_lines(path):
        record = line.parse()
        speaker = str(record["speaker"]) if "speaker" in record else None
        # The start, as parts of one file may share an id; one utterance in the list twice goes to one part.
        unit = speaker if by == "speaker" else f"{record_id(record)} {float(record.get('start', 0.0))}"
        of_speaker.append(speakers.setdefault(speaker, len(speakers)))
        of_unit.append(units.setdefault(unit, len(units)))
        texts.append(hash(record.get("text") or None))
        seconds.append(record["duration"])
    nameless = of_speaker.count(speakers[None]) if None in speakers else 0
    if by == "speaker" and nameless:
        raise ManifestError(
            f"{path}: {nameless} of {len(seconds)} utterances have no speaker; add them, or split --by utterance, which"
            " tells little about voices the model never heard"
        )
    if len(units) < len(names):
        advice = "; split --by utterance, or leave a part out (--dev 0)" if by == "speaker" else ""
        raise ManifestError(f"{path}: {len(units)} {by}s cannot make {len(names)} parts{advice}")
    durations, voices, hashes = np.array(seconds), np.array(of_speaker), np.array(texts)
    # Whole microseconds: sums of fractions would depend on the order of the lines.
    lengths = np.bincount(of_unit, weights=np.round(1e6 * durations), minlength=len(units))
    part_of = assign(list(map(str, units)), lengths.tolist(), [shares[name] for name in names[1:]], seed)
    parts = np.array(part_of)[of_unit]
    _write_parts(path, files, parts.tolist())
    written = []
    for number, file in enumerate(files):
        inside = parts == number
        own_voices, own_texts = np.unique(voices[inside]), np.setdiff1d(hashes[inside], hash(None))
        common = int(np.isin(own_texts, hashes[parts == 0]).sum())
        count = None if speakers.get(None, -1) in own_voices else len(own_voices)
        total_s = float(durations[inside].sum())
        written.append(SplitPart(file, int(inside.sum()), total_s, count, (common, len(own_texts))))
    return written


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
