"""Options of the commands that decode, and the decoder they mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import cached_property, wraps
from hashlib import sha256
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from asr.cli.console import say
from asr.errors import ModelError

if TYPE_CHECKING:
    from asr.decode.batch import Decoder
    from asr.decode.beam import BeamSettings
    from asr.lm.model import LanguageModel
    from asr.model.recognizer import Recognizer


@dataclass(frozen=True)
class Decoding:
    """What the options say; None where they are silent. Each field is an option, see `decodes`."""

    beam: Annotated[
        int | None, typer.Option(min=1, help="Beam search with so many prefixes; default: greedy, 128 with --lm.")
    ] = None
    lm: Annotated[Path | None, typer.Option(metavar="LM", help="A language model: a folder or an ARPA file.")] = None
    lm_weight: Annotated[
        float | None, typer.Option(help="Weight of the language model; default: what it was tuned to, or 0.5.")
    ] = None
    word_insertion_bonus: Annotated[
        float | None, typer.Option(help="Added for every word, in nats; default: as tuned, or 0.5.")
    ] = None
    unknown_penalty: Annotated[
        float | None, typer.Option(help="Added for words the language model lacks, in nats; default: as tuned, or -10.")
    ] = None
    closed: Annotated[
        bool, typer.Option("--closed", help="Only words of the language model, and hot words, are heard.")
    ] = False
    hotwords: Annotated[
        list[str] | None,
        typer.Option(
            "--hotword",
            metavar="NAME[:WEIGHT]|@FILE",
            help="Listen for this word; weight in nats a letter. Repeatable.",
        ),
    ] = None

    @property
    def greedy(self) -> bool:
        return self == Decoding()

    def decoder(self, recognizer: Recognizer) -> Decoder:
        """Raises ModelError, ConfigError, TextError for what does not fit the recognizer."""
        if self.greedy:
            from asr.decode.greedy import greedy

            return greedy
        from asr.decode.beam import prepare

        lm = self._lm
        if lm is not None and lm.tuned.get("model", recognizer.name) != recognizer.name:
            say(f"note: {self.lm} was tuned with the model '{lm.tuned['model']}': asr lm tune fits it to this one")
            lm.tuned.pop("platt_scaling", None)
        search = prepare(recognizer.tokenizer, recognizer.text.normalizer, self._settings(), lm, self._hot_words())
        return search.warm_up(say)

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

    @cached_property
    def _lm(self) -> LanguageModel | None:
        from asr.lm.model import LanguageModel

        return None if self.lm is None else LanguageModel.load(self.lm)

    def _settings(self) -> BeamSettings:
        from asr.decode.beam import BeamSettings

        if self.lm is not None and not self.lm.exists():
            raise ModelError(f"--lm {self.lm}: is not there; asr lm train makes a language model from a text")
        # An ARPA file holds no weights; only a search needs it to be read.
        tuned = self._lm.weights if self.lm is not None and self.lm.is_dir() else {}
        options = {
            name: getattr(self, name) for name in ("beam", "lm_weight", "word_insertion_bonus", "unknown_penalty")
        }
        given = {name: value for name, value in options.items() if value is not None}
        return BeamSettings(**(tuned | given), closed=self.closed)

    def _hot_words(self) -> dict[str, float]:
        from asr.decode.hotwords import parse_hot_words

        return parse_hot_words(self.hotwords or ())


def decodes(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the fields of Decoding as options, in place of its last parameter, `decoding`."""
    hints = get_type_hints(Decoding, include_extras=True)
    options = [
        Parameter(field.name, Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name])
        for field in fields(Decoding)
    ]
    whole = signature(command, eval_str=True)
    parameters = [*(own for name, own in whole.parameters.items() if name != "decoding"), *options]

    @wraps(command)
    def run(**given: Any) -> None:
        command(decoding=Decoding(**{option.name: given.pop(option.name) for option in options}), **given)

    run.__signature__ = whole.replace(parameters=parameters)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _path_sha256(path: Path) -> str:
    """Of a file; of a folder: over the sums of its files, but for hidden and unfinished ones, which come and go."""
    from asr.util.files import file_sha256

    if not path.is_dir():
        return file_sha256(path)
    files = [file for file in sorted(path.iterdir()) if file.is_file()]
    kept = [file for file in files if file.name[0] != "." and file.suffix != ".part"]
    return sha256("".join(map(file_sha256, kept)).encode()).hexdigest()
