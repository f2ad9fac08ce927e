"""ARPA files (base-10 logarithms) -> n-grams (natural ones) and back."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asr.errors import ModelError
from asr.lm.textfile import read_lines, write_lines
from asr.lm.trie import Level
from asr.lm.units import SPECIAL

LN10 = math.log(10)
LEAST = -99.0  # log10, of what never happens
MOST_ORDERS = 10
_BLOCK = 100_000
_BACKSLASH = ord("\\")


@dataclass
class Section:
    """N-grams of one order in the order of a file. ids: (n-grams, order) numbers of their words."""

    ids: np.ndarray
    log_probs: np.ndarray
    log_backoffs: np.ndarray


def is_arpa(path: Path) -> bool:
    """By its name."""
    return re.search(r"\.arpa(\.gz|\.bz2|\.xz)?$", path.name, re.IGNORECASE) is not None


def write_arpa(path: Path, words: Sequence[str], levels: Sequence[Level]) -> None:
    """Write an ARPA file, whole or not at all; .gz, .bz2 and .xz are packed."""
    write_lines(path, _lines(words, levels))


def _lines(words: Sequence[str], levels: Sequence[Level]) -> Iterator[str]:
    yield "\\data\\\n"
    for n, level in enumerate(levels, 1):
        yield f"ngram {n}={len(level)}\n"
    for n, level in enumerate(levels, 1):
        yield f"\n\\{n}-grams:\n"
        for first in range(0, len(level), _BLOCK):
            rows = np.arange(first, min(first + _BLOCK, len(level)))
            texts = map(" ".join, zip(*_columns(words, levels[:n], rows), strict=True))
            log_probs = level.log_probs[rows] / LN10
            log_probs = np.where(log_probs < LEAST + 0.01, LEAST, log_probs).tolist()
            log_backoffs = (level.log_backoffs[rows] / LN10).tolist()
            if n < len(levels):
                yield from map("%.7g\t%s\t%.7g\n".__mod__, zip(log_probs, texts, log_backoffs, strict=True))
            else:
                yield from map("%.7g\t%s\n".__mod__, zip(log_probs, texts, strict=True))
    yield "\n\\end\\\n"


def _columns(words: Sequence[str], levels: Sequence[Level], rows: np.ndarray) -> list[list[str]]:
    """The first to the last word of n-grams."""
    columns = []
    for level in reversed(levels):
        columns.append([words[number] for number in level.words[rows].tolist()])
        rows = level.parents[rows]
    return columns[::-1]


def read_arpa(path: Path) -> tuple[list[str], list[Level]]:
    """Words by number, <unk>, <s> and </s> first, and the n-grams of each order; the file may be packed.

    Sections may be in any order; backoff weights may be missing, and so may the n-grams that others begin or end with.
    Raises ModelError naming the file and the line.
    """
    index, sections = _read_sections(path)
    try:
        words = [word.decode() for word in index.words]
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: {error.object!r} is not UTF-8; convert the file first") from None
    levels = [_all_words(sections[0], index, path)]
    for n in range(2, len(sections) + 1):
        levels.append(_level(levels, sections[n - 1], len(words)))
        missing = [section.ids[:, :n] for section in sections[n:]]
        missing = [ids[_locate(levels, ids) < 0] for ids in missing]
        if any(map(len, missing)):
            sections[n - 1] = _with_missing(levels[:-1], sections[n - 1], np.unique(np.concatenate(missing), axis=0))
            levels[-1] = _level(levels[:-1], sections[n - 1], len(words))
        if len(levels[-1]) < len(sections[n - 1].ids):
            raise ModelError(f"{path}: some {n}-grams are listed twice")
    return words, levels


class _Index(dict[bytes, int]):
    """Word -> number; a new word gets the next one. lines: where each was first seen, 0 for the special ones."""

    def __init__(self) -> None:
        self.words = [word.encode() for word in SPECIAL]
        self.lines = [0] * len(SPECIAL)
        self.line = 0
        super().__init__({word: number for number, word in enumerate(self.words)})
        self[b"<UNK>"] = 0

    def __missing__(self, word: bytes) -> int:
        self[word] = number = len(self.words)
        self.words.append(word)
        self.lines.append(self.line)
        return number


class _Reader:
    """The lines of one section, each checked as it comes."""

    def __init__(self, order: int, index: _Index) -> None:
        self.order, self.index = order, index
        self.ids, self.log_probs, self.log_backoffs = array("i"), array("d"), array("d")

    def add(self, fields: list[bytes]) -> None:
        n = self.order
        if not n + 1 <= len(fields) <= n + 2:
            raise ValueError(f"{len(fields)} fields; a {n}-gram has {n + 1}, or {n + 2} with its backoff weight")
        log_prob, log_backoff = float(fields[0]), float(fields[n + 1]) if len(fields) == n + 2 else 0.0
        if not log_prob <= 0.01:  # rounding lifts some above 0
            raise ValueError(f"a log10 probability of {log_prob:g}; it must not be above 0")
        if not log_backoff <= -LEAST:
            raise ValueError(f"a log10 backoff weight of {log_backoff:g}")
        self.ids.extend(map(self.index.__getitem__, fields[1 : n + 1]))
        self.log_probs.append(min(log_prob, 0.0))
        self.log_backoffs.append(log_backoff)

    def section(self) -> Section:
        log_probs, log_backoffs = (np.maximum(log10, LEAST) * LN10 for log10 in (self.log_probs, self.log_backoffs))
        return Section(np.array(self.ids, np.int64).reshape(-1, self.order), log_probs, log_backoffs)


def _read_sections(path: Path) -> tuple[_Index, list[Section]]:
    index = _Index()
    declared: dict[int, int] = {}
    readers: dict[int, _Reader] = {}
    reader: _Reader | None = None
    begun = ended = False
    for number, line in enumerate(read_lines(path, ModelError), 1):
        index.line = number
        fields = line.split()
        try:
            if not fields or ended:
                continue
            if fields[0][0] == _BACKSLASH:
                begun, ended = begun or fields[0] == b"\\data\\", fields[0] == b"\\end\\"
                if begun and (match := re.fullmatch(rb"\\(\d{1,9})-grams:", fields[0])):
                    order = int(match[1])
                    if order not in declared or order in readers:
                        raise ValueError(f"\\{order}-grams: " + ("comes twice" if order in readers else "not declared"))
                    reader = readers[order] = _Reader(order, index)
            elif reader is not None:
                reader.add(fields)
            elif begun:
                match = re.fullmatch(rb"ngram\s+(\d{1,9})\s*=\s*(\d{1,18})", line.strip())
                if not match or not 1 <= int(match[1]) <= MOST_ORDERS:
                    raise ValueError(f"'ngram ORDER=COUNT' is expected here, ORDER 1 to {MOST_ORDERS}")
                declared[int(match[1])] = int(match[2])
        except ValueError as error:
            shown = line.decode(errors="replace").strip()[:60]
            raise ModelError(f"{path}: line {number}: {error}: {shown!r}") from None
    if not begun:
        raise ModelError(f"{path}: neither a language model's folder nor an ARPA file (no \\data\\ line)")
    for order in range(1, max(declared, default=1) + 1):
        found = len(readers[order].log_probs) if order in readers else 0
        if found != declared.get(order, 0) or (order == 1 and not found):
            raise ModelError(f"{path}: {found} {order}-grams, {declared.get(order, 0)} declared; damaged or cut off")
    if not ended:
        raise ModelError(f"{path}: no \\end\\ line; cut off")
    order = max(order for order, reader in readers.items() if len(reader.log_probs))
    return index, [readers[n].section() if n in readers else _Reader(n, index).section() for n in range(1, order + 1)]


def _all_words(section: Section, index: _Index, path: Path) -> Level:
    """Level 1: every word once, in order. The special words may be missing in the file, others not."""
    numbers = section.ids[:, 0]
    times = np.bincount(numbers, minlength=len(index.words))
    times[: len(SPECIAL)] = np.maximum(times[: len(SPECIAL)], 1)
    wrong = np.flatnonzero(times != 1)
    if len(wrong):
        word, line = index.words[wrong[0]].decode(errors="replace"), index.lines[wrong[0]]
        what = "is not among the 1-grams" if times[wrong[0]] == 0 else "is listed twice among the 1-grams"
        raise ModelError(f"{path}: {f'line {line}: ' if line else ''}{word!r} {what}")
    log_probs, log_backoffs = np.full(len(times), LEAST * LN10), np.zeros(len(times))
    log_probs[numbers], log_backoffs[numbers] = section.log_probs, section.log_backoffs
    return Level(np.arange(len(times)), np.zeros(len(times), np.int64), log_probs, log_backoffs)


def _level(below: list[Level], section: Section, size: int) -> Level:
    """N-grams whose beginnings the orders below have: sorted, each once."""
    parents, words = _locate(below, section.ids[:, :-1]), section.ids[:, -1]
    _, first = np.unique(parents * size + words, return_index=True)
    return Level(words[first], parents[first], section.log_probs[first], section.log_backoffs[first])


def _locate(levels: list[Level], ids: np.ndarray) -> np.ndarray:
    """(n-grams, n) numbers of words -> rows of level n, -1 for those it lacks."""
    size = len(levels[0])
    rows = ids[:, 0]
    for level, words in zip(levels[1:], ids.T[1:], strict=False):
        keys, wanted = level.parents * size + level.words, rows * size + words
        places = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        rows = np.where((rows >= 0) & (keys[places] == wanted), places, -1) if len(keys) else np.full(len(rows), -1)
    return rows


def _with_missing(below: list[Level], section: Section, ids: np.ndarray) -> Section:
    """The n-grams and those of `ids`, with the probabilities that the orders below give them."""
    return Section(
        np.concatenate([section.ids, ids]),
        np.concatenate([section.log_probs, _backed_off(below, ids)]),
        np.concatenate([section.log_backoffs, np.zeros(len(ids))]),
    )


def _backed_off(levels: list[Level], ids: np.ndarray) -> np.ndarray:
    """ln p of the last word after the others, by orders lower than their number."""
    if ids.shape[1] == 1:
        return levels[0].log_probs[ids[:, 0]]
    last = levels[ids.shape[1] - 2]
    contexts, suffixes = _locate(levels, ids[:, :-1]), _locate(levels, ids[:, 1:])
    weights = np.where(contexts >= 0, last.log_backoffs[contexts], 0.0)
    return weights + np.where(suffixes >= 0, last.log_probs[suffixes], _backed_off(levels, ids[:, 1:]))
