"""Which letter of a word makes which of its phones, learned by expectation maximization over all ways to align them.

Each letter makes no phone, one or two; the pair is called a graphone. Graphones of two letters (`ph`, `ck`) make the
G2P model worse: see docs/lexicon.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asr.lexicon.pronunciations import Phones
from asr.util.jit import inlined, jit

PASSES = 12  # then hardly an alignment changes any more
MAX_PHONES = 2  # of a letter: x is K S
Graphone = tuple[str, Phones]  # a letter and what it makes: ("x", ("K", "S")), ("e", ())


class _Entries(NamedTuple):
    """All words and their phones, one behind the other, as numbers.

    letters, phones: those of entry n lie from letter_starts[n] to letter_starts[n + 1]; pairs: the number of the two
    phones that begin at each place; different_phones, different_pairs: how many there are.
    """

    letters: np.ndarray
    phones: np.ndarray
    pairs: np.ndarray
    letter_starts: np.ndarray
    phone_starts: np.ndarray
    different_phones: int
    different_pairs: int


def align(entries: Sequence[tuple[str, Phones]], passes: int = PASSES) -> list[list[Graphone]]:
    """The most likely graphones of each entry, a word and a pronunciation of it; none where its phones are more than
    its letters can make."""
    letters, letter_starts, alphabet = _numbered([word for word, _ in entries])
    phones, phone_starts, different = _numbered([phones for _, phones in entries])
    # Only pairs that occur get a number: of a hundred phones most never meet.
    found, pairs = np.unique(phones * len(different) + np.append(phones[1:], 0), return_inverse=True)
    packed = _Entries(letters, phones, pairs, letter_starts, phone_starts, len(different), len(found))
    weights = np.ones(len(alphabet) * (1 + len(different) + len(found)))  # at first all alignments are equally good
    for _ in range(passes):
        counts = _expected(packed, weights)
        weights = counts / max(counts.sum(), 1.0)
    made = _best(packed, weights)
    aligned: list[list[Graphone]] = []
    for (word, each), start in zip(entries, letter_starts.tolist(), strict=False):
        ends = np.cumsum(made[start : start + len(word)]).tolist()
        complete = ends[-1] == len(each)
        parts = zip(word, [0, *ends], ends, strict=False) if complete else ()
        aligned.append([(letter, each[first:end]) for letter, first, end in parts])
    return aligned


def _numbered(sequences: Sequence[Sequence[str]]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Symbols of all sequences as numbers, where each sequence starts, and the symbols."""
    symbols = sorted({symbol for sequence in sequences for symbol in sequence})
    number = {symbol: n for n, symbol in enumerate(symbols)}
    flat = np.array([number[symbol] for sequence in sequences for symbol in sequence], np.int64)
    return flat, np.cumsum([0, *map(len, sequences)]), symbols


@inlined
def _graphone(entries: _Entries, i: int, j: int, count: int) -> int:
    """The number of the graphone of the letter at i and `count` phones from j on."""
    first = entries.letters[i] * (1 + entries.different_phones + entries.different_pairs)
    if count == 0:
        return first
    if count == 1:
        return first + 1 + entries.phones[j]
    return first + 1 + entries.different_phones + entries.pairs[j]


@jit
def _expected(entries: _Entries, weights: np.ndarray) -> np.ndarray:
    """How often each graphone is expected in all entries: forward and backward through all ways to align them."""
    counts = np.zeros(len(weights))
    for entry in range(len(entries.letter_starts) - 1):
        first_letter, first_phone = entries.letter_starts[entry], entries.phone_starts[entry]
        n = entries.letter_starts[entry + 1] - first_letter
        m = entries.phone_starts[entry + 1] - first_phone
        forward, backward = np.zeros((n + 1, m + 1)), np.zeros((n + 1, m + 1))
        forward[0, 0] = backward[n, m] = 1.0
        for i in range(n):
            for j in range(m + 1):
                for count in range(min(MAX_PHONES, m - j) + 1):
                    weight = weights[_graphone(entries, first_letter + i, first_phone + j, count)]
                    forward[i + 1, j + count] += forward[i, j] * weight
        if forward[n, m] == 0.0:
            continue
        for i in range(n - 1, -1, -1):
            for j in range(m + 1):
                for count in range(min(MAX_PHONES, m - j) + 1):
                    graphone = _graphone(entries, first_letter + i, first_phone + j, count)
                    onward = weights[graphone] * backward[i + 1, j + count]
                    backward[i, j] += onward
                    counts[graphone] += forward[i, j] * onward / forward[n, m]
    return counts


@jit
def _best(entries: _Entries, weights: np.ndarray) -> np.ndarray:
    """How many phones each letter makes in the best alignment of its entry; 0 for all where there is none."""
    made = np.zeros(len(entries.letters), np.int64)
    for entry in range(len(entries.letter_starts) - 1):
        first_letter, first_phone = entries.letter_starts[entry], entries.phone_starts[entry]
        n = entries.letter_starts[entry + 1] - first_letter
        m = entries.phone_starts[entry + 1] - first_phone
        best, choice = np.zeros((n + 1, m + 1)), np.zeros((n + 1, m + 1), np.int64)
        best[n, m] = 1.0
        for i in range(n - 1, -1, -1):
            for j in range(m + 1):
                for count in range(min(MAX_PHONES, m - j) + 1):
                    weight = weights[_graphone(entries, first_letter + i, first_phone + j, count)]
                    if weight * best[i + 1, j + count] > best[i, j]:
                        best[i, j], choice[i, j] = weight * best[i + 1, j + count], count
        j = 0
        for i in range(n):
            made[first_letter + i] = choice[i, j]
            j += choice[i, j]
    return made
