"""One training run: config -> data, recogniser, loop -> model folder. What `asr train` calls."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
import yaml

from asr.augment import SpecAugment
from asr.config import Config, differing, dump_yaml, parse_config
from asr.data.dataset import Batch
from asr.data.download import file_sha256
from asr.device import resolve_device, set_precision
from asr.errors import TrainError
from asr.evaluate.run import evaluate
from asr.model.ctc import Loss, ctc
from asr.model.recognizer import Recognizer
from asr.pretrained import find_model
from asr.train.card import model_card
from asr.train.checkpoint import Progress, load_checkpoint
from asr.train.corpus import (
    DevelopmentData,
    Part,
    TrainingData,
    feature_statistics,
    make_tokenizer,
    read_part,
    symbol_warnings,
)
from asr.train.lock import run_lock
from asr.train.log import RunLog
from asr.train.loop import Task, fit

Say = Callable[[str], None]

OVERFIT_EPOCHS = 300


def train(config: Config, say: Say) -> str:
    """Train as configured, resuming what `config.run` holds; writes the model folder `run/model` at the end.

    Returns "finished", "already finished", "out of time" or "interrupted".
    """
    if config.train.overfit:
        config = overfitting(config)
    run = config.run
    refuse_other_settings(run, config)
    model_folder = run / "model"
    if (model_folder / "config.json").is_file():
        return "already finished"

    recognizer, train_part, dev_part, data = prepare(config, say)
    dev = DevelopmentData(dev_part, recognizer.sample_rate, config.data.cache_mb)
    for _ in dev:  # a recording that cannot be read is found now, not when an epoch has been trained
        pass
    with run_lock(run, say):
        refuse_other_settings(run, config)  # once more: another training may have begun and stopped meanwhile
        outcome = _train(config, recognizer, train_part, dev, data)
        if outcome == "finished":
            say_what_is_wrong(export_best(run, config, recognizer, train_part), config, say)
    return outcome


def _train(config: Config, recognizer: Recognizer, train_part: Part, dev: DevelopmentData, data: TrainingData) -> str:
    run = config.run
    if not (run / "config.yaml").exists():
        (run / "config.yaml.part").write_text(dump_yaml(config), encoding="utf-8")
        (run / "config.yaml.part").replace(run / "config.yaml")
    trained_on = {"train manifest": train_part.manifest.path, "dev manifest": dev.part.manifest.path}
    if config.train.init is not None:
        trained_on["train.init"] = find_model(config.train.init) / "model.safetensors"
    if config.augment.noise is not None:
        trained_on["augment.noise"] = config.augment.noise
    task = Task(
        batches=data.batches,
        loss=make_loss(recognizer, config),
        validate=lambda candidate: evaluate(candidate, dev).score(),
        keep={
            "tokens": list(recognizer.tokenizer.tokens),
            **{name: file_sha256(path) for name, path in trained_on.items()},
        },
    )

    def open_log(progress: Progress) -> RunLog:
        log = RunLog(run, progress.step, config.train.epochs)
        if progress.step:
            log.say(f"resuming at epoch {progress.epoch + 1}, batch {progress.batch + 1}")
        return log

    return fit(recognizer, task, config.train, run / "checkpoints", open_log)


def say_what_is_wrong(wer: float, config: Config, say: Say) -> None:
    """A hint when a finished training has learned nothing, or not by heart what it should have."""
    if config.train.overfit:
        if wer > 0:
            say(
                f"warning: {config.train.overfit} utterances were not learned by heart (WER {100 * wer:.1f} %):"
                " look whether texts and audio belong together; more train.epochs or another train.lr may help"
            )
    elif wer >= 1.0:
        say(
            "warning: the model got no word of the development part right. CTC learns blanks first: give it more steps"
            " (train.epochs, a smaller train.batch_s); see whether train.overfit=10 learns ten utterances by heart"
        )


def prepare(config: Config, say: Say) -> tuple[Recognizer, Part, Part, TrainingData]:
    """Read the data, report what will not train, and make the recogniser with its initial weights."""
    device = resolve_device(config.device)
    precision = "tf32" if config.train.precision == "auto" else config.train.precision
    set_precision(precision)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    train_part = read_part(config.data.train, config, "data.train")
    dev_part = train_part if config.train.overfit else read_part(config.data.dev, config, "data.dev")
    tokenizer = make_tokenizer(config, train_part)
    torch.manual_seed(config.train.seed)
    recognizer = Recognizer(config.features, config.text, config.model, tokenizer)
    if config.train.init is not None:
        start_from(recognizer, Recognizer.load(find_model(config.train.init)), config.train.init)
    recognizer.name = config.run.name
    recognizer.set_precision(precision)
    data = TrainingData(train_part, recognizer, config)
    if config.features.normalise == "global" and config.train.init is None:
        feature_statistics(recognizer, train_part)
    recognizer.to(device)
    say(
        f"{len(train_part)} training utterances ({train_part.durations.sum() / 3600:.2f} h),"
        f" {len(dev_part)} for development, {len(tokenizer)} tokens;"
        f" {config.model.layers} × {config.model.width}"
        f" {'bidirectional ' if config.model.bidirectional else ''}{config.model.cell},"
        f" {recognizer.parameter_count:,} parameters, on {device}"
    )
    for warning in symbol_warnings(tokenizer, {"train": train_part, "dev": dev_part}):
        say(f"warning: {warning}")
    if len(data.infeasible) and not data.joining:
        say(f"warning: {data.describe_infeasible()}")
    return recognizer, train_part, dev_part, data


def start_from(recognizer: Recognizer, other: Recognizer, name: str) -> None:
    """Take over another model's weights and feature statistics; the head's only where both have the same tokens.

    Raises TrainError naming the settings that differ.
    """
    pairs = {
        "features": (recognizer.features.config, other.features.config),
        "model": (recognizer.config, other.config.model_copy(update={"dropout": recognizer.config.dropout})),
    }
    changed = [
        f"{section}.{key} is {value}, there {getattr(theirs, key)}"
        for section, (ours, theirs) in pairs.items()
        for key, value in ours
        if value != getattr(theirs, key)
    ]
    if changed:
        raise TrainError(f"train.init={name} does not fit: {'; '.join(changed)}")
    same_tokens = recognizer.tokenizer.tokens == other.tokenizer.tokens
    states = {name: state for name, state in other.state_dict().items() if same_tokens or not name.startswith("head.")}
    recognizer.load_state_dict(states, strict=same_tokens)


def make_loss(recognizer: Recognizer, config: Config) -> Callable[[Batch, int, int], Loss]:
    """The CTC loss with SpecAugment, its draws keyed by seed, epoch and batch."""
    augment = config.augment
    changes = augment.time_masks, augment.frequency_masks, augment.response_db, augment.warp != (1.0, 1.0)
    asked = any(changes) and not config.train.overfit

    def loss(batch: Batch, epoch: int, number: int) -> Loss:
        spec_augment = SpecAugment(config.augment, (config.train.seed, epoch, number, 2)) if asked else None
        log_probs, lengths = recognizer(batch.waveforms, batch.waveform_lengths, spec_augment)
        return ctc(log_probs, lengths, batch.tokens, batch.token_lengths)

    return loss


def overfitting(config: Config) -> Config:
    """The same config for learning a few utterances by heart: nothing random, and steps enough, few being an epoch."""
    model = config.model.model_copy(update={"dropout": 0.0})
    epochs = max(config.train.epochs, OVERFIT_EPOCHS)
    train = config.train.model_copy(update={"epochs": epochs, "validate_every": epochs // 10})
    return config.model_copy(update={"model": model, "train": train})


def refuse_other_settings(run: Path, config: Config) -> None:
    """Raise TrainError when the run folder was begun with settings that learn something else."""
    path = run / "config.yaml"
    if not path.exists():
        return
    try:
        before = parse_config(yaml.safe_load(path.read_text(encoding="utf-8")), str(path))
    except (OSError, yaml.YAMLError, AttributeError) as error:
        raise TrainError(f"{path}: unreadable: {error}") from None
    changed = differing(before, config)
    if changed:
        raise TrainError(
            f"{run} holds a run with other settings: {'; '.join(changed)}."
            " Choose another run folder (run=DIR, or RUN=DIR before a recipe's command) or delete this one"
        )


def export_best(run: Path, config: Config, recognizer: Recognizer, part: Part) -> float:
    """Write the best checkpoint as a model folder. Returns its WER on the development part."""
    best, states = load_checkpoint(run / "checkpoints" / "best.pt")
    last, _ = load_checkpoint(run / "checkpoints" / "last.pt")
    recognizer.load_state_dict(states["model"])
    recognizer.training_record = {
        "description": config.description,
        "licence": config.licence,
        "manifest": part.manifest.path.name,
        "manifest_sha256": file_sha256(part.manifest.path),
        "utterances": len(part),
        "hours": round(float(part.durations.sum()) / 3600, 4),
        "epochs": config.train.epochs,
        "best_epoch": best.best_epoch,
        "dev_wer": best.best_wer,
        "seed": config.train.seed,
        "minutes": round(last.seconds / 60, 2),
        "device": str(recognizer.device),
        "torch": torch.__version__,
    }
    recognizer.save(run / "model", model_card(recognizer))
    return math.inf if best.best_wer is None else best.best_wer
