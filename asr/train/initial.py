"""The recognizer that a training begins with: new, or with another model's weights."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.config import AUTO, AUTOMATIC, Config, FeatureConfig, ModelConfig, Section, TextConfig, lenient
from asr.data.subset import Subset, read_pronunciations, require_manifest, training_texts
from asr.data.waveforms import read_utterance
from asr.errors import AudioError, TrainError
from asr.lexicon.pronunciations import Phones, Pronunciations
from asr.model.folder import FORMAT_VERSION, G2P, LEXICON, LM, find_model, load_model
from asr.model.recognizer import Recognizer
from asr.text import Tokenizer, listed
from asr.train.model_folder import read_run_config
from asr.train.optimizer import freeze
from asr.train.schedule import is_small, with_sizes
from asr.util.files import read_record
from asr.util.format import plural

logger = logging.getLogger(__name__)

# Settings a training may have of its own: no weight's shape is bound to them.
OWN = ("dropout", "hop_ms")
# What train.init=auto sets where the config does not. Minutes of speech are too few to learn what voices share. The
# first layers, which heard many, keep what they know; those above have far to go to other words.
BUILT_IN: dict[str, Any] = {"init": "digits", "freeze": ("encoder.subsampling.*", "encoder.layers.0.*"), "lr": 2e-3}


def with_init(config: Config, manifest: Path | None) -> Config:
    """The config with train.init=auto settled, as its run has it if that has begun: a built-in model for little speech
    of few different words, none for other corpora and where a setting contradicts it.

    manifest: of the training. Raises ManifestError or TrainError when it, or the run, cannot be read.
    """
    if config.train.init != "auto":
        return config
    anew = config.updated(train={"init": None})
    given = config.train.model_fields_set - {"init"}
    built_in = config.updated(train={key: value for key, value in BUILT_IN.items() if key not in given})
    if (config.run / "config.yaml").exists():
        return built_in if read_run_config(config.run).train.init else anew
    if not is_small(with_sizes(anew, require_manifest(manifest, "data.train"))):
        return anew
    try:
        adopt(built_in)
    except TrainError as error:
        logger.info(f"auto: train.init=null, as {error}")
        return anew
    license = read_model_config(BUILT_IN["init"])[1]["training"]["license"]
    logger.info(f"auto: train.init={BUILT_IN['init']}; train.init=null starts from nothing. Its license: {license}")
    return built_in


def adopt(config: Config) -> Config:
    """The config with all that it leaves open of features, model and text as the model of train.init has it, and for
    phones that model's lexicon, language model and G2P.

    Raises TrainError naming the settings that contradict that model, ModelError when there is none.
    """
    if config.train.init is None:
        return config
    path, record = read_model_config(config.train.init)
    kinds: dict[str, tuple[str, type[Section]]] = {
        "features": ("features", FeatureConfig),
        "model": ("encoder", ModelConfig),
        "text": ("text", TextConfig),
    }
    adopted: dict[str, dict[str, Any]] = {}
    changed = []
    for section, (key, kind) in kinds.items():
        ours, theirs = getattr(config, section), lenient(kind, record.get(key) or {}, str(path))
        adopted[section] = {
            name: value
            for name, value in theirs
            if name not in ours.model_fields_set
            or (f"{section}.{name}" in AUTOMATIC and getattr(ours, name) in (AUTO, "auto"))
        }
        changed += [
            f"{section}.{name} is {getattr(ours, name)}, there {value}"
            for name, value in theirs
            if name not in adopted[section] and getattr(ours, name) != value
            if section != "text" and name not in OWN
        ]
    if changed:
        raise TrainError(f"train.init={config.train.init} does not fit: {'; '.join(changed)}; leave these settings out")
    if "loss" not in config.train.model_fields_set and (record.get("training") or {}).get("loss") == "ctc_crf":
        adopted["train"] = {"loss": "ctc_crf"}
        if "ctc_epochs" not in config.train.model_fields_set:
            adopted["train"]["ctc_epochs"] = 0
    if "phones" in (config.text.tokens, adopted["text"].get("tokens")):
        its = {name: path.parent / file for name, file in (("lexicon", LEXICON), ("lm", LM), ("g2p", G2P))}
        adopted["data"] = {
            name: file for name, file in its.items() if getattr(config.data, name) is None and file.exists()
        }
    return config.updated(**adopted)


def learn_subwords(config: Config, manifest: Path) -> Tokenizer | None:
    """If text.tokens is subwords, the tokens that a manifest's texts make, or those of the model that training starts
    from, with the characters that the texts have besides."""
    if config.text.tokens != "subwords":
        return None
    texts, size = training_texts(manifest, config), config.text.subwords
    if config.train.init is not None:
        _, record = read_model_config(config.train.init)
        if record["text"]["tokens"] == "subwords" and record["text"].get("subwords") == size:
            known = record["tokens"]
            return Tokenizer("subwords", (*known, *sorted(set(" ").union(*texts) - {" ", *known})))
    tokenizer = Tokenizer.build("subwords", texts, subwords=size)
    if len(tokenizer) != size:
        logger.warning(f"text.subwords={size}: the training texts make {len(tokenizer)}")
    return tokenizer


def complete_lexicon(config: Config, manifest: Path) -> dict[str, list[Phones]]:
    """If text.tokens is phones, the pronunciations of data.lexicon and, for words of a manifest's texts that it lacks,
    what data.g2p guesses; else {}."""
    lexicon = read_pronunciations(config)
    if config.text.tokens != "phones" or config.data.g2p is None:
        return lexicon
    said = dict.fromkeys(word for text in training_texts(manifest, config) for word in text.split())
    if not (lacking := [word for word in said if word not in lexicon]):
        return lexicon
    from asr.lexicon.g2p import G2p  # numba takes a second
    from asr.lexicon.make import make

    made = make(lacking, Pronunciations(), G2p.load(config.data.g2p))
    if made.guessed:
        words = plural(len(made.guessed), "word")
        logger.info(
            f"{words} that {config.data.lexicon} lacks, pronounced by {config.data.g2p}: {made.shown()};"
            " to hear what the language model lacks too, name it as a hot word"
        )
    return lexicon | made.lexicon.words


def keep_tokens(tokenizer: Tokenizer, init: str | None) -> tuple[Tokenizer, bool]:
    """The tokens of the model that a training starts from, where they are all that its texts need, and whether they
    are."""
    if init is None:
        return tokenizer, False
    _, record = read_model_config(init)
    ours, theirs = set(tokenizer.tokens), set(record["tokens"])
    # Subwords spell a text as their order says.
    enough = record["text"]["tokens"] == tokenizer.kind and (
        tokenizer.tokens == tuple(record["tokens"]) if tokenizer.kind == "subwords" else ours <= theirs
    )
    return replace(tokenizer, tokens=tuple(record["tokens"])) if enough else tokenizer, enough


def read_model_config(model: str) -> tuple[Path, dict[str, Any]]:
    """A model's config.json: its path and what it holds. Raises ModelError."""
    path = find_model(model) / "config.json"
    return path, read_record(path, FORMAT_VERSION, "not a model folder")


