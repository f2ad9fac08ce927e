"""Search for the weights with which a language model leaves the fewest word errors on a development set.

The acoustic model is computed once; its log-probabilities are searched again and again. A coarse grid comes first, then
steps from the best point along each axis, smaller and smaller.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from asr.data.manifest import Manifest, Utterance
from asr.decode.beam import BeamSearch, BeamSettings, prepare, rescored
from asr.decode.decoder import decode_waveforms, log_prob_rows, with_confidence, words_of
from asr.errors import ManifestError
from asr.evaluate.calibration import fit_platt_scaling, word_correctness
from asr.evaluate.run import chunks, model_sha256, readable
from asr.evaluate.score import Pair, score
from asr.lm.model import LanguageModel, store_tuned
from asr.model.recognizer import Recognizer
from asr.text import normalize
from asr.util.files import file_sha256
from asr.util.runtime import map_ahead


class Weights(NamedTuple):
    """The fields of BeamSettings that are tuned."""

    lm_weight: float
    word_insertion_bonus: float
    unk_score: float


GRID = [Weights(*values, -20.0) for values in product((0.25, 0.5, 0.75, 1.0, 1.5), (-1.5, 0.0, 1.5))]
STEP = Weights(0.2, 1.0, 4.0)
STEP_SIZES = (1.0, 0.5, 0.25)  # in units of STEP
MAX_TRIALS = 100
RESCORE_WEIGHTS = tuple(step / 10 for step in range(11))


class Trial(NamedTuple):
    """Error rates with some weights, as fractions."""

    weights: Weights
    wer: float
    cer: float


@dataclass
class DevelopmentSet:
    """log_probs: (frames, tokens) float32 of each utterance; references: their normalized texts; failed: why others
    could not be read."""

    log_probs: list[np.ndarray] = field(default_factory=list)
    references: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


def compute_log_probs(
    recognizer: Recognizer, manifest: Manifest, utterances: Iterable[Utterance] | None = None
) -> DevelopmentSet:
    """Run the acoustic model on a manifest. An utterance that cannot be read is noted in `failed` and left out.

    utterances: an iterator over the manifest's utterances that shows progress; default: the manifest itself.
    Raises ManifestError for utterances without text, and where no words remain.
    """
    made = DevelopmentSet()
    normalizer = recognizer.text.normalizer
    examples = readable(manifest, utterances, recognizer.sample_rate, made.failed)
    for chunk in chunks(examples, recognizer.sample_rate):
        made.references += [normalize(utterance.text or "", normalizer, utterance.lang) for utterance, _ in chunk]
        made.log_probs += decode_waveforms(recognizer, [samples for _, samples in chunk], log_prob_rows)
    if not any(made.references):
        unread = f"; {len(made.failed)} could not be read, such as {made.failed[0]}" if made.failed else ""
        raise ManifestError(f"{manifest.path}: no words to compare with{unread}")
    return made


def tune(
    recognizer: Recognizer, lm: LanguageModel, development: DevelopmentSet, settings: BeamSettings
) -> Iterator[Trial]:
    """Yield a trial for each set of weights, as it is decoded. settings: everything but the weights.

    Raises ModelError, ConfigError with the first trial, if the language model or the settings do not fit.
    """
    tokenizer, normalizer = recognizer.tokenizer, recognizer.text.normalizer

    def measure(weights: Weights) -> Trial:
        search = prepare(tokenizer, normalizer, replace(settings, **weights._asdict()), lm)
        workers, rows = os.cpu_count() or 1, development.log_probs
        texts = [normalize(text, normalizer) for text in map_ahead(search.best_text, rows, workers, len(rows))]
        scores = score([Pair("", *both) for both in zip(development.references, texts, strict=True)])
        assert scores.wer is not None  # `compute_log_probs` requires words
        assert scores.cer is not None
        return Trial(weights, scores.wer, scores.cer)

    return search_weights(measure, unknown_words=not settings.closed_vocabulary and tokenizer.kind != "phones")


def tune_rescoring(
    recognizer: Recognizer, search: BeamSearch, development: DevelopmentSet
) -> Iterator[tuple[float, float]]:
    """Yield (weight, WER) for each weight of a search's rescorer; what is found and its scores are computed once."""
    assert search.rescorer is not None
    count, rows = search.rescorer.count, development.log_probs
    lists = list(map_ahead(lambda log_probs: search.n_best(log_probs, count), rows, os.cpu_count() or 1, len(rows)))
    scores = [search.rescorer.score(list(map(search.text_of, found))) for found in lists]
    for weight in RESCORE_WEIGHTS:
        mixed = search.settings.lm_weight * weight
        best = [rescored(found, scored, mixed) for found, scored in zip(lists, scores, strict=True)]
        texts = [normalize(search.text_of(each), recognizer.text.normalizer) for each in best]
        wer = score([Pair("", *both) for both in zip(development.references, texts, strict=True)]).wer
        assert wer is not None  # `compute_log_probs` requires words
        yield weight, wer


