"""Text -> tokens and back: named normalizers, tokenizers, and reports of what a corpus's text should not hold."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from asr.errors import TextError
from asr.subwords import MARK, learn, spell
from asr.util.format import some

BLANK = "<blank>"  # token 0 of every model: CTC's "no symbol here" (Graves et al. 2006, section 3.1)

Phones = tuple[str, ...]  # a pronunciation, or what else a word is spelled with
KINDS = ("characters", "words", "phones", "subwords")
UNPRONOUNCED = "=?"  # ends the symbol of a word that has none

ZERO_WIDTH_SPACE = "\u200b"  # ends words in scripts that write no spaces
_APOSTROPHES = "'’‘ʼ`´"


class _Replacements(dict[int, str | None]):
    """For str.translate: a rule for one character, asked once for each there is, which is faster than a loop. None
    deletes, faster than an empty text."""

    def __init__(self, rule: Callable[[str], str | None]) -> None:
        self.rule = rule

    def __missing__(self, code: int) -> str | None:
        self[code] = replacement = self.rule(chr(code))
        return replacement


def _visible(character: str) -> str:
    if character in _APOSTROPHES:
        return "'"
    return "" if unicodedata.category(character) == "Cf" and character != ZERO_WIDTH_SPACE else character


def _spoken(character: str) -> str:
    if character in _APOSTROPHES:
        return "'"
    return character if unicodedata.category(character)[0] in "LMN" else " "


_VISIBLE, _SPOKEN = _Replacements(_visible), _Replacements(_spoken)


def _plain(text: str) -> str:
    """Unicode NFC, runs of white space become one space."""
    if text.isascii():  # a lexicon has many words
        return " ".join(text.split())
    return " ".join(unicodedata.normalize("NFC", text.replace("\ufeff", "")).split())


def _basic(text: str, lower: Callable[[str], str] = str.lower) -> str:
    """Lower case, NFKC, letters, marks, digits and apostrophes inside words; all other punctuation becomes a space.
    Invisible characters (soft hyphens, joiners, marks of direction and byte order) vanish."""
    text = unicodedata.normalize("NFKC", text.translate(_VISIBLE))
    if "Σ" in text:  # which ends a word as ς: told by what stands behind it, which must not be a full stop
        text = text.translate(_SPOKEN)
    text = lower(text)
    if "\u0307" in text:  # the dot of a capital İ, which i has anyway
        text = re.sub("(?<=[ijįị])\u0307+", "", text)
    # Lower case may undo the normal form, and compatibility forms hold apostrophes: both once more.
    kept = unicodedata.normalize("NFKC", text).translate(_SPOKEN)
    if "'" in kept:
        kept = re.sub(r"(?<![^\s'])'|'(?![^\s'])", " ", kept)
    return " ".join(kept.split())


def _turkish(text: str) -> str:
    return text.replace("I", "ı").lower()


def _irish(text: str) -> str:
    """nAthair is written n-athair in lower case."""
    return re.sub(r"\b([nt])(?=[AEIOUÁÉÍÓÚ])", r"\1 ", text).lower()


NORMALIZERS: dict[str, Callable[[str], str]] = {
    "none": _plain,
    "basic": _basic,
    "basic-tr": partial(_basic, lower=_turkish),
    "basic-ga": partial(_basic, lower=_irish),
}
# Codes of languages -> the end of the name of a normalizer with their lower case. Azerbaijani, Crimean Tatar and
# Gagauz have the Turkish one.
LOWER_CASE = dict.fromkeys(("tr", "tur", "turkish", "az", "aze", "azj", "azerbaijani", "crh", "gag"), "tr")
LOWER_CASE |= dict.fromkeys(("ga", "gle", "irish"), "ga")


@cache
def normalizer_for(normalizer: str, lang: str | None) -> str:
    """The one for a language ("tr", "tr-TR"): `basic-tr` for `basic` and Turkish, mostly the same."""
    if normalizer not in NORMALIZERS:
        raise TextError(f"unknown normalizer '{normalizer}'; there are {', '.join(NORMALIZERS)}")
    name = f"{normalizer}-{LOWER_CASE.get(re.split('[-_.]', (lang or '').strip().lower())[0])}"
    return name if name in NORMALIZERS else normalizer


def normalize(text: str, normalizer: str, lang: str | None = None) -> str:
    """Apply a named normalizer, with the lower case of the text's language where that is known. A model stores the
    name, and every WER is printed with it."""
    return NORMALIZERS[normalizer_for(normalizer, lang)](text)


@dataclass(frozen=True)
class Tokenizer:
    """Symbols in order, blank first. kind "characters": one token a character, the space included;
    kind "words": one token a word, for small closed vocabularies (digits, commands); kind "phones": the sounds of
    words, with a space between words; kind "subwords": pieces of words, those joined first as they were learned, of
    which the first one of a word begins with a mark, and no space.

    pronunciations: of words, for phones; guess: those of other words. A word is spelled as its first one.
    """

    kind: str
    tokens: tuple[str, ...]
    pronunciations: Mapping[str, list[Phones]] = field(default_factory=dict, repr=False, compare=False)
    guess: Callable[[str], list[Phones]] | None = field(default=None, repr=False, compare=False)
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise TextError(f"unknown kind of tokens '{self.kind}'; there are {', '.join(KINDS)}")
        if not self.tokens or self.tokens[0] != BLANK:
            raise TextError(f"token 0 must be {BLANK}")
        repeated = [token for token, count in Counter(self.tokens).items() if count > 1]
        if repeated:
            raise TextError(f"tokens listed twice: {repeated}")
        # Without the blank: no text spells it.
        object.__setattr__(self, "_index", {token: i for i, token in enumerate(self.tokens) if i > 0})

    @classmethod
    def build(
        cls,
        kind: str,
        texts: Iterable[str],
        pronunciations: Mapping[str, list[Phones]] | None = None,
        subwords: int = 0,
    ) -> Tokenizer:
        """All symbols of normalized texts, sorted, so that the same corpus always gives the same tokens. subwords: how
        many of these tokens there may be, characters and blank included; characters are never left out."""
        if kind == "subwords":
            words = Counter(word for text in texts for word in text.split())
            return cls(kind, (BLANK, *learn(words, subwords - 1, BLANK)))
        pronunciations = pronunciations or {}
        symbols = {symbol for text in texts for symbol in symbols_of(kind, text, pronunciations.get)}
        return cls(kind, (BLANK, *sorted(symbols)), pronunciations)

    def __len__(self) -> int:
        return len(self.tokens)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._index

    def symbols(self, text: str) -> Sequence[str]:
        """What a normalized text is spelled with."""
        return symbols_of(self.kind, text, self.spellings_of)

    def spellings_of(self, word: str) -> list[Phones]:
        """The pieces of a word, or for phones its pronunciations: those that are known, or else a guess; none where
        there is no guess. Those with a phone that has no token only where there are no others."""
        if self.kind == "subwords":
            return [spell(word, self._index)]
        found = self.pronunciations.get(word) or (self.guess(word) if self.guess is not None else [])
        return [phones for phones in found if self._index.keys() >= {*phones}] or found

    def encode(self, text: str) -> list[int]:
        """Token ids of a normalized text. Raises TextError naming a symbol that has none."""
        try:
            return [self._index[symbol] for symbol in self.symbols(text)]
        except KeyError as error:
            raise TextError(f"no token for {error.args[0]!r} in {text!r}") from None

    def encode_symbols(self, symbols: Iterable[str]) -> list[int] | None:
        """Token ids of a word's spelling, None where a symbol has none."""
        try:
            return [self._index[symbol] for symbol in symbols]
        except KeyError:
            return None

    def decode(self, token_ids: Iterable[int]) -> str:
        """Text of token ids; blanks are left out, spaces are made single. Phones of a word are joined by hyphens."""
        symbols = [self.tokens[n] for n in token_ids if n != 0]
        if self.kind == "phones":
            return join_phones(symbols)
        text = (" " if self.kind == "words" else "").join(symbols)
        return " ".join((text.replace(MARK, " ") if self.kind == "subwords" else text).split())

    def pronounce(self, text: str) -> str:
        """A normalized text as `decode` would write it: for phones, how its words are spoken."""
        return join_phones(self.symbols(text)) if self.kind == "phones" else text

    @property
    def space(self) -> int:
        """The token between words, -1 where there is none."""
        return self._index.get(" ", -1)

    def begins_word(self, token: int) -> bool:
        """Whether a token ends the word before it by beginning another one: of all tokens, only subwords do."""
        return self.kind == "subwords" and self.tokens[token].startswith(MARK)

    def unknown(self, text: str) -> list[str]:
        """The symbols of a normalized text that have no token, in order, with repeats."""
        return [symbol for symbol in self.symbols(text) if symbol not in self._index]


