"""One training run: config -> data, recognizer, loop -> model folder. What `asr train` calls."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import torch

from asr.augment import SpecAugment
from asr.config import AUTO, Config, differing, dump_yaml
from asr.data.dataset import Batch
from asr.errors import TrainError
from asr.evaluate.run import evaluate
from asr.model.ctc import Loss, ctc
from asr.model.folder import find_model, load_model
from asr.model.recognizer import Recognizer
from asr.train.checkpoint import Progress
from asr.train.data import (
    DevelopmentData,
    Part,
    TrainingData,
    feature_statistics,
    make_tokenizer,
    read_part,
    symbol_warnings,
)
from asr.train.distributed import ALONE, Processes, joined_processes
from asr.train.log import NoLog, RunLog
from asr.train.loop import Task, fit
from asr.train.memory import MIN_STEPS, find_batch_s, with_batch_s
from asr.train.model_folder import export_best, read_run_config
from asr.train.optimizer import freeze
from asr.util.device import resolve_device, set_precision
from asr.util.files import file_sha256, folder_lock, write_atomic

Say = Callable[[str], None]

OVERFIT_EPOCHS = 300
ENDS = {
    "finished": "finished; the model is in {model}",
    "already finished": "already finished; the model is in {model}",
    "out of time": "stopped after train.max_minutes={limits.max_minutes:g}; the same command goes on from here",
    "enough epochs": "stopped after train.max_epochs={limits.max_epochs}; a larger one, or none, goes on",
    "interrupted": "interrupted; the same command goes on from here",
}


def train(config: Config, say: Say) -> str:
    """Train as configured, resuming what `config.run` holds; writes the model folder `run/model` at the end.

    Says and returns how it ended, a key of ENDS.
    """
    if config.train.overfit:
        config = overfitting(config)
    with joined_processes(config) as (processes, config):
        first_says = say if processes.first else lambda line: None
        end = _train(config, processes, first_says)
        first_says(ENDS[end].format(model=config.run / "model", limits=config.train))
    return end


def _train(config: Config, processes: Processes, say: Say) -> str:
    run = config.run
    config = as_begun(config)
    if processes.from_first((run / "model" / "config.json").is_file()):
        refuse_other_data(run, config)
        return "already finished"

    recognizer, train_part, dev_part, data = prepare(config, say, processes)
    config = data.config
    dev = DevelopmentData(dev_part, recognizer.sample_rate, config.data.cache_mb)
    if processes.first:
        for _ in dev:  # a recording that cannot be read is found now, not when an epoch has been trained
            pass
    trained_on = {"train manifest": train_part.manifest.path, "dev manifest": dev_part.manifest.path}
    if config.train.init is not None:
        trained_on["train.init"] = find_model(config.train.init) / "model.safetensors"
    if config.augment.noise is not None:
        trained_on["augment.noise"] = config.augment.noise
    sums = {name: file_sha256(path) for name, path in trained_on.items()}
    about = {  # what the card of a model says of its training, as far as it is known before it
        "manifest": train_part.manifest.path.name,
        "manifest_sha256": sums["train manifest"],
        "utterances": len(train_part),
        "hours": round(float(train_part.durations.sum()) / 3600, 4),
        "device": str(recognizer.device),
        "torch": str(torch.__version__),
    }
    task = Task(
        batches=data.batches,
        loss=make_loss(recognizer, config, processes.rank),
        validate=lambda candidate: evaluate(candidate, dev).score(),
        keep={"tokens": list(recognizer.tokenizer.tokens), **sums},
        names=data.names,
        about=about,
        max_unreadable=int(config.data.max_unreadable * data.per_epoch),
    )

    def open_log(progress: Progress) -> RunLog | NoLog:
        if not processes.first:
            return NoLog()
        log = RunLog(run, progress.step, config.train.epochs)
        if progress.step:
            log.say(f"resuming at epoch {progress.epoch + 1}, batch {progress.batch + 1}")
        return log

    busy = TrainError(
        f"{run}: another training is running in it; wait for it, or choose another run folder"
        " (run=DIR, or RUN=DIR before a recipe's command)"
    )
    with folder_lock(run, busy) if processes.first else nullcontext():
        if processes.first:
            as_begun(config)  # once more: another training may have begun and stopped meanwhile
            if not (run / "config.yaml").exists():
                write_atomic(run / "config.yaml", dump_yaml(config))
        end = fit(recognizer, task, config.train, run / "checkpoints", open_log, processes)
        if end == "finished" and processes.first:
            wer = export_best(run, config, recognizer, about, dev)
            say_what_is_wrong(wer, config, say)
    return end


def as_begun(config: Config) -> Config:
    """The config with what its run found out for itself when it began.

    Raises TrainError when the run was begun with settings that learn something else.
    """
    run = config.run
    if not (run / "config.yaml").exists():
        return config
    begun = read_run_config(run)
    if config.train.batch_seconds == AUTO:
        config = with_batch_s(config, begun.train.batch_seconds)
    if changed := differing(begun, config):
        raise TrainError(
            f"{run} holds a run with other settings: {'; '.join(changed)}."
            " Choose another run folder (run=DIR, or RUN=DIR before a recipe's command) or delete this one"
        )
    return config


def refuse_other_data(run: Path, config: Config) -> None:
    """Raise TrainError when the finished model learned from a manifest that has changed since: its test part has too,
    and may hold what was trained on."""
    record = json.loads((run / "model" / "config.json").read_text(encoding="utf-8")).get("training") or {}
    manifest, learned = config.data.train, record.get("manifest_sha256")
    if learned and manifest is not None and manifest.is_file() and file_sha256(manifest) != learned:
        raise TrainError(
            f"{run}: was trained on other data: {manifest} has changed since. Choose another run folder (run=DIR, or"
            " RUN=DIR before a recipe's command) or delete this one"
        )


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
            " (train.epochs, a smaller train.batch_seconds); see whether train.overfit=10 can overfit ten utterances"
        )


def prepare(config: Config, say: Say, processes: Processes = ALONE) -> tuple[Recognizer, Part, Part, TrainingData]:
    """Read the data, report what will not train, and make the recognizer with its initial weights."""
    device = resolve_device(config.device)
    set_precision(config.train.precision)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    train_part = read_part(config.data.train, config, "data.train")
    dev_part = train_part if config.train.overfit else read_part(config.data.dev, config, "data.dev")
    tokenizer = make_tokenizer(config, train_part)
    torch.manual_seed(config.train.seed)
    recognizer = Recognizer(config.features, config.text, config.model, tokenizer)
    if config.train.init is not None:
        start_from(recognizer, load_model(find_model(config.train.init)), config.train.init)
    freeze(recognizer, config.train.freeze)
    recognizer.name = config.run.name
    recognizer.set_precision(config.train.precision)
    if config.features.normalize == "global" and config.train.init is None:
        feature_statistics(recognizer, train_part)
    recognizer.to(device)
    data = TrainingData(train_part, recognizer, config, processes)
    if config.train.batch_seconds == AUTO:
        durations = torch.from_numpy(data.plans(0).durations(train_part.manifest.durations))
        batch_s = find_batch_s(recognizer, make_loss(recognizer, config), durations, processes=processes.count)
        data.config = with_batch_s(config, min(processes.gather([batch_s])))
        found = f"{data.config.train.batch_seconds:g} s, as memory holds or for {MIN_STEPS} steps an epoch"
        say(f"train.batch_seconds = auto: {found}")
    say(
        f"{len(train_part)} training utterances ({train_part.durations.sum() / 3600:.2f} h),"
        f" {len(dev_part)} for development, {len(tokenizer)} tokens;"
        f" {config.model.layers} × {config.model.hidden_size}"
        f" {'bidirectional ' if config.model.bidirectional else ''}{config.model.cell},"
        f" {recognizer.parameter_count:,} parameters, on {device}"
    )
    for warning in symbol_warnings(tokenizer, {"train": train_part, "dev": dev_part}):
        say(f"warning: {warning}")
    if config.augment.noise is not None and not config.augment.noise_prob:
        say("warning: augment.noise is not used: augment.noise_prob, how many utterances get noise, is 0")
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


def make_loss(recognizer: Recognizer, config: Config, rank: int = 0) -> Callable[[Batch, int, int], Loss]:
    """The CTC loss with SpecAugment, its draws keyed by seed, epoch, batch and process."""
    augment = config.augment
    changes = augment.time_masks, augment.frequency_masks, augment.random_eq_db, augment.vtlp != (1.0, 1.0)
    asked = any(changes) and not config.train.overfit

    def loss(batch: Batch, epoch: int, number: int) -> Loss:
        key = (config.train.seed, epoch, number, 2, *([rank] if rank else []))
        spec_augment = SpecAugment(config.augment, key) if asked else None
        log_probs, lengths = recognizer(batch.waveforms, batch.waveform_lengths, spec_augment)
        return ctc(log_probs, lengths, batch.tokens, batch.token_lengths)

    return loss


def overfitting(config: Config) -> Config:
    """The same config for learning a few utterances by heart: nothing random, and steps enough, few being an epoch."""
    model = config.model.model_copy(update={"dropout": 0.0})
    epochs = max(config.train.epochs, OVERFIT_EPOCHS)
    train = config.train.model_copy(update={"epochs": epochs, "validate_every": epochs // 10, "patience": 0})
    return config.model_copy(update={"model": model, "train": train})
