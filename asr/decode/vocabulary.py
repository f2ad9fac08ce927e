"""A vocabulary: the words and phrases that a search may find, in any order and number, as a language model.

Its units are the beginnings of entries, each heard as its last word: "turn", "turn on" and "turn on the" are three.
A bigram leads from a beginning to one that is longer by a word, and the backoff weight, where an entry ends, to the
first words of all entries. So p(text) is the product of the shares that its entries have of all weights.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from asr.decode.lexicon import given_pronunciations, spell_phrase
from asr.errors import ConfigError, TextError
from asr.lm.model import LanguageModel
from asr.lm.trie import END_ID, SPECIAL, UNKNOWN_ID, Level, build
from asr.text import Tokenizer, normalize
from asr.util.files import read_lines

BARRED = -1e4  # ln p of what a vocabulary rules out: too low for any audio to make up for it
# Nats for each token of what is no entry. On read speech with 37 of its words as the vocabulary, 0 hears none of them
# and -3 hears them everywhere.
UNK_SCORE = -2.0
WHAT = "vocabulary"  # what errors call its entries


def read_vocabulary(given: str | Path | Mapping[str, float] | Iterable[str]) -> dict[str, float]:
    """Words and phrases with their weights: a mapping, a list, or a file of one a line, perhaps with a weight behind a
    tab; without one it is 1. Blank lines, and those that begin with #, are left out.

    Raises TextError for weights that are no positive numbers, for a file that cannot be read, and if there is no entry.
    """
    if isinstance(given, (str, Path)):
        where = f"{given}: "
        items = _read(Path(given))
    else:
        where = "vocabulary: "
        items = dict(given if isinstance(given, Mapping) else dict.fromkeys(given, 1.0))
    for text, weight in items.items():
        if not 0 < weight < math.inf:
            raise TextError(f"{where}'{text}' has the weight {weight:g}, expected a number above 0")
    if not items:
        raise TextError(f"{where}no words; write one word or phrase a line")
    return items


def _read(path: Path) -> dict[str, float]:
    items = {}
    for number, line in enumerate(read_lines(path), 1):
        try:
            text, _, weight = line.decode("utf-8-sig" if number == 1 else "utf-8").strip().partition("\t")
            if text and text[0] != "#":
                items[text.strip()] = float(weight or 1)
        except UnicodeDecodeError:
            raise TextError(f"{path}: line {number} is not UTF-8; convert the file first") from None
        except ValueError:
            raise TextError(
                f"{path}: line {number}: '{weight}' is no weight; behind a tab stands a number above 0, or nothing"
            ) from None
    return items


def build_vocabulary(
    entries: Mapping[str, float], tokenizer: Tokenizer, normalizer: str
) -> tuple[Tokenizer, LanguageModel]:
    """The language model of a vocabulary, and the tokenizer with the pronunciations that entries give behind a "=", or
    that are guessed.

    Raises TextError for an entry that the tokens cannot spell, ConfigError for tokens that do not tell where words end.
    """
    if tokenizer.kind == "words" or (tokenizer.kind == "characters" and tokenizer.space < 0):
        raise ConfigError(
            f"a vocabulary needs a recognizer of phones, subwords, or letters and a space: this one's tokens are"
            f" {tokenizer.kind}{'' if tokenizer.kind == 'words' else ' without a space'}"
        )
    tokenizer, texts = given_pronunciations(tokenizer, normalizer, entries, WHAT)
    ended: dict[tuple[str, ...], float] = {}
    for text, weight in texts.items():
        spell_phrase(text, tokenizer, normalizer, WHAT)
        ended[tuple(normalize(text, normalizer).split())] = weight
    total: dict[tuple[str, ...], float] = defaultdict(float)  # of all entries that begin so
    for words, weight in ended.items():
        for n in range(len(words) + 1):
            total[words[:n]] += weight
    begun = sorted(filter(None, total), key=lambda words: (len(words), words))
    number = {words: n for n, words in enumerate(begun, len(SPECIAL))}
    longer = [words for words in begun if len(words) > 1]

    def share(words: tuple[str, ...]) -> float:
        return math.log(total[words] / total[words[:-1]])

    firsts, backoffs = np.full((2, len(SPECIAL) + len(begun)), BARRED)
    firsts[[UNKNOWN_ID, END_ID]] = backoffs[: len(SPECIAL)] = 0.0
    for words in begun:
        if len(words) == 1:
            firsts[number[words]] = share(words)
        if words in ended:
            backoffs[number[words]] = math.log(ended[words] / total[words])
    levels = [
        Level(np.arange(len(firsts)), np.zeros(len(firsts), int), firsts, backoffs),
        Level(
            np.array([number[words] for words in longer], int),
            np.array([number[words[:-1]] for words in longer], int),
            np.array([share(words) for words in longer], float),
            np.zeros(len(longer)),
        ),
    ]
    return tokenizer, LanguageModel(build(levels, 16), [*SPECIAL, *(words[-1] for words in begun)], "word", normalizer)
