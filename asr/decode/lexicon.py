"""A vocabulary as a tree of tokens, in arrays that compiled code can walk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LONGEST_WORD = 64  # characters; longer ones are taken for accidents in the text and are unknown


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
    usable = np.array([0 < len(word) <= LONGEST_WORD for word in words], bool)
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
    """Sorted words -> nodes numbered level by level, so that siblings are neighbours."""
    token, parent, unit = [np.zeros(1, np.int32)], [np.zeros(1, np.int32)], [np.full(1, -1, np.int64)]
    ahead, nodes = [np.full(1, -np.inf)], 1
    node = np.zeros(len(letters), np.int32)  # where each word has got to
    rows = np.arange(len(letters))
    for depth in range(letters.shape[1]):
        rows = rows[lengths[rows] > depth]
        if len(rows) == 0:
            break
        above, letter = node[rows], letters[rows, depth]
        fresh = np.ones(len(rows), bool)
        fresh[1:] = (above[1:] != above[:-1]) | (letter[1:] != letter[:-1])
        node[rows] = nodes + np.cumsum(fresh) - 1
        starts = np.flatnonzero(fresh)
        token.append(letter[starts])
        parent.append(above[starts])
        ahead.append(np.maximum.reduceat(gains[rows], starts))
        ends = np.full(len(starts), -1, np.int64)
        whole = lengths[rows] == depth + 1
        ends[node[rows[whole]] - nodes] = units[rows[whole]]
        unit.append(ends)
        nodes += len(starts)
    children = np.bincount(np.concatenate(parent)[1:], minlength=nodes)
    first = np.concatenate([[1], 1 + np.cumsum(children)]).astype(np.int32)
    best = np.concatenate(ahead)
    best[0] = 0.0  # nothing is known before the first letter
    return Lexicon(first, np.concatenate(token).astype(np.int32), np.concatenate(unit), best)
