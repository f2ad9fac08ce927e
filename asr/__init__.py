"""Recurrent speech recognition with CTC.

    >>> import asr
    >>> model = asr.load("digits")  # a built-in model's name, a model folder or a run folder
    >>> model.transcribe("data/samples/heart_16k.flac").text
    'four one five nine two six five'

`model.align(audio, text)` finds when each word of a text was said, `model.evaluate(manifest)` measures the word error
rate, and `asr.train_model(config)` makes a new model.

Importing this package is fast: torch is loaded when it is first needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from asr.errors import AsrError

if TYPE_CHECKING:
    from pathlib import Path

    from asr.decode.align import AlignedToken, AlignedWord, Alignment, Word
    from asr.transcribe import Segment, Transcriber, Transcript

__version__ = "0.1.0"

# Name -> the module that it is imported from when it is first used.
_LAZY = {
    "AlignedToken": "asr.decode.align",
    "AlignedWord": "asr.decode.align",
    "Alignment": "asr.decode.align",
    "Segment": "asr.transcribe",
    "Transcriber": "asr.transcribe",
    "Transcript": "asr.transcribe",
    "Word": "asr.decode.align",
}
__all__ = [
    "AlignedToken",
    "AlignedWord",
    "Alignment",
    "AsrError",
    "Segment",
    "Transcriber",
    "Transcript",
    "Word",
    "__version__",
    "load",
    "train_model",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'asr' has no attribute {name!r}")
    from asr.util.libraries import library_errors

    with library_errors():
        return getattr(import_module(_LAZY[name]), name)


def load(
    model: str | Path | None = None,
    device: str = "auto",
    *,
    lm: str | Path | None = None,
    hotwords: Mapping[str, float | None] | Iterable[str] = (),
    beam: int | None = None,
    lm_weight: float | None = None,
    word_insertion_bonus: float | None = None,
    unk_score: float | None = None,
    closed_vocabulary: bool = False,
    vocabulary: str | Path | Mapping[str, float] | Iterable[str] | None = None,
    rescore: str | Path | None = None,
    rescore_weight: float | None = None,
) -> Transcriber:
    """Load a model, ready to transcribe, align and evaluate.

    model: a model folder, a run folder or a built-in model's name; by default the built-in model "english".
    device: "auto", "cpu", "cuda" or "cuda:N".
    lm: a language model, made by `asr lm train`, or an ARPA file.
    hotwords: words to listen for: a list, or a mapping to weights in nats a letter (None: the default weight).
    beam: prefixes that the search keeps, 512 by default; without lm, hotwords and beam, decoding is greedy.
    lm_weight: weight of the language model; by default what `asr lm tune` found, as for the next two.
    word_insertion_bonus, unk_score: nats added for every word, and for every word that the language model lacks.
    closed_vocabulary: recognize only words of the language model, and hot words.
    vocabulary: the only words and phrases to be recognized, instead of lm and hotwords: a list, a mapping to weights,
        or a file of one a line. Other words are left out, at unk_score nats a token; with closed_vocabulary all that
        is said is taken for the vocabulary.
    rescore: a neural language model, made by `asr lm train --neural`, that chooses among the best texts of the search.
    rescore_weight: its share beside lm, 0 to 1; by default what `asr lm tune` found.

    >>> import asr
    >>> model = asr.load("digits", device="cpu", beam=16, hotwords=["nine"])
    >>> model.transcribe("data/samples/heart_16k.flac").text
    'four one five nine two six five'

    Raises ModelError when there is no such model or its folder is damaged, ConfigError and TextError for settings and
    hot words that do not fit it, LibraryError when torch or another library is missing or does not load.
    """
    from asr.util.libraries import library_errors

    with library_errors():
        from asr.decode.options import DecoderOptions
        from asr.transcribe import Transcriber

        hotwords = hotwords if isinstance(hotwords, Mapping) else dict.fromkeys(hotwords)
        entries = None
        if vocabulary is not None:
            from asr.decode.vocabulary import read_vocabulary

            entries = read_vocabulary(vocabulary)
        weights = lm_weight, word_insertion_bonus, unk_score
        options = DecoderOptions(lm, hotwords, beam, *weights, closed_vocabulary, entries, rescore, rescore_weight)
        return Transcriber.load(model, device, options)


def train_model(config: str | Path, *overrides: str) -> Path:
    """Train a model, or resume its training. Returns the run folder, which `asr.load` takes once the training is done.

    config: a YAML file; overrides: settings to change, such as "train.epochs=20".

    >>> import asr
    >>> run = asr.train_model("mine.yaml", "train.epochs=1", "run=runs/short")
    >>> asr.load(run).recognizer.name
    'short'

    Raises ConfigError for a wrong setting, ManifestError, AudioError and TextError for data that cannot be used,
    TrainError for a training that cannot start or continue.
    """
    from asr.util.libraries import library_errors

    with library_errors():
        from asr.config import load_config
        from asr.train.run import train

        settings = load_config(config, overrides)
        train(settings)
        return settings.run
