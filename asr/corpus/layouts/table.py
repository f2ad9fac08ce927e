"""Tables, one utterance a row: csv, tsv and what text-to-speech corpora call metadata.csv."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from asr.corpus.layouts.common import (
    AudioFinder,
    Failed,
    all_lines,
    build_utterances,
    make_utterance,
    refuse,
    span,
    text_lines,
)
from asr.data.manifest import Record, Utterance
from asr.errors import AudioError, ManifestError

logger = logging.getLogger(__name__)

# What columns are called in corpora at large, the likeliest first; compared in lower case, with _ for spaces.
NAMES = {
    "audio": (
        *("audio", "audio_filepath", "audio_path", "audio_file", "path", "file", "file_name", "filename", "file_path"),
        *("filepath", "wav", "wav_filename", "wav_path", "wav_file", "clip", "recording"),
    ),
    "text": (
        *("text", "sentence", "transcript", "transcription", "normalized_text", "normalised_text", "words", "wrd"),
        *("utterance_text", "raw_text", "raw_transcription"),
    ),
    "speaker": ("speaker", "speaker_id", "client_id", "spk", "spk_id", "spkid", "speaker_name", "user_id", "reader"),
    "id": ("id", "utt_id", "utterance_id", "uttid", "utt", "segment_id"),
    "start": ("start", "start_s", "start_time", "begin", "begin_time", "offset"),
    "end": ("end", "end_s", "end_time", "stop"),
    "duration": ("duration", "duration_s"),
    "lang": ("lang", "language", "locale"),
}

Row = tuple[int, list[str]]  # number of its last line, cells


def read_table(
    path: Path,
    failed: Failed = refuse,
    *,
    delimiter: str | None = None,
    quotes: bool | None = None,
    audio_folder: Path | None = None,
    **columns: str | int | None,
) -> Iterator[Utterance]:
    """The rows of a table. columns: audio, text, speaker, id, start, end, duration and lang, named as in the header or
    numbered from 1; those not given (None) are guessed by NAMES, and logged. A table without header: audio first,
    text last, as in LJSpeech, if there are two columns or the delimiter is `|`.

    delimiter: found in the first row if not given (tab, |, ; or comma). quotes: whether cells may be in double quotes;
    if not given, only between commas and semicolons, as Common Voice and LJSpeech have stray ones. audio_folder: where
    the audio is; if not given the table's folder, or the one in it that has the first row's audio. start, end and
    duration are seconds. Raises ManifestError when a column is missing.
    """
    path = Path(path)
    if unknown := columns.keys() - NAMES.keys():
        raise TypeError(f"read_table() knows no column '{min(unknown)}'; it reads {', '.join(NAMES)}")
    given = {key: column for key, column in columns.items() if column is not None}
    delimiter = delimiter or _delimiter(path)
    rows = _rows(path, delimiter, quotes)
    _, top = next(rows, (0, []))
    header = _is_header(top, given)
    _, first = next(rows, (0, [])) if header else (0, top)
    if not first:
        raise ManifestError(f"{path}: the table has no rows")
    places = _columns(path, top, header, given, delimiter)
    logger.info(", ".join(f"{key} from column {top[at].strip() if header else at + 1}" for key, at in places.items()))
    root = Path(audio_folder) if audio_folder is not None else _audio_folder(path, first, places["audio"])
    find = AudioFinder(root)

    def make(cells: list[str]) -> Utterance:
        if len(cells) != len(top):
            raise ManifestError(
                f"{len(cells)} columns where the first line has {len(top)}; see --delimiter and --no-quotes"
            )
        values = {key: cells[at].strip() for key, at in places.items()}
        record: Record = {key: value or None for key, value in values.items()} | {"text": values["text"]}
        end = record.pop("end", None)
        if end is not None and record.get("duration") is None:
            record["start"], record["duration"] = span(record.get("start") or 0.0, end)
        return make_utterance(record, find, root)

    rows = islice(_rows(path, delimiter, quotes), header, None)
    return build_utterances(((f"{path}, line {number}", cells) for number, cells in rows), make, failed)


def _rows(path: Path, delimiter: str, quotes: bool | None) -> Iterator[Row]:
    quoted = quotes if quotes is not None else delimiter in ",;"
    try:
        reader = csv.reader(
            (line + "\n" for _, line in all_lines(path)),
            delimiter=delimiter,
            quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
            strict=True,
        )
    except (TypeError, ValueError):
        raise ManifestError(f"{delimiter!r} cannot divide columns; a delimiter is one character") from None
    try:
        yield from ((reader.line_num, cells) for cells in reader if any(cells))
    except csv.Error as error:
        raise ManifestError(
            f"{path}, line {reader.line_num}: {error}; if quotes in this table are part of the text: --no-quotes"
        ) from None


def _delimiter(path: Path) -> str:
    """A tab or | in the first line divides columns whatever else is there: text has commas, and seldom those."""
    _, line = next(text_lines(path), (1, ""))
    return next((mark for mark in "\t|" if mark in line), ";" if ";" in line and "," not in line else ",")


def _plain(cell: str) -> str:
    return "_".join(cell.lower().split())


def _is_header(cells: Sequence[str], given: Mapping[str, str | int]) -> bool:
    named = {column for column in given.values() if isinstance(column, str)}
    known = {*NAMES["audio"], *NAMES["text"]}  # others, such as "start" and "stop", are what short utterances say
    return any(cell.strip() in named or _plain(cell) in known for cell in cells)


def _columns(
    path: Path, cells: Sequence[str], header: bool, given: Mapping[str, str | int], delimiter: str
) -> dict[str, int]:
    """What is read from which column, counted from 0."""
    columns = {key: _index(path, cells, header, key, column) for key, column in given.items()}
    if header:
        plain = [_plain(cell) for cell in cells]
        for key, names in NAMES.items():
            guess = next((plain.index(name) for name in names if name in plain), None)
            if key not in columns and guess is not None and guess not in columns.values():
                columns[key] = guess
    elif not columns and (len(cells) == 2 or (len(cells) > 2 and delimiter == "|")):
        columns = {"audio": 0, "text": len(cells) - 1}
    for key in ("audio", "text"):
        if key not in columns:
            there = f"its header has {', '.join(cells)}" if header else f"no header, {len(cells)} columns"
            raise ManifestError(f"{path}: which column is {key}? Give it as a name or a number from 1 ({there})")
    return columns


def _index(path: Path, cells: Sequence[str], header: bool, key: str, column: str | int) -> int:
    names = [cell.strip() for cell in cells] if header else []
    if column in names:
        return names.index(str(column))
    if isinstance(column, str) and not column.isdecimal():
        raise ManifestError(f"{path}: no column '{column}' for {key}; its first line has {', '.join(cells)}")
    if not 1 <= int(column) <= len(cells):
        raise ManifestError(f"{path}: no column {column} for {key}; columns are numbered from 1 to {len(cells)}")
    return int(column) - 1


def _audio_folder(path: Path, row: Sequence[str], column: int) -> Path:
    """The table's folder or, where a row's audio is not there, the folder in it that has it."""
    inside = sorted(folder for folder in path.parent.iterdir() if folder.is_dir())
    for folder in (path.parent, *inside) if column < len(row) else ():
        try:
            AudioFinder(folder)(row[column].strip())
        except AudioError:
            continue
        if folder != path.parent:
            logger.info(f"audio is in {folder}")
        return folder
    return path.parent
