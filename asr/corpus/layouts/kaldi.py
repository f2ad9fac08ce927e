"""Kaldi's data folders: wav.scp, text, segments, utt2spk (kaldi-asr.org/doc/data_prep.html)."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from asr.corpus.layouts.common import UNKNOWN, AudioFinder, Failed, made, refuse, seconds, text_lines
from asr.data.manifest import Utterance
from asr.errors import ManifestError, error_context
from asr.util.format import plural

logger = logging.getLogger(__name__)


def read_kaldi(folder: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """The utterances of a Kaldi data folder. Needed: wav.scp; read if there: text, segments, utt2spk, utt2lang,
    reco2file_and_channel (channels A and B, or 1, 2 …).

    Paths in wav.scp may be absolute, or relative to the folder or to any folder above it: to Kaldi they are relative
    to where its scripts run. A speaker of the utterance's own name is none, as Kaldi wants one for each. Raises
    ManifestError for a line that is wrong, above all a command in wav.scp.
    """
    home = Path(os.path.abspath(folder))
    recordings = _table(home / "wav.scp", _audio, needed=True)
    texts = _table(home / "text")
    segments = _table(home / "segments", _segment)
    speakers, languages = _table(home / "utt2spk"), _table(home / "utt2lang")
    channels = _table(home / "reco2file_and_channel", _channel)
    find = AudioFinder(home, *home.parents)
    missing = [name for name in segments or recordings if name not in texts] if texts else []
    if missing:
        logger.info(f"{home / 'text'}: no line for {plural(len(missing), 'utterance')}, such as {missing[0]}; left out")

    def make(name: str) -> Utterance:
        recording, start, duration = segments.get(name, (name, 0.0, UNKNOWN))
        if recording not in recordings:
            raise ManifestError(f"{home / 'segments'}: recording '{recording}' of {name} is not in wav.scp")
        speaker = speakers.get(name)
        return Utterance(
            id=name,
            audio=find(recordings[recording]),
            duration=duration,
            text=texts.get(name),
            speaker=None if speaker == name else speaker,
            start=start,
            channel=channels.get(recording),
            lang=languages.get(name),
        )

    names = (name for name in segments or recordings if not texts or name in texts)
    return made(((f"utterance {name}", name) for name in names), make, failed)


def _table(path: Path, parse: Callable[[str], Any] = str, needed: bool = False) -> dict[str, Any]:
    """{the first word of a line: what is made of the rest}; empty if the file is not there and need not be."""
    table: dict[str, Any] = {}
    for number, line in text_lines(path) if needed or path.exists() else ():
        name, *rest = line.split(maxsplit=1)
        with error_context(f"{path}, line {number}"):
            if name in table:
                raise ManifestError(f"'{name}' was there before; each id may stand once")
            table[name] = parse("".join(rest).strip())
    return table


def _audio(value: str) -> str:
    if value.endswith("|"):
        raise ManifestError(
            f"'{value}' is a command, which is not run; let it write a file (… > ID.wav) and put the file's path here."
            " flac, mp3, ogg, opus and sph need no conversion: put their own path"
        )
    if not value:
        raise ManifestError("no path after the recording's id")
    return value


def _segment(value: str) -> tuple[str, float, float]:
    """Recording, start and duration."""
    fields = value.split()
    if len(fields) != 3:
        raise ManifestError("not UTTERANCE RECORDING START END")
    start = seconds(fields[1], "start")
    end = UNKNOWN if fields[2] in ("-1", "-1.0") else seconds(fields[2], "end")
    if end <= start:
        raise ManifestError(f"ends at {end:g} s, which is not after its start at {start:g} s")
    return fields[0], start, round(end - start, 6)


def _channel(value: str) -> int:
    name = value.split()[-1].upper() if value.split() else ""
    if re.fullmatch("[1-9][0-9]{,4}", name):
        return int(name) - 1
    if name not in ("A", "B"):
        raise ManifestError(f"the channel is {name!r}, not A, B or a number from 1")
    return "AB".index(name)
