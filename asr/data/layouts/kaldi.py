"""Kaldi's data folders: wav.scp, text, segments, utt2spk (kaldi-asr.org/doc/data_prep.html)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from asr.data.layouts.common import UNKNOWN, AudioFinder, Failed, Say, ignore, measured, refuse, seconds, text_lines
from asr.data.manifest import Utterance
from asr.errors import AsrError, ManifestError

Segment = tuple[str, float, float]  # recording, start, duration


def read_kaldi(folder: Path, say: Say = ignore, failed: Failed = refuse) -> Iterator[Utterance]:
    """The utterances of a Kaldi data folder. Needed: wav.scp; read if there: text, segments, utt2spk, utt2lang,
    reco2file_and_channel (channels A and B, or 1, 2 …).

    Paths in wav.scp may be absolute, or relative to the folder or to any folder above it: to Kaldi they are relative
    to where its scripts run. A speaker of the utterance's own name is none, as Kaldi wants one for each. Raises
    ManifestError for a line that is wrong, above all a command in wav.scp.
    """
    home = Path(os.path.abspath(folder))
    recordings = {name: _audio(value, place) for name, value, place in _entries(home / "wav.scp", needed=True)}
    texts = _values(home / "text")
    segments = _segments(home / "segments")
    missing = [name for name in segments or recordings if name not in texts] if texts else []
    if missing:
        say(f"{home / 'text'}: no line for {len(missing)} utterances, such as {missing[0]}; they are left out")
    return measured(_utterances(home, recordings, texts, segments, failed), failed)


def _utterances(
    home: Path, recordings: dict[str, str], texts: dict[str, str], segments: dict[str, Segment], failed: Failed
) -> Iterator[Utterance]:
    speakers, languages = _values(home / "utt2spk"), _values(home / "utt2lang")
    channels = {name: _channel(*entry) for name, *entry in _entries(home / "reco2file_and_channel")}
    find = AudioFinder(home, *home.parents)
    for name in segments or recordings:
        if texts and name not in texts:
            continue
        recording, start, duration = segments.get(name, (name, 0.0, UNKNOWN))
        try:
            if recording not in recordings:
                raise ManifestError(f"{home / 'segments'}: recording '{recording}' of {name} is not in wav.scp")
            audio = find(recordings[recording])
        except AsrError as error:
            failed(type(error)(f"utterance {name}: {error}"))
            continue
        speaker = speakers.get(name)
        yield Utterance(
            id=name,
            audio=audio,
            duration=duration,
            text=texts.get(name),
            speaker=None if speaker == name else speaker,
            start=start,
            channel=channels.get(recording),
            lang=languages.get(name),
        )


def _entries(path: Path, needed: bool = False) -> Iterator[tuple[str, str, str]]:
    """First word of every line, the rest of it, and the line's place for errors; nothing if the file is not there."""
    if not needed and not path.exists():
        return
    seen = set()
    for number, line in text_lines(path):
        name, *rest = line.split(maxsplit=1)
        place = f"{path}, line {number}"
        if name in seen:
            raise ManifestError(f"{place}: '{name}' was there before; each id may stand once")
        seen.add(name)
        yield name, "".join(rest).strip(), place


def _values(path: Path) -> dict[str, str]:
    return {name: value for name, value, _ in _entries(path)}


def _audio(value: str, place: str) -> str:
    if value.endswith("|"):
        raise ManifestError(
            f"{place}: '{value}' is a command, which is not run; let it write a file (… > ID.wav) and put the file's"
            " path here. flac, mp3, ogg, opus and sph need no conversion: put their own path"
        )
    if not value:
        raise ManifestError(f"{place}: no path after the recording's id")
    return value


def _segments(path: Path) -> dict[str, Segment]:
    segments = {}
    for name, value, place in _entries(path):
        fields = value.split()
        if len(fields) != 3:
            raise ManifestError(f"{place}: not UTTERANCE RECORDING START END")
        start = seconds(fields[1], place, "start")
        to_the_end = fields[2] in ("-1", "-1.0")
        end = UNKNOWN if to_the_end else seconds(fields[2], place, "end")
        if end <= start:
            raise ManifestError(f"{place}: ends at {end:g} s, which is not after its start at {start:g} s")
        segments[name] = (fields[0], start, round(end - start, 6))
    return segments


def _channel(value: str, place: str) -> int:
    name = value.split()[-1].upper() if value.split() else ""
    if re.fullmatch("[1-9][0-9]{,4}", name):
        return int(name) - 1
    if name not in ("A", "B"):
        raise ManifestError(f"{place}: the channel is {name!r}, not A, B or a number from 1")
    return "AB".index(name)
