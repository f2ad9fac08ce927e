"""Train a recurrent language model on texts: subwords, batches of sentences of similar length, AdamW, checkpoints.

The lines of a text need not follow each other, so each sentence starts from the state zero, as when it is scored.
"""

from __future__ import annotations

import io
import logging
import math
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils import clip_grad_norm_

from asr.data.batches import duration_batches
from asr.errors import ConfigError, ModelError, TrainError
from asr.lm.estimate import Corpus, barred_runs, read_corpus, read_sentences
from asr.lm.model import is_neural
from asr.lm.neural import (
    BORDER,
    SPECIAL,
    UNKNOWN,
    Network,
    NetworkConfig,
    NeuralLanguageModel,
    encode,
    first_line,
    rank_of,
    safe_exp,
)
from asr.lm.trie import END_ID, START_ID, UNKNOWN_ID
from asr.model.recurrent import MODULES
from asr.subwords import MARK, learn
from asr.text import NORMALIZERS
from asr.util.files import file_sha256, replace_file
from asr.util.format import as_time, plural
from asr.util.runtime import resolve_device
from asr.util.signals import StopSignals, shield_from_signals

logger = logging.getLogger(__name__)

STATE = "training.pt"  # in the model's folder while it is trained
SAVE_S = 600.0
REPORTS = 20  # of a training
MAX_TOKENS = 128  # of a sequence; longer sentences are cut
WARMUP = 0.01  # part of the training in which the learning rate rises
MAX_NORM = 1.0


