"""aishell (OpenSLR 33, AISHELL-1): 178 hours of Mandarin by 400 speakers, read news and commands.

    train, dev, test    the corpus's split: 120,098, 14,326 and 7,176 utterances by 340, 40 and 20 speakers

The archive holds one archive a speaker, which is unpacked too. Transcripts put spaces between words, which nobody
speaks: they are taken out. Some 300 recordings have no transcript and are left out, as in other people's recipes.
"""

from collections.abc import Iterator
from pathlib import Path

from asr.audio import AUDIO_SUFFIXES, audio_info
from asr.corpus.download import openslr, unpack
from asr.corpus.layouts.common import text_lines
from asr.data.manifest import Utterance
from asr.util.files import walk

ARCHIVES = [openslr("33/data_aishell.tgz", md5="2f494334227864a8a8fec932999db9d8", gigabytes=15.6)]
PARTS = ("train", "dev", "test")


def utterances(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    texts = _texts(corpus)
    for archive in sorted(walk(corpus, "wav/S*.tar.gz")):
        speaker = made / archive.name.removesuffix(".tar.gz")
        if not speaker.is_dir():
            unpack(archive, speaker)
    recordings = {path.stem: path for folder in (made, corpus) for path in walk(folder, "*/S*/*.*")}
    for name, path in sorted(recordings.items()):
        part, speaker = path.parts[-3:-1]
        if part in PARTS and name in texts and path.suffix.lower() in AUDIO_SUFFIXES:
            yield part, Utterance(name, path, audio_info(path).duration, texts[name], speaker, lang="zh")


def _texts(corpus: Path) -> dict[str, str]:
    """{"BAC009S0002W0122": "而对楼市…"}: every transcript, without the spaces between its words."""
    lines = [line.split() for path in walk(corpus, "aishell_transcript_*.txt") for _, line in text_lines(path)]
    return {name: "".join(words) for name, *words in filter(None, lines)}
