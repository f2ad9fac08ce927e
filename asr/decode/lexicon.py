"""A vocabulary as a tree of tokens, in arrays that compiled code can walk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MAX_WORD_LENGTH = 64  # characters; longer ones are taken for accidents in the text and are unknown


class Lexicon(NamedTuple):
    """Node 0 is the empty word. The children of node n are the nodes first[n] up to first[n + 1], their tokens rising.

    token, unit, ahead: (nodes,). unit: the language model's number of the word that ends here, -1 if none does.
    ahead: the best that any word through this node would add to a prefix's score.
    """

    first: np.ndarray
    token: np.ndarray
    unit: np.ndarray
    ahead: np.ndarray


def build_lexicon(words: Sequence[str], units: np.ndarray, gains: np.ndarray, tokens: Sequence[str]) -> Lexicon:
    """words: distinct, units: (words,) their numbers in the language model, gains: (words,) the least each costs.

    tokens: those of the acoustic model, single characters after the blank. A word it cannot spell is left out.
    """
    number = np.full(0x110000, -1, np.int32)
    for index, token in enumerate(tokens):
        if index > 0 and len(token) == 1 and token != " ":
            number[ord(token)] = index
    usable = np.array([0 < len(word) <= MAX_WORD_LENGTH for word in words], bool)
    spelled = np.array([word for word, keep in zip(words, usable, strict=True) if keep], dtype=np.str_)
    width = max(1, spelled.dtype.itemsize // 4)
    codes = spelled.view(np.uint32).reshape(len(spelled), width) if len(spelled) else np.empty((0, width), np.uint32)
    lengths = np.char.str_len(spelled).astype(np.int64)
    inside = np.arange(width) < lengths[:, None]
    letters = np.where(inside, number[codes], 0)  # no word holds token 0, the blank: it pads
    possible = np.flatnonzero((letters >= 0).all(axis=1))
    order = possible[np.lexsort(letters[possible].T[::-1])]
    return _tree(letters[order], lengths[order], units[usable][order], gains[usable][order])


def _tree(letters: np.ndarray, lengths: np.ndarray, units: np.ndarray, gains: np.ndarray) -> Lexicon:
    """Sorted words -> nodes numbered level by level, so that siblings are neighbors."""
    inside = letters > 0
    fresh = np.ones(letters.shape, bool)  # the first word with this beginning
    fresh[1:] = np.logical_or.accumulate(letters[1:] != letters[:-1], axis=1)
    fresh &= inside
    node = np.cumsum(fresh.T, dtype=np.int32).reshape(fresh.T.shape).T  # of each beginning of each word
    depths, rows = np.nonzero(fresh.T)
    parents = np.where(depths > 0, node[rows, depths - 1], 0)
    children = np.bincount(parents, minlength=len(rows) + 1)
    unit = np.full(len(children), -1, np.int64)
    unit[node[np.arange(len(node)), lengths - 1]] = units
    ahead = np.full(len(children), -np.inf)
    np.maximum.at(ahead, node[inside], np.repeat(gains, lengths))
    ahead[0] = 0.0  # nothing is known before the first letter
    first = np.cumsum(np.append(1, children)).astype(np.int32)
    return Lexicon(first, np.append(0, letters[rows, depths]).astype(np.int32), unit, ahead)
