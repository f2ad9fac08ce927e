"""One typed configuration: YAML file + key=value overrides. An unknown key is an error that names the nearest one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, ValidationError, WrapValidator
from pydantic.fields import FieldInfo

from asr.errors import ConfigError

NO_LM = "none"  # in place of a language model: without one
AUTO = 0  # where a number may be found out, what "auto" is read as


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def setting(default: Any, about: str, *, resumable: bool = False, **limits: Any) -> Any:
    """A setting: its default, a word of explanation, its limits.

    resumable: a run may be resumed with another value, as it does not change what is learned.
    """
    return Field(default, description=about, json_schema_extra={"resumable": resumable}, **limits)


def within(lowest: float, highest: float) -> AfterValidator:
    """For a setting that is [low, high], a range to draw from uniformly, within these limits."""

    def check(value: tuple[float, float]) -> tuple[float, float]:
        if not lowest <= value[0] <= value[1] <= highest:
            raise ValueError(f"must be [low, high] within {lowest:g} to {highest:g}")
        return value

    return AfterValidator(check)


Span = tuple[float, float]
Seconds = Annotated[Span, within(0.0, 3600.0)]
Decibels = Annotated[Span, within(-200.0, 200.0)]
BelowPeak = Annotated[Span, within(-200.0, 0.0)]  # dB
Factor = Annotated[Span, within(0.1, 10.0)]
Probability = Annotated[float, Field(ge=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]
Auto = WrapValidator(lambda value, check: AUTO if value == "auto" else check(value))
AsAuto = PlainSerializer(lambda value: "auto" if value == AUTO else value)
AutoNumber = Annotated[float, Field(gt=0), Auto, AsAuto]
AutoCount = Annotated[int, Field(ge=1), Auto, AsAuto]
AutoThreads = Annotated[int, Field(ge=0), Auto, AsAuto]  # in older configs 0
AutoSize = Annotated[int, Field(ge=1, le=8192), Auto, AsAuto]


class FeatureConfig(Section):
    """Waveform -> features; stored with the model."""

    kind: Literal["logmel", "mfcc"] = setting("logmel", "log-mel energies, or their cosine transform")
    sample_rate: int = setting(16_000, "Hz; audio of other rates is converted", ge=4_000, le=192_000)
    n_mels: int = setting(80, "mel bands", ge=4, le=256)
    n_mfcc: int = setting(40, "cepstra that are kept, of mfcc only", ge=4, le=256)
    window_ms: float = setting(25.0, "length of a window", gt=1, le=200)
    hop_ms: float = setting(10.0, "from one window to the next", gt=1, le=100)
    f_min: float = setting(20.0, "Hz, the lowest frequency that is kept", ge=0)
    f_max: float | None = setting(None, "Hz, the highest frequency that is kept; default: half the sample rate")
    top_db: float | None = setting(
        None, "energies are relative to the loudest of the utterance and cut off so far below it", gt=0
    )
    normalize: Literal["utterance", "global", "none"] = setting(
        "utterance",
        "mean and variance of each utterance, or of the training set (global), the only one that can stream",
    )


class TextConfig(Section):
    """Text -> tokens; stored with the model."""

    normalizer: Literal["none", "basic", "basic-tr", "basic-ga"] = setting(
        "basic", "basic: lower case, no punctuation; -tr, -ga: lower case of Turkish, Irish, where no `lang` tells"
    )
    tokens: Literal["characters", "words", "phones", "subwords", "auto"] = setting(
        "auto",
        "words: for a small closed vocabulary; phones: see data.lexicon; subwords: pieces of words (BPE); auto: words"
        " where the training texts have few different ones, else characters",
    )
    subwords: int = setting(
        300, "tokens of that kind that the training texts make, characters and blank included", ge=3, le=10_000
    )


class ModelConfig(Section):
    """The encoder; stored with the model."""

    cell: Literal["rnn", "lstm", "gru"] = setting("lstm", "the recurrent cell")
    layers: int = setting(3, "recurrent layers", ge=1, le=32)
    hidden_size: AutoSize = setting(AUTO, "units of one direction of a layer; auto: 128, from an hour of speech on 256")
    bidirectional: bool = setting(True, "false: causal throughout, needs features.normalize of global or none")
    subsampling: Literal[1, 2, 4] = setting(4, "of time, before the recurrent layers")
    dropout: float = setting(0.1, "between layers", ge=0, lt=1)
    layer_norm: bool = setting(True, "before each layer")
    residual: bool = setting(True, "add a layer's input to its output")


class DataConfig(Section):
    train: Path | None = setting(None, "manifest to learn from (JSON Lines)")
    dev: Path | None = setting(None, "manifest on which the best checkpoint is chosen")
    lexicon: Path | None = setting(None, "pronunciations of all words, for text.tokens=phones (asr lexicon make)")
    lm: Path | None = setting(
        None, "a model of phones is validated with this language model of words, and keeps it (asr lm train)"
    )
    g2p: Path | None = setting(
        None, "a model of phones keeps this one, which guesses pronunciations of other words (asr lexicon train)"
    )
    held_out_speaker: str | None = setting(None, "leave this speaker's utterances out of train and dev")
    workers: int = setting(
        0, "threads that load audio ahead; 0: it is loaded when it is needed", ge=0, le=64, resumable=True
    )
    cache_mb: int = setting(1024, "decoded audio kept in memory, per process", ge=0, resumable=True)
    max_unreadable: Probability = setting(
        0.01, "fraction of an epoch's utterances that may be missing or damaged", resumable=True
    )


class ComposeConfig(Section):
    """Training utterances composed of several recordings of one speaker."""

    max_recordings: int = setting(1, "in an utterance, from 1 on; 1: off", ge=1)
    utterances_per_epoch: int = setting(1000, "composed anew in every epoch", ge=1)
    pause_s: Seconds = setting((0.05, 0.6), "before the first, between, and after the last recording")
    no_pause_prob: Probability = setting(0.0, "no pause before the first, and none after the last")
    gain_db: float = setting(3.0, "each recording's level varies by ± this", ge=0)
    max_s: float | None = setting(None, "seconds; no more recordings than fit into them", gt=0)
    trim_prob: Probability = setting(0.0, "recordings that lose quiet beginnings and ends")
    trim_db: BelowPeak = setting((-35.0, -12.0), "where they are cut, below the loudest moment")
    noise_prob: Probability = setting(0.0, "utterances with noise in the recordings and none in the pauses")
    noise_snr_db: Decibels = setting((10.0, 40.0), "signal-to-noise ratio of that noise")


class NoiseConfig(Section):
    prob: Probability = setting(0.0, "utterances that get noise")
    snr_db: Decibels = setting((10.0, 30.0), "signal-to-noise ratio")
    manifest: Path | None = setting(None, "recorded noise: every second noise; the others are white, pink or brown")


class PartConfig(Section):
    """Of an augmentation that an utterance goes through or not."""

    prob: Probability = setting(0.0, "utterances that go through it")


class TimeMaskConfig(Section):
    count: int = setting(0, "masks in an utterance", ge=0)
    max_frames: int = setting(25, "feature frames that a mask covers at most", ge=1)
    max_fraction: float = setting(0.2, "of the utterance that a mask covers at most", gt=0, le=1)


class FrequencyMaskConfig(Section):
    count: int = setting(0, "masks in an utterance", ge=0)
    max_bins: int = setting(15, "feature bins that a mask covers at most", ge=1)


class AugmentConfig(Section):
    """What changes training audio and spectra, in this order; asr/augment.py has a class for each."""

    speed: Factor = setting((1.0, 1.0), "factor on tempo and pitch")
    reverb: PartConfig = PartConfig()
    noise: NoiseConfig = NoiseConfig()
    clipping: PartConfig = PartConfig()
    bandpass: PartConfig = PartConfig()
    telephone: PartConfig = PartConfig()
    codec: PartConfig = PartConfig()
    gain_db: Decibels = setting((0.0, 0.0), "change of level")
    vtlp: Factor = setting((1.0, 1.0), "factor on frequency: longer and shorter vocal tracts")
    random_eq_db: float = setting(0.0, "a smooth curve over frequency of up to ± this: other microphones", ge=0)
    time_mask: TimeMaskConfig = TimeMaskConfig()
    frequency_mask: FrequencyMaskConfig = FrequencyMaskConfig()


class TrainConfig(Section):
    init: str | None = setting(
        None,
        "start from this model, a folder or a built-in name: its weights, and its features, model and text;"
        " auto: from digits where the corpus is small, of few different words, and no setting contradicts",
    )
    freeze: tuple[str, ...] = setting((), "parameters that stay as they are, by patterns: [encoder.layers.0.*]")
    epochs: AutoCount = setting(AUTO, "passes over the training data; auto: as many as make enough steps")
    batch_seconds: AutoNumber = setting(
        AUTO, "audio in a batch, padding included; auto: what memory holds, or less where the corpus is small"
    )
    grad_accum_steps: int = setting(1, "batches a step: a larger batch than memory holds", ge=1)
    sortagrad: bool = setting(False, "the first epoch goes from short utterances to long ones")
    lr: AutoNumber = setting(AUTO, "the peak of the learning rate; auto: 1e-3, or 2e-4 where a model is adapted")
    warmup_ratio: float = setting(0.1, "fraction of the training in which the rate rises to the peak", ge=0, lt=1)
    min_lr_ratio: float = setting(0.01, "fraction of the peak left at the end of the cosine", ge=0, le=1)
    weight_decay: float = setting(0.01, "of matrices; biases and norms do not decay", ge=0)
    loss: Literal["ctc", "ctc_crf"] = setting(
        "ctc", "ctc_crf: normalized over whole utterances by an n-gram of the training tokens; decode with an LM"
    )
    ctc_epochs: int = setting(4, "that begin with plain CTC, of ctc_crf only", ge=0)
    ctc_weight: float = setting(0.1, "of plain CTC that is added, of ctc_crf only", ge=0)
    crf_order: Literal[2, 3] = setting(3, "of the n-gram of ctc_crf; 2: for hundreds of tokens")
    betas: tuple[Momentum, Momentum] = setting((0.9, 0.98), "of AdamW")
    max_grad_norm: float = setting(5.0, "the gradient is clipped to this norm", gt=0)
    ema_decay: float = setting(0.0, "of the running average of weights that is validated and kept; 0: off", ge=0, lt=1)
    seed: int = setting(0, "of everything random", ge=0, lt=2**63)
    validate_every: AutoCount = setting(AUTO, "epochs; auto: 1, and more where train.epochs=auto makes many")
    select: Literal["wer", "cer"] = setting("wer", "the development rate by which the best checkpoint is chosen")
    patience: int = setting(0, "stop after so many epochs without a better rate; 0: off", ge=0)
    average: int = setting(0, "best epochs averaged at the end, kept if that is better still; 0: off", ge=0)
    keep_checkpoints: int = setting(0, "best epochs whose weights stay in checkpoints", ge=0, resumable=True)
    log_every: int = setting(50, "steps", ge=1, resumable=True)
    max_minutes: float | None = setting(None, "then save and stop; rerun to resume", gt=0, resumable=True)
    max_epochs: int | None = setting(None, "save and stop when so many are done; rerun with more", ge=1, resumable=True)
    save_minutes: float = setting(
        5.0, "a checkpoint is written this often, and after every epoch", gt=0, resumable=True
    )
    overfit: int = setting(0, "overfit the first N utterances, without augmentation: the first thing to try", ge=0)
    threads: AutoThreads = setting(
        AUTO, "of the CPU; auto: all, or 1 where train.epochs=auto and the network is small", resumable=True
    )
    precision: Literal["auto", "fp32", "tf32", "bf16"] = setting("auto", "of the recurrent layers on CUDA; auto: tf32")


class Config(Section):
    run: Path = setting(Path("runs/default"), "folder for checkpoints, logs and the model", resumable=True)
    device: str = setting("auto", "auto, cpu, cuda, cuda:1 …", resumable=True)
    description: str = setting("", "for the model card: what the model understands", resumable=True)
    license: str = setting("", "of the model, for the card", resumable=True)
    data: DataConfig = DataConfig()
    compose: ComposeConfig = ComposeConfig()
    features: FeatureConfig = FeatureConfig()
    text: TextConfig = TextConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()

    def updated(self, **sections: dict[str, Any]) -> Config:
        """The same config with some values of some sections changed: updated(train={"epochs": 3})."""
        return self.model_copy(
            update={name: getattr(self, name).model_copy(update=values) for name, values in sections.items()}
        )


def fields(section: type[Section] = Config, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting under its dotted key."""
    for key, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from fields(field.annotation, f"{prefix}{key}.")
        else:
            yield prefix + key, field