def initial_recognizer(config: Config, tokenizer: Tokenizer, subset: Subset) -> Recognizer:
    """A recognizer with the weights that training begins with, and what train.freeze names frozen.

    subset: the training utterances, for feature statistics. Raises TrainError when what train.freeze names does not
    fit, ModelError for a damaged model in train.init.
    """
    torch.manual_seed(config.train.seed)
    text = config.text
    if len(subset.normalizers) == 1:  # also for what has no `lang`: hot words, texts to be aligned
        text = text.model_copy(update={"normalizer": next(iter(subset.normalizers))})
    recognizer = Recognizer(config.features, text, config.model, tokenizer)
    recognizer.name = config.run.name
    if tokenizer.kind == "phones":
        recognizer.lm, recognizer.g2p = config.data.lm, config.data.g2p
    if config.train.init is not None:
        copy_weights(recognizer, load_model(find_model(config.train.init)), config.train.init)
    elif config.features.normalize == "global":
        set_feature_statistics(recognizer, subset)
    freeze(recognizer, config.train.freeze)
    recognizer.set_precision(config.train.precision)
    return recognizer


def copy_weights(recognizer: Recognizer, other: Recognizer, name: str) -> None:
    """Take over another model's weights, feature statistics and calibration, and its output for each token that both
    have."""
    ours, theirs = recognizer.tokenizer, other.tokenizer
    recognizer.emission_delay_s, recognizer.platt_scaling = other.emission_delay_s, other.platt_scaling
    known = set(theirs.tokens[1:]) & set(ours.tokens[1:]) if ours.kind == theirs.kind else set()
    states = {name: state for name, state in other.state_dict().items() if not name.startswith("head.")}
    recognizer.load_state_dict(states, strict=False)
    for number, token in enumerate(ours.tokens):
        if token in known or (known and number == 0):  # with words that both know, the blank
            row = theirs.tokens.index(token)
            for mine, its in zip(recognizer.head.parameters(), other.head.parameters(), strict=True):
                mine.data[number] = its.data[row]
    new = [token for token in ours.tokens[1:] if token not in known]
    if not new:
        logger.info(f"starting from {name}, which knows these {ours.kind}")
    elif known:
        logger.info(f"starting from {name}; new {ours.kind} in its output layer: {listed(new)}")
    else:
        logger.info(f"starting from {name}; new output layer for these {ours.kind}: {listed(new)}")


def set_feature_statistics(recognizer: Recognizer, subset: Subset, max_utterances: int = 1000) -> None:
    """Set the model's global mean and deviation from up to `max_utterances` training utterances, evenly spread."""
    chosen = subset.rows[np.linspace(0, len(subset) - 1, min(max_utterances, len(subset))).astype(int)]
    total = squares = torch.zeros(recognizer.features.dimension, dtype=torch.float64)
    frames = 0
    failure = None
    for row in chosen:
        try:
            samples = torch.from_numpy(read_utterance(subset.manifest[int(row)], recognizer.sample_rate))
        except AudioError as error:  # training reports it when its turn comes
            failure = error
            continue
        raw, lengths = recognizer.features.raw(samples.unsqueeze(0), torch.tensor([len(samples)]))
        values = raw[0, : int(lengths)].double()
        total, squares, frames = total + values.sum(0), squares + values.square().sum(0), frames + len(values)
    if not frames and failure is not None:
        raise failure
    mean = total / frames
    deviation = (squares / frames - mean.square()).clamp_min(0.0).sqrt()
    recognizer.features.set_global(mean.float(), deviation.float())
