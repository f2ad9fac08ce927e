"""A language model: loading, scoring sentences, saving.

Its folder holds lm.json (what it is), words.txt (one a line, in order) and ngrams.safetensors (mapped, not read).
"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from asr import __version__
from asr.errors import ModelError
from asr.lm.trie import (
    EMPTY,
    END_ID,
    SPECIAL,
    START_ID,
    UNKNOWN_ID,
    Tables,
    build,
    score,
    score_all,
    score_words,
    shapes,
)
from asr.text import normalize
from asr.util.files import read_record, replace_file

FORMAT_VERSION = 1
MAX_SAMPLED = 200  # units of a sentence
NEURAL = "neural"  # the kind of language model of asr.lm.neural, in its lm.json
# Weights of a beam search that lm.json may hold, see asr.decode.beam.
WEIGHTS = ("lm_weight", "word_insertion_bonus", "unk_score")
UNITS = ("word", "character")
_BORDER, _UNKNOWN = (re.compile(mark, re.IGNORECASE) for mark in ("</?s>", "<unk>"))
SPACE = "\u2581"  # a space among characters: in files, spaces separate units


def units_of(unit: str, text: str) -> Sequence[str]:
    """What a model counts: the words of a normalized text, or its characters with a visible space."""
    return text.split() if unit == "word" else text.replace(" ", SPACE)


def split_sentences(line: str) -> list[list[str]]:
    """The sentences of a line, one or those that <s> and </s> enclose, each as the texts before, between and after its
    <unk>."""
    if "<" not in line:
        return [[line]]
    return [_UNKNOWN.split(sentence) for sentence in _BORDER.split(line)]


def join_units(texts: Iterable[str], unit: str, normalizer: str) -> list[str]:
    """The units of a sentence, which may be none, from the texts between its <unk>."""
    units: list[str] = []
    space = SPACE if unit == "character" else ""
    for i, text in enumerate(texts):
        following = units_of(unit, normalize(text, normalizer))
        if i:
            units += filter(None, (space if units else "", SPECIAL[UNKNOWN_ID], space if following else ""))
        units += following
    return units


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

    tables: for asr.lm.trie.score; words: in the order of their numbers, <unk>, <s> and </s> first; unit: one of
    UNITS; normalizer: what the text went through that it was estimated from, None where that is not known;
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
                value.flags.writeable = (
                    False  # like mapped files, so that compiled code sees one kind of array and is compiled once
                )

    @classmethod
    def load(cls, path: str | Path, bits: int = 16) -> LanguageModel:
        """Map a model's folder, or read an ARPA file, whose values are packed into so many bits; its normalizer is not
        known. Raises ModelError naming the file, and its line where known."""
        path = Path(path)
        if not path.is_dir():
            from asr.lm.arpa import read_arpa

            words, levels = read_arpa(path)
            return cls(build(levels, bits), words)
        return _read_folder(path)

    def save(self, folder: str | Path) -> None:
        """Write a model's folder, whole or not at all. Another model there is replaced; any other folder is refused.

        Raises ModelError.
        """
        from safetensors.numpy import save

        folder = Path(folder)
        if folder.exists() and not (folder / "lm.json").is_file() and (not folder.is_dir() or any(folder.iterdir())):
            raise ModelError(f"{folder}: is there and is not a language model; choose another name")
        folder = folder.absolute()
        fields = self.tables._asdict()
        arrays = {name: np.ascontiguousarray(value) for name, value in fields.items() if isinstance(value, np.ndarray)}
        about = {
            "format_version": FORMAT_VERSION,
            "asr_version": __version__,
            "unit": self.unit,
            "order": self.order,
            "normalizer": self.normalizer,
            "ngrams": np.diff(self.tables.starts).tolist(),
            "record": self.record,
            "tuned": self.tuned,
            "packing": {name: value for name, value in fields.items() if name not in arrays},
        }
        part, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{end}") for end in ("part", "old"))
        part.mkdir(parents=True)
        try:
            (part / "ngrams.safetensors").write_bytes(save(arrays))
            (part / "words.txt").write_bytes("\n".join(self.words).encode())
            (part / "lm.json").write_text(_json(about), encoding="utf-8")
            while part.exists():
                with suppress(FileNotFoundError):
                    folder.rename(old)
                try:
                    part.rename(folder)
                except OSError:
                    if not folder.exists():
                        raise
                    shutil.rmtree(old, ignore_errors=True)  # another process was quicker: its model is replaced
        finally:
            for leftover in (part, old):
                shutil.rmtree(leftover, ignore_errors=True)

    @property
    def order(self) -> int:
        return len(self.tables.starts) - 1

    @property
    def weights(self) -> dict[str, Any]:
        """The tuned weights of a beam search, fields of asr.decode.beam.BeamSettings; empty if it was never tuned."""
        return {name: self.tuned[name] for name in WEIGHTS if name in self.tuned}

    @property
    def platt_scaling(self) -> tuple[float, float] | None:
        """Slope and offset for confidences of words found with this model, as tuned; see asr.decode.decoder."""
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
        return score(self.tables, state, word)

    def score_sentence(self, words: Iterable[str]) -> np.ndarray:
        """ln p of each word of a sentence and of its end. (words + 1,) float64"""
        return score_words(self.tables, self.start_state, np.append(self.ids(words), END_ID))

    def sample(self, count: int, prompt: str = "", temperature: float = 1.0, seed: int = 0) -> list[str]:
        """Sentences drawn at random that begin with a prompt. temperature: below 1 likely words are drawn more often
        than their probability says, above 1 more rarely. <unk> is not drawn."""
        random = np.random.default_rng(seed)
        begun = list(units_of(self.unit, normalize(prompt, self.normalizer or "none")))
        sentences = []
        for _ in range(count):
            units, state = list(begun), self.start_state
            for number in self.ids(begun):
                _, state = self.score(state, number)
            while len(units) < MAX_SAMPLED:
                log_probs = score_all(self.tables, state) / temperature
                log_probs[[UNKNOWN_ID, START_ID]] = -math.inf
                probs = np.exp(log_probs - log_probs.max())
                number = int(random.choice(len(probs), p=probs / probs.sum()))
                if number == END_ID:
                    break
                units.append(self.words[number])
                _, state = self.score(state, number)
            sentences.append(" ".join(units) if self.unit == "word" else "".join(units).replace(SPACE, " ").strip())
        return sentences

    def perplexity(self, texts: Iterable[str]) -> Perplexity:
        """The perplexity of sentences, after the model's normalizer; empty ones are left out."""
        sentences = chain.from_iterable(map(split_sentences, texts))
        each = (join_units(sentence, self.unit, self.normalizer or "none") for sentence in sentences)
        ids = [np.append(self.ids(units), END_ID) for units in each if units]
        if not ids:
            return Perplexity(math.nan, math.nan, 0, 0, 0)
        log_probs = np.concatenate([score_words(self.tables, self.start_state, each) for each in ids])
        known = np.concatenate(ids) != UNKNOWN_ID
        everything, known_only = float(np.exp(-log_probs.mean())), float(np.exp(-log_probs[known].mean()))
        return Perplexity(everything, known_only, len(known) - len(ids), int((~known).sum()), len(ids))