@dataclass(frozen=True)
class NeuralConfig:
    """network: cell and sizes; subwords: how many to learn; epochs: passes over the text, not necessarily whole;
    lr: the highest learning rate; batch_tokens: with padding, of a step; drop_marks: see asr.text.without_marks."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    subwords: int = 4000
    epochs: float = 1.0
    dropout: float = 0.1
    lr: float = 4e-3
    batch_tokens: int = 2048
    seed: int = 0
    normalizer: str = "basic"
    drop_marks: bool = False

    def __post_init__(self) -> None:
        for name, value, known in (
            ("cell", self.network.cell, MODULES),
            ("normalizer", self.normalizer, NORMALIZERS),
        ):
            if value not in known:
                raise ConfigError(f"{name}={value}: there are {', '.join(known)}")
        if not 0 < self.epochs <= 1e6:
            raise ConfigError(f"epochs={self.epochs:g}: expected a number above 0")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout={self.dropout:g}: expected 0 to below 1")


def train(
    texts: Sequence[Path],
    config: NeuralConfig,
    folder: Path,
    heldout: Path | None = None,
    without: Iterable[str] = (),
    device: str = "auto",
    progress: Callable[[range], Iterable[int]] = iter,
) -> NeuralLanguageModel | None:
    """Train a model into a folder, from its last checkpoint on if there is one. None: a signal stopped it; the same
    call continues.

    texts, heldout, without: see asr.lm.estimate.train. progress: passes on the steps, and may show how far they are.
    Raises TextError, ConfigError; ModelError where the folder holds something else.
    """
    target, barred = resolve_device(device), barred_runs(without, config.normalizer)
    settings = asdict(config) | {"texts": [file_sha256(path) for path in texts], "without": len(barred)}
    state = read_state(folder, settings)
    if state is None and (folder / "lm.json").is_file():
        model = NeuralLanguageModel.load(folder, str(target))
        logger.info(f"{folder}: already trained")
        if heldout is not None and (model.record.get("perplexity") or {}).get("sha256") != file_sha256(heldout):
            measure(model, heldout)
            model.save(folder)
        return model
    corpus = read_corpus(texts, "word", config.normalizer, config.drop_marks, barred)
    tokens, text = encode_corpus(corpus, config.subwords)
    ratio = (len(text) - 1) / (corpus.units + corpus.sentences)
    logger.info(
        f"{plural(corpus.units, 'word')} in {plural(corpus.sentences, 'sentence')}: {len(tokens):,} subwords,"
        f" {ratio:.2f} to a word"
    )
    torch.manual_seed(config.seed)
    network = Network(config.network, len(tokens), config.dropout).to(target)
    sources = [{"file": path.name, "sha256": file_sha256(path)} for path in texts]
    record = {"sources": sources, "sentences": corpus.sentences, "units": corpus.units, "training": settings}
    model = NeuralLanguageModel(network, config.network, tokens, config.normalizer, record)
    del corpus
    if not fit(model, text, config, state, ratio, folder, heldout, progress):
        return None
    network.eval()
    measure(model, heldout)
    model.save(folder)
    (folder / STATE).unlink()
    return model


def fit(
    model: NeuralLanguageModel,
    text: np.ndarray,
    config: NeuralConfig,
    state: dict[str, Any] | None,
    ratio: float,
    folder: Path,
    heldout: Path | None,
    progress: Callable[[range], Iterable[int]],
) -> bool:
    """The training loop. ratio: tokens to a word. Returns whether it came to its end, before a signal."""
    shield_from_signals()
    network, spans = model.network, sequences(text)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=0.01)
    first, seconds = 0, 0.0
    if state is not None:
        network.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first, seconds = state["step"], state["seconds"]
    lengths = (spans[:, 1] - spans[:, 0]).astype(np.float64)
    steps = max(1, round(config.epochs * len(duration_batches(lengths, config.batch_tokens))))
    batches = islice(endless_batches(lengths, config), first, None)
    saved = time.monotonic()
    began = saved - seconds
    losses: list[Tensor] = []

    def save(done: int) -> None:
        model.record |= {"steps": done, "steps_planned": steps, "seconds": round(time.monotonic() - began, 1)}
        contents = {
            "model": network.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": done,
            "seconds": time.monotonic() - began,
            "settings": model.record["training"],
        }
        buffer = io.BytesIO()
        torch.save(contents, buffer)
        replace_file(folder / STATE, buffer.getvalue())
        model.save(folder)

    with StopSignals() as stop:
        for step in progress(range(first, steps)):
            inputs, targets, inside = batch_of(text, spans[next(batches)])
            for group in optimizer.param_groups:
                group["lr"] = config.lr * schedule(step / steps)
            torch.manual_seed(config.seed + step)  # of dropout, so that a resumed training goes on as it would have
            network.train()
            hidden, _ = network(inputs.to(model.device))
            loss = cross_entropy(network.logits(hidden[inside.to(model.device)]), targets.to(model.device))
            optimizer.zero_grad()
            loss.backward()
            clip_grad_norm_(network.parameters(), MAX_NORM)
            optimizer.step()
            losses.append(loss.detach())
            done = step + 1
            if done * REPORTS // steps > step * REPORTS // steps:
                mean, spent = float(torch.stack(losses).mean()), time.monotonic() - began
                if not math.isfinite(mean):
                    raise TrainError(f"{folder}: the loss is {mean} after step {done:,}: lower the learning rate")
                losses.clear()
                left = as_time((steps - done) * spent / done)
                logger.info(
                    f"step {done:,} of {steps:,}: perplexity of a word {safe_exp(mean * ratio):.1f}, {left} left"
                )
                if done < steps:
                    measure(model, heldout)
            if stop.asked or done == steps or time.monotonic() > saved + SAVE_S:
                save(done)
                saved = time.monotonic()
            if stop.asked and done < steps:
                logger.info(f"{folder}: stopped after step {done:,} of {steps:,}; the same command continues")
                return False
    return True


def measure(model: NeuralLanguageModel, heldout: Path | None) -> None:
    """Put the perplexity of a held-out text into the model's record."""
    if heldout is not None:
        model.network.eval()
        measured = model.perplexity(line.decode(errors="replace") for line in read_sentences(heldout))
        model.record["perplexity"] = {"file": heldout.name, "sha256": file_sha256(heldout), **vars(measured)}
        logger.info(f"perplexity {measured.all:.1f} on {heldout.name}")


