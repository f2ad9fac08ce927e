"""Layouts that are folders of audio, with text files beside it or without."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from asr.audio import find_audio
from asr.corpus.layouts.common import AudioFinder, Failed, build_utterances, path_id, refuse, text_lines
from asr.data.manifest import UNKNOWN, Utterance
from asr.errors import ManifestError
from asr.util.files import walk

logger = logging.getLogger(__name__)


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
    _log([audio[stem] for stem in audio if stem not in texts], "audio without a text beside it")
    _log([texts[stem] for stem in texts if stem not in audio], "text without audio beside it")
    _log(duplicates, "left out, as the same name is there with another extension")
    root = Path(os.path.commonpath([path.parent for path, _ in pairs]))
    speakers = {speaker for path, _ in pairs if (speaker := _speaker(path, root)) is not None}
    if speakers:
        logger.info(f"speakers are the {len(speakers)} sub-folders of {root}, such as {min(speakers)}")

    def make(pair: tuple[Path, Path]) -> Utterance:
        recording, text = pair
        words = " ".join(" ".join(line.split()) for _, line in text_lines(text))
        return Utterance(path_id(recording, folder), recording, UNKNOWN, words, _speaker(recording, root))

    return build_utterances((("", pair) for pair in pairs), make, failed)


def _speaker(audio: Path, root: Path) -> str | None:
    """The folder that tells speakers apart: the first below what all audio has in common."""
    below = audio.relative_to(root).parts
    return below[0] if len(below) > 1 else None


def read_audio_alone(folder: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """Every audio file below a folder, without texts: recordings to be transcribed, or noise. The id is the path, as of
    `read_folder`. Raises AudioError when there is none.
    """
    folder = Path(folder)
    recordings = (("", audio) for audio in find_audio(folder))
    return build_utterances(recordings, lambda audio: Utterance(path_id(audio, folder), audio, UNKNOWN), failed)


def _log(paths: list[Path], what: str) -> None:
    if paths:
        logger.info(f"{what}: {len(paths)}, such as {paths[0]}")


def read_librispeech(folder: Path, failed: Failed = refuse) -> Iterator[Utterance]:
    """LibriSpeech and what is laid out like it: `1272/128104/1272-128104.trans.txt`, each line an id and its text, the
    audio beside it in any format (Panayotov et al. 2015). Texts are as they stand there: upper case.

    Raises ManifestError when there is no such file.
    """
    folder = Path(folder)
    lists = sorted(walk(folder, "*.trans.txt"))
    if not lists:
        raise ManifestError(f"{folder}: no transcripts (looked for SPEAKER/CHAPTER/SPEAKER-CHAPTER.trans.txt)")
    return build_utterances(_transcripts(lists), _librispeech_utterance, failed)


def _transcripts(lists: list[Path]) -> Iterator[tuple[str, tuple[AudioFinder, str]]]:
    for path in lists:
        find = AudioFinder(path.parent)
        for number, line in text_lines(path):
            yield f"{path}, line {number}", (find, line)


def _librispeech_utterance(row: tuple[AudioFinder, str]) -> Utterance:
    find, line = row
    name, *text = line.split(maxsplit=1)
    return Utterance(name, find(name), UNKNOWN, "".join(text).strip(), name.partition("-")[0])
