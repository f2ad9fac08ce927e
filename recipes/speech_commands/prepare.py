"""speech_commands (version 0.02): 105,829 recordings of one second, each one of 35 English words, by 2,618 speakers.

    train, dev, test    the corpus's split by its testing_list.txt and validation_list.txt: 84,843, 9,981 and 11,005

The lists follow a rule that keeps a speaker's recordings together. Where one is missing, the rule is applied.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from asr.audio import audio_info
from asr.corpus.download import Archive
from asr.corpus.layouts.common import text_lines
from asr.data.manifest import Utterance
from asr.util.files import walk

ARCHIVES = [
    Archive(
        "speech_commands/speech_commands_v0.02.tar.gz",
        (
            "https://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
            "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        ),
        sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        gigabytes=2.43,
    )
]
LISTS = {"testing_list.txt": "test", "validation_list.txt": "dev"}


def utterances(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    listed = _listed(corpus)
    for path in sorted(walk(corpus, "*_nohash_*.*")):  # not _background_noise_, whose files are named otherwise
        word, speaker = path.parent.name, path.stem.partition("_nohash_")[0]
        part = listed.get(f"{word}/{path.stem}", "train") if listed else _by_rule(speaker)
        yield part, Utterance(f"{word}_{path.stem}", path, audio_info(path).duration, word, speaker)


def _by_rule(speaker: str) -> str:
    """The corpus's own way to split (Warden 2018, section 7): a tenth of all speakers' SHA-1 sums for validation, the
    next tenth for testing."""
    share = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % 2**27 / (2**27 - 1)
    return "dev" if share < 0.1 else "test" if share < 0.2 else "train"


def _listed(corpus: Path) -> dict[str, str]:
    """{"right/f21893dc_nohash_0": "test"}: the part of every recording that the corpus's lists name. Nothing where one
    of the two is missing: the recordings it names would be trained on."""
    lists = {part: list(walk(corpus, name)) for name, part in LISTS.items()}
    return {
        line.strip().rpartition(".")[0]: part
        for part, paths in lists.items()
        for path in paths
        for _, line in text_lines(path)
        if all(lists.values())
    }
