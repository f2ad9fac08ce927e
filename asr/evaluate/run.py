"""Evaluate a model on a manifest: scores, `wer.json`, and the texts in sclite's trn format."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from asr import __version__
from asr.data.manifest import Manifest, Utterance
from asr.data.waveforms import read_utterance
from asr.decode.decoder import GREEDY, Decoder, decode_waveforms, greedy, with_confidence, words_of
from asr.errors import AudioError, ManifestError
from asr.evaluate.calibration import diagram, measure, word_correctness
from asr.evaluate.score import Pair, Scores, count_homophones, score
from asr.model.folder import LEXICON
from asr.model.recognizer import Recognizer
from asr.text import normalize
from asr.util.files import file_sha256, replace_file

FORMAT = 1
SCORES = ("wer", "cer", "ser", "hits", "substitutions", "deletions", "insertions", "words", "utterances")
CHUNK_S = 600.0  # seconds of audio in memory at once

Example = tuple[Utterance, np.ndarray]


@dataclass
class Evaluation:
    """pairs: in the manifest's order; failed: an error message for each unreadable utterance, which is not scored.

    audio_s, compute_s: seconds of audio, and seconds that decoding took. phones: the pairs say how words sound, since
    the decoder knew no words; see Tokenizer.pronounce. homophones: substitutions by a word that sounds the same; per:
    the error rate of phones; None where there are no words, or where the model does not know how they sound.
    """

    pairs: list[Pair] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    audio_s: float = 0.0
    compute_s: float = 0.0
    phones: bool = False
    homophones: int | None = None
    per: float | None = None

    def score(self) -> Scores:
        return score(self.pairs, phones=self.phones)


def evaluate(recognizer: Recognizer, examples: Iterable[Example], decoder: Decoder = greedy) -> Evaluation:
    """Decode utterances with (samples,) float32 waveforms at the model's rate and pair them with their references."""
    result = Evaluation()
    decode = with_confidence(decoder, recognizer)
    normalizer, tokenizer = recognizer.text.normalizer, recognizer.tokenizer
    for chunk in chunks(examples, recognizer.sample_rate):
        began = time.perf_counter()
        hypotheses = decode_waveforms(recognizer, [samples for _, samples in chunk], decode)
        result.compute_s += time.perf_counter() - began
        for (utterance, samples), hypothesis in zip(chunk, hypotheses, strict=True):
            result.audio_s += len(samples) / recognizer.sample_rate
            text = " ".join(words_of(hypothesis, tokenizer))
            reference = normalize(utterance.text or "", normalizer, utterance.lang)
            if tokenizer.kind == "phones" and hypothesis.words is None:
                result.phones, reference = True, tokenizer.pronounce(reference)
            else:
                text = normalize(text, normalizer)
            result.pairs.append(Pair(utterance.id, reference, text, utterance.speaker, tuple(hypothesis.confidence)))
    if tokenizer.kind == "phones" and not result.phones:
        result.homophones = count_homophones(result.pairs, tokenizer.spellings_of)
        pronounce = tokenizer.pronounce
        sounds = [Pair(pair.id, pronounce(pair.reference), pronounce(pair.hypothesis)) for pair in result.pairs]
        result.per = score(sounds, phones=True).cer
    return result


def evaluate_manifest(
    recognizer: Recognizer, manifest: Manifest, utterances: Iterable[Utterance] | None = None, decoder: Decoder = greedy
) -> Evaluation:
    """Score a manifest whose every utterance has a text; an unreadable recording is noted in `failed`.

    utterances: an iterator over the manifest's utterances that shows progress; default: the manifest itself.
    Raises ManifestError for a manifest without utterances, or with one that has no text.
    """
    if len(manifest) == 0:
        raise ManifestError(f"{manifest.path}: no utterances")
    failed: list[str] = []
    result = evaluate(recognizer, readable(manifest, utterances, recognizer.sample_rate, failed), decoder)
    result.failed = failed
    return result


def readable(
    manifest: Manifest, utterances: Iterable[Utterance] | None, sample_rate: int, failed: list[str]
) -> Iterator[Example]:
    """The manifest's readable utterances with their waveforms; error messages of the others are appended to `failed`.

    utterances: see `evaluate_manifest`. Raises ManifestError for an utterance without text.
    """
    for utterance in manifest if utterances is None else utterances:
        if utterance.text is None:
            raise ManifestError(f"{manifest.path}: utterance {utterance.id} has no text to compare with")
        try:
            yield utterance, read_utterance(utterance, sample_rate)
        except AudioError as error:
            failed.append(f"utterance {utterance.id}: {error}")