@dataclass
class SymbolReport:
    """What a corpus's normalized text holds that a tokenizer lacks, and numerals, which nobody speaks as digits."""

    unknown: Counter[str] = field(default_factory=Counter)
    numerals: Counter[str] = field(default_factory=Counter)

    def add(self, missing: Iterable[str], text: str, times: int = 1) -> None:
        """Count a text that occurs so many times. missing: its symbols that have no token."""
        for symbol in missing:
            self.unknown[symbol] += times
        for character in filter(str.isdigit, text):
            self.numerals[character] += times

    def lines(self) -> list[str]:
        """What there is to report, for people."""

        def counted(symbols: Counter[str]) -> str:
            return some((f"{symbol!r} × {count}" for symbol, count in symbols.most_common()), 20)

        out = []
        words = Counter(
            {word.removesuffix(UNPRONOUNCED): n for word, n in self.unknown.items() if word.endswith(UNPRONOUNCED)}
        )
        symbols = Counter({symbol: n for symbol, n in self.unknown.items() if not symbol.endswith(UNPRONOUNCED)})
        if symbols:
            out.append("symbols without a token: " + counted(symbols))
        if words:
            out.append("words that the lexicon lacks, so they cannot be found: " + counted(words))
        if self.numerals:
            out.append("numerals in the text, to be spelled out as they are spoken: " + counted(self.numerals))
        return out


