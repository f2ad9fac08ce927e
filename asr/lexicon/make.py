"""The words of texts, and a lexicon of them: pronunciations of a dictionary, guesses of a G2P model for the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asr.data.manifest import Manifest, is_manifest
from asr.errors import TextError
from asr.lexicon.g2p import G2p
from asr.lexicon.pronunciations import Phones, Pronunciations
from asr.lm.model import LanguageModel, split_sentences
from asr.lm.trie import SPECIAL
from asr.text import normalize
from asr.util.files import read_lines
from asr.util.format import some

MIN_PROBABILITY = 0.1  # of a second guess and more: with less it invites errors


@dataclass
class Made:
    """A lexicon and where its words come from. guessed: not in the dictionary; missing: without a pronunciation."""

    lexicon: Pronunciations
    guessed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def shown(self) -> str:
        """Some of the guesses, for a message."""
        return some(f"{word} ({' '.join(self.lexicon.words[word][0])})" for word in self.guessed)


def read_words(paths: Sequence[Path], normalizer: str = "basic") -> list[str]:
    """The normalized words of texts, manifests and language models, the most frequent first. Raises AsrError."""
    counts: Counter[str] = Counter()
    for path in paths:
        if path.is_dir():
            language_model = LanguageModel.load(path)
            if language_model.unit != "word":
                raise TextError(f"{path}: a model of {language_model.unit}s, not of words")
            texts: Iterable[str] = language_model.words[len(SPECIAL) :]
        elif is_manifest(str(path)):
            texts = (utterance.text or "" for utterance in Manifest(path))
        else:
            lines = (line.decode(errors="replace") for line in read_lines(path))
            texts = (piece for line in lines for pieces in split_sentences(line) for piece in pieces)
        for text in texts:
            counts.update(normalize(text, normalizer).split())
    return [word for word, _ in counts.most_common()]


def guess(g2p: G2p, word: str, variants: int = 1) -> list[tuple[Phones, float]]:
    """The best pronunciation and up to variants - 1 others that are likely, with probabilities. Raises TextError."""
    best, *others = g2p.pronounce(word, variants)
    return [best, *(each for each in others if each[1] >= MIN_PROBABILITY)]


def make(words: Iterable[str], dictionary: Pronunciations, g2p: G2p | None = None, variants: int = 1) -> Made:
    """A lexicon of the words, with all pronunciations that the dictionary has. variants: guesses for another word."""
    made = Made(Pronunciations())
    for word in words:
        if word in dictionary.words:
            made.lexicon.words[word] = dictionary.words[word]
            continue
        try:
            guesses = guess(g2p, word, variants) if g2p is not None else []
        except TextError:  # it cannot be spelled: a numeral, another script
            guesses = []
        if guesses:
            made.lexicon.words[word] = [phones for phones, _ in guesses]
        (made.guessed if guesses else made.missing).append(word)
    return made