SETTINGS = dict(fields())
# A setting, the value that turns others off, and how the names of these begin.
SWITCHES: tuple[tuple[str, Any, str], ...] = (
    ("compose.max_recordings", 1, "compose."),
    ("compose.trim_prob", 0, "compose.trim_"),
    ("compose.noise_prob", 0, "compose.noise_"),
    ("augment.noise.prob", 0, "augment.noise."),
    ("augment.time_mask.count", 0, "augment.time_mask."),
    ("augment.frequency_mask.count", 0, "augment.frequency_mask."),
    ("features.kind", "logmel", "features.n_mfcc"),
    ("train.loss", "ctc", "train.ctc_"),
    ("train.loss", "ctc", "train.crf_"),
)
TEXTS = {key for key, field in SETTINGS.items() if field.annotation in (str, str | None, Path, Path | None)}
# What the corpus settles when a run begins.
AUTOMATIC = (
    *("text.tokens", "model.hidden_size"),
    *("train.epochs", "train.batch_seconds", "train.lr", "train.validate_every", "train.threads"),
)
OF_TOKENS = {"phones": ("data.lexicon", "data.lm", "data.g2p"), "subwords": ("text.subwords",)}
RESUMABLE = {key for key, field in SETTINGS.items() if cast(dict[str, Any], field.json_schema_extra)["resumable"]}


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a YAML file (`base:` names one to start from) and apply `section.key=value` overrides.

    Raises ConfigError naming file, key and remedy.
    """
    raw = _read_yaml(Path(path))
    for override in overrides:
        _apply(raw, override)
    return parse_config(raw, str(path))


def parse_config(raw: dict[str, Any], name: str) -> Config:
    """Validate nested keys and values; `name` is what errors call the source."""
    config = _validated(Config, raw, name)
    features = config.features
    for given, setting, remedy in (
        (features.normalize == "utterance", "normalize=utterance", "normalize=global"),
        (features.top_db is not None, "top_db", "top_db=null"),
    ):
        if given and not config.model.bidirectional:
            raise ConfigError(
                f"{name}: model.bidirectional=false is causal, but features.{setting} needs the whole utterance;"
                f" set features.{remedy}"
            )
    highest = min(features.f_max or features.sample_rate / 2, features.sample_rate / 2)
    if features.f_min >= highest:
        raise ConfigError(f"{name}: features.f_min = {features.f_min}: must be below {highest} Hz, the highest kept")
    return config


def lenient(section: type[Section], raw: dict[str, Any], name: str) -> Any:
    """A section from a stored model: keys this version does not know are ignored, wrong values are still errors."""
    if not isinstance(raw, dict):
        raise ConfigError(f"{name}: must hold keys and values, holds {type(raw).__name__}")
    return _validated(section, {key: value for key, value in raw.items() if key in section.model_fields}, name)


def _validated(section: type[Section], raw: dict[str, Any], name: str) -> Any:
    try:
        return section.model_validate(raw)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(e, name) for e in error.errors())) from None


def flatten(config: Config) -> dict[str, Any]:
    """{"train.lr": 0.001, …}: every setting under its dotted key, as plain YAML values (tuples become lists)."""
    plain = config.model_dump(mode="json")
    return {key: reduce(getitem, key.split("."), plain) for key in SETTINGS}


def unused(config: Config) -> Iterator[str]:
    """What was set and does nothing, because another setting turns it off."""
    values, defaults = flatten(config), flatten(Config())
    for switch, off, prefix in SWITCHES:
        changed = [key for key in values if key.startswith(prefix) and values[key] != defaults[key]]
        if values[switch] == off and changed:
            yield f"{', '.join(changed)}: not used, as {switch} is {off}"
    for kind, keys in OF_TOKENS.items():
        if config.text.tokens != kind and (given := [key for key in keys if values[key] != defaults[key]]):
            yield f"{', '.join(given)}: not used, as text.tokens is {config.text.tokens}, not {kind}"
    train = config.train
    if train.loss == "ctc_crf" and AUTO < train.epochs <= train.ctc_epochs:
        yield f"train.loss=ctc_crf: not used, as all {train.epochs} epochs are plain CTC (train.ctc_epochs)"


def settled(config: Config, other: Config) -> Config:
    """The config with what it leaves to be found out as `other` has it."""
    for key in AUTOMATIC:
        section, _, name = key.partition(".")
        if getattr(getattr(config, section), name) in (AUTO, "auto"):
            config = config.updated(**{section: {name: getattr(getattr(other, section), name)}})
    return config


def differing(old: Config, new: Config) -> list[str]:
    """The keys that forbid resuming `old` as `new`, each with both values."""
    a, b = flatten(old), flatten(new)
    return [f"{key} was {a[key]}, is {b[key]}" for key in a if a[key] != b[key] and key not in RESUMABLE]


def dump_yaml(config: Config) -> str:
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _read_yaml(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """A YAML file's keys over those of the file that its key `base` names, if it has one."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or a date like 2024-13-45
        raise ConfigError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: must hold keys and values, holds {type(raw).__name__}")
    raw |= {key: {} for key in _sections() if key in raw and raw[key] is None}  # every line of it is commented out
    base = raw.pop("base", None)
    if base is None:
        return raw
    above = (*above, path.resolve())
    if not isinstance(base, str) or (path.parent / base).resolve() in above:
        raise ConfigError(f"{path}: base = {base!r}: must name another config beside this one")
    return _merge(_read_yaml(path.parent / base, above), raw)