_MARK = re.compile(r"[\[<{(（【〔](?=\S)[^\[\]<>{}()（）【】〔〕]{1,40}[\]>})）】〕]|\*\w[^*]{0,40}\*|&#?\w{1,10};")
_NO_SYMBOLS = "[<{(（【〔*ıİ"  # odd, but for another reason


def _odd(character: str) -> str | None:
    is_symbol = unicodedata.category(character) in ("Sc", "Sm", "So") and character not in "<>|~"
    return character if is_symbol or character in f"%％‰@#§&{_NO_SYMBOLS}" else None


_ODD = _Replacements(_odd)


def without_marks(text: str) -> str:
    """The text without what is in brackets ([noise], <laugh>, (inaudible)) or between asterisks, and without &amp;."""
    return " ".join(_MARK.sub(lambda found: " " if re.search(r"\w", found[0]) else found[0], text).split())


# What is counted, and what to do about it, by name.
ODDITIES = {
    "mark in text": (
        "mark",
        "learned as spoken words; --drop-marks (asr data check --fix, asr lm train) leaves it out",
    ),
    "symbol left out": ("symbol", "spell it as a word where it is spoken"),
    "letter of which language?": (
        "letter",
        "lower case of I depends on the language: lang=tr in the manifest, or the normalizer basic-tr",
    ),
}


@dataclass
class Oddities:
    """What texts hold, as they are written, that a model would learn otherwise than it was meant.

    marks: see `without_marks`; symbols: people speak them, and normalizers leave them out; letters: ı and İ where
    the language is not known. All with how often they occur.
    """

    marks: Counter[str] = field(default_factory=Counter)
    symbols: Counter[str] = field(default_factory=Counter)
    letters: Counter[str] = field(default_factory=Counter)

    def add(self, text: str, lang: str | None = None) -> None:
        """Count those of a text that went through no normalizer yet."""
        odd = text.translate(_ODD)
        if not odd:
            return
        self.marks.update(mark for mark in _MARK.findall(text) if re.search(r"\w", mark))
        odd = without_marks(text).translate(_ODD)
        self.symbols.update(symbol for symbol in odd if symbol not in _NO_SYMBOLS)
        if not lang:
            self.letters.update(letter for letter in odd if letter in "ıİ")

    def found(self, normalizer: str) -> dict[str, Counter[str]]:
        """Those of ODDITIES that matter where that normalizer is used, with their counts."""
        counts = {"mark in text": self.marks}
        if normalizer.startswith("basic"):
            counts["symbol left out"] = self.symbols
        if normalizer == "basic":
            counts["letter of which language?"] = self.letters
        return counts

    def lines(self, normalizer: str) -> list[str]:
        """The same for people."""
        return [
            f"{name}: {some((f'{thing!r} × {count:,}' for thing, count in counts.most_common()), 10)}:"
            f" {ODDITIES[name][1]}"
            for name, counts in self.found(normalizer).items()
            if counts
        ]


def symbols_of(kind: str, text: str, spellings: Callable[[str], list[Phones] | None] | None = None) -> Sequence[str]:
    """A normalized text as what tokens of that kind stand for: its characters, its words, the pieces of its words, or
    their phones with spaces between them. A word without a spelling is one symbol that says so."""
    if kind not in ("phones", "subwords"):  # where the kind is still to be found out, its characters
        return text.split() if kind == "words" else text
    between = [" "] if kind == "phones" else []
    symbols: list[str] = []
    for word in text.split():
        found = spellings(word) if spellings is not None else None
        symbols += [*between, *(found[0] if found else [f"{word}{UNPRONOUNCED}"])]
    return symbols[len(between) :]


def join_phones(symbols: Iterable[str]) -> str:
    """Phones and spaces for people: HH-AH-L-OW W-ER-L-D."""
    words: list[list[str]] = [[]]
    for symbol in symbols:
        if symbol == " ":
            words.append([])
        else:
            words[-1].append(symbol)
    return " ".join("-".join(word) for word in words if word)


def split_phones(text: str) -> list[str]:
    """The phones in what `join_phones` wrote, without spaces."""
    return text.replace("-", " ").split()


def listed(names: Iterable[str], max_shown: int = 12) -> str:
    """Names for people: quoted, each once, the first few of many."""
    return some(map(repr, dict.fromkeys(names)), max_shown)
