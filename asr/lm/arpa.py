"""ARPA files (base-10 logarithms) -> n-grams (natural ones) and back."""

from __future__ import annotations

import bz2
import gzip
import lzma
import math
import re
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from asr.errors import ModelError
from asr.lm.trie import SPECIAL, Level
from asr.util.files import atomic_write, read_lines

LN10 = math.log(10)
NEVER_LOG10 = -99.0  # log10 probability of what never happens, by the convention of ARPA files
MAX_ORDERS = 10
_BY_NAME = {".xz": lzma.open, ".gz": gzip.open, ".bz2": bz2.open}
_BLOCK = 100_000
_BACKSLASH = ord("\\")


def is_arpa(path: Path) -> bool:
    """Whether a file is an ARPA file, by its name."""
    return re.search(r"\.arpa(\.gz|\.bz2|\.xz)?$", path.name, re.IGNORECASE) is not None


def write_arpa(path: Path, words: Sequence[str], levels: Sequence[Level]) -> None:
    """Write an ARPA file, whole or not at all; .gz, .bz2 and .xz are packed."""
    opener: Any = _BY_NAME.get(path.suffix)
    with atomic_write(path) as file:
        if opener is None:
            file.writelines(line.encode() for line in _lines(words, levels))
        else:
            with opener(file, "wt", encoding="utf-8", newline="\n") as packed:
                packed.writelines(_lines(words, levels))


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
            log_probs = np.where(log_probs < NEVER_LOG10 + 0.01, NEVER_LOG10, log_probs).tolist()
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

    The special words, backoff weights and n-grams that others begin with may be missing.
    Raises ModelError naming the file, and the line where one is wrong.
    """
    index, sections = _read_sections(path)
    try:
        words = [word.decode() for word in index]
    except UnicodeDecodeError as error:
        raise ModelError(f"{path}: {error.object!r} is not UTF-8; convert the file first") from None
    levels: list[Level] = []
    for n, ngrams in enumerate(sections, 1):
        level = _level(levels, ngrams)
        missing = [above.ids[:, :n] for above in sections[n:]]
        missing = [ids[_locate([*levels, level], ids) < 0] for ids in missing]
        if any(map(len, missing)):
            ngrams = _with_missing(levels, ngrams, np.unique(np.concatenate(missing), axis=0))
            level = _level(levels, ngrams)
        if len(level) < len(ngrams.ids):
            raise ModelError(f"{path}: some {n}-grams are listed twice")
        levels.append(level)
    return words, levels


class Ngrams(NamedTuple):
    """Those of one order in the order of a file. ids: (n-grams, order) numbers of their words."""

    ids: np.ndarray
    log_probs: np.ndarray
    log_backoffs: np.ndarray


class _Section:
    """The lines of one section, each checked as it comes."""

    def __init__(self, order: int) -> None:
        self.order = order
        self.ids, self.log_probs, self.log_backoffs = array("i"), array("d"), array("d")

    def add(self, fields: list[bytes], index: dict[bytes, int]) -> None:
        n = self.order
        if not n + 1 <= len(fields) <= n + 2:
            raise ValueError(f"{len(fields)} fields; a {n}-gram has {n + 1}, or {n + 2} with its backoff weight")
        log_prob, log_backoff = float(fields[0]), float(fields[n + 1]) if len(fields) == n + 2 else 0.0
        if not log_prob <= 0.01:  # rounding lifts some above 0
            raise ValueError(f"a log10 probability of {log_prob:g}; it must not be above 0")
        if not log_backoff <= -NEVER_LOG10:
            raise ValueError(f"a log10 backoff weight of {log_backoff:g}")
        if n == 1:
            index.setdefault(fields[1], len(index))
        self.ids.extend(map(index.__getitem__, fields[1 : n + 1]))
        self.log_probs.append(min(log_prob, 0.0))
        self.log_backoffs.append(log_backoff)

    def ngrams(self) -> Ngrams:
        log_probs, log_backoffs = (
            np.maximum(log10, NEVER_LOG10) * LN10 for log10 in (self.log_probs, self.log_backoffs)
        )
        return Ngrams(np.array(self.ids, np.int64).reshape(-1, self.order), log_probs, log_backoffs)


def _read_sections(path: Path) -> tuple[dict[bytes, int], list[Ngrams]]:
    """The number of each word, and the n-grams of each order."""
    index = {word.encode(): number for number, word in enumerate(SPECIAL)}
    declared: dict[int, int] = {}
    sections: list[_Section] = []
    begun = ended = False
    for number, line in enumerate(read_lines(path, ModelError), 1):
        fields = line.replace(b"<UNK>", b"<unk>").split()
        try:
            if not fields or not (begun or fields[0] == b"\\data\\"):
                continue
            if fields[0] == b"\\end\\":
                ended = True
                break
            if not begun:
                begun = True
            elif fields[0][0] == _BACKSLASH:
                sections.append(_Section(len(sections) + 1))
                while fields[0] != b"\\%d-grams:" % len(sections) and declared.get(len(sections)) == 0:
                    sections.append(_Section(len(sections) + 1))  # an order without n-grams may be left out
                if fields[0] != b"\\%d-grams:" % len(sections):
                    raise ValueError(f"\\{len(sections)}-grams: is expected here")
            elif sections:
                sections[-1].add(fields, index)
            else:
                match = re.fullmatch(rb"ngram\s+(\d{1,9})\s*=\s*(\d{1,18})", line.strip())
                if not match or not 1 <= int(match[1]) <= MAX_ORDERS:
                    raise ValueError(f"'ngram ORDER=COUNT' is expected here, ORDER 1 to {MAX_ORDERS}")
                declared[int(match[1])] = int(match[2])
        except (KeyError, ValueError) as error:
            unknown = isinstance(error, KeyError)
            what = f"{error.args[0].decode(errors='replace')!r} is not among the 1-grams" if unknown else error
            shown = line.decode(errors="replace").strip()[:60]
            raise ModelError(f"{path}: line {number}: {what}: {shown!r}") from None
    if not begun:
        raise ModelError(f"{path}: neither a language model's folder nor an ARPA file (no \\data\\ line)")
    for n in range(1, max(len(sections), *declared, 1) + 1):
        found = len(sections[n - 1].log_probs) if n <= len(sections) else 0
        if found != declared.get(n, 0) or (n == 1 and not found):
            raise ModelError(f"{path}: {found} {n}-grams, {declared.get(n, 0)} declared; damaged or cut off")
    if not ended:
        raise ModelError(f"{path}: no \\end\\ line; cut off")
    for special in set(range(len(SPECIAL))).difference(sections[0].ids):
        sections[0].add([b"%g" % NEVER_LOG10, SPECIAL[special].encode()], index)
    order = max(section.order for section in sections if section.log_probs)
    return index, [section.ngrams() for section in sections[:order]]


def _level(below: list[Level], ngrams: Ngrams) -> Level:
    """N-grams whose beginnings the orders below have: sorted, each once."""
    words, parents = ngrams.ids[:, -1], np.zeros(len(ngrams.ids), np.int64)
    if below:
        parents = _locate(below, ngrams.ids[:, :-1])
    _, first = np.unique(parents * len(below[0] if below else words) + words, return_index=True)
    return Level(words[first], parents[first], ngrams.log_probs[first], ngrams.log_backoffs[first])


def _locate(levels: list[Level], ids: np.ndarray) -> np.ndarray:
    """(n-grams, n) numbers of words -> rows of level n, -1 for those it lacks."""
    size = len(levels[0])
    rows = ids[:, 0]
    for level, words in zip(levels[1:], ids.T[1:], strict=False):
        keys, wanted = level.parents * size + level.words, rows * size + words
        places = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
        rows = np.where((rows >= 0) & (keys[places] == wanted), places, -1) if len(keys) else np.full(len(rows), -1)
    return rows


def _with_missing(below: list[Level], ngrams: Ngrams, ids: np.ndarray) -> Ngrams:
    """The n-grams and those of `ids`, with the probabilities that the orders below give them."""
    added = Ngrams(ids, _backed_off(below, ids), np.zeros(len(ids)))
    return Ngrams(*map(np.concatenate, zip(ngrams, added, strict=True)))


def _backed_off(levels: list[Level], ids: np.ndarray) -> np.ndarray:
    """ln p of the last word after the others, by orders lower than their number."""
    if ids.shape[1] == 1:
        return levels[0].log_probs[ids[:, 0]]
    last = levels[ids.shape[1] - 2]
    contexts, suffixes = _locate(levels, ids[:, :-1]), _locate(levels, ids[:, 1:])
    weights = np.where(contexts >= 0, last.log_backoffs[contexts], 0.0)
    return weights + np.where(suffixes >= 0, last.log_probs[suffixes], _backed_off(levels, ids[:, 1:]))