def read_about(folder: Path) -> dict[str, Any]:
    """What lm.json says, of a version that can be read. Raises ModelError."""
    return read_record(folder / "lm.json", FORMAT_VERSION, "not a language model")


def is_neural(path: Path) -> bool:
    """Whether a folder holds a model of asr.lm.neural. Raises ModelError for a folder that holds no language model."""
    return path.is_dir() and read_about(path).get("kind") == NEURAL


def store_tuned(folder: Path, tuned: dict[str, Any]) -> None:
    """Put weights, and where they come from, into a model's lm.json; nothing else in the folder changes."""
    replace_file(folder / "lm.json", _json(read_about(folder) | {"tuned": tuned}))


def _read_folder(folder: Path) -> LanguageModel:
    """Map a model into memory: its arrays stay on disk until they are used. Raises ModelError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file  # maps the file; the one for numpy copies it

    about, path = read_about(folder), folder / "ngrams.safetensors"
    if is_neural(folder):
        raise ModelError(f"{folder}: a neural language model, which rescores what a search finds: --rescore {folder}")
    try:
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path}: unreadable or damaged: {error}") from None
    try:
        numbers = {name: int(value) for name, value in about.pop("packing").items()}
        tables = Tables(**{name: value for name, value in (arrays | numbers).items() if name in Tables._fields})
        words = (folder / "words.txt").read_bytes().decode().split("\n")
        for name, shape in shapes(tables).items():
            if arrays[name].shape != shape:
                raise ValueError(f"{name} is {arrays[name].shape}, should be {shape}")
        if len(words) != len(tables.unigrams):
            raise ValueError(f"{len(words)} lines in words.txt for {len(tables.unigrams)} words")
        tuned = about.setdefault("tuned", {})
        tuned |= {name: float(tuned[name]) for name in WEIGHTS if name in tuned}
        if "platt_scaling" in tuned:
            slope, offset = map(float, tuned["platt_scaling"])
            if not (0 <= slope <= 1e3 and abs(offset) <= 1e3):
                raise ValueError(f"platt_scaling is {slope}, {offset}")
            tuned["platt_scaling"] = slope, offset
        if not all(abs(tuned[name]) <= 1000 for name in WEIGHTS if name in tuned):
            raise ValueError(f"tuned is {tuned}")
    except (OSError, KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError) as error:
        raise ModelError(f"{folder}: a damaged language model: {error}") from None
    unit, normalizer = about.get("unit", "word"), about.get("normalizer")
    return LanguageModel(tables, words, unit, normalizer, about.get("record") or {}, tuned)


def _json(about: dict[str, Any]) -> str:
    return json.dumps(about, indent=2, ensure_ascii=False) + "\n"
