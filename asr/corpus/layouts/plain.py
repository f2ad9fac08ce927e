"""Layouts of no toolkit: folders of audio, with text files beside it or without, and tables."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice, product
from pathlib import Path

from asr.audio import AUDIO_SUFFIXES, find_audio
from asr.corpus.layouts.common import (
    NAMES,
    AudioFinder,
    Failed,
    build_utterances,
    file_text,
    make_utterance,
    path_id,
    refuse,
    text_lines,
)
from asr.data.manifest import UNKNOWN, Utterance
from asr.errors import AudioError, ManifestError
from asr.util.files import walk
from asr.util.format import plural

logger = logging.getLogger(__name__)

HEAD_ROWS = 20  # rows that tell where the audio is: of one it may be missing
MAX_CELL_LINES = 50  # lines that a cell in quotes may go over: nobody says more in one utterance


def read_folder(folder: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """Audio files and, beside each, a text file of the same name: `anna/1.wav`, `anna/1.txt`; searched recursively.

    Where the audio lies in several sub-folders, these are the speakers. The id is the path: `anna-1`. Audio
    without text and text without audio are logged; of two recordings of one name the second is left out. Raises
    ManifestError when nothing belongs together.
    """
    folder = Path(folder)
    audio: dict[Path, Path] = {}
    twice = []
    for path in find_audio(folder, failed, beside={".txt"}):
        if (first := audio.setdefault(path.with_suffix(""), path)) != path:
            twice.append(ManifestError(f"{path}: left out, as {first.name} is there too; rename or delete one of them"))
    texts = {path.with_suffix(""): path for path in sorted(walk(folder)) if path.suffix.lower() == ".txt"}
    pairs = [(audio[stem], texts[stem]) for stem in audio if stem in texts]
    if not pairs:
        first = next(iter(audio.values()))
        raise ManifestError(f"{folder}: no audio has a text beside it; {first.name} needs {first.stem}.txt")
    for paths, what in (
        ([audio[stem] for stem in audio if stem not in texts], "audio without a text beside it"),
        ([texts[stem] for stem in texts if stem not in audio], "text without audio beside it"),
    ):
        if paths:
            logger.info(f"{what}: {len(paths)}, such as {paths[0]}")
    for error in twice:
        failed(error)
    root = Path(os.path.commonpath([path.parent for path, _ in pairs]))

    def speaker(path: Path) -> str | None:
        below = path.relative_to(root).parts
        return below[0] if len(below) > 1 else None

    if speakers := {name for path, _ in pairs if (name := speaker(path)) is not None}:
        logger.info(f"speakers are the {len(speakers)} sub-folders of {root}, such as {min(speakers)}")

    def make(pair: tuple[Path, Path]) -> Utterance:
        recording, text = pair
        return Utterance(path_id(recording, folder), recording, UNKNOWN, file_text(text), speaker(recording))

    return build_utterances((("", pair) for pair in pairs), make, failed)


def read_audio_alone(folder: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """Every audio file below a folder, without texts: recordings to be transcribed, or noise. The id is the path, as of
    `read_folder`. Raises AudioError when there is none.
    """
    folder = Path(folder)
    recordings = (("", audio) for audio in find_audio(folder, failed))
    return build_utterances(recordings, lambda audio: Utterance(path_id(audio, folder), audio, UNKNOWN), failed)


def read_librispeech(folder: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """LibriSpeech and what is laid out like it: `1272/128104/1272-128104.trans.txt`, each line an id and its text, the
    audio beside it in any format (Panayotov et al. 2015). Texts are as they stand there: upper case.

    Raises ManifestError when there is no such file.
    """
    lists = sorted(walk(folder, "*.trans.txt"))
    if not lists:
        raise ManifestError(f"{folder}: no transcripts (looked for SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt)")

    def rows() -> Iterator[tuple[str, tuple[AudioFinder, str]]]:
        for path in lists:
            find = AudioFinder(path.parent)
            try:
                for number, line in text_lines(path, failed=failed):
                    yield f"{path}, line {number}", (find, line)
            except ManifestError as error:  # of one list among many
                failed(error)

    def make(row: tuple[AudioFinder, str]) -> Utterance:
        find, line = row
        name, *text = line.split(maxsplit=1)
        return Utterance(name, find(name), UNKNOWN, "".join(text).strip(), name.partition("-")[0])

    return build_utterances(rows(), make, failed)


def read_table(
    path: Path,
    failed: Failed = refuse,
    *,
    delimiter: str | None = None,
    quotes: bool | None = None,
    audio_folder: Path | None = None,
    **columns: str | int,
) -> Iterator[Utterance]:
    """The rows of a table. columns: audio, text, speaker, id, start, end, duration and lang, named as in the header or
    numbered from 1; those not given are guessed by NAMES, and logged. A table without header: audio first, text last,
    as in LJSpeech, if there are two columns or the delimiter is `|`. A text that is the name of a text file, below the
    audio's folder or the table's, is what that file holds.

    delimiter: found in the first row if not given (tab, |, ; or comma). quotes: whether cells may be in double quotes;
    if not given, only between commas and semicolons, as Common Voice and LJSpeech have stray ones. audio_folder: where
    the audio is; if not given the table's folder, or the one in it that has the first rows' audio. start, end and
    duration are seconds. Raises ManifestError when a column is missing.
    """
    path = Path(path)
    if unknown := columns.keys() - NAMES.keys():
        raise TypeError(f"read_table() knows no column '{min(unknown)}'; it reads {', '.join(NAMES)}")
    delimiter = delimiter or _delimiter(path)
    inside = sorted(folder for folder in path.parent.iterdir() if folder.is_dir()) if audio_folder is None else []
    folders = [path.parent if audio_folder is None else Path(audio_folder), *inside]
    places: dict[str, int] = {}
    find = AudioFinder(*folders)

    def is_row(cells: list[str]) -> bool:
        """Whether a line by itself has the columns of the first one, and audio."""
        if len(cells) != len(top):
            return False
        names = [cell.strip() for cell in ([cells[places["audio"]]] if places else cells)]
        if any(Path(name).suffix.lower() in AUDIO_SUFFIXES for name in names):
            return True
        try:
            return bool(places and find(names[0]))
        except AudioError:
            return False

    _, line = next(text_lines(path), (1, ""))
    top = line.split(delimiter)
    rows = _rows(path, delimiter, delimiter in ",;" if quotes is None else quotes, is_row, failed)
    first = next(rows, (0, []))
    top = first[1]
    known = {*NAMES["audio"], *NAMES["text"]}  # others, such as "start" and "stop", are what short utterances say
    header = any(cell.strip() in columns.values() or _plain(cell) in known for cell in top)
    places = _places(path, top, header, columns, delimiter) if top else {}
    if header:
        first = next(rows, (0, []))
    if not first[1]:
        raise ManifestError(f"{path}: the table has no rows")
    logger.info(", ".join(f"{key} from column {top[at].strip() if header else at + 1}" for key, at in places.items()))
    head = [first, *islice(rows, HEAD_ROWS)]
    root = _audio_folder(folders, [cells[places["audio"]].strip() for _, cells in head if len(cells) == len(top)])
    if root not in (audio_folder, path.parent):
        logger.info(f"audio is in {root}")
    find = AudioFinder(root, path.parent)  # texts may be named from the table's folder

    def make(cells: list[str]) -> Utterance:
        if len(cells) != len(top):
            raise ManifestError(
                f"{len(cells)} columns where the first line has {len(top)}; see --delimiter and --no-quotes"
            )
        record = {key: value for key, at in places.items() if (value := cells[at].strip()) or key == "text"}
        if "duration" in record:
            record.pop("end", None)
        return make_utterance(record, find, root)

    return build_utterances(((f"{path}, line {number}", cells) for number, cells in chain(head, rows)), make, failed)


def _delimiter(path: Path) -> str:
    """A tab or | in the first line divides columns whatever else is there: text has commas, and seldom those."""
    _, line = next(text_lines(path), (1, ""))
    return next((mark for mark in "\t|" if mark in line), ";" if ";" in line and "," not in line else ",")


def _rows(
    path: Path, delimiter: str, quoted: bool, is_row: Callable[[list[str]], bool], failed: Failed
) -> Iterator[tuple[int, list[str]]]:
    """Number of its first line and cells of every row that has some.

    A cell in quotes may go over lines, but not over one that is a row by itself: there a quote is missing. Quotes that
    enclose no cell are part of it. Both are logged.
    """
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise ManifestError(f"{delimiter!r} cannot divide columns; a delimiter is one character")
    source = text_lines(path, blank=True, failed=failed)
    ahead: list[tuple[int, str]] = []
    long, odd = [], []
    while ahead or (ahead := list(islice(source, 1))):
        number, line = ahead.pop(0)
        cells, more = line.split(delimiter), 0
        if quoted and '"' in line:
            while (found := _cells([line, *(text for _, text in ahead[:more])], delimiter)) is None:
                if more == len(ahead):
                    ahead += islice(source, 1)
                if more in (len(ahead), MAX_CELL_LINES):
                    break
                text = ahead[more][1]
                if is_row(_cells([text], delimiter) or text.split(delimiter)):
                    break
                more += 1
            if found is None:
                odd.append(number)
            else:
                cells = found
                del ahead[:more]
                long += [number] * bool(more)
        if any(cells):
            yield number, cells
    for numbers, what in (
        (odd, "quotes that enclose no cell, read as part of the text"),
        (long, "cells over several lines; where a quote is missing they hold other rows: --no-quotes"),
    ):
        if numbers:
            logger.info(f"{path}: {plural(len(numbers), 'row')}, such as line {numbers[0]}: {what}")


def _cells(lines: Sequence[str], delimiter: str) -> list[str] | None:
    """The cells of a row, without their quotes; None where these do not fit together."""
    try:
        return next(csv.reader((f"{line}\n" for line in lines), delimiter=delimiter, strict=True))
    except csv.Error:
        return None


def _plain(cell: str) -> str:
    return "_".join(cell.lower().split())


def _places(
    path: Path, top: Sequence[str], header: bool, given: dict[str, str | int], delimiter: str
) -> dict[str, int]:
    """What is read from which column, counted from 0. top: the cells of the first row."""
    names = [cell.strip() for cell in top] if header else []
    places = {}
    for key, column in given.items():
        if column in names:
            places[key] = names.index(str(column))
        elif isinstance(column, str) and not column.isdecimal():
            raise ManifestError(f"{path}: no column '{column}' for {key}; its first line has {', '.join(top)}")
        elif not 1 <= int(column) <= len(top):
            raise ManifestError(f"{path}: no column {column} for {key}; columns are numbered from 1 to {len(top)}")
        else:
            places[key] = int(column) - 1
    if header:
        plain = [_plain(cell) for cell in top]
        for key, likely in NAMES.items():
            guess = next((plain.index(name) for name in likely if name in plain), None)
            if key not in places and guess is not None and guess not in places.values():
                places[key] = guess
    elif not places and (len(top) == 2 or (len(top) > 2 and delimiter == "|")):
        places = {"audio": 0, "text": len(top) - 1}
    for key in ("audio", "text"):
        if key not in places:
            there = f"its header has {', '.join(top)}" if header else f"no header, {len(top)} columns"
            raise ManifestError(f"{path}: which column is {key}? Give it as a name or a number from 1 ({there})")
    return places


def _audio_folder(folders: Sequence[Path], names: Sequence[str]) -> Path:
    """The first folder that has audio of these names, or else the first of all."""
    for folder, name in product(folders, names):
        try:
            AudioFinder(folder)(name)
        except AudioError:
            continue
        return folder
    return folders[0]
