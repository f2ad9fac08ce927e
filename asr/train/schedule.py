"""What `auto` stands for: tokens, network, epochs, in optimizer steps, and learning rate that fit a corpus."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from asr.config import AUTO, Config, settled
from asr.data.manifest import read_lines
from asr.text import normalize
from asr.util.format import plural

logger = logging.getLogger(__name__)

MIN_EPOCHS = 40  # a large corpus is heard so often
STEPS = 1600  # a small one so often that these are taken: CTC learns blanks first, words after many hundred steps
STEPS_KNOWN = 100  # a model that knows the tokens already adapts sooner, and at a lower rate forgets less
STEPS_NEW = 3200  # one that is to learn others turns its layers to them slowly, at a lower learning rate
LR, LR_KNOWN = 1e-3, 2e-4
TOO_FEW = 0.2  # of the steps that are wanted
MIN_UTTERANCES = 20  # fewer are learned by heart
VALIDATIONS = 25  # of a training with many short epochs

SMALL = 128  # units of a network for little speech
LARGE_S = 3600.0  # seconds of speech from which a larger network pays
MAX_WORDS = 100  # different ones, of a closed vocabulary
MIN_COUNT = 3  # times that each of them occurs, on average


def with_sizes(config: Config, manifest: Path) -> Config:
    """The config with its text.tokens and model.hidden_size settled by the training texts and the hours of speech."""
    if config.text.tokens != "auto" and config.model.hidden_size != AUTO:
        return config
    words: set[str] = set()
    said, seconds = 0, 0.0
    for record in (line.parse() for line in read_lines(manifest)):
        if config.data.held_out_speaker is not None and str(record.get("speaker")) == config.data.held_out_speaker:
            continue
        seconds += record.get("duration") or 0.0
        if len(words) <= MAX_WORDS:
            found = normalize(record.get("text") or "", config.text.normalizer, record.get("lang")).split()
            words.update(found)
            said += len(found)
        elif seconds >= LARGE_S:
            break
    closed = len(words) <= MAX_WORDS and len(words) * MIN_COUNT <= said
    tokens, hidden_size = "words" if closed else "characters", SMALL if seconds < LARGE_S else 256
    return settled(config, config.updated(text={"tokens": tokens}, model={"hidden_size": hidden_size}))


def is_small(config: Config) -> bool:
    """Whether the corpus was found to be small, and its words few."""
    return config.text.tokens == "words" and config.model.hidden_size == SMALL


def with_schedule(config: Config, batches: int, known: bool = False) -> Config:
    """The config with its epochs, learning rate, threads and how often it is validated settled.

    batches: of an epoch. known: whether the training starts from a model that knows all tokens.
    """
    train = config.train
    enough = math.ceil(steps_wanted(config, known) / steps_an_epoch(config, batches))
    epochs = max(MIN_EPOCHS, enough) if train.init is None else enough
    validate_every = 1 if train.epochs else max(1, epochs // VALIDATIONS)
    # A second thread gains little on steps this small, and loses much where another program wants its core.
    threads = 1 if not train.epochs and config.model.hidden_size <= SMALL else AUTO
    found = {"epochs": epochs, "lr": LR_KNOWN if known else LR, "validate_every": validate_every, "threads": threads}
    return settled(config, config.updated(train=found))


def steps_an_epoch(config: Config, batches: int) -> int:
    return math.ceil(batches / config.train.grad_accum_steps)


def steps_wanted(config: Config, known: bool) -> int:
    if known:
        return STEPS_KNOWN
    return STEPS if config.train.init is None else STEPS_NEW


def warn_of_little(config: Config, batches: int, utterances: int, known: bool = False) -> None:
    """Say before a training, not after, that it will learn nothing, and what to do. See `with_schedule`."""
    train = config.train
    if train.overfit:
        return
    if utterances < MIN_UTTERANCES and not known:
        logger.warning(
            f"{plural(utterances, 'training utterance')}: enough to try the commands, but expect about 100 % WER on"
            " other recordings; record more, or start from a model that knows the words (train.init)"
        )
    steps, wanted = train.epochs * steps_an_epoch(config, batches), steps_wanted(config, known)
    if steps < TOO_FEW * wanted:
        taken = f"{plural(steps, 'step')} ({plural(train.epochs, 'epoch')} of {plural(batches, 'batch', 'batches')})"
        epochs = math.ceil(wanted / steps_an_epoch(config, batches))
        logger.warning(
            f"{taken} are too few to learn from, some {wanted:,} are enough: leave out train.epochs and"
            f" train.batch_seconds (auto), or set train.epochs={epochs}"
        )
