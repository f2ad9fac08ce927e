"""Words to be listened for: an automaton that says after every token how much a prefix is to be favored.

Aho and Corasick (1975). A word earns its weight token by token, and loses it again where the text goes another way.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr.errors import TextError
from asr.text import Tokenizer, listed, normalize

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
        lines = _lines(Path(item[1:])) if item.startswith("@") else [(item, f"hot word '{item}'")]
        for line, where in lines:
            name, colon, number = line.rpartition(":")
            name = (name if colon else line).strip()
            try:
                weight = float(number) if colon else WEIGHT
            except ValueError:
                weight = math.nan
            if not (name and 0 < abs(weight) <= HEAVIEST):
                raise TextError(
                    f"{where}: expected NAME or NAME:weight, a weight of at most {HEAVIEST:g} nats a letter"
                )
            weights[name] = weight
    return weights


def _lines(path: Path) -> list[tuple[str, str]]:
    """Those that are not blank, and what errors call them."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise TextError(f"{path}: {error.strerror}; --hotword @FILE names a file of hot words, one a line") from None
    except ValueError:
        raise TextError(f"{path}: a file of hot words must be text in UTF-8, one a line") from None
    return [(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]


def build_hot_words(weights: Mapping[str, float], tokenizer: Tokenizer, normalizer: str) -> HotWords:
    """Whole words only, where the tokens have a space: "art" is not found in "party".

    Raises TextError naming a word that the model cannot spell.
    """
    bounds = (tokenizer.space,) if tokenizer.space >= 0 else ()
    states: dict[tuple[int, ...], int] = {(): 0}  # by what of a word has been matched
    children: dict[tuple[int, ...], list[int]] = defaultdict(list)
    whole: dict[tuple[int, ...], float] = {}
    lent: dict[tuple[int, ...], float] = defaultdict(float)
    for word, weight in weights.items():
        letters = _spell(word, tokenizer, normalizer)
        phrase = (*bounds, *letters, *bounds)
        for place, token in enumerate(phrase):
            before, matched = phrase[:place], phrase[: place + 1]
            if matched not in states:
                states[matched] = len(states)
                children[before].append(token)
            lent[matched] = max(lent[matched], weight * min(max(place + 1 - len(bounds), 0), len(letters)))
        whole[phrase] = weight * len(letters)
    known = sorted({token for branches in children.values() for token in branches})
    column = np.zeros(len(tokenizer), np.int32)
    column[known] = np.arange(1, len(known) + 1)
    following = np.zeros((len(states), len(known) + 1), np.int32)
    links = np.zeros(
        len(states), np.int32
    )  # where a match breaks, it goes on from the longest end of it that is a state
    given, pending = np.zeros((2, len(states)))
    for matched in sorted(states, key=len):
        state = states[matched]
        if matched:
            before = states[matched[:-1]]
            fallback = links[state] = following[links[before], column[matched[-1]]] if before else 0
            following[state] = following[fallback]
            given[state] = whole.get(matched, 0.0) + given[fallback]
            open_ended = lent[matched] if children[matched] else 0.0  # otherwise it has been given
            pending[state] = max(open_ended, pending[fallback])
        for token in children[matched]:
            following[state, column[token]] = states[(*matched, token)]
    start = states[bounds] if weights else 0
    return HotWords(column, following, given, pending, start, tokenizer.space)


def _spell(word: str, tokenizer: Tokenizer, normalizer: str) -> list[int]:
    text = normalize(word, normalizer)
    missing = tokenizer.unknown(text)
    if not text:
        raise TextError(f"hot word '{word}': nothing of it is left by '{normalizer}'")
    if missing and tokenizer.kind == "words":
        raise TextError(f"hot word '{word}': the model knows {listed(tokenizer.tokens[1:])}, not {missing[0]!r}")
    if missing:
        raise TextError(f"hot word '{word}': the model has no token for {missing[0]!r}")
    return tokenizer.encode(text)
