"""The recognizer that a training begins with: new, or with another model's weights."""

from __future__ import annotations

import numpy as np
import torch

from asr.config import Config
from asr.data.subset import Subset
from asr.data.waveforms import read_utterance
from asr.errors import AudioError, TrainError
from asr.model.folder import find_model, load_model
from asr.model.recognizer import Recognizer
from asr.text import Tokenizer
from asr.train.optimizer import freeze


def initial_recognizer(config: Config, tokenizer: Tokenizer, subset: Subset) -> Recognizer:
    """A recognizer with the weights that training begins with, and what train.freeze names frozen.

    subset: the training utterances, for feature statistics. Raises TrainError when the model of train.init, or what
    train.freeze names, does not fit.
    """
    torch.manual_seed(config.train.seed)
    text = config.text
    if len(subset.normalizers) == 1:  # also for what has no `lang`: hot words, texts to be aligned
        text = text.model_copy(update={"normalizer": next(iter(subset.normalizers))})
    recognizer = Recognizer(config.features, text, config.model, tokenizer)
    recognizer.name = config.run.name
    if config.train.init is not None:
        copy_weights(recognizer, load_model(find_model(config.train.init)), config.train.init)
    elif config.features.normalize == "global":
        set_feature_statistics(recognizer, subset)
    freeze(recognizer, config.train.freeze)
    recognizer.set_precision(config.train.precision)
    return recognizer


def copy_weights(recognizer: Recognizer, other: Recognizer, name: str) -> None:
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
