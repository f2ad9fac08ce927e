"""Layouts of no toolkit: folders of audio, with text files beside it or without, and tables."""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from asr.audio import find_audio
from asr.corpus.layouts.common import (
    AudioFinder,
    Failed,
    build_utterances,
    make_utterance,
    path_id,
    refuse,
    span,
    text_lines,
)
from asr.data.manifest import UNKNOWN, Record, Utterance
from asr.errors import AudioError, ManifestError
from asr.util.files import walk

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


def read_folder(folder: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """Audio files and, beside each, a text file of the same name: `anna/1.wav`, `anna/1.txt`; searched recursively.

    Where the audio lies in several sub-folders, these are the speakers. The id is the path: `anna-1`. Audio
    without text and text without audio are logged. Raises ManifestError when nothing belongs together.
    """
    folder = Path(folder)
    audio: dict[Path, Path] = {}
    duplicates = []
    for path in find_audio(folder):
        if audio.setdefault(path.with_suffix(""), path) != path:
            duplicates.append(path)
    texts = {path.with_suffix(""): path for path in sorted(walk(folder)) if path.suffix.lower() == ".txt"}
    pairs = [(audio[stem], texts[stem]) for stem in audio if stem in texts]
    if not pairs:
        first = next(iter(audio.values()))
        raise ManifestError(f"{folder}: no audio has a text beside it; {first.name} needs {first.stem}.txt")
    for paths, what in (
        ([audio[stem] for stem in audio if stem not in texts], "audio without a text beside it"),
        ([texts[stem] for stem in texts if stem not in audio], "text without audio beside it"),
        (duplicates, "left out, as the same name is there with another extension"),
    ):
        if paths:
            logger.info(f"{what}: {len(paths)}, such as {paths[0]}")
    root = Path(os.path.commonpath([path.parent for path, _ in pairs]))

    def speaker(path: Path) -> str | None:
        below = path.relative_to(root).parts
        return below[0] if len(below) > 1 else None

    if speakers := {name for path, _ in pairs if (name := speaker(path)) is not None}:
        logger.info(f"speakers are the {len(speakers)} sub-folders of {root}, such as {min(speakers)}")

    def make(pair: tuple[Path, Path]) -> Utterance:
        recording, text = pair
        words = " ".join(" ".join(line.split()) for _, line in text_lines(text))
        return Utterance(path_id(recording, folder), recording, UNKNOWN, words, speaker(recording))

    return build_utterances((("", pair) for pair in pairs), make, failed)


def read_audio_alone(folder: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """Every audio file below a folder, without texts: recordings to be transcribed, or noise. The id is the path, as of
    `read_folder`. Raises AudioError when there is none.
    """
    folder = Path(folder)
    recordings = (("", audio) for audio in find_audio(folder))
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
            yield from ((f"{path}, line {number}", (find, line)) for number, line in text_lines(path))

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
    as in LJSpeech, if there are two columns or the delimiter is `|`.

    delimiter: found in the first row if not given (tab, |, ; or comma). quotes: whether cells may be in double quotes;
    if not given, only between commas and semicolons, as Common Voice and LJSpeech have stray ones. audio_folder: where
    the audio is; if not given the table's folder, or the one in it that has the first row's audio. start, end and
    duration are seconds. Raises ManifestError when a column is missing.
    """
    path = Path(path)
    if unknown := columns.keys() - NAMES.keys():
        raise TypeError(f"read_table() knows no column '{min(unknown)}'; it reads {', '.join(NAMES)}")
    delimiter = delimiter or _delimiter(path)
    rows = _rows(path, delimiter, delimiter in ",;" if quotes is None else quotes)
    first = next(rows, (0, []))
    top = first[1]
    known = {*NAMES["audio"], *NAMES["text"]}  # others, such as "start" and "stop", are what short utterances say
    header = any(cell.strip() in columns.values() or _plain(cell) in known for cell in top)
    if header:
        first = next(rows, (0, []))
    if not first[1]:
        raise ManifestError(f"{path}: the table has no rows")
    places = _places(path, top, header, columns, delimiter)
    logger.info(", ".join(f"{key} from column {top[at].strip() if header else at + 1}" for key, at in places.items()))
    root = Path(audio_folder) if audio_folder is not None else _audio_folder(path, first[1], places["audio"])
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

    return build_utterances(((f"{path}, line {number}", cells) for number, cells in chain([first], rows)), make, failed)


def _delimiter(path: Path) -> str:
    """A tab or | in the first line divides columns whatever else is there: text has commas, and seldom those."""
    _, line = next(text_lines(path), (1, ""))
    return next((mark for mark in "\t|" if mark in line), ";" if ";" in line and "," not in line else ",")


def _rows(path: Path, delimiter: str, quoted: bool) -> Iterator[tuple[int, list[str]]]:
    """Number of its last line and cells of every row that has some."""
    lines = (line + "\n" for _, line in text_lines(path, blank=True))
    try:
        reader = csv.reader(
            lines, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True
        )
    except (TypeError, ValueError):
        raise ManifestError(f"{delimiter!r} cannot divide columns; a delimiter is one character") from None
    try:
        yield from ((reader.line_num, cells) for cells in reader if any(cells))
    except csv.Error as error:
        raise ManifestError(
            f"{path}, line {reader.line_num}: {error}; if quotes in this table are part of the text: --no-quotes"
        ) from None


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
