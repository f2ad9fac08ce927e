"""A language model as Python sees it: loaded, asked for sentences, saved."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from asr.lm import trie
from asr.lm.folder import WEIGHTS, load_folder, save_folder
from asr.lm.trie import EMPTY, Level, Tables
from asr.lm.units import END_ID, START_ID, UNKNOWN_ID, units_of
from asr.text import normalize


@dataclass(frozen=True)
class Perplexity:
    """Of a text: exp of the mean -ln p over its units and one end for each sentence.

    all: unknown units count as <unk>; known: they are left out, though they stay in the contexts.
    """

    all: float
    known: float
    units: int
    unknown: int
    sentences: int


@dataclass
class LanguageModel:
    """An n-gram model of words or characters.

    tables: for asr.lm.trie.score; words: in the order of their numbers, <unk>, <s> and </s> first; unit: see
    asr.lm.units; normalizer: what the text went through that it was estimated from, None where that is not known;
    record: where it comes from; tuned: weights for a search and where they come from, see asr.evaluate.tune.
    """

    tables: Tables
    words: list[str]
    unit: str = "word"
    normalizer: str | None = None
    record: dict[str, Any] = field(default_factory=dict)
    tuned: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for value in self.tables:
            if isinstance(value, np.ndarray):
                value.flags.writeable = False  # as mapped files are: one kind of array, compiled for once

    @classmethod
    def load(cls, path: str | Path, bits: int = 16) -> LanguageModel:
        """Map a model's folder, or read an ARPA file, whose values are packed into so many bits; its normalizer is not
        known. Raises ModelError naming the file, and its line where known."""
        path = Path(path)
        if not path.is_dir():
            from asr.lm.arpa import read_arpa

            words, levels = read_arpa(path)
            return cls(trie.build(levels, bits), words)
        tables, words, about = load_folder(path)
        unit, normalizer = about.get("unit", "word"), about.get("normalizer")
        return cls(tables, words, unit, normalizer, about.get("record") or {}, about["tuned"])

    def save(self, folder: str | Path) -> None:
        """Write a model's folder; see asr.lm.folder."""
        about = {
            "unit": self.unit,
            "order": self.order,
            "normalizer": self.normalizer,
            "ngrams": np.diff(self.tables.starts).tolist(),
            "record": self.record,
            "tuned": self.tuned,
        }
        save_folder(Path(folder), self.tables, self.words, about)

    @property
    def order(self) -> int:
        return len(self.tables.starts) - 1

    @property
    def weights(self) -> dict[str, float]:
        """What a search weighs it by, as tuned: some fields of asr.decode.beam.BeamSettings, or none."""
        return {name: self.tuned[name] for name in WEIGHTS if name in self.tuned}

    @property
    def platt_scaling(self) -> tuple[float, float] | None:
        """For confidences of words that a search found with this model, as tuned; see asr.decode.timing."""
        return self.tuned.get("platt_scaling")

    @property
    def start_state(self) -> int:
        """The state at the beginning of a sentence."""
        return START_ID if self.order > 1 else EMPTY

    @cached_property
    def index(self) -> dict[str, int]:
        """Word -> number."""
        return {word: number for number, word in enumerate(self.words)}

    def ids(self, words: Iterable[str]) -> np.ndarray:
        """Words -> their numbers, int64; UNKNOWN_ID for those that the model lacks."""
        return np.array([self.index.get(word, UNKNOWN_ID) for word in words], np.int64)

    def score(self, state: int, word: int) -> tuple[float, int]:
        """ln p(word | state) and the next state; a sentence ends with the word END_ID."""
        return trie.score(self.tables, state, word)

    def score_sentence(self, words: Iterable[str]) -> np.ndarray:
        """ln p of each word of a sentence and of its end. (words + 1,) float64"""
        return trie.score_words(self.tables, self.start_state, np.append(self.ids(words), END_ID))

    def perplexity(self, texts: Iterable[str]) -> Perplexity:
        """Of sentences, which go through the model's normalizer first; empty ones are left out."""
        sentences = (units_of(self.unit, normalize(text, self.normalizer or "none")) for text in texts)
        ids = [np.append(self.ids(units), END_ID) for units in sentences if units]
        if not ids:
            return Perplexity(math.nan, math.nan, 0, 0, 0)
        log_probs = np.concatenate([trie.score_words(self.tables, self.start_state, each) for each in ids])
        known = np.concatenate(ids) != UNKNOWN_ID
        means = -log_probs.mean(), -log_probs[known].mean()
        return Perplexity(*np.exp(means).tolist(), len(known) - len(ids), int((~known).sum()), len(ids))

    def levels(self) -> list[Level]:
        """The n-grams by their order, for writing them elsewhere."""
        return trie.levels_of(self.tables)
