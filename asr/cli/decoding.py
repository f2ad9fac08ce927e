"""Options of the commands that decode; see asr.transcribe.DecoderOptions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

LmOption = Annotated[Path | None, typer.Option(metavar="LM", help="A language model: a folder or an ARPA file.")]
HotwordOption = Annotated[
    list[str] | None,
    typer.Option(
        "--hotword", metavar="NAME[:WEIGHT]|@FILE", help="Listen for this word; weight in nats a letter. Repeatable."
    ),
]
BeamOption = Annotated[
    int | None,
    typer.Option(min=1, help="Beam search that keeps this many prefixes; default: greedy, or 128 with --lm."),
]
LmWeightOption = Annotated[
    float | None, typer.Option(help="Weight of the language model; default: what it was tuned to, or 0.5.")
]
WordInsertionBonusOption = Annotated[
    float | None, typer.Option(help="Added for every word, in nats; default: as tuned, or 0.5.")
]
UnkScoreOption = Annotated[
    float | None,
    typer.Option(help="Added for every word the language model lacks, in nats, so below 0; default: as tuned, or -10."),
]
ClosedVocabularyOption = Annotated[
    bool, typer.Option("--closed-vocabulary", help="Only words of the language model, and hot words, are heard.")
]
