"""Words to be listened for: an automaton that says after every token how much a prefix is to be favoured.

Aho and Corasick (1975). A word earns its weight token by token, and loses it again where the text goes another way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr.errors import TextError
from asr.text import Tokenizer, normalise

WEIGHT = 0.6  # nats a token, where none is given: more hears words that nobody said, see scripts/bench_hotwords.py
HEAVIEST = 100.0


class HotWords(NamedTuple):
    """column: (tokens,) the column of a token in following, 0 for tokens that are in no hot word.

    following: (states, columns) the state after a token. given: (states,) what reaching a state earns for good.
    pending: (states,) what is lent to a state for the part of a word that has been matched. start: the state before
    the first token, space: the token that ends the last word, -1 if words have no bounds.
    """

    column: np.ndarray
    following: np.ndarray
    given: np.ndarray
    pending: np.ndarray
    start: int
    space: int


def parse_hot_words(items: Iterable[str]) -> dict[str, float]:
    """NAME, NAME:weight, or a file with one of them a line -> weights in nats a token.

    Raises TextError for what is neither, and for a file that cannot be read.
    """
    weights: dict[str, float] = {}
    for item in items:
        path = Path(item[1:])
        lines = _lines(path) if item.startswith("@") else [(item, f"hot word '{item}'")]
        for line, where in lines:
            name, colon, number = line.rpartition(":")
            if not colon:
                name, number = line, str(WEIGHT)
            try:
                weight = float(number)
            except ValueError:
                weight = math.nan
            if not (name.strip() and 0 < abs(weight) <= HEAVIEST):
                raise TextError(
                    f"{where}: expected NAME or NAME:weight, a weight of at most {HEAVIEST:g} nats a letter"
                )
            weights[name.strip()] = weight
    return weights


def _lines(path: Path) -> list[tuple[str, str]]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise TextError(f"{path}: {error.strerror}; --hotword @FILE names a file of hot words, one a line") from None
    except (UnicodeDecodeError, ValueError):
        raise TextError(f"{path}: a file of hot words must be text in UTF-8, one a line") from None
    return [(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]


def build_hot_words(weights: Mapping[str, float], tokenizer: Tokenizer, normaliser: str) -> HotWords:
    """Whole words only, where the tokens have a space: "art" is not found in "party".

    Raises TextError naming a word that the model cannot spell.
    """
    space = tokenizer.encode(" ")[0] if tokenizer.kind == "characters" and not tokenizer.unknown(" ") else -1
    bounds = [space] if space >= 0 else []
    children: list[dict[int, int]] = [{}]
    given, pending = [0.0], [0.0]
    for word, weight in weights.items():
        letters = _spell(word, tokenizer, normaliser)
        state = 0
        for place, token in enumerate([*bounds, *letters, *bounds]):
            if token not in children[state]:
                children[state][token] = len(children)
                children.append({})
                given.append(0.0)
                pending.append(0.0)
            state = children[state][token]
            matched = min(max(place + 1 - len(bounds), 0), len(letters))
            pending[state] = max(pending[state], weight * matched)
        given[state] = weight * len(letters)
    return _automaton(children, np.array(given), np.array(pending), len(tokenizer), space)


def _spell(word: str, tokenizer: Tokenizer, normaliser: str) -> list[int]:
    text = normalise(word, normaliser)
    missing = tokenizer.unknown(text)
    if missing or not text:
        lacking = (
            f"the model has no token for {missing[0]!r}" if missing else f"nothing of it is left by '{normaliser}'"
        )
        raise TextError(f"hot word '{word}': {lacking}")
    return tokenizer.encode(text)


def _automaton(
    children: list[dict[int, int]], given: np.ndarray, pending: np.ndarray, tokens: int, space: int
) -> HotWords:
    """Add to the tree where to go on from when a match breaks: the longest end of what was matched that is in it."""
    known = sorted({token for branches in children for token in branches})
    column = np.zeros(tokens, np.int32)
    column[known] = np.arange(1, len(known) + 1)
    following = np.zeros((len(children), len(known) + 1), np.int32)
    for token, child in children[0].items():
        following[0, column[token]] = child
    level = [(child, 0) for child in children[0].values()]
    while level:
        deeper = []
        for state, fallback in level:
            if not children[state]:
                pending[state] = 0.0  # nothing is open: what was matched has been given
            pending[state] = max(pending[state], pending[fallback])
            given[state] += given[fallback]
            following[state] = following[fallback]
            for token, child in children[state].items():
                deeper.append((child, int(following[fallback, column[token]])))
                following[state, column[token]] = child
        level = deeper
    start = int(following[0, column[space]]) if space >= 0 else 0
    return HotWords(column, following, given, pending, start, space)
