"""Options of the commands that decode, and the decoder they mean."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from asr.decode.batch import Decoder
    from asr.model.recognizer import Recognizer

BeamOption = Annotated[
    int | None, typer.Option(min=1, help="Beam search with so many prefixes; default: greedy, 32 with --lm.")
]
LmOption = Annotated[Path | None, typer.Option(metavar="LM", help="A language model: a folder or an ARPA file.")]
LmWeightOption = Annotated[float | None, typer.Option(help="Weight of the language model.")]
WordBonusOption = Annotated[float | None, typer.Option(help="Added for every word, in nats.")]
HotwordOption = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME[:WEIGHT]|@FILE", help="Listen for this word; weight in nats a letter. Repeatable."),
]


@dataclass(frozen=True)
class Decoding:
    """What the options say; None where they are silent."""

    beam: int | None = None
    lm: Path | None = None
    lm_weight: float | None = None
    word_bonus: float | None = None
    hotwords: tuple[str, ...] = ()

    @property
    def greedy(self) -> bool:
        return self == Decoding()

    def decoder(self, recognizer: Recognizer) -> Decoder:
        """Raises ModelError, ConfigError, TextError for what does not fit the recogniser."""
        if self.greedy:
            from asr.decode.greedy import greedy

            return greedy
        from asr.decode.beam import prepare
        from asr.lm.model import LanguageModel

        lm = None if self.lm is None else LanguageModel.load(self.lm)
        return prepare(recognizer.tokenizer, recognizer.text.normaliser, self._settings(), lm, self._hot_words())

    def record(self) -> dict[str, Any]:
        """The decoder as `wer.json` names it."""
        if self.greedy:
            from asr.evaluate.run import GREEDY

            return GREEDY
        settings = asdict(self._settings())
        return {
            "kind": "beam",
            "beam": settings.pop("beam"),
            "lm": None if self.lm is None else {"path": str(self.lm), "sha256": _path_sha256(self.lm)},
            "weights": settings,
            "hotwords": self._hot_words(),
        }

    def _settings(self) -> Any:
        from asr.decode.beam import BeamSettings

        given = {"beam": self.beam, "lm_weight": self.lm_weight, "word_bonus": self.word_bonus}
        return BeamSettings(**{name: value for name, value in given.items() if value is not None})

    def _hot_words(self) -> dict[str, float]:
        from asr.decode.hotwords import parse_hot_words

        return parse_hot_words(self.hotwords)


def _path_sha256(path: Path) -> str:
    """Of a file; of a folder: over the sums of its files."""
    from asr.data.download import file_sha256

    if not path.is_dir():
        return file_sha256(path)
    return sha256("".join(file_sha256(file) for file in sorted(path.iterdir()) if file.is_file()).encode()).hexdigest()
