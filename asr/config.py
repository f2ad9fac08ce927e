"""One typed configuration: YAML file + key=value overrides. An unknown key is an error that names the nearest one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WrapValidator

from asr.errors import ConfigError

AUTO = 0.0  # where a number may be found out, what "auto" is read as


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FeatureConfig(Section):
    """Waveform -> features; stored with the model."""

    kind: Literal["logmel", "mfcc"] = "logmel"
    sample_rate: int = Field(16_000, ge=4_000, le=192_000)  # Hz
    n_mels: int = Field(80, ge=4, le=256)
    n_mfcc: int = Field(40, ge=4, le=256)  # MFCC only: how many cepstra are kept
    window_ms: float = Field(25.0, gt=1, le=200)
    hop_ms: float = Field(10.0, gt=1, le=100)
    f_min: float = Field(20.0, ge=0)
    f_max: float | None = None  # default: half the sample rate
    top_db: float | None = Field(None, gt=0)  # energies relative to the utterance's loudest, cut off so far below it
    # utterance: mean and variance of each utterance; global: of the training set, the only one that can stream
    normalize: Literal["utterance", "global", "none"] = "utterance"


class TextConfig(Section):
    """Text -> tokens; stored with the model."""

    normalizer: Literal["none", "basic"] = "basic"
    tokens: Literal["characters", "words"] = "characters"


class ModelConfig(Section):
    """The encoder; stored with the model."""

    cell: Literal["rnn", "lstm", "gru"] = "lstm"
    layers: int = Field(3, ge=1, le=32)
    hidden_size: int = Field(256, ge=1, le=8192)  # hidden units of one direction
    bidirectional: bool = True  # false: causal throughout, needs features.normalize of global or none
    subsampling: Literal[1, 2, 4] = 4  # of time, before the recurrent layers
    dropout: float = Field(0.1, ge=0, lt=1)
    layer_norm: bool = True
    residual: bool = True


class DataConfig(Section):
    train: Path | None = None  # manifests (JSON Lines)
    dev: Path | None = None
    held_out_speaker: str | None = None  # leave this speaker's utterances out of train and dev
    workers: int = Field(0, ge=0, le=64)  # threads that load audio ahead; 0: it is loaded when it is needed
    cache_mb: int = Field(1024, ge=0)  # decoded audio kept in memory, per process
    max_unreadable: float = Field(0.01, ge=0, le=1)  # share of an epoch's utterances that may be missing or damaged


class ComposeConfig(Section):
    """Training utterances made by joining several of one speaker: `per_epoch` of them, each of 1 to `most`."""

    max_recordings: int = Field(1, ge=1)  # 1: off
    utterances_per_epoch: int = Field(1000, ge=1)
    pause_s: tuple[float, float] = (0.05, 0.6)  # uniform, before the first, between, and after the last
    no_pause_prob: float = Field(
        0.0, ge=0, le=1
    )  # how often there is no pause before the first, and none after the last
    gain_db: float = Field(3.0, ge=0)  # each recording's level varies by ± this
    max_s: float | None = Field(None, gt=0)  # no more recordings than fit into this
    trim_prob: float = Field(0.0, ge=0, le=1)  # how many recordings lose quiet beginnings and ends
    trim_db: tuple[float, float] = (-35.0, -12.0)  # where, below the loudest moment; uniform
    noise_prob: float = Field(0.0, ge=0, le=1)  # how many utterances have noise in the recordings, none in the pauses
    noise_snr_db: tuple[float, float] = (10.0, 40.0)


class AugmentConfig(Section):
    """What changes training audio and spectra; every draw is keyed by seed, epoch and utterance or batch."""

    speed: tuple[float, float] = (1.0, 1.0)  # uniform factor on tempo and pitch
    gain_db: tuple[float, float] = (0.0, 0.0)  # uniform level change
    noise_prob: float = Field(0.0, ge=0, le=1)  # how many utterances get noise
    noise_snr_db: tuple[float, float] = (10.0, 30.0)
    noise: Path | None = None  # a manifest of recorded noise: every second noise; the others are colored noise
    reverb_prob: float = Field(0.0, ge=0, le=1)  # how many sound as in a room
    clipping_prob: float = Field(0.0, ge=0, le=1)  # how many are overdriven
    bandpass_prob: float = Field(0.0, ge=0, le=1)  # how many have the band of a telephone line
    telephone_prob: float = Field(0.0, ge=0, le=1)  # how many pass A-law, µ-law or GSM
    codec_prob: float = Field(0.0, ge=0, le=1)  # how many pass MP3 or Ogg Vorbis, at a random quality
    vtlp: tuple[float, float] = (1.0, 1.0)  # uniform factor on frequency: longer and shorter vocal tracts
    random_eq_db: float = Field(0.0, ge=0)  # a smooth curve over frequency of up to ± this: other microphones
    time_masks: int = Field(0, ge=0)  # SpecAugment (Park et al. 2019)
    time_mask_frames: int = Field(25, ge=1)
    max_time_mask_fraction: float = Field(0.2, gt=0, le=1)  # a mask covers at most this share of the utterance
    frequency_masks: int = Field(0, ge=0)
    frequency_mask_bins: int = Field(15, ge=1)


Momentum = Annotated[float, Field(ge=0, lt=1)]
AutoSeconds = Annotated[
    float, Field(gt=0), WrapValidator(lambda value, check: AUTO if value == "auto" else check(value))
]


class TrainConfig(Section):
    init: str | None = None  # start from this model's weights: a folder or a built-in name
    freeze: tuple[str, ...] = ()  # parameters that stay as they are, by patterns of their names: [encoder.layers.0.*]
    epochs: int = Field(30, ge=1)
    batch_seconds: AutoSeconds = (
        120.0  # of audio in a batch, padding included; auto: what memory holds, found by a trial
    )
    grad_accum_steps: int = Field(1, ge=1)  # batches a step: a larger batch than memory holds
    sortagrad: bool = False  # the first epoch goes from short utterances to long ones
    lr: float = Field(1e-3, gt=0)  # the peak
    warmup_ratio: float = Field(0.1, ge=0, lt=1)  # share of the training in which the rate rises to the peak
    min_lr_ratio: float = Field(0.01, ge=0, le=1)  # share of the peak left at the end of the cosine
    weight_decay: float = Field(0.01, ge=0)
    betas: tuple[Momentum, Momentum] = (0.9, 0.98)
    max_grad_norm: float = Field(5.0, gt=0)  # largest norm of the gradient
    ema_decay: float = Field(
        0.0, ge=0, lt=1
    )  # decay of the running average of weights that is validated and kept; 0: off
    seed: int = Field(0, ge=0, lt=2**63)
    validate_every: int = Field(1, ge=1)  # epochs
    select: Literal["wer", "cer"] = "wer"  # the development part's rate by which the best checkpoint is chosen
    patience: int = Field(0, ge=0)  # stop after so many epochs without a better rate; 0: off
    average: int = Field(0, ge=0)  # at the end average so many best epochs, kept if that is better still; 0: off
    keep_checkpoints: int = Field(0, ge=0)  # the weights of so many best epochs stay in checkpoints/epoch-NNN.pt
    log_every: int = Field(50, ge=1)  # steps
    max_minutes: float | None = Field(None, gt=0)  # then save and stop; the same command goes on
    max_epochs: int | None = Field(None, ge=1)  # save and stop when so many are done; more, or none, goes on
    save_minutes: float = Field(5.0, gt=0)  # a checkpoint is written this often, and after every epoch
    overfit: int = Field(0, ge=0)  # learn the first N utterances by heart, no augmentation: the first thing to try
    threads: int = Field(
        0, ge=0
    )  # of the CPU; 0: all. One is faster for very small models, above all on a busy machine
    precision: Literal["auto", "fp32", "tf32", "bf16"] = "auto"  # of the recurrent layers on CUDA; auto: tf32


class Config(Section):
    run: Path = Path("runs/default")  # folder for checkpoints, logs and the model
    device: str = "auto"  # auto, cpu, cuda, cuda:1 …
    description: str = ""  # for the model card: what the model understands
    license: str = ""  # of the model, for the card
    data: DataConfig = DataConfig()
    compose: ComposeConfig = ComposeConfig()
    features: FeatureConfig = FeatureConfig()
    text: TextConfig = TextConfig()
    augment: AugmentConfig = AugmentConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()


# Settings that are [lowest, highest], and what they must stay within.
RANGES = {
    "compose.pause_s": (0.0, 3600.0),
    "compose.trim_db": (-200.0, 0.0),
    "compose.noise_snr_db": (-200.0, 200.0),
    "augment.speed": (0.1, 10.0),
    "augment.vtlp": (0.1, 10.0),
    "augment.gain_db": (-200.0, 200.0),
    "augment.noise_snr_db": (-200.0, 200.0),
}

# Settings that hold a text or a path, whatever it looks like.
TEXTS = ("run", "device", "description", "license", "data.train", "data.dev", "data.held_out_speaker", "augment.noise")
TEXTS += ("train.init",)

# A run may be resumed with other values of these: they do not change what is learned.
RESUMABLE = ("run", "device", "description", "license", "data.workers", "data.cache_mb")
RESUMABLE += ("data.max_unreadable", "train.keep_checkpoints")
RESUMABLE += ("train.max_minutes", "train.max_epochs", "train.save_minutes", "train.log_every", "train.threads")


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
    values = flatten(config)
    for key, (lowest, highest) in RANGES.items():
        low, high = values[key]
        if not lowest <= low <= high <= highest:
            raise ConfigError(
                f"{name}: {key} is [lowest, highest] within {lowest:g} to {highest:g}, not [{low}, {high}]"
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


def flatten(config: BaseModel, prefix: str = "") -> dict[str, Any]:
    """{"train.lr": 0.001, …}: every leaf under its dotted key, as plain YAML values (tuples become lists)."""
    out: dict[str, Any] = {}
    for key in type(config).model_fields:
        value = getattr(config, key)
        if isinstance(value, BaseModel):
            out.update(flatten(value, f"{prefix}{key}."))
        else:
            plain = list(value) if isinstance(value, tuple) else value
            out[prefix + key] = str(plain) if isinstance(plain, Path) else plain
    return out


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
        leaf, keys = key.rpartition(".")[2], [*_sections(), *flatten(Config())]
        nearest = [known for known in keys if known.endswith(f".{leaf}")]
        nearest = nearest or difflib.get_close_matches(key, keys, n=1, cutoff=0.5)
        return f"{name}: unknown key {key}" + (f"; did you mean {nearest[0]}?" if nearest else "")
    return f"{name}: {key} = {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _sections() -> list[str]:
    return [key for key, value in Config.model_fields.items() if isinstance(value.default, BaseModel)]