def search_weights(measure: Callable[[Weights], Trial], unknown_words: bool = True) -> Iterator[Trial]:
    """Yield every trial as it is made, none twice. unknown_words: whether to tune unk_score as well."""
    tried: dict[Weights, Trial] = {}

    def attempt(weights: Weights) -> Iterator[Trial]:
        if weights not in tried and weights.lm_weight >= 0 and len(tried) < MAX_TRIALS:
            tried[weights] = measure(weights)
            yield tried[weights]

    for weights in GRID:
        yield from attempt(weights)
    for size in STEP_SIZES:
        center, best = None, best_of(tried.values()).weights
        while best != center:
            center = best
            for axis, step in STEP._asdict().items():
                if axis != "unk_score" or unknown_words:
                    for change in (-size * step, size * step):
                        yield from attempt(center._replace(**{axis: round(getattr(center, axis) + change, 4)}))
            best = best_of(tried.values()).weights


def best_of(trials: Iterable[Trial]) -> Trial:
    """The trial with the lowest WER; among equals the lowest CER, then the first."""
    return min(trials, key=lambda trial: (trial.wer, trial.cer))


def calibrate(
    recognizer: Recognizer, lm: LanguageModel, development: DevelopmentSet, settings: BeamSettings
) -> tuple[float, float]:
    """Fit Platt scaling to the confidences of words found with the language model; see `fit_platt_scaling`.

    settings: including the tuned weights. Returns slope and offset.
    """
    normalizer = recognizer.text.normalizer
    search = prepare(recognizer.tokenizer, normalizer, settings, lm)
    decode = with_confidence(search, recognizer, (1.0, 0.0))
    pairs = []
    for log_probs, reference in zip(development.log_probs, development.references, strict=True):
        [found] = decode(torch.from_numpy(log_probs).unsqueeze(0), torch.tensor([len(log_probs)]))
        text = normalize(" ".join(words_of(found, recognizer.tokenizer)), normalizer)
        pairs.append(Pair("", reference, text, confidence=tuple(found.confidence)))
    return fit_platt_scaling(*word_correctness(pairs))


def store(
    folder: Path,
    best: Trial,
    platt_scaling: tuple[float, float],
    settings: BeamSettings,
    recognizer: Recognizer,
    model: Path,
    manifest: Path,
) -> None:
    """Write the best weights into a language model's lm.json, and what they were measured with.

    model: the recognizer's folder.
    """
    source = {"platt_scaling": list(platt_scaling), "wer": best.wer, "cer": best.cer}
    names = {"model": recognizer.name, "manifest": manifest.name}
    store_tuned(folder, best.weights._asdict() | source | names | _conditions(settings, model, manifest))


def is_tuned(lm: LanguageModel, settings: BeamSettings, model: Path, manifest: Path) -> bool:
    """Whether the language model's weights were tuned for just this."""
    return lm.tuned.items() >= _conditions(settings, model, manifest).items()


def _conditions(settings: BeamSettings, model: Path, manifest: Path) -> dict[str, Any]:
    """What the best weights depend on."""
    return {
        "beam": settings.beam,
        "closed_vocabulary": settings.closed_vocabulary,
        "model_sha256": model_sha256(model),
        "manifest_sha256": file_sha256(manifest),
    }
