"""What other toolkits keep their corpora in: Kaldi's data folders, lhotse's recordings, supervisions and cuts, NeMo's
manifests, WeNet's lists."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from asr.corpus.layouts.common import (
    NAMES,
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
from asr.errors import ManifestError
from asr.util.format import plural

logger = logging.getLogger(__name__)


def read_kaldi(folder: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """The utterances of a Kaldi data folder. Needed: wav.scp; read if there: text, segments, utt2spk, utt2lang,
    reco2file_and_channel (channels A and B, or 1, 2 …). A line of segments may end in a channel: A, B, or 0, 1 …

    Paths in wav.scp may be absolute, or relative to the folder or to any folder above it: to Kaldi they are relative
    to where its scripts run. A speaker of the utterance's own name is none, as Kaldi wants one for each. What needs a
    line that is wrong, above all a command in wav.scp, is left out. Raises ManifestError where there is no wav.scp.
    """
    home = Path(os.path.abspath(folder))
    recordings = _kaldi_table(home / "wav.scp", failed, _kaldi_audio, needed=True)
    texts = _kaldi_table(home / "text", failed)
    segments = _kaldi_table(home / "segments", failed, _kaldi_segment)
    speakers, languages = _kaldi_table(home / "utt2spk", failed), _kaldi_table(home / "utt2lang", failed)
    channels = _kaldi_table(home / "reco2file_and_channel", failed, _kaldi_channel)
    find = AudioFinder(home, *home.parents)
    missing = [name for name in segments or recordings if name not in texts] if texts else []
    if missing:
        logger.info(f"{home / 'text'}: no line for {plural(len(missing), 'utterance')}, such as {missing[0]}; left out")

    def make(name: str) -> Utterance:
        recording, start, duration, channel = _sound(segments, name) or (name, None, None, None)
        if recording not in recordings:
            raise ManifestError(f"{home / 'segments'}: recording '{recording}' of {name} is not in wav.scp")
        record = {"id": name, "audio": _sound(recordings, recording), "start": start, "duration": duration}
        record["channel"] = _sound(channels, recording) if channel is None else channel
        record |= {"text": _sound(texts, name), "lang": _sound(languages, name)}
        speaker = _sound(speakers, name)
        record["speaker"] = None if speaker == name else speaker
        return make_utterance(record, find, home)

    names = (name for name in segments or recordings if not texts or name in texts)
    return build_utterances(((f"utterance {name}", name) for name in names), make, failed)


def _kaldi_table(path: Path, failed: Failed, parse: Callable[[str], Any] = str, needed: bool = False) -> dict[str, Any]:
    """{the first word of a line: what is made of the rest, or what is wrong with it}; empty if the file is not there
    and need not be."""
    table: dict[str, Any] = {}
    for number, line in text_lines(path, failed=failed) if needed or path.exists() else ():
        name, *rest = line.split(maxsplit=1)
        try:
            if name in table:
                raise ManifestError(f"'{name}' was there before; each id may stand once")
            table[name] = parse("".join(rest).strip())
        except ManifestError as error:
            table[name] = ManifestError(f"{path}, line {number}: {error}")
    return table


def _sound(table: dict[str, Any], name: str) -> Any:
    """The value of a name, None where there is none. Raises ManifestError for one that is wrong."""
    value = table.get(name)
    if isinstance(value, ManifestError):
        raise ManifestError(str(value))  # anew: who catches it puts a place in front
    return value


def _kaldi_audio(value: str) -> str:
    if value.endswith("|"):
        raise ManifestError(
            f"'{value}' is a command, which is not run; let it write a file (… > ID.wav) and put the file's path here."
            " flac, mp3, ogg, opus and sph need no conversion: put their own path"
        )
    if not value:
        raise ManifestError("no path after the recording's id")
    return value


def _kaldi_segment(value: str) -> tuple[str, float, float | None, int | None]:
    """Recording, start, duration, None where it goes on to the end, and channel, None where it is not given."""
    fields = value.split()
    if len(fields) not in (3, 4):
        raise ManifestError("not UTTERANCE RECORDING START END [CHANNEL]")
    channel = _kaldi_channel(fields[3], first=0) if len(fields) == 4 else None
    if fields[2] in ("-1", "-1.0"):
        return fields[0], seconds(fields[1], "start"), None, channel
    return fields[0], *span(fields[1], fields[2]), channel


def _kaldi_channel(value: str, first: int = 1) -> int:
    """The last word as a channel from 0. first: what its number is where channels are numbered."""
    name = value.split()[-1].upper() if value.split() else ""
    if re.fullmatch("[0-9]{1,5}", name) and int(name) >= first:
        return int(name) - first
    if name not in ("A", "B"):
        raise ManifestError(f"the channel is {name!r}, not A, B or a number from {first}")
    return "AB".index(name)


def read_nemo(path: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """A NeMo manifest, a WeNet list, or any JSON Lines, or JSON array of objects, with `audio_filepath`, `audio` or
    `wav`, `text` or `txt`, and perhaps `offset`, `duration`, `speaker`, `lang`, `id`, or what else NAMES has for these.
    Paths are relative to the manifest. A duration that is not there is read from the audio.

    Other keys are kept. An utterance without id is named by its audio, a part of a file also by its start.
    """
    path = Path(path)
    find = AudioFinder(path.parent)

    def make(line: Record) -> Utterance:
        line = with_own_keys(line)
        for ours, likely in NAMES.items():
            name = next((name for name in likely if isinstance(line.get(name), (str, int, float))), None)
            if ours not in line and name is not None:
                line[ours] = line.pop(name)
        return make_utterance(line, find, path.parent)

    return build_utterances(json_objects(path, failed), make, failed)


def read_lhotse(path: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """lhotse's `recordings.jsonl.gz` and `supervisions.jsonl.gz`, or its cuts, gzipped or not: one utterance a
    supervision, or a cut that has none.

    path: the folder that holds recordings and supervisions, one of the two if their names differ by that word alone, or
    the cuts. Paths of audio are absolute, or relative to the folder or one above it. Left out are recordings that are
    not files (commands, addresses) or that lhotse would change when it loads them, and cuts made of several.
    """
    path = Path(path)
    if path.is_file() and is_cut(first_object(path)):
        home = Path(os.path.abspath(path)).parent
        find = AudioFinder(home, *home.parents)
        yield from build_utterances(_cuts(path, failed), lambda pair: make_utterance(_cut(*pair), find, home), failed)
        return
    recordings, supervisions = _lhotse_pair(path)
    home = Path(os.path.abspath(recordings)).parent
    find = AudioFinder(home, *home.parents)
    known: dict[str, Any] = {}
    for place, line in json_objects(recordings, failed):
        try:
            known[str(line.get("id"))] = _recording(line)
        except ManifestError as error:
            known[str(line.get("id"))] = ManifestError(f"{place}: {error}")
    used = set()

    def make(line: Record) -> Utterance:
        name = str(line.get("recording_id"))
        if name not in known:
            raise ManifestError(f"recording '{name}' is not in {recordings}")
        used.add(name)
        return make_utterance(_supervision(line, *_sound(known, name)), find, home)

    yield from build_utterances(json_objects(supervisions, failed), make, failed)
    if unused := [name for name in known if name not in used]:
        logger.info(f"recordings without supervision: {len(unused)}, such as {unused[0]}")


def _cuts(path: Path, failed: Failed) -> Iterator[tuple[str, tuple[Record, Record]]]:
    """Place, for errors, cut and supervision of every supervision; of a cut without, an empty one."""
    for place, cut in json_objects(path, failed):
        supervisions = cut.get("supervisions") or [{}]
        for supervision in supervisions if isinstance(supervisions, list) else [supervisions]:
            yield place, (cut, supervision)


def is_cut(line: Record | None) -> bool:
    """Whether an object is one of lhotse's cuts."""
    return line is not None and str(line.get("type")).endswith("Cut")


