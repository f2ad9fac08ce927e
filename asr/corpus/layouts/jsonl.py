"""Layouts of JSON Lines: lhotse's recordings and supervisions, NeMo's manifests."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from asr.corpus.layouts.common import (
    UNKNOWN,
    AudioFinder,
    Failed,
    made,
    path_id,
    refuse,
    seconds,
    text_lines,
)
from asr.data.manifest import Utterance
from asr.errors import ManifestError, error_context

logger = logging.getLogger(__name__)

OURS = {field.name for field in fields(Utterance)}  # keys that mean something else in a manifest
# Other names that lines give to what a manifest calls so.
NEMO = {
    "audio": ("audio_filepath", "file_name", "path"),
    "start": ("offset",),
    "text": ("sentence", "transcript", "transcription"),
}


def read_nemo(path: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """A NeMo manifest, or any JSON Lines with `audio_filepath` or `audio`, `text` and perhaps `offset`, `duration`,
    `speaker`, `lang`, `id`. Paths are relative to the manifest. A duration that is not there is read from the audio.

    Other keys are kept. An utterance without id is named by its audio, a part of a file also by its start.
    """
    path = Path(path)
    find = AudioFinder(path.parent)
    return made(_objects(path), lambda line: _nemo_utterance(line, find, path.parent), failed)


def _nemo_utterance(line: dict[str, Any], find: AudioFinder, root: Path) -> Utterance:
    for ours, others in NEMO.items():
        for name in others:
            if line.get(ours) is None and name in line:
                line[ours] = line.pop(name)
    audio, start, duration, channel = (line.pop(key, None) for key in ("audio", "start", "duration", "channel"))
    if not isinstance(audio, str) or not audio:
        raise ManifestError(f"audio is {audio!r}, not the path of an audio file")
    found = find(audio)
    start_s = 0.0 if start is None else seconds(start, "start")
    if channel is not None and (not isinstance(channel, int) or channel < 0):
        raise ManifestError(f"channel is {channel!r}, not a channel number from 0")
    return Utterance(
        id=_string(line.pop("id", None), "id") or path_id(found, root, start_s),
        audio=found,
        duration=UNKNOWN if duration is None else seconds(duration, "duration"),
        text=_string(line.pop("text", None), "text"),
        speaker=_string(line.pop("speaker", None), "speaker"),
        start=start_s,
        channel=channel,
        lang=_string(line.pop("lang", None), "lang"),
        other=line,
    )


def read_lhotse(path: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """lhotse's `recordings.jsonl.gz` and `supervisions.jsonl.gz`, gzipped or not: one utterance a supervision.

    path: the folder that holds both, or one of the two if their names differ by that word alone. Paths of audio are
    absolute, or relative to the folder or one above it. Raises ManifestError for recordings that are not files
    (commands, addresses) or that lhotse would change when it loads them.
    """
    recordings, supervisions = _lhotse_pair(Path(path))
    home = Path(os.path.abspath(recordings)).parent
    find = AudioFinder(home, *home.parents)
    known: dict[str, tuple[str, list[int]]] = {}
    for place, line in _objects(recordings):
        with error_context(place):
            known[str(line.get("id"))] = _recording(line)
    used = set()

    def make(line: dict[str, Any]) -> Utterance:
        name = str(line.get("recording_id"))
        if name not in known:
            raise ManifestError(f"recording '{name}' is not in {recordings}")
        used.add(name)
        audio, channels = known[name]
        return _supervision(line, find(audio), channels)

    yield from made(_objects(supervisions), make, failed)
    if unused := [name for name in known if name not in used]:
        logger.info(f"recordings without supervision: {len(unused)}, such as {unused[0]}")


def lhotse_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """The recordings and supervisions that belong together in a folder."""
    found = sorted(
        path for kind in ("[!.]*.jsonl", "[!.]*.jsonl.gz") for path in folder.glob(kind) if "recordings" in path.name
    )
    pairs = ((path, path.with_name(path.name.replace("recordings", "supervisions"))) for path in found)
    return [pair for pair in pairs if pair[1].is_file()]


def _lhotse_pair(path: Path) -> tuple[Path, Path]:
    if not path.is_dir():
        recordings = path.with_name(path.name.replace("supervisions", "recordings"))
        return recordings, path.with_name(recordings.name.replace("recordings", "supervisions"))
    pairs = lhotse_pairs(path)
    if len(pairs) != 1:
        there = ", ".join(pair[0].name for pair in pairs) or "none"
        raise ManifestError(f"{path}: not one pair of recordings.jsonl.gz and supervisions.jsonl.gz, but {there}")
    return pairs[0]


def _recording(line: dict[str, Any]) -> tuple[str, list[int]]:
    """The path of its audio, and its channel numbers in the order in which the file has them."""
    name, sources = str(line.get("id")), line.get("sources")
    if not isinstance(sources, list) or len(sources) != 1 or not isinstance(sources[0], dict):
        raise ManifestError(f"recording {name} is not of one source; join its files first")
    if line.get("transforms"):
        raise ManifestError(f"recording {name} has transforms, which lhotse applies; save the audio with them")
    [source] = sources
    if source.get("type") != "file":
        raise ManifestError(
            f"recording {name} is of type '{source.get('type')}', not 'file'; save its audio to a file first (lhotse's"
            " save_audio does)"
        )
    channels = source.get("channels")
    if not isinstance(channels, list) or not all(isinstance(channel, int) for channel in channels):
        raise ManifestError(f"recording {name} has no list of channels")
    if not isinstance(source.get("source"), str) or not source["source"]:
        raise ManifestError(f"recording {name} has no path in its source")
    return source["source"], channels


def _supervision(line: dict[str, Any], audio: Path, channels: list[int]) -> Utterance:
    custom = line["custom"] if isinstance(line.get("custom"), dict) else {}
    other = {key: value for key, value in custom.items() if key not in OURS}
    if line.get("gender") is not None:
        other["gender"] = line["gender"]
    return Utterance(
        id=_string(line.get("id"), "id") or f"{line.get('recording_id')}-{line.get('start')}",
        audio=audio,
        duration=seconds(line.get("duration"), "duration"),
        text=_string(line.get("text"), "text"),
        speaker=_string(line.get("speaker"), "speaker"),
        start=seconds(line.get("start"), "start"),
        channel=_channel(line.get("channel", 0), channels),
        lang=_string(line.get("language"), "language"),
        other=other,
    )


def _channel(given: Any, channels: list[int]) -> int | None:
    """The place of a supervision's channel in the file; None for all channels that there are."""
    wanted = given if isinstance(given, list) else [given]
    if any(channel not in channels for channel in wanted):
        raise ManifestError(f"channel {given!r} is not one of the recording's {channels}")
    if len(wanted) == len(channels):
        return None
    if len(wanted) != 1:
        raise ManifestError(f"{len(wanted)} of {len(channels)} channels; give one or all of them")
    return channels.index(wanted[0])


def _objects(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Place, for errors, and object of every line. Raises ManifestError for a line that is no JSON object."""
    for number, text in text_lines(path):
        place = f"{path}, line {number}"
        try:
            line = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{place}: not JSON ({error})") from None
        if not isinstance(line, dict):
            raise ManifestError(f"{place}: not a JSON object")
        yield place, line


def _string(value: Any, what: str) -> str | None:
    """A text, or a number as one."""
    if value is not None and (not isinstance(value, (str, int, float)) or isinstance(value, bool)):
        raise ManifestError(f"{what} is {value!r}, not a string")
    return None if value is None else str(value)
