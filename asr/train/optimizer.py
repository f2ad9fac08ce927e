"""What changes the weights: AdamW, its learning rate over time, and which parameters stay as they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch

from asr.config import TrainConfig
from asr.errors import TrainError
from asr.model.recognizer import Recognizer


def learning_rate(done: float, config: TrainConfig) -> float:
    """The rate when the share `done` of the training lies behind: linear warm-up, then half a cosine."""
    if done < config.warmup_ratio:
        return config.lr * max(done / config.warmup_ratio, 0.01)
    angle = math.pi * (done - config.warmup_ratio) / (1.0 - config.warmup_ratio)
    return config.lr * (config.min_lr_ratio + (1.0 - config.min_lr_ratio) * 0.5 * (1.0 + math.cos(angle)))


def make_optimizer(recognizer: Recognizer, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) over what is not frozen; biases and norms do not decay."""
    trained = [p for p in recognizer.parameters() if p.requires_grad]
    matrices = [p for p in trained if p.ndim > 1]
    vectors = [p for p in trained if p.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay)


def freeze(recognizer: Recognizer, patterns: Sequence[str]) -> None:
    """Take the parameters whose names match one of the patterns ("encoder.layers.0.*") out of the training.

    Raises TrainError for a pattern that matches no name, and when nothing is left to be trained.
    """
    parameters = dict(recognizer.named_parameters())
    for pattern in patterns:
        matching = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matching:
            raise TrainError(f"train.freeze: no parameter is named like '{pattern}'; there are {', '.join(parameters)}")
        for name in matching:
            parameters[name].requires_grad_(False)
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise TrainError(f"train.freeze = {', '.join(patterns)}: leaves nothing to be trained")
