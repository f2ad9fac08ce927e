"""N-grams as a trie of packed integers, which compiled code can query in a memory-mapped file.

A node is an n-gram. Nodes are numbered order by order, and within an order by the node of the first n - 1 words, then
by the last word, so that the children of a node lie side by side. A state of a search is a node too: the longest known
n-gram, shorter than the model's order, that the words so far end in; EMPTY where there is none.

Every array of integers is a stream of fixed width. A higher-order node costs one word number and one code of `bits` for
its probability, as in the quantized trie of KenLM (Heafield 2011, section 3.2); contexts cost one code more for their
backoff weight and the place of their first child. Single words keep theirs as float32.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from asr.util.jit import jit, njit_no_refcount

UNKNOWN, START, END = SPECIAL = ("<unk>", "<s>", "</s>")
UNKNOWN_ID, START_ID, END_ID = range(3)  # their numbers in every model
EMPTY = -1  # the state without any context


class Tables(NamedTuple):
    """What a query needs. Streams are uint32, of values of `_width` bits.

    starts: (order + 1,) int64, the first node of each order, then the number of nodes
    unigrams: (words, 2) float32, ln probability and ln backoff weight
    words: stream, the last word of each node of two and more words
    children: stream, where the children of each context begin among those nodes, and where the last ones end
    suffixes: stream, for contexts of three and more words the longest known n-gram that their last n - 1 words end in
    prob_codes, backoff_codes: streams of values of `bits` bits for each node and context of two and more words
    log_probs, log_backoffs: (order - 1, 2 ** bits) float32, what the codes of each order mean
    """

    starts: np.ndarray
    unigrams: np.ndarray
    words: np.ndarray
    words_width: int
    children: np.ndarray
    children_width: int
    suffixes: np.ndarray
    suffixes_width: int
    prob_codes: np.ndarray
    backoff_codes: np.ndarray
    bits: int
    log_probs: np.ndarray
    log_backoffs: np.ndarray


@dataclass
class Level:
    """All n-grams of one order, sorted by (parent, word), before they are packed.

    words: (n-grams,) the last word; parents: (n-grams,) the first n - 1 words, as a row of the level below; log_probs,
    log_backoffs: (n-grams,) natural logarithms. Level 1 holds every word once, in order.
    """

    words: np.ndarray
    parents: np.ndarray
    log_probs: np.ndarray
    log_backoffs: np.ndarray

    def __len__(self) -> int:
        return len(self.words)


@njit_no_refcount
def score(tables: Tables, state: int, word: int) -> tuple[float, int]:
    """ln p(word | state), and the state after it. Words are numbers below len(tables.unigrams)."""
    log_prob = 0.0
    context = state
    node = _child(tables, context, word)
    while node < 0:
        log_prob += _meaning(tables, context, np.int64(1), tables.backoff_codes, tables.log_backoffs)
        context = _suffix(tables, context)
        node = _child(tables, context, word)
    log_prob += _meaning(tables, node, np.int64(0), tables.prob_codes, tables.log_probs)
    contexts = tables.starts[len(tables.starts) - 2]
    while node < 0 or node >= contexts:
        if context == EMPTY:
            return log_prob, EMPTY
        context = _suffix(tables, context)
        node = _child(tables, context, word)
    return log_prob, node


@jit
def score_words(tables: Tables, state: int, words: np.ndarray) -> np.ndarray:
    """ln p of each word after all before it. words: (words,) int64 -> (words,) float64"""
    log_probs = np.empty(len(words))
    for i in range(len(words)):
        log_probs[i], state = score(tables, state, words[i])
    return log_probs


@jit
def score_all(tables: Tables, state: int) -> np.ndarray:
    """ln p of each word in a state. (words,) float64"""
    log_probs = np.empty(len(tables.unigrams))
    for word in range(len(log_probs)):
        log_probs[word] = score(tables, state, word)[0]
    return log_probs


@njit_no_refcount
def _value(stream: np.ndarray, width: int, i: int) -> int:
    bit = i * width
    slot = bit >> 5
    pair = np.int64(stream[slot]) | (np.int64(stream[slot + 1]) << 32)
    return (pair >> (bit & 31)) & ((1 << width) - 1)


@njit_no_refcount
def _child(tables: Tables, context: int, word: int) -> int:
    """The node of the context followed by the word; -1 where it is not in the model."""
    if context == EMPTY:
        return word
    first = tables.starts[1]
    low = _value(tables.children, tables.children_width, context)
    high = _value(tables.children, tables.children_width, context + 1)
    while low < high:
        middle = (low + high) >> 1
        found = _value(tables.words, tables.words_width, middle)
        if found == word:
            return first + middle
        if found < word:
            low = middle + 1
        else:
            high = middle
    return -1


@njit_no_refcount
def _suffix(tables: Tables, node: int) -> int:
    if node < tables.starts[1]:
        return EMPTY
    if node < tables.starts[2]:
        return _value(tables.words, tables.words_width, node - tables.starts[1])
    return _value(tables.suffixes, tables.suffixes_width, node - tables.starts[2])


@njit_no_refcount
def _meaning(tables: Tables, node: int, column: int, codes: np.ndarray, meanings: np.ndarray) -> float:
    """A node's value: of a single word from a column of unigrams, of two or more words what its code stands for."""
    place = node - tables.starts[1]
    if place < 0:
        return np.float64(tables.unigrams[node, column])
    row = 0
    while node >= tables.starts[row + 2]:
        row += 1
    return np.float64(meanings[row, _value(codes, tables.bits, place)])


