"""One training run: config -> data, recognizer, loop -> model folder. What `asr train` calls."""

from __future__ import annotations

import json
import logging
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from asr.augment import SpecAugment
from asr.config import (
    AUTO,
    AUTOMATIC,
    AugmentConfig,
    ComposeConfig,
    Config,
    differing,
    dump_yaml,
    flatten,
    settled,
    unused,
)
from asr.data.batches import Batch, duration_batches
from asr.data.subset import (
    Spell,
    Subset,
    make_tokenizer,
    read_pronunciations,
    read_subset,
    require_manifest,
    warn_of_symbols,
)
from asr.data.training import TrainingData
from asr.data.waveforms import WaveformCache
from asr.decode.decoder import greedy
from asr.errors import ConfigError, TrainError
from asr.evaluate.run import evaluate
from asr.evaluate.score import Scores
from asr.model.crf import ctc_crf
from asr.model.ctc import Loss, ctc
from asr.model.folder import find_model
from asr.model.recognizer import Recognizer
from asr.text import Tokenizer
from asr.train.checkpoint import CheckpointFolder
from asr.train.distributed import ALONE, Processes, joined_processes
from asr.train.initial import (
    adopt,
    complete_lexicon,
    initial_recognizer,
    keep_tokens,
    learn_subwords,
    read_model_config,
    with_init,
)
from asr.train.log import RunLog
from asr.train.loop import Outcome, fit
from asr.train.memory import find_batch_seconds
from asr.train.model_folder import development_decoder, export_best, read_run_config
from asr.train.schedule import warn_of_little, with_schedule, with_sizes
from asr.util.files import file_sha256, folder_lock, replace_file
from asr.util.format import plural
from asr.util.runtime import resolve_device, set_precision

logger = logging.getLogger(__name__)

OVERFIT_EPOCHS = 300
CACHED_WORDS = 2**16  # whose pieces are kept while texts are counted
MAX_TABLE = 2**24  # probabilities of n-grams
OTHER_RUN = "Choose another run folder (run=DIR, or RUN=DIR before a recipe's command)"


def train(config: Config) -> Outcome:
    """Train as configured, resuming what `config.run` holds; writes the model folder `run/model` at the end.

    Raises TrainError, ConfigError, ManifestError or AudioError when training cannot start or cannot go on.
    """
    config = begin(config)
    with joined_processes(config) as (processes, config):
        outcome = train_one(config, processes)
        logger.info(describe_outcome(outcome, config))
    return outcome


def train_one(config: Config, processes: Processes) -> Outcome:
    """The part of one process in a training."""
    run = config.run
    config = as_begun(config)
    if processes.from_first((run / "model" / "config.json").is_file()):
        refuse_other_data(run, config)
        return Outcome.ALREADY_FINISHED
    prepared = prepare(config, processes)
    config, recognizer, checkpoints = prepared.config, prepared.recognizer, checkpoints_of(prepared)
    dev = WaveformCache(prepared.dev.manifest, recognizer.sample_rate, config.data.cache_mb)
    if processes.first:
        for _ in dev.read(prepared.dev.rows):  # what cannot be read is found now, not after an epoch
            pass

    decoder = development_decoder(recognizer) if processes.first else greedy

    def validate(candidate: Recognizer) -> Scores:
        return evaluate(candidate, dev.read(prepared.dev.rows), decoder).score()

    busy = TrainError(f"{run}: another training is running in it. {OTHER_RUN} or wait for it")
    with folder_lock(run, busy) if processes.first else nullcontext():
        if processes.first:
            as_begun(config)  # once more: another training may have begun and stopped meanwhile
            for unfinished in (run / "checkpoints").glob("*.part"):  # of a start that was killed
                unfinished.unlink()
            if not (run / "config.yaml").exists():
                replace_file(run / "config.yaml", dump_yaml(config))
        log = RunLog(run if processes.first else None, config.train.epochs)
        loss = TrainingLoss(recognizer, config, processes.rank)
        outcome = fit(recognizer, prepared.data, loss, validate, config.train, checkpoints, log, processes)
        if outcome is Outcome.FINISHED and processes.first:
            wer = export_best(run, config, recognizer, checkpoints.about, dev.read(prepared.dev.rows), decoder)
            warn_of_failure(wer, config)
    return outcome


def describe_outcome(outcome: Outcome, config: Config) -> str:
    """How a start of a training ended and what to do next, for people."""
    limits, model = config.train, config.run / "model"
    match outcome:
        case Outcome.FINISHED | Outcome.ALREADY_FINISHED:
            return f"{outcome.value}; the model is in {model}"
        case Outcome.OUT_OF_TIME:
            return f"stopped after train.max_minutes={limits.max_minutes:g}; rerun to resume"
        case Outcome.ENOUGH_EPOCHS:
            return f"stopped after train.max_epochs={limits.max_epochs}; rerun with a larger one, or none, to resume"
        case Outcome.INTERRUPTED:
            return "interrupted; rerun to resume"