def _merge(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    shared = [key for key in over if isinstance(under.get(key), dict) and isinstance(over[key], dict)]
    return under | over | {key: _merge(under[key], over[key]) for key in shared}


def _apply(raw: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"'{override}' is not key=value, as in model.cell=gru")
    try:
        value = _number(yaml.safe_load(text)) if text else None
    except (yaml.YAMLError, ValueError, RecursionError):
        if key not in TEXTS:
            raise ConfigError(f"{key}: '{text}' is not a YAML value") from None
        value = text
    if key in TEXTS and value is not None and not (isinstance(value, str) and text[0] in "'\""):
        value = text  # speaker 1089, run 2024, a description with a colon: as they were typed
    node = raw
    *parents, leaf = key.split(".")
    for parent in parents:
        child = node.setdefault(parent, {})
        if not isinstance(child, dict):
            raise ConfigError(f"{key}: '{parent}' is a value, not a section")
        node = child
    node[leaf] = value


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text: numbers in scientific notation without a point are meant as numbers."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _explain(error: Any, name: str) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        leaf, keys = key.rpartition(".")[2], [*_sections(), *SETTINGS]
        nearest = [known for known in keys if known.endswith(f".{leaf}")]
        nearest = nearest or difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
        return f"{name}: unknown key {key}" + (f"; did you mean {nearest[0]}?" if nearest else "")
    message = error["msg"].removeprefix("Value error, ")
    return f"{name}: {key} = {error['input']!r}: {message[0].lower()}{message[1:]}"


def _sections() -> list[str]:
    return [key for key, value in Config.model_fields.items() if isinstance(value.default, BaseModel)]