def chunks(examples: Iterable[Example], sample_rate: int) -> Iterator[list[Example]]:
    """Group the examples, so that only CHUNK_S of audio, or a little more, is in memory at once."""
    chunk: list[Example] = []
    for example in examples:
        chunk.append(example)
        if sum(len(samples) for _, samples in chunk) >= CHUNK_S * sample_rate:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def make_record(
    evaluation: Evaluation,
    scores: Scores,
    recognizer: Recognizer,
    model: Path | None,
    manifest: Path,
    decoder: dict[str, Any] = GREEDY,
) -> dict[str, Any]:
    """The contents of `wer.json`. model: the recognizer's folder, None if it was not loaded from one; decoder: see
    `DecoderOptions.record`."""
    interval = scores.interval
    return {
        "format": FORMAT,
        **{name: getattr(scores, name) for name in SCORES},
        "homophones": evaluation.homophones,
        "per": evaluation.per,
        "failed": len(evaluation.failed),
        "wer_ci95": [interval.low, interval.high] if interval else None,
        "ci_method": interval.method if interval else None,
        "ci_unit": interval.unit if interval else None,
        "confidence": measure(*word_correctness(evaluation.pairs)),
        "rtf": evaluation.compute_s / evaluation.audio_s if evaluation.audio_s else None,
        "audio_s": round(evaluation.audio_s, 3),
        "normalizer": recognizer.text.normalizer,
        "decoder": decoder,
        "model": recognizer.name if model is None else str(model),
        "model_sha256": None if model is None else model_sha256(model),
        "manifest": str(manifest),
        "manifest_sha256": file_sha256(manifest),
        "seed": recognizer.training_record.get("seed"),
        "device": str(recognizer.device),
        "asr_version": __version__,
    }


def write_evaluation(folder: Path, evaluation: Evaluation, record: dict[str, Any]) -> None:
    """Write `wer.json`, `ref.trn`, `hyp.trn` and, where there are words, `confidence.svg` below `folder`; wer.json
    comes last: if it exists, the others are complete."""
    references = [f"{pair.reference} ({_trn_id(pair)})\n" for pair in evaluation.pairs]
    hypotheses = [f"{pair.hypothesis} ({_trn_id(pair)})\n" for pair in evaluation.pairs]
    replace_file(folder / "ref.trn", "".join(references))
    replace_file(folder / "hyp.trn", "".join(hypotheses))
    if record["confidence"]:
        replace_file(folder / "confidence.svg", diagram(record["confidence"]))
    replace_file(folder / "wer.json", json.dumps(record, indent=2, ensure_ascii=False) + "\n")


def stored_evaluation(
    folder: Path, model: Path, manifest: Path, decoder: dict[str, Any] = GREEDY
) -> dict[str, Any] | None:
    """The wer.json in `folder` if it is complete and of this model, manifest, decoder and version; otherwise None."""
    try:
        record = json.loads((folder / "wer.json").read_text(encoding="utf-8"))
        keys = ("model_sha256", "manifest_sha256", "asr_version", "failed", "decoder")
        expected = [model_sha256(model), file_sha256(manifest), __version__, 0, decoder]
        same = [record[key] for key in keys] == expected
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if same else None


def model_sha256(folder: Path) -> str:
    """One checksum over all that determines a model's output: its config, its weights and its lexicon."""
    files = [folder / name for name in ("config.json", "model.safetensors", LEXICON)]
    sums = [file_sha256(path) for path in files if path.name != LEXICON or path.is_file()]
    return hashlib.sha256("".join(sums).encode()).hexdigest()


def _trn_id(pair: Pair) -> str:
    """The id of a trn line. sclite takes what stands before the first - or _ for the speaker; brackets would end it."""
    name = re.sub(r"[\s()]", ".", pair.id)
    speaker = re.sub(r"[\s()_-]", ".", pair.speaker) if pair.speaker else None
    return name if speaker is None or re.match(rf"{re.escape(speaker)}[-_]", name) else f"{speaker}-{name}"