def _cut(cut: Record, supervision: Record) -> Record:
    """The keys and values that a manifest has. Times of a supervision count from its cut's start."""
    name = f"cut {cut.get('id')}"
    if cut.get("type") not in ("MonoCut", "MultiCut", "Cut") or not isinstance(supervision, dict):
        raise ManifestError(f"{name} is a {cut.get('type')}, not part of one recording; save its audio to a file first")
    if not isinstance(cut.get("recording"), dict):
        raise ManifestError(f"{name} has no recording; a recognizer needs audio, features are not read")
    audio, channels = _recording(cut["recording"])
    start, within = seconds(cut.get("start", 0.0), "start"), supervision.get("start", 0.0)
    if not isinstance(within, (int, float)):
        raise ManifestError(f"{name}: start of its supervision is {within!r}, not seconds")
    given = {key: cut.get(key) for key in ("id", "duration")} | {"channel": cut.get("channel", 0)} | supervision
    return _supervision(given | {"start": round(start + within, 6)}, audio, channels)


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


def json_objects(path: Path, failed: Failed = refuse) -> Iterator[tuple[str, Record]]:
    """Place, for errors, and object of every line, or of every item where the file is one JSON array."""
    lines = text_lines(path, failed=failed)
    for number, text in lines:
        place = f"{path}, line {number}"
        items: Any = []
        try:
            if number == 1 and text.lstrip()[:1] == "[":
                place, items = str(path), json.loads("".join([text, *(f"\n{more}" for _, more in lines)]))
            else:
                items = [json.loads(text)]
        except (ValueError, RecursionError) as error:
            failed(ManifestError(f"{place}: not JSON ({' '.join(str(error).split())})"))
        for at, item in enumerate(items, 1):
            where = place if len(items) == 1 else f"{path}, item {at}"
            if isinstance(item, dict):
                yield where, item
            else:
                failed(ManifestError(f"{where}: not a JSON object"))


def first_object(path: Path) -> Record | None:
    """What the first line of JSON Lines holds; None for another file."""
    try:
        return next((line for _, line in json_objects(path)), None)
    except ManifestError:
        return None
