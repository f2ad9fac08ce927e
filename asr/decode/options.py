"""How to decode, as a user says it: from options to a decoder, and how `wer.json` names it."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr.config import NO_LM
from asr.decode.decoder import GREEDY, Decoder, greedy
from asr.decode.lexicon import HOT_WORD_WEIGHT
from asr.errors import ConfigError, ModelError
from asr.model.folder import LM
from asr.model.recognizer import Recognizer
from asr.util.files import file_sha256

if TYPE_CHECKING:
    from asr.decode.beam import BeamSettings, Rescorer
    from asr.lm.model import LanguageModel

logger = logging.getLogger(__name__)

LISTED = 50  # entries of a vocabulary in `wer.json` at most


@dataclass(frozen=True)
class DecoderOptions:
    """How to decode. Greedily, where all of them are left at their defaults; otherwise by a beam search.

    lm: a language model, a folder or an ARPA file; by default the model's own, if it has one; "none": without.
    hotwords: words to listen for, with weights in nats a letter or None for the usual one. beam: prefixes kept from
    frame to frame, 512 by default.

    lm_weight, word_insertion_bonus, unk_score: see asr.decode.beam.BeamSettings; by default what the language model was
    tuned to. closed_vocabulary: hear only words of the language model, and hot words.

    vocabulary: instead of lm and hotwords, the only words and phrases to be heard, with weights, see
    asr.decode.vocabulary. Other words are left out, and cost unk_score for each of their tokens; with closed_vocabulary
    there are none.

    rescore: a neural language model's folder; it chooses among the best texts that the search finds. rescore_weight:
    its share beside the language model, 0 to 1; by default what it was tuned to.

    Raises ConfigError for options that exclude each other.
    """

    lm: str | Path | None = None
    hotwords: Mapping[str, float | None] = field(default_factory=dict)
    beam: int | None = None
    lm_weight: float | None = None
    word_insertion_bonus: float | None = None
    unk_score: float | None = None
    closed_vocabulary: bool = False
    vocabulary: Mapping[str, float] | None = None
    rescore: str | Path | None = None
    rescore_weight: float | None = None

    def __post_init__(self) -> None:
        if self.vocabulary is not None and (self.lm is not None or self.hotwords or self.rescore is not None):
            raise ConfigError(
                "a vocabulary is a language model of its own: leave out lm, hotwords and rescore, and give its words"
                " weights"
            )

    @property
    def greedy(self) -> bool:
        return self == DecoderOptions()

    def for_model(self, folder: Path) -> DecoderOptions:
        """The same with the model's own language model where it has one and none is named; "none" stands for none."""
        if self.vocabulary is not None:
            return self
        if str(self.lm) == NO_LM:
            return replace(self, lm=None)
        own = folder / LM
        return replace(self, lm=own) if self.lm is None and (own / "lm.json").is_file() else self

    def decoder(self, recognizer: Recognizer) -> Decoder:
        """The decoder for a recognizer. Raises ModelError, ConfigError, TextError for what does not fit it."""
        if self.greedy:
            return greedy
        from asr.decode.beam import prepare

        settings, lm = self._settings(), self._lm
        given = [name for name in ("lm_weight", "unk_score") if getattr(self, name) is not None]
        if lm is None and self.vocabulary is None and given:
            logger.warning(f"{', '.join(given)}: not used without a language model (lm)")
        if lm is not None and lm.tuned.get("model", recognizer.name) != recognizer.name:
            logger.warning(f"{self.lm} was tuned with the model '{lm.tuned['model']}': asr lm tune fits it to this one")
            lm.tuned.pop("platt_scaling", None)
        tokenizer, normalizer = recognizer.tokenizer, recognizer.text.normalizer
        hotwords, vocabulary, rescorer = self.hotwords, self.vocabulary, self._rescorer(recognizer)
        return prepare(tokenizer, normalizer, settings, lm, hotwords, vocabulary, rescorer).warm_up()

    def record(self) -> dict[str, Any]:
        """The decoder as `wer.json` names it."""
        if self.greedy:
            return GREEDY
        settings = asdict(self._settings())
        vocabulary = {} if self.vocabulary is None else {"vocabulary": _vocabulary_record(self.vocabulary)}
        record = {
            "kind": "beam",
            "beam": settings.pop("beam"),
            "lm": None if self.lm is None else {"path": str(self.lm), "sha256": _path_sha256(Path(self.lm))},
            "weights": settings,
            "hotwords": {word: HOT_WORD_WEIGHT if given is None else given for word, given in self.hotwords.items()},
            **vocabulary,
        }
        if rescorer := self._rescorer():
            named = {"path": str(self.rescore), "sha256": _path_sha256(Path(str(self.rescore)))}
            record["rescore"] = {**named, "weight": rescorer.weight, "count": rescorer.count}
        return record

    @cached_property
    def _lm(self) -> LanguageModel | None:
        from asr.lm.model import LanguageModel

        return None if self.lm is None else LanguageModel.load(self.lm)

    def _rescorer(self, recognizer: Recognizer | None = None) -> Rescorer | None:
        """recognizer: whose device the model is to compute on."""
        if self.rescore is None:
            if self.rescore_weight is not None and recognizer is not None:
                logger.warning("rescore_weight: not used without a neural language model (rescore)")
            return None
        from asr.decode.beam import RESCORE_WEIGHT, Rescorer
        from asr.lm.neural import NeuralLanguageModel

        lm = NeuralLanguageModel.load(self.rescore, "cpu" if recognizer is None else str(recognizer.device))
        weight = lm.tuned.get("rescore_weight", RESCORE_WEIGHT) if self.rescore_weight is None else self.rescore_weight
        if not 0 <= weight <= 1:
            raise ConfigError(f"rescore_weight is {weight:g}: expected 0 to 1")
        return Rescorer(lm, weight)

    def _settings(self) -> BeamSettings:
        from asr.decode.beam import BeamSettings

        if self.lm is not None and not Path(self.lm).exists():
            raise ModelError(f"{self.lm}: no such language model; asr lm train makes one from a text")
        # An ARPA file holds no weights; only a search needs it to be read.
        tuned = self._lm.weights if self.lm is not None and Path(self.lm).is_dir() and self._lm is not None else {}
        names = BeamSettings.__dataclass_fields__
        given = {name: value for name, value in vars(self).items() if name in names and value is not None}
        if self.vocabulary is not None:
            from asr.decode.vocabulary import UNK_SCORE

            tuned = {"unk_score": UNK_SCORE}
        return BeamSettings(**(tuned | given))


def _vocabulary_record(vocabulary: Mapping[str, float]) -> dict[str, Any]:
    """How many entries, a checksum over them, and if they are few the entries with their weights."""
    entries = dict(sorted(vocabulary.items()))
    digest = sha256(json.dumps(entries).encode()).hexdigest()
    return {"entries": len(entries), "sha256": digest, "words": entries if len(entries) <= LISTED else None}


def _path_sha256(path: Path) -> str:
    """Of a file; of a folder: over the sums of its files, but for hidden and unfinished ones, which come and go."""
    if not path.is_dir():
        return file_sha256(path)
    files = [file for file in sorted(path.iterdir()) if file.is_file()]
    kept = [file for file in files if file.name[0] != "." and file.suffix != ".part"]
    return sha256("".join(map(file_sha256, kept)).encode()).hexdigest()