def endless_batches(lengths: np.ndarray, config: NeuralConfig) -> Iterator[list[int]]:
    """The batches of epoch after epoch."""
    for epoch in count():
        yield from duration_batches(lengths, config.batch_tokens, np.random.default_rng([config.seed, epoch]))


def schedule(done: float) -> float:
    """The learning rate, as a part of the highest: linear warm-up, then cosine decay. done: from 0 to 1."""
    return min(max(done, WARMUP / 100) / WARMUP, 0.5 * (1 + math.cos(math.pi * done)))


def encode_corpus(corpus: Corpus, subwords: int) -> tuple[list[str], np.ndarray]:
    """Learn subwords from the words of a corpus. Returns the tokens, and the text as their numbers, int32: sentences
    with one BORDER between them, before the first and after the last."""
    counts = np.bincount(corpus.numbers, minlength=len(corpus.words)).tolist()
    ordinary = {word: counts[number] for number, word in enumerate(corpus.words) if number > END_ID}
    tokens = [*SPECIAL, *learn(ordinary, subwords, barred=MARK)]
    rank = rank_of(tokens)
    spelled = [encode(word, rank) for word in corpus.words]
    spelled[UNKNOWN_ID], spelled[START_ID], spelled[END_ID] = [UNKNOWN], [], [BORDER]
    sizes = np.array([len(parts) for parts in spelled], np.int32)
    starts = np.cumsum(sizes) - sizes
    flat = np.concatenate([np.array(parts, np.int32) for parts in spelled])
    each = sizes[corpus.numbers]
    places = np.repeat((starts[corpus.numbers] - (np.cumsum(each) - each)).astype(np.int32), each)
    places += np.arange(len(places), dtype=np.int32)
    return tokens, np.append(np.int32(BORDER), flat[places])


def sequences(text: np.ndarray) -> np.ndarray:
    """(sequences, 2): [a, b) where text[a:b] are the inputs and text[a + 1 : b + 1] the targets of each: a sentence, or
    a piece of a long one."""
    borders = np.flatnonzero(text == BORDER)
    firsts, ends = borders[:-1], borders[1:]
    pieces = -(-(ends - firsts) // MAX_TOKENS)
    which = np.repeat(np.arange(len(firsts)), pieces)
    number = np.arange(len(which)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = firsts[which] + number * MAX_TOKENS
    return np.stack([starts, np.minimum(starts + MAX_TOKENS, ends[which])], 1)


def batch_of(text: np.ndarray, spans: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs: (B, T) int64, padded; which of them are none of the padding: (B, T) bool; targets: (of these,)."""
    lengths = spans[:, 1:] - spans[:, :1]
    places = np.arange(lengths.max())
    inside = places < lengths
    places = np.where(inside, spans[:, :1] + places, 0)
    inputs, targets = text[places].astype(np.int64), text[places + 1][inside].astype(np.int64)
    return torch.from_numpy(inputs), torch.from_numpy(targets), torch.from_numpy(inside)


def read_state(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The last checkpoint in a folder; None where there is none. Raises ModelError where the folder holds a training
    with other settings, a finished one too, or something else, TrainError for a damaged checkpoint."""
    path = folder / STATE
    if path.is_file():
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            stored = state["settings"]
        except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, LookupError, TypeError, ValueError) as error:
            raise TrainError(f"{path}: damaged ({first_line(error)}); delete {folder} to begin again") from None
    elif (folder / "lm.json").is_file():
        if not is_neural(folder):
            raise ModelError(f"{folder}: holds an n-gram model; choose another folder, or delete it")
        state, stored = {}, NeuralLanguageModel.load(folder).record.get("training")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder}: is there and is not a language model; choose another name")
    else:
        return None
    if stored != settings:
        other = sorted(name for name in settings if settings[name] != (stored or {}).get(name))
        raise ModelError(
            f"{folder}: holds a model trained with other {', '.join(other)}; choose another folder, or delete it"
        )
    return state or None