def as_begun(config: Config) -> Config:
    """The config with what its run found out for itself when it began.

    Raises TrainError when the run was begun with settings that learn something else.
    """
    run = config.run
    if not (run / "config.yaml").exists():
        return config
    begun = read_run_config(run)
    config = settled(config, begun)
    if changed := differing(begun, config):
        finished = (run / "model" / "config.json").is_file()
        go_on = f". To go on from what it has learned: train.init={run} run=DIR" if finished else ""
        raise TrainError(
            f"{run} holds a run with other settings: {'; '.join(changed)}. {OTHER_RUN} or delete this one{go_on}"
        )
    return config


def refuse_other_data(run: Path, config: Config) -> None:
    """Raise TrainError when the finished model learned from a manifest that has changed since: its test part has too,
    and may hold what was trained on."""
    record = json.loads((run / "model" / "config.json").read_text(encoding="utf-8")).get("training") or {}
    manifest, learned = config.data.train, record.get("manifest_sha256")
    if learned and manifest is not None and manifest.is_file() and file_sha256(manifest) != learned:
        raise TrainError(
            f"{run}: was trained on other data: {manifest} has changed since. {OTHER_RUN} or delete this one"
        )


def warn_of_failure(wer: float, config: Config) -> None:
    """A hint when a finished training has learned nothing, or did not overfit the utterances it should have."""
    if config.train.overfit:
        if wer > 0:
            logger.warning(
                f"the model did not overfit the {config.train.overfit} utterances (WER {100 * wer:.1f} %):"
                " check that texts and audio belong together; more train.epochs or another train.lr may help"
            )
    elif wer >= 1.0:
        logger.warning(
            "the model got no word of the development part right. CTC learns blanks first: give it more steps"
            " (train.epochs, a smaller train.batch_seconds); see whether it can overfit: train.overfit=10"
        )


@dataclass
class Prepared:
    """What a training is made of. ngram_hours: of speech whose texts made the recognizer's n-gram, None without one."""

    config: Config
    recognizer: Recognizer
    data: TrainingData
    dev: Subset
    ngram_hours: float | None


def prepare(config: Config, processes: Processes = ALONE) -> Prepared:
    """Read the data, report what will not train, and make the recognizer with its initial weights."""
    device = resolve_device(config.device)
    for advice in unused(config):
        logger.warning(advice)
    set_precision(config.train.precision)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    given = config
    manifest = require_manifest(config.data.train, "data.train")
    config = with_sizes(config, manifest)
    subwords, lexicon = learn_subwords(config, manifest), complete_lexicon(config, manifest)
    spell: Spell = lru_cache(CACHED_WORDS)(subwords.spellings_of) if subwords else lexicon.get
    train = read_subset(manifest, config, "data.train", spell)
    dev = train if config.train.overfit else read_subset(config.data.dev, config, "data.dev", spell)
    tokenizer, known = keep_tokens(subwords or make_tokenizer(config, train, lexicon), config.train.init)
    for name, subset in (("train", train), ("dev", dev)):
        warn_of_symbols(tokenizer, subset, config.text.normalizer, name)
    recognizer = initial_recognizer(config, tokenizer, train).to(device)
    data = TrainingData(train, tokenizer, config, processes.share, pin=device.type == "cuda")
    ngram_hours = set_token_ngrams(recognizer, config, data, known)
    durations = data.durations(0)
    if config.train.batch_seconds == AUTO:
        loss, seconds = TrainingLoss(recognizer, config), torch.from_numpy(durations)
        found = find_batch_seconds(recognizer, loss, seconds, processes=processes.count)
        config = config.updated(train={"batch_seconds": min(processes.gather([found]))})
    batches = len(duration_batches(durations, config.train.batch_seconds))
    config = data.config = with_schedule(config, batches, known)
    if config.train.threads:
        torch.set_num_threads(config.train.threads)
    logger.info(
        f"{len(train)} training utterances ({train.durations.sum() / 3600:.2f} h),"
        f" {len(dev)} for development, {len(tokenizer)} tokens;"
        f" {config.model.layers} × {config.model.hidden_size}"
        f" {'bidirectional ' if config.model.bidirectional else ''}{config.model.cell},"
        f" {recognizer.parameter_count:,} parameters, on {device}"
    )
    before, after = flatten(given), flatten(config)
    automatic = [f"{key}={after[key]}" for key in AUTOMATIC if before[key] == "auto" != after[key]]
    if automatic and automatic != ["train.validate_every=1"]:
        logger.info(f"auto: {' '.join(automatic)}, for {plural(batches, 'batch', 'batches')} an epoch")
    warn_of_little(config, batches, len(train), known)
    return Prepared(config, recognizer, data, dev, ngram_hours)


