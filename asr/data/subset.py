"""The part of a manifest that training uses: which rows, and what is known of their texts."""

from __future__ import annotations

import logging
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from asr.config import Config
from asr.data.manifest import Manifest, read_lines
from asr.errors import ManifestError, TrainError
from asr.lengths import min_frames
from asr.lexicon.pronunciations import Phones, Pronunciations
from asr.text import (
    BLANK,
    UNPRONOUNCED,
    Oddities,
    SymbolReport,
    Tokenizer,
    listed,
    normalize,
    normalizer_for,
    symbols_of,
)

logger = logging.getLogger(__name__)

Spell = Callable[[str], list[Phones] | None]  # a word -> its pronunciations, or its pieces


@dataclass
class Subset:
    """Rows of a manifest that are used, and what is known of their normalized texts, which stay on disk.

    rows: (utterances,) of the manifest; needed: (utterances,) frames that CTC needs; speakers: (utterances,) numbers,
    equal for the same speaker; symbols: how often each occurs that a token may stand for; oddities: of the texts as
    written; normalizers: what they went through, as their languages ask for.
    """

    manifest: Manifest
    rows: np.ndarray
    symbols: Counter[str]
    needed: np.ndarray
    speakers: np.ndarray
    oddities: Oddities = field(default_factory=Oddities)
    normalizers: set[str] = field(default_factory=set)

    @property
    def durations(self) -> np.ndarray:
        return self.manifest.durations[self.rows]

    def __len__(self) -> int:
        return len(self.rows)


def require_manifest(path: Path | None, key: str) -> Path:
    """The manifest that the setting `key` names. Raises TrainError when it names none, or one that does not exist."""
    if path is None:
        raise TrainError(f"{key} is not set: give the manifest's path, {key}=FILE.jsonl")
    if not path.exists():
        raise TrainError(
            f"{path}: no such file ({key}); write it with asr data import and asr data split, or prepare a recipe's"
            " corpus first (asr data prepare RECIPE, or the recipe's run.sh)"
        )
    return path


def training_texts(manifest: Path, config: Config) -> Iterator[str]:
    """The normalized texts of a manifest without the held-out speaker's, one by one; a missing text is empty."""
    for record in (line.parse() for line in read_lines(manifest)):
        if config.data.held_out_speaker is None or str(record.get("speaker")) != config.data.held_out_speaker:
            yield normalize(record.get("text") or "", config.text.normalizer, record.get("lang"))


def read_subset(path: Path | None, config: Config, key: str, spell: Spell | None = None) -> Subset:
    """Read a manifest for training: without the held-out speaker; with train.overfit=N, its first N utterances alone.

    key: the setting that names the manifest, for messages. spell: for phones and subwords; None: data.lexicon does.
    Raises TrainError when there is no manifest or nothing in it can be used, ManifestError for a damaged line or one
    without text.
    """
    path = require_manifest(path, key)
    rows, speakers, without_text = array("q"), array("i"), array("q")
    spell = spell or read_pronunciations(config).get
    texts, oddities, normalizers = TextCounts(config.text.tokens, spell), Oddities(), set[str]()
    numbers: dict[str | None, int] = {}

    def visit(row: int, line: dict[str, Any]) -> None:
        speaker = str(line["speaker"]) if "speaker" in line else None
        if config.data.held_out_speaker is not None and speaker == config.data.held_out_speaker:
            return
        if config.train.overfit and len(rows) == config.train.overfit:
            return
        if "text" not in line:
            without_text.append(row)
            return
        lang = line.get("lang")
        normalizers.add(normalizer_for(config.text.normalizer, lang))
        oddities.add(line["text"], lang)
        texts.add(normalize(line["text"], config.text.normalizer, lang))
        rows.append(row)
        speakers.append(numbers.setdefault(speaker, len(numbers)))

    manifest = Manifest(path, visit)
    texts.count()
    if without_text:
        raise ManifestError(f"{manifest.path}: utterance {manifest[without_text[0]].id} has no text to learn from")
    if config.data.held_out_speaker is not None and key == "data.train" and len(rows) == len(manifest):
        raise TrainError(
            f"{manifest.path}: no utterance of the held-out speaker '{config.data.held_out_speaker}' in it"
        )
    if not rows:
        raise TrainError(f"{manifest.path}: no utterances to use")
    unpronounced = [word.removesuffix(UNPRONOUNCED) for word in texts.symbols if word.endswith(UNPRONOUNCED)]
    if config.text.tokens == "phones" and key == "data.train" and unpronounced:
        remedy = "asr lexicon make gives one to every word of a text, data.g2p to those of the training texts"
        if config.data.g2p is not None:  # which has tried
            remedy = "spell them as they are spoken, or asr lexicon add"
        raise TrainError(
            f"{config.data.lexicon}: no pronunciation of {listed(unpronounced)}, which {manifest.path} says; {remedy}"
        )
    if not texts.symbols:
        raise TrainError(f"{manifest.path}: every text is empty after normalization ({config.text.normalizer})")
    needed = np.array(texts.needed)
    return Subset(manifest, np.array(rows), texts.symbols, needed, np.array(speakers), oddities, normalizers)


