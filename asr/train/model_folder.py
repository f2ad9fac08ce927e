"""From a checkpoint to a model folder: the best one at the end of training, any other by `asr make-model`."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from asr.config import Config, parse_config
from asr.data.manifest import Manifest, Utterance
from asr.data.subset import read_pronunciations
from asr.decode.decoder import Decoder, greedy
from asr.errors import TrainError
from asr.evaluate.calibration import fit_platt_scaling, word_correctness
from asr.evaluate.run import evaluate, evaluate_manifest
from asr.model.folder import refuse_model_in, save_model
from asr.model.recognizer import EMISSION_DELAY_S, Recognizer
from asr.text import Tokenizer
from asr.train.checkpoint import Progress, load_checkpoint


def export_best(
    run: Path,
    config: Config,
    recognizer: Recognizer,
    about: dict[str, Any],
    dev: Iterable[tuple[Utterance, np.ndarray]],
    decoder: Decoder = greedy,
) -> float:
    """Write the best checkpoint, or the average that is better, as a model folder, its confidences calibrated on `dev`.

    about: facts for the model card; dev: utterances of the development set with (samples,) float32 waveforms; decoder:
    what they are decoded with.
    Returns the model's WER on the development set, inf if that has no words.
    """
    folder = run / "checkpoints"
    last, _ = load_checkpoint(folder / "last.pt")
    averaged = folder / "averaged.pt"
    best, states = load_checkpoint(averaged if averaged.exists() else folder / "best.pt")
    recognizer.load_state_dict(states["model"])
    if best.best_epoch != 0 or averaged.exists():  # else it is the model that the training started from
        recognizer.platt_scaling = fit_platt_scaling(*word_correctness(evaluate(recognizer.eval(), dev, decoder).pairs))
    about = about | states.get("about", {})
    recognizer.training_record = training_record(config, last, about, best.best_epoch, best.best_wer, best.best_cer)
    save_model(recognizer, run / "model")
    return math.inf if best.best_wer is None else best.best_wer


def make_model(
    checkpoint: Path,
    output: Path,
    blank_bias: float = 0.0,
    emission_delay_s: float = EMISSION_DELAY_S,
    dev: Path | None = None,
    weights: str = "fp32",
) -> Recognizer:
    """Write any checkpoint of a run as a model folder. If last.pt has a running average of weights, that is written.

    blank_bias: nats added to the blank's logit: fewer words are heard in noise, and more are missed.
    emission_delay_s, weights: see Recognizer. dev: a manifest to calibrate confidences on; without it they are not.
    Raises TrainError for what is no checkpoint in a run's folder, ModelError when `output` holds a model already.
    """
    refuse_model_in(output)
    if not checkpoint.is_file():
        raise TrainError(f"{checkpoint}: no such file; a run's checkpoints are in its folder checkpoints")
    config = read_run_config(checkpoint.resolve().parent.parent)
    progress, states = load_checkpoint(checkpoint)
    kept = states if "identity" in states else load_checkpoint(checkpoint.with_name("last.pt"))[1]
    guessed = {word: list(map(tuple, each)) for word, each in kept["identity"].get("guessed words", {}).items()}
    lexicon = read_pronunciations(config) | guessed
    tokenizer = Tokenizer(config.text.tokens, tuple(kept["identity"]["tokens"]), lexicon)
    normalizer = kept.get("about", {}).get("normalizer", config.text.normalizer)
    text = config.text.model_copy(update={"normalizer": normalizer})
    recognizer = Recognizer(config.features, text, config.model, tokenizer)
    try:
        recognizer.load_state_dict(_weights(states))
    except (KeyError, RuntimeError) as error:
        raise TrainError(f"{checkpoint}: is not of this run ({str(error).splitlines()[0]})") from None
    with torch.no_grad():
        recognizer.head.projection.bias[0] += blank_bias
    recognizer.emission_delay_s = emission_delay_s
    recognizer.weights = weights
    recognizer.name = output.resolve().name
    if tokenizer.kind == "phones":
        recognizer.lm, recognizer.g2p = config.data.lm, config.data.g2p
    about, dev_rates = kept.get("about", {}), [states.get("dev", {}).get(rate) for rate in ("wer", "cer")]
    recognizer.training_record = training_record(config, progress, about, progress.epoch, *dev_rates)
    if blank_bias:
        recognizer.training_record["blank_bias"] = blank_bias
    if dev is not None:
        decoder = development_decoder(recognizer)
        evaluation = evaluate_manifest(recognizer.eval(), Manifest(dev), decoder=decoder)
        if evaluation.failed:
            raise TrainError(evaluation.failed[0])
        recognizer.platt_scaling = fit_platt_scaling(*word_correctness(evaluation.pairs))
    save_model(recognizer, output)
    return recognizer


def development_decoder(recognizer: Recognizer) -> Decoder:
    """What a recognizer is validated with: greedy decoding, or for one with a language model of its own, that.

    Raises ModelError when that does not fit.
    """
    if recognizer.lm is None:
        return greedy
    from asr.decode.beam import prepare
    from asr.lm.model import LanguageModel

    lm = LanguageModel.load(recognizer.lm)
    return prepare(recognizer.tokenizer, recognizer.text.normalizer, lm=lm).warm_up()


def training_record(
    config: Config, progress: Progress, about: dict[str, Any], epoch: int | None, wer: float | None, cer: float | None
) -> dict[str, Any]:
    """The "training" record of a model folder. wer, cer: of the weights of `epoch` on the development set; inf if that
    has no words."""
    rates = {"dev_wer": wer, "dev_cer": cer}
    return {
        "description": config.description,
        "license": config.license,
        **about,
        "epochs": progress.epoch,
        "seed": config.train.seed,
        "loss": config.train.loss,
        "minutes": round(progress.seconds / 60, 2),
        "best_epoch": epoch,
        **{name: None if rate is None or math.isinf(rate) else rate for name, rate in rates.items()},
    }


def read_run_config(run: Path) -> Config:
    """The settings a run was made with. Raises TrainError when its folder has none."""
    path = run / "config.yaml"
    try:
        return parse_config(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
    except FileNotFoundError:
        raise TrainError(f"{run}: not a run's folder (no config.yaml)") from None
    except (OSError, ValueError, yaml.YAMLError, AttributeError) as error:
        raise TrainError(f"{path}: unreadable: {' '.join(str(error).split())}") from None


def _weights(states: dict[str, Any]) -> dict[str, Any]:
    """The running average of weights where there is one, otherwise the weights themselves."""
    prefix = "module."
    averaged = states.get("averaged", {})
    return {k.removeprefix(prefix): v for k, v in averaged.items() if k.startswith(prefix)} or states["model"]
