"""Manifest -> what other toolkits read: Kaldi's data folders, lhotse's recordings and supervisions."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from asr.audio import AudioInfo, audio_info
from asr.corpus.layouts.common import Failed, map_headers
from asr.data.manifest import Manifest, Utterance
from asr.errors import ManifestError
from asr.util.files import atomic_write
from asr.util.format import plural, some

Headers = dict[Path, AudioInfo]
Thing = TypeVar("Thing")

logger = logging.getLogger(__name__)

KALDI_FILES = ("wav.scp", "text", "utt2spk", "spk2utt", "utt2lang", "segments", "reco2dur", "reco2file_and_channel")
LHOTSE_FILES = ("recordings.jsonl.gz", "supervisions.jsonl.gz")


def export_kaldi(manifest: Manifest, folder: Path, failed: Failed) -> int:
    """Write wav.scp, text, utt2spk, spk2utt and utt2lang; segments, reco2dur and reco2file_and_channel where lines are
    parts of files or single channels. Returns the number of utterances.

    Sorted as in the C locale. Paths are absolute. Ids start with their speaker where the order of the ids would not be
    that of the speakers, as Kaldi demands; an utterance without speaker is its own. Speakers whose names this makes
    the same are numbered. Raises ManifestError when two utterances end up with the same id.
    """
    headers = _headers(manifest, failed)
    utterances = [utterance for utterance in manifest if utterance.audio in headers]
    ids = _kaldi_ids(utterances)
    tables: dict[str, dict[str, str]] = {name: {} for name in KALDI_FILES}
    for (name, speaker), utterance in zip(ids, utterances, strict=True):
        tables["utt2spk"][name] = speaker
        if utterance.text is not None:
            tables["text"][name] = " ".join(utterance.text.split())
        if utterance.lang is not None:
            tables["utt2lang"][name] = _word(utterance.lang)
    for name, speaker in sorted(ids):
        before = tables["spk2utt"].get(speaker)
        tables["spk2utt"][speaker] = f"{before} {name}" if before else name
    names = [name for name, _ in ids]
    if len(utterances) == len(headers) and all(_is_whole(u, headers[u.audio]) for u in utterances):
        tables["wav.scp"] = {name: _path(u.audio) for name, u in zip(names, utterances, strict=True)}
    else:
        tables |= _kaldi_segments(names, utterances, headers)
    for name, table in tables.items():
        _write_table(folder / name, table)
    _tell_kaldi(tables, headers)
    renamed = {u.speaker: speaker for u, (_, speaker) in zip(utterances, ids, strict=True)}
    renamed = {old: new for old, new in renamed.items() if old not in (None, new)}
    if renamed:
        old, new = next(iter(renamed.items()))
        logger.info(f"speakers with names that Kaldi cannot have: {len(renamed)}, such as '{old}', now {new}")
    return len(utterances)


def _kaldi_segments(names: list[str], utterances: list[Utterance], headers: Headers) -> dict[str, dict[str, str]]:
    """The tables of a folder in which utterances are parts of recordings: wav.scp, segments and those of recordings."""
    files = _recording_names(headers)
    scp, segments, durations, channels = {}, {}, {}, {}
    for name, utterance in zip(names, utterances, strict=True):
        file, header = files[utterance.audio], headers[utterance.audio]
        recording = file
        if utterance.channel is not None and header.channels > 1:
            recording = f"{file}-{utterance.channel + 1}"
            channels[recording] = f"{file} {utterance.channel + 1}"
        scp[recording] = _path(utterance.audio)
        durations[recording] = f"{header.duration:.6f}"
        segments[name] = f"{recording} {utterance.start:.6f} {utterance.start + utterance.duration:.6f}"
    return {"wav.scp": scp, "segments": segments, "reco2dur": durations, "reco2file_and_channel": channels}


def export_lhotse(manifest: Manifest, folder: Path, failed: Failed) -> int:
    """Write recordings.jsonl.gz, one a file, and supervisions.jsonl.gz, one an utterance. Returns the number of these.

    Paths are absolute. Keys that lhotse does not know become its `custom`.
    """
    headers = _headers(manifest, failed)
    names = _recording_names(headers)
    recordings, supervisions = (folder / name for name in LHOTSE_FILES)
    _write_lines(recordings, (_lhotse_recording(names[path], path, header) for path, header in headers.items()))
    utterances = [utterance for utterance in manifest if utterance.audio in headers]
    _write_lines(supervisions, (_lhotse_supervision(u, names[u.audio], headers[u.audio].channels) for u in utterances))
    return len(utterances)


Export = Callable[[Manifest, Path, Failed], int]
EXPORTS: dict[str, tuple[Export, tuple[str, ...]]] = {
    "kaldi": (export_kaldi, KALDI_FILES),
    "lhotse": (export_lhotse, LHOTSE_FILES),
}


def export_manifest(manifest: Manifest, to: str, folder: Path, force: bool, failed: Failed) -> int:
    """Write a manifest as one of EXPORTS. Raises ManifestError where files would be overwritten; with force they are.
    Returns the number of utterances."""
    export, files = EXPORTS[to]
    there = [folder / name for name in files if (folder / name).exists()]
    if there and not force:
        raise ManifestError(f"{there[0]}: already exists; choose another folder, or --force to overwrite")
    folder.mkdir(parents=True, exist_ok=True)
    return export(manifest, folder, failed)


def _headers(manifest: Manifest, failed: Failed) -> Headers:
    """What the headers of the manifest's files say; files that cannot be read are left out."""
    headers = dict(map_headers(audio_info, dict.fromkeys(utterance.audio for utterance in manifest), failed))
    if not headers:
        raise ManifestError(f"{manifest.path}: no utterance whose audio can be read")
    return headers


