"""Grapheme to phoneme (G2P): pronunciations of words that no dictionary has, from a joint-sequence model (Bisani, Ney
2008).

A word with its phones is a sequence of graphones, letters with the phones they make. An n-gram model, estimated as for
words, says how likely the sequence is. It reads from the end of the word, which made fewer errors in English than from
the beginning. The probability of a pronunciation is the sum over all sequences that give it, divided by that over all
sequences of these letters.
"""

from __future__ import annotations

import logging
import math
import random
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asr.errors import ConfigError, ModelError, TextError
from asr.lexicon.alignment import align
from asr.lexicon.pronunciations import Phones
from asr.lm.arpa import MAX_ORDERS
from asr.lm.estimate import Corpus, count_ngrams, estimate
from asr.lm.model import LanguageModel
from asr.lm.trie import END_ID, SPECIAL, START_ID, Tables, build, score
from asr.util.format import plural
from asr.util.jit import jit

logger = logging.getLogger(__name__)

UNIT = "graphone"  # what the n-gram model counts; a language model of words or characters is no G2P
ORDER = 8
BITS = 8  # of each stored probability: more of them change no error rate
BEAM = 32
# Letters that are no plain letter with an accent.
LETTERS = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}


class G2p:
    """A model of how words are pronounced. language_model: of graphones, each as a letter and its phones, `x K S`."""

    def __init__(self, language_model: LanguageModel) -> None:
        self.language_model = language_model
        found = defaultdict(list)
        self.phones: list[Phones] = []  # of each graphone
        for number, label in enumerate(language_model.words):
            letter, *phones = label.split(" ")
            self.phones.append(tuple(phones))
            if number >= len(SPECIAL):
                found[letter].append(number)
        self.choices = {letter: np.array(numbers) for letter, numbers in found.items()}  # the graphones of a letter

    @classmethod
    def load(cls, folder: str | Path) -> G2p:
        """Raises ModelError for a folder that `save` did not make."""
        language_model = LanguageModel.load(folder)
        if language_model.unit != UNIT:
            raise ModelError(
                f"{folder}: a language model of {language_model.unit}s; a G2P is made by asr lexicon train"
            )
        return cls(language_model)

    def save(self, folder: str | Path) -> None:
        """Write the language model's folder, whole or not at all. Raises ModelError where something else is there."""
        self.language_model.save(folder)

    def spell(self, word: str) -> str:
        """A normalized word in letters that the model knows: without accents and apostrophes that it does not know.
        Raises TextError naming the word."""
        letters = ""
        for letter in unicodedata.normalize("NFC", word):
            if letter in self.choices:
                letters += letter
                continue
            for part in LETTERS.get(letter) or unicodedata.normalize("NFD", letter):
                if part in self.choices:
                    letters += part
                elif unicodedata.category(part) != "Mn" and part != "'":
                    raise TextError(
                        f"'{word}': '{letter}' is in no word that the G2P was trained on; write it as it is spoken, or"
                        " give the pronunciation"
                    )
        return letters

    def pronounce(self, word: str, variants: int = 1, beam: int = BEAM) -> list[tuple[Phones, float]]:
        """The most likely pronunciations of a normalized word, with their probabilities, falling.

        beam: beginnings that are kept after each letter; with all of them the result is exact. Raises TextError naming
        a word that cannot be spelled in the model's letters, or that has no pronunciation.
        """
        tables = self.language_model.tables
        # The language model's state and the phones so far -> ln p.
        begun: dict[tuple[int, Phones], float] = {(self.language_model.start_state, ()): 0.0}
        for letter in reversed(self.spell(word)):
            kept = sorted(begun.items(), key=lambda item: -item[1])[:beam]
            states = np.array([state for (state, _), _ in kept])
            log_probs = np.array([log_prob for _, log_prob in kept])
            choices = self.choices[letter]
            scores, reached = _extend(tables, states, log_probs, choices)
            begun = defaultdict(lambda: -math.inf)
            for place in np.argsort(-scores)[: 2 * beam].tolist():
                before, choice = divmod(place, len(choices))
                key = reached[place], self.phones[choices[choice]] + kept[before][0][1]
                begun[key] = np.logaddexp(begun[key], scores[place])
        ended: dict[Phones, float] = defaultdict(lambda: -math.inf)
        for (state, phones), log_prob in begun.items():
            if phones:
                ended[phones] = np.logaddexp(ended[phones], log_prob + score(tables, state, END_ID)[0])
        if not ended:
            raise TextError(f"'{word}': has no sound; give its pronunciation")
        total = np.logaddexp.reduce(list(ended.values()))
        best = sorted(ended.items(), key=lambda item: (-item[1], item[0]))[:variants]
        return [(phones, float(np.exp(log_prob - total))) for phones, log_prob in best]