def stream_length(count: int, width: int) -> int:
    """One more than is filled, so that every value can be read as part of two."""
    return (count * width + 31) // 32 + 1


def packed(values: np.ndarray, width: int) -> np.ndarray:
    """(values,) non-negative integers below 2 ** width as a stream."""
    stream = np.zeros(stream_length(len(values), width), np.uint32)
    if width:
        _pack(values, width, stream)
    return stream


@njit_no_refcount
def _pack(values: np.ndarray, width: int, stream: np.ndarray) -> None:
    for i in range(len(values)):
        bit = i * width
        slot = bit >> 5
        pair = np.int64(values[i]) << (bit & 31)
        stream[slot] |= np.uint32(pair & 0xFFFFFFFF)
        stream[slot + 1] |= np.uint32(pair >> 32)


@jit
def unpacked(stream: np.ndarray, width: int, count: int) -> np.ndarray:
    """The first `count` values of a stream, int64."""
    values = np.empty(count, np.int64)
    for i in range(count):
        values[i] = _value(stream, width, i)
    return values


def codebook(values: np.ndarray, bits: int) -> np.ndarray:
    """At most 2 ** bits numbers, sorted, that stand for values with a small squared error (Lloyd's algorithm); zero,
    the backoff weight of most n-grams, stays exact."""
    distinct = np.unique(values)
    if len(distinct) <= 1 << bits:
        return distinct
    values = np.sort(values[values != 0])
    sums = np.append(0.0, np.cumsum(values))
    # The first bins follow both the values and their range, so that rare values are near a center as well.
    spread = np.linspace(0, 1, len(values)) + (values - values[0]) / (values[-1] - values[0])
    inner = np.searchsorted(spread, np.linspace(0, 2, 1 << bits)[1:-1])
    for _ in range(30):
        edges = np.unique(np.concatenate([[0], inner, [len(values)]]))
        centers = np.diff(sums[edges]) / np.diff(edges)
        inner = np.searchsorted(values, (centers[1:] + centers[:-1]) / 2)
    return np.sort(np.append(centers, 0.0))


def codes(values: np.ndarray, book: np.ndarray) -> np.ndarray:
    """The number of the nearest entry for each value."""
    return np.searchsorted((book[1:] + book[:-1]) / 2, values)


def build(levels: list[Level], bits: int) -> Tables:
    """Pack the n-grams. bits: of the codes, 2 to 16; each order has its own 2 ** bits probabilities and weights."""
    higher = levels[1:]
    child_counts = [np.bincount(above.parents, minlength=len(below)) for below, above in pairwise(levels)]
    prob_codes, log_probs = _coded([level.log_probs for level in higher], bits)
    backoff_codes, log_backoffs = _coded([level.log_backoffs for level in higher[:-1]], bits)
    tables = _unfilled([len(level) for level in levels], bits)
    tables = tables._replace(
        unigrams=np.stack([levels[0].log_probs, levels[0].log_backoffs], axis=1).astype(np.float32),
        words=packed(_joined([level.words for level in higher]), tables.words_width),
        children=packed(np.cumsum(np.append(0, _joined(child_counts))), tables.children_width),
        suffixes=packed(np.zeros(0, np.int64), tables.suffixes_width),
        prob_codes=prob_codes,
        backoff_codes=backoff_codes,
        log_probs=log_probs,
        log_backoffs=np.pad(log_backoffs, ((0, len(higher) - len(log_backoffs)), (0, 0))),
    )
    suffixes = np.zeros(0, np.int64)
    # Those of an order lead to those of the next.
    for start, level in zip(tables.starts[1:], levels[2:-1], strict=False):
        suffixes = np.append(suffixes, _find_suffixes(tables, level.parents + start, level.words))
        tables = tables._replace(suffixes=packed(suffixes, tables.suffixes_width))
    return tables


