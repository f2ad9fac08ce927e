"""What other toolkits keep their corpora in: Kaldi's data folders, lhotse's recordings and supervisions, NeMo's
manifests."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from asr.corpus.layouts.common import (
    AudioFinder,
    Failed,
    build_utterances,
    make_utterance,
    refuse,
    seconds,
    span,
    text_lines,
)
from asr.data.manifest import RULES, Record, Utterance, with_own_keys
from asr.errors import ManifestError, error_context
from asr.util.format import plural

logger = logging.getLogger(__name__)

# Names that lines give to audio and text besides NeMo's.
OTHER_KEYS = {"audio": ("file_name", "path"), "text": ("sentence", "transcript", "transcription")}


def read_kaldi(folder: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """The utterances of a Kaldi data folder. Needed: wav.scp; read if there: text, segments, utt2spk, utt2lang,
    reco2file_and_channel (channels A and B, or 1, 2 …).

    Paths in wav.scp may be absolute, or relative to the folder or to any folder above it: to Kaldi they are relative
    to where its scripts run. A speaker of the utterance's own name is none, as Kaldi wants one for each. Raises
    ManifestError for a line that is wrong, above all a command in wav.scp.
    """
    home = Path(os.path.abspath(folder))
    recordings = _kaldi_table(home / "wav.scp", _kaldi_audio, needed=True)
    texts = _kaldi_table(home / "text")
    segments = _kaldi_table(home / "segments", _kaldi_segment)
    speakers, languages = _kaldi_table(home / "utt2spk"), _kaldi_table(home / "utt2lang")
    channels = _kaldi_table(home / "reco2file_and_channel", _kaldi_channel)
    find = AudioFinder(home, *home.parents)
    missing = [name for name in segments or recordings if name not in texts] if texts else []
    if missing:
        logger.info(f"{home / 'text'}: no line for {plural(len(missing), 'utterance')}, such as {missing[0]}; left out")

    def make(name: str) -> Utterance:
        recording, start, duration = segments.get(name, (name, None, None))
        if recording not in recordings:
            raise ManifestError(f"{home / 'segments'}: recording '{recording}' of {name} is not in wav.scp")
        record = {"id": name, "audio": recordings[recording], "start": start, "duration": duration}
        record |= {"text": texts.get(name), "channel": channels.get(recording), "lang": languages.get(name)}
        record["speaker"] = None if speakers.get(name) == name else speakers.get(name)
        return make_utterance(record, find, home)

    names = (name for name in segments or recordings if not texts or name in texts)
    return build_utterances(((f"utterance {name}", name) for name in names), make, failed)


def _kaldi_table(path: Path, parse: Callable[[str], Any] = str, needed: bool = False) -> dict[str, Any]:
    """{the first word of a line: what is made of the rest}; empty if the file is not there and need not be."""
    table: dict[str, Any] = {}
    for number, line in text_lines(path) if needed or path.exists() else ():
        name, *rest = line.split(maxsplit=1)
        with error_context(f"{path}, line {number}"):
            if name in table:
                raise ManifestError(f"'{name}' was there before; each id may stand once")
            table[name] = parse("".join(rest).strip())
    return table


def _kaldi_audio(value: str) -> str:
    if value.endswith("|"):
        raise ManifestError(
            f"'{value}' is a command, which is not run; let it write a file (… > ID.wav) and put the file's path here."
            " flac, mp3, ogg, opus and sph need no conversion: put their own path"
        )
    if not value:
        raise ManifestError("no path after the recording's id")
    return value


def _kaldi_segment(value: str) -> tuple[str, float, float | None]:
    """Recording, start and duration, None where it goes on to the end."""
    fields = value.split()
    if len(fields) != 3:
        raise ManifestError("not UTTERANCE RECORDING START END")
    if fields[2] in ("-1", "-1.0"):
        return fields[0], seconds(fields[1], "start"), None
    return fields[0], *span(fields[1], fields[2])


def _kaldi_channel(value: str) -> int:
    name = value.split()[-1].upper() if value.split() else ""
    if re.fullmatch("[1-9][0-9]{,4}", name):
        return int(name) - 1
    if name not in ("A", "B"):
        raise ManifestError(f"the channel is {name!r}, not A, B or a number from 1")
    return "AB".index(name)


def read_nemo(path: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """A NeMo manifest, or any JSON Lines with `audio_filepath` or `audio`, `text` and perhaps `offset`, `duration`,
    `speaker`, `lang`, `id`. Paths are relative to the manifest. A duration that is not there is read from the audio.

    Other keys are kept. An utterance without id is named by its audio, a part of a file also by its start.
    """
    path = Path(path)
    find = AudioFinder(path.parent)

    def make(line: Record) -> Utterance:
        line = with_own_keys(line)
        for ours, others in OTHER_KEYS.items():
            for name in others:
                if ours not in line and name in line:
                    line[ours] = line.pop(name)
        return make_utterance(line, find, path.parent)

    return build_utterances(_objects(path), make, failed)


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

    def make(line: Record) -> Utterance:
        name = str(line.get("recording_id"))
        if name not in known:
            raise ManifestError(f"recording '{name}' is not in {recordings}")
        used.add(name)
        return make_utterance(_supervision(line, *known[name]), find, home)

    yield from build_utterances(_objects(supervisions), make, failed)
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


def _recording(line: Record) -> tuple[str, list[int]]:
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


def _supervision(line: Record, audio: str, channels: list[int]) -> Record:
    """The keys and values that a manifest has."""
    custom = line["custom"] if isinstance(line.get("custom"), dict) else {}
    record = {key: value for key, value in custom.items() if key not in RULES}
    if line.get("gender") is not None:
        record["gender"] = line["gender"]
    return record | {
        "id": line.get("id") or f"{line.get('recording_id')}-{line.get('start')}",
        "audio": audio,
        "duration": seconds(line.get("duration"), "duration"),
        "text": line.get("text"),
        "speaker": line.get("speaker"),
        "start": seconds(line.get("start"), "start"),
        "channel": _channel(line.get("channel", 0), channels),
        "lang": line.get("language"),
    }


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


def _objects(path: Path) -> Iterator[tuple[str, Record]]:
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