class Guesser:
    """Guesses the pronunciation of a word by the G2P model in a folder, which is loaded when it is first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def model(self) -> G2p:
        return G2p.load(self.folder)

    def __call__(self, word: str) -> list[Phones]:
        """The best guess, or none where the model cannot spell the word, such as a numeral."""
        try:
            return [self.model.pronounce(word)[0][0]]
        except TextError:
            return []


@jit
def _extend(
    tables: Tables, states: np.ndarray, log_probs: np.ndarray, choices: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores and states of every beginning with every choice behind it. (beginnings * choices,) both"""
    scores = np.empty(len(states) * len(choices))
    reached = np.empty(len(scores), np.int64)
    for i in range(len(states)):
        for j in range(len(choices)):
            log_prob, state = score(tables, states[i], choices[j])
            place = i * len(choices) + j
            scores[place], reached[place] = log_probs[i] + log_prob, state
    return scores, reached


def train(entries: Mapping[str, Iterable[Phones]], order: int = ORDER, normalizer: str = "basic") -> G2p:
    """Learn from normalized words and their pronunciations. order: letters of the longest n-grams.

    Pronunciations with more phones than their letters can make are left out. Raises TextError, ConfigError.
    """
    if not 1 <= order <= MAX_ORDERS:
        raise ConfigError(f"order={order}: expected 1 to {MAX_ORDERS}")
    pairs = [(word, phones) for word, each in entries.items() for phones in each]
    aligned = [graphones for graphones in align(pairs) if graphones] if pairs else []
    if not aligned:
        raise TextError("no pronunciation fits the letters of its word: nothing to learn from")
    logger.info(f"{len(aligned):,} of {plural(len(pairs), 'pronunciation')} aligned with the letters")
    known = sorted({graphone for graphones in aligned for graphone in graphones})
    numbers = {graphone: number for number, graphone in enumerate(known, len(SPECIAL))}
    labels = [*SPECIAL, *(" ".join((letter, *phones)) for letter, phones in known)]
    text = array("i")
    for graphones in aligned:
        text.extend((START_ID, *(numbers[graphone] for graphone in reversed(graphones)), END_ID))
    levels, _ = estimate(count_ngrams(Corpus(np.frombuffer(text, np.int32), labels, len(aligned)), order))
    logger.info(f"{len(known):,} graphones, {sum(map(len, levels)):,} n-grams")
    record = {"words": len(entries), "pronunciations": len(aligned)}
    return G2p(LanguageModel(build(levels, BITS), labels, UNIT, normalizer, record))


def split(words: Iterable[str], count: int, seed: int = 0) -> set[str]:
    """So many of the words, drawn at random and the same every time."""
    return set(random.Random(seed).sample(sorted(words), count))


class ErrorRates(NamedTuple):
    """words_wrong: whose guess is none of their pronunciations; errors: phones to insert, delete or replace in a guess
    to make it the nearest of them; phones: of these."""

    words: int
    words_wrong: int
    phones: int
    errors: int

    @property
    def wer(self) -> float:
        return self.words_wrong / self.words

    @property
    def per(self) -> float:
        return self.errors / self.phones


def measure(guesses: Iterable[tuple[Phones, Sequence[Phones]]]) -> ErrorRates:
    """Error rates of guesses, each with the pronunciations that are right for its word."""
    from rapidfuzz.distance import Levenshtein

    nearest = [min((Levenshtein.distance(guess, each), len(each)) for each in right) for guess, right in guesses]
    wrong = sum(errors > 0 for errors, _ in nearest)
    return ErrorRates(len(nearest), wrong, sum(n for _, n in nearest), sum(errors for errors, _ in nearest))