def _recording_names(paths: Iterable[Path]) -> dict[Path, str]:
    """A name for every file: its own without extension and white space, numbered where another has the same."""
    return _distinct({path: _word(path.stem) for path in sorted(paths)})


def _distinct(names: dict[Thing, str]) -> dict[Thing, str]:
    """The names of things, numbered where an earlier one has the same."""
    things: dict[str, Thing] = {}
    times: Counter[str] = Counter()
    for thing, stem in names.items():
        name = stem
        while name in things:
            times[stem] += 1
            name = f"{stem}.{times[stem] + 1}"
        things[name] = thing
    return {thing: name for name, thing in things.items()}


def _is_whole(utterance: Utterance, header: AudioInfo) -> bool:
    one_of_many = utterance.channel is not None and header.channels > 1
    return not utterance.start and not one_of_many and abs(utterance.duration - header.duration) < 0.01


def _kaldi_ids(utterances: Sequence[Utterance]) -> list[tuple[str, str]]:
    """Utterance and speaker ids that Kaldi accepts: no white space, unique, in the same order by either."""
    speakers = [u.id if u.speaker is None else u.speaker for u in utterances]

    def named(clean: Callable[[str], str]) -> list[tuple[str, str]]:
        words = _distinct({speaker: clean(speaker) for speaker in sorted(speakers)})
        return [(_word(u.id), words[speaker]) for u, speaker in zip(utterances, speakers, strict=True)]

    ids = named(_word)
    if any(before[1] > after[1] for before, after in pairwise(sorted(ids))):
        # "-" sorts before all that is left in the speakers, so that none comes between the utterances of another.
        ids = named(lambda speaker: re.sub(r"[^\w.]", "_", _word(speaker)))
        ids = [(name if name.startswith(f"{speaker}-") else f"{speaker}-{name}", speaker) for name, speaker in ids]
    if repeated := [name for name, times in Counter(name for name, _ in ids).items() if times > 1]:
        raise ManifestError(f"ids given to more than one utterance: {some(repeated, 3)}")
    return ids


def _tell_kaldi(tables: dict[str, dict[str, str]], headers: Headers) -> None:
    untold = len(tables["utt2spk"]) - len(tables["text"])
    if untold:
        logger.info(f"without text: {plural(untold, 'utterance')}, in wav.scp but not in text")
    encoded = sorted(str(path) for path, header in headers.items() if not header.format.startswith("WAV"))
    if encoded:
        logger.info(
            f"not wav: {plural(len(encoded), 'file')}, such as {encoded[0]}; Kaldi's own programs, unlike lhotse and"
            " ESPnet, want a command there: ffmpeg -i FILE -f wav - |"
        )
    if tables["reco2file_and_channel"]:
        logger.info(
            "single channels: Kaldi's own programs want a command in wav.scp there: sox FILE -t wav - remix CHANNEL |"
        )


def _write_table(path: Path, table: dict[str, str]) -> None:
    """Lines of key and value, sorted as in the C locale; no file for no lines."""
    if not table:
        path.unlink(missing_ok=True)
        return
    with atomic_write(path) as file:
        for key in sorted(table):  # by code point, which is the order of UTF-8's bytes
            try:
                file.write(f"{key} {table[key]}".rstrip(" ").encode("utf-8", "surrogateescape") + b"\n")
            except UnicodeEncodeError as error:
                raise ManifestError(
                    f"{path}: the line of {key!r} cannot be written as UTF-8 ({error.reason})"
                ) from None


def _lhotse_recording(name: str, audio: Path, header: AudioInfo) -> dict[str, Any]:
    channels = list(range(header.channels))
    return {
        "id": name,
        "sources": [{"type": "file", "channels": channels, "source": os.path.abspath(audio)}],
        "sampling_rate": header.sample_rate,
        "num_samples": header.frames,
        "duration": header.duration,
        "channel_ids": channels,
    }


def _lhotse_supervision(utterance: Utterance, recording: str, channels: int) -> dict[str, Any]:
    every: int | list[int] = list(range(channels)) if channels > 1 else 0
    custom = dict(utterance.other)
    line = {
        "id": utterance.id,
        "recording_id": recording,
        "start": utterance.start,
        "duration": utterance.duration,
        "channel": every if utterance.channel is None else utterance.channel,
        "text": utterance.text,
        "language": utterance.lang,
        "speaker": utterance.speaker,
        "gender": custom.pop("gender", None),
        "custom": custom or None,
    }
    return {key: value for key, value in line.items() if value is not None}


def _write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Gzipped JSON Lines, the same for the same content."""
    with atomic_write(path) as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        for line in lines:
            packed.write(json.dumps(line).encode() + b"\n")


def _word(name: str) -> str:
    return "_".join(name.split()) or "_"


def _path(audio: Path) -> str:
    path = os.path.abspath(audio)
    if "\n" in path or "\r" in path or path != path.strip() or path.endswith("|"):
        raise ManifestError(
            f"{path!r}: wav.scp cannot hold a path with a line break in it, or with white space or | at its end; rename"
            " the file"
        )
    return path