def set_token_ngrams(recognizer: Recognizer, config: Config, data: TrainingData, known: bool) -> float | None:
    """Give the recognizer the n-gram that train.loss=ctc_crf needs: that of the model it starts from, if this knows all
    tokens and the n-gram was made from as much speech or more, otherwise one of the training texts. Returns the hours
    that it was made from.

    Raises ConfigError for more tokens than a table can be made of.
    """
    there, recognizer.token_ngrams = recognizer.token_ngrams, None
    if config.train.loss != "ctc_crf":
        return None
    hours = float(data.subset.durations.sum()) / 3600
    if known and there is not None and there.dim() == config.train.crf_order and config.train.init is not None:
        record = read_model_config(config.train.init)[1].get("training") or {}
        its_hours = float(record.get("ngram_hours", record.get("hours", 0.0)))
        if its_hours >= hours:
            recognizer.token_ngrams = there
            return its_hours
    recognizer.token_ngrams = token_ngrams(config, data, recognizer.tokenizer).to(recognizer.device)
    return hours


def token_ngrams(config: Config, data: TrainingData, tokenizer: Tokenizer) -> Tensor:
    """The n-gram of the tokens that the utterances of the first epoch have, as asr.model.crf wants it. Where utterances
    are composed of recordings, it is an n-gram of what is composed, not of the manifest's texts.

    Raises ConfigError for more tokens than a table can be made of.
    """
    order, size = config.train.crf_order, len(tokenizer)
    if size**order > MAX_TABLE:
        remedy = "train.crf_order=2" if order == 3 and size**2 <= MAX_TABLE else "train.loss=ctc"
        raise ConfigError(f"train.crf_order={order}: too large for {size:,} tokens; set {remedy}")
    from asr.lm.estimate import dense_table  # numba takes a second

    dataset, _ = data.epoch(0)
    sequences = map(dataset.tokens, range(len(dataset.utterances)))
    return torch.from_numpy(dense_table(sequences, size, order)).float()


def checkpoints_of(prepared: Prepared) -> CheckpointFolder:
    config, train = prepared.config, prepared.data.subset
    files = {"train manifest": train.manifest.path, "dev manifest": prepared.dev.manifest.path}
    if config.train.init is not None:
        files["train.init"] = find_model(config.train.init) / "model.safetensors"
    if config.text.tokens == "phones" and config.data.lexicon is not None:
        files["data.lexicon"] = config.data.lexicon
    if config.augment.noise.manifest is not None:
        files["augment.noise"] = config.augment.noise.manifest
    hashes = {name: file_sha256(path) for name, path in files.items()}
    about = {
        "normalizer": prepared.recognizer.text.normalizer,
        "manifest": train.manifest.path.name,
        "manifest_sha256": hashes["train manifest"],
        "utterances": len(train),
        "hours": round(float(train.durations.sum()) / 3600, 4),
        "device": str(prepared.recognizer.device),
        "torch": str(torch.__version__),
    }
    if prepared.ngram_hours is not None:
        about["ngram_hours"] = round(prepared.ngram_hours, 4)
    if config.train.init is not None:
        _, other = read_model_config(config.train.init)
        license = (other.get("training") or {}).get("license")
        about |= {"init": other.get("name", config.train.init), "init_license": license or "not stated"}
    tokenizer, lexicon = prepared.recognizer.tokenizer, read_pronunciations(config)
    guessed = {word: list(map(list, each)) for word, each in tokenizer.pronunciations.items() if word not in lexicon}
    identity = {"tokens": list(tokenizer.tokens), **({"guessed words": guessed} if guessed else {}), **hashes}
    return CheckpointFolder(config.run / "checkpoints", identity, about)


class TrainingLoss:
    """The loss of a batch with SpecAugment, its draws keyed by seed, epoch, batch and process.

    It is CTC; if the recognizer has n-grams, CTC-CRF after train.ctc_epochs.
    """

    def __init__(self, recognizer: Recognizer, config: Config, rank: int = 0) -> None:
        self.recognizer, self.rank = recognizer, rank
        self.ctc_epochs, self.ctc_weight = config.train.ctc_epochs, config.train.ctc_weight
        self.seed, self.augment = config.train.seed, config.augment
        self.masks = SpecAugment(self.augment, 0).active

    def __call__(self, batch: Batch, epoch: int, number: int) -> Loss:
        key = (self.seed, epoch, number, 2, *([self.rank] if self.rank else []))
        spec_augment = SpecAugment(self.augment, key) if self.masks else None
        log_probs, lengths = self.recognizer(batch.waveforms, batch.waveform_lengths, spec_augment)
        given = (log_probs, lengths, batch.tokens, batch.token_lengths)
        ngrams = self.recognizer.token_ngrams
        return ctc(*given) if ngrams is None or epoch < self.ctc_epochs else ctc_crf(*given, ngrams, self.ctc_weight)


def begin(config: Config) -> Config:
    """The config with what follows from train.overfit and train.init. Raises TrainError, ModelError."""
    config = overfitting(config) if config.train.overfit else config
    return adopt(with_init(config, config.data.train))


def overfitting(config: Config) -> Config:
    """The same config for overfitting a few utterances: nothing random, and enough steps, of which an epoch has few."""
    epochs = max(config.train.epochs, OVERFIT_EPOCHS)
    train = {"epochs": epochs, "validate_every": epochs // 10, "patience": 0}
    plain = config.model_copy(update={"augment": AugmentConfig(), "compose": ComposeConfig()})
    return plain.updated(model={"dropout": 0.0}, train=train)
