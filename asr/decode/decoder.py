"""From a few settings to the decoder they mean: greedy, or a beam search with a language model and hot words."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.decode.greedy import greedy
from asr.decode.types import Decoder
from asr.errors import ModelError
from asr.model.recognizer import Recognizer
from asr.util.files import file_sha256

if TYPE_CHECKING:
    from asr.decode.beam import BeamSettings
    from asr.lm.model import LanguageModel

logger = logging.getLogger(__name__)

GREEDY: dict[str, Any] = {"kind": "greedy", "beam": None, "lm": None, "weights": None}  # of `wer.json`


@dataclass(frozen=True)
class DecoderOptions:
    """How to decode. Greedily, where all of them are left at their defaults; otherwise by a beam search.

    lm: a language model, a folder or an ARPA file; hotwords: words to listen for, with weights in nats a letter or None
    for the usual one; beam: prefixes kept from frame to frame, 128 by default.

    lm_weight, word_insertion_bonus, unk_score: see asr.decode.beam.BeamSettings; by default what the language model was
    tuned to. closed_vocabulary: hear only words of the language model, and hot words.
    """

    lm: str | Path | None = None
    hotwords: Mapping[str, float | None] = field(default_factory=dict)
    beam: int | None = None
    lm_weight: float | None = None
    word_insertion_bonus: float | None = None
    unk_score: float | None = None
    closed_vocabulary: bool = False

    @property
    def greedy(self) -> bool:
        return self == DecoderOptions()

    def decoder(self, recognizer: Recognizer) -> Decoder:
        """The decoder for a recognizer. Raises ModelError, ConfigError, TextError for what does not fit it."""
        if self.greedy:
            return greedy
        from asr.decode.beam import prepare

        settings, lm = self._settings(), self._lm
        if lm is not None and lm.tuned.get("model", recognizer.name) != recognizer.name:
            logger.warning(f"{self.lm} was tuned with the model '{lm.tuned['model']}': asr lm tune fits it to this one")
            lm.tuned.pop("platt_scaling", None)
        tokenizer, normalizer = recognizer.tokenizer, recognizer.text.normalizer
        return prepare(tokenizer, normalizer, settings, lm, self.hotwords).warm_up()

    def record(self) -> dict[str, Any]:
        """The decoder as `wer.json` names it."""
        if self.greedy:
            return GREEDY
        from asr.decode.lexicon import HOT_WORD_WEIGHT

        settings = asdict(self._settings())
        weights = {word: HOT_WORD_WEIGHT if weight is None else weight for word, weight in self.hotwords.items()}
        return {
            "kind": "beam",
            "beam": settings.pop("beam"),
            "lm": None if self.lm is None else {"path": str(self.lm), "sha256": _path_sha256(Path(self.lm))},
            "weights": settings,
            "hotwords": weights,
        }

    @cached_property
    def _lm(self) -> LanguageModel | None:
        from asr.lm.model import LanguageModel

        return None if self.lm is None else LanguageModel.load(self.lm)

    def _settings(self) -> BeamSettings:
        from asr.decode.beam import BeamSettings

        if self.lm is not None and not Path(self.lm).exists():
            raise ModelError(f"{self.lm}: no such language model; asr lm train makes one from a text")
        # An ARPA file holds no weights; only a search needs it to be read.
        tuned = self._lm.weights if self.lm is not None and Path(self.lm).is_dir() and self._lm is not None else {}
        names = ("beam", "lm_weight", "word_insertion_bonus", "unk_score")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return BeamSettings(**(tuned | given), closed_vocabulary=self.closed_vocabulary)


def _path_sha256(path: Path) -> str:
    """Of a file; of a folder: over the sums of its files, but for hidden and unfinished ones, which come and go."""
    if not path.is_dir():
        return file_sha256(path)
    files = [file for file in sorted(path.iterdir()) if file.is_file()]
    kept = [file for file in files if file.name[0] != "." and file.suffix != ".part"]
    return sha256("".join(map(file_sha256, kept)).encode()).hexdigest()