@dataclass
class TextCounts:
    """Counts over normalized texts: how often each symbol occurs, and the frames that CTC needs for each text.

    Characters are counted many texts at a time, far faster than one by one.
    """

    kind: str
    spellings: Spell | None = None
    symbols: Counter[str] = field(default_factory=Counter)
    needed: array[int] = field(default_factory=lambda: array("i"))
    waiting: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.waiting.append(text)
        if len(self.waiting) == 1000:
            self.count()

    def count(self) -> None:
        """Count the texts that have been added since the last time."""
        texts, self.waiting = self.waiting, []
        if self.kind != "characters":
            for symbols in (symbols_of(self.kind, text, self.spellings) for text in texts):
                self.symbols.update(symbols)
                self.needed.append(min_frames(symbols))
        elif texts:
            lines = "".join(f"{text}\n" for text in texts)  # no normalized text holds a line's end
            codes = np.frombuffer(lines.encode("utf-32-le", "surrogatepass"), np.uint32)
            in_text = codes != ord("\n")
            repeated = in_text[1:] & (codes[1:] == codes[:-1])
            frames = in_text + np.append(0, repeated)
            ends = np.flatnonzero(~in_text)
            self.needed.extend(np.add.reduceat(frames, np.append(0, ends[:-1])).tolist())
            for code, count in zip(*np.unique(codes[in_text], return_counts=True), strict=True):
                self.symbols[chr(code)] += int(count)


def make_tokenizer(config: Config, train: Subset, lexicon: dict[str, list[Phones]]) -> Tokenizer:
    """A tokenizer with a token for every symbol of the training texts. lexicon: of phones, else empty."""
    symbols = set(train.symbols)
    # A composed utterance has spaces between its texts, even if no single text has one; and a search for words of
    # phones cannot do without.
    if config.text.tokens == "phones" or (config.text.tokens == "characters" and config.compose.max_recordings > 1):
        symbols.add(" ")
    return Tokenizer(config.text.tokens, (BLANK, *sorted(symbols)), lexicon)


def read_pronunciations(config: Config) -> dict[str, list[Phones]]:
    """The lexicon of data.lexicon, if the tokens are phones. Raises TrainError when none is named, TextError."""
    if config.text.tokens != "phones":
        return {}
    path = config.data.lexicon
    if path is None:
        raise TrainError("text.tokens=phones needs data.lexicon=FILE: pronunciations, as asr lexicon make writes them")
    if not path.is_file():
        raise TrainError(f"{path}: no such file (data.lexicon); asr lexicon make writes one")
    return _pronunciations(path, path.stat().st_mtime_ns, config.text.normalizer)


@lru_cache(maxsize=1)
def _pronunciations(path: Path, changed: int, normalizer: str) -> dict[str, list[Phones]]:
    return Pronunciations.load(path, normalizer).words


def warn_of_symbols(tokenizer: Tokenizer, subset: Subset, normalizer: str, name: str) -> None:
    """Log symbols of the texts that have no token, numerals, and what else texts should not hold."""
    report = SymbolReport()
    for symbol, count in subset.symbols.items():
        report.add([] if symbol in tokenizer else [symbol], symbol, count)
    for line in [*report.lines(), *subset.oddities.lines(normalizer)]:
        logger.warning(f"{name}: {line}")