def _unfilled(counts: Sequence[int], bits: int) -> Tables:
    """Tables for so many n-grams of each order, without them."""
    starts = np.cumsum([0, *counts], dtype=np.int64)
    words, children, suffixes = (int(n).bit_length() for n in (starts[1], starts[-1] - starts[1], starts[-2]))
    none = np.zeros(0, np.uint32)
    return Tables(starts, none, none, words, none, children, none, suffixes, none, none, bits, none, none)


def stored_bytes(counts: Sequence[int], bits: int) -> int:
    """What the arrays of a model take that has so many n-grams of each order."""
    return 4 * sum(map(math.prod, shapes(_unfilled(counts, bits)).values())) + 8 * (len(counts) + 1)


def levels_of(tables: Tables) -> list[Level]:
    """The n-grams of a packed model: what build() was given, within the precision of the codes."""
    starts = tables.starts.tolist()
    order, singles, contexts, nodes = len(starts) - 1, starts[1], starts[-2], starts[-1]
    words = unpacked(tables.words, tables.words_width, nodes - singles)
    children = unpacked(tables.children, tables.children_width, contexts + 1)
    parents = np.repeat(np.arange(contexts), np.diff(children))
    prob_codes = unpacked(tables.prob_codes, tables.bits, nodes - singles)
    backoff_codes = unpacked(tables.backoff_codes, tables.bits, max(contexts - singles, 0))
    log_probs, log_backoffs = tables.unigrams.T
    levels = [Level(np.arange(singles), np.zeros(singles, np.int64), log_probs, log_backoffs)]
    for n in range(1, order):
        these = slice(starts[n] - singles, starts[n + 1] - singles)
        log_probs = tables.log_probs[n - 1][prob_codes[these]]
        log_backoffs = tables.log_backoffs[n - 1][backoff_codes[these]] if n < order - 1 else np.zeros_like(log_probs)
        levels.append(Level(words[these], parents[these] - starts[n - 1], log_probs, log_backoffs))
    return levels


def shapes(tables: Tables) -> dict[str, tuple[int, ...]]:
    """What the shape of each array must be, by starts and the widths: a check for files."""
    starts = tables.starts.tolist()
    higher, contexts, meanings = starts[-1] - starts[1], starts[-2], (len(starts) - 2, 1 << tables.bits)
    linked = max(contexts - starts[2], 0) if len(starts) > 2 else 0
    return {
        "unigrams": (starts[1], 2),
        "words": (stream_length(higher, tables.words_width),),
        "children": (stream_length(contexts + 1, tables.children_width),),
        "suffixes": (stream_length(linked, tables.suffixes_width),),
        "prob_codes": (stream_length(higher, tables.bits),),
        "backoff_codes": (stream_length(max(contexts - starts[1], 0), tables.bits),),
        "log_probs": meanings,
        "log_backoffs": meanings,
    }


@jit
def _find_suffixes(tables: Tables, parents: np.ndarray, words: np.ndarray) -> np.ndarray:
    suffixes = np.empty(len(words), np.int64)
    for i in range(len(words)):
        context = _suffix(tables, parents[i])
        node = _child(tables, context, words[i])
        while node < 0:
            context = _suffix(tables, context)
            node = _child(tables, context, words[i])
        suffixes[i] = node
    return suffixes


def _coded(values: list[np.ndarray], bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Values of each order -> one stream of their codes, and (orders, 2 ** bits) what these mean."""
    books = [codebook(of_order, bits) for of_order in values]
    meanings = np.zeros((len(values), 1 << bits), np.float32)
    for row, book in zip(meanings, books, strict=True):
        row[: len(book)] = book
    return packed(_joined([codes(*pair) for pair in zip(values, books, strict=True)]), bits), meanings


def _joined(arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *arrays])
