"""common_voice (Mozilla Common Voice): sentences read aloud by volunteers, in any language of any release.

    train, dev, test    the release's own tables: validated clips, no speaker in two of them

The publisher hands out archives by personal links only, so the archive is given: `asr data prepare common_voice --from
cv-corpus-21.0-2025-03-14-cy.tar.gz`, a link to it, or the folder in which it was unpacked.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from asr.corpus.download import Archive
from asr.corpus.layouts import read_table
from asr.data.manifest import Utterance
from asr.errors import AsrError
from asr.util.files import walk

ARCHIVES = [Archive("common_voice/cv-corpus-*.tar.gz")]
PARTS = ("train", "dev", "test")


def utterances(corpus: Path, made: Path) -> Iterator[tuple[str, Utterance]]:
    for part in PARTS:
        for table in sorted(walk(corpus, f"{part}.tsv")):
            clips = table.with_name("clips")
            if clips.is_dir():
                for clip in read_table(
                    table, failed=_leave_out, audio="path", text="sentence", speaker="client_id", lang="locale",
                    delimiter="\t", quotes=False, audio_folder=clips,
                ):  # fmt: skip
                    yield part, clip


def _leave_out(error: AsrError) -> None:
    """Of many thousand clips from everywhere a few are empty: no reason to refuse the others."""
    print(f"left out: {error}", file=sys.stderr)
