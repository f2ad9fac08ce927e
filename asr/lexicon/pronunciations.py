"""Pronunciation dictionaries in CMUdict's format.

hello HH AH L OW
hello(2) HH EH L OW
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from asr.errors import TextError
from asr.text import Phones, normalize
from asr.util.files import read_lines, replace_file
from asr.util.format import plural, some

logger = logging.getLogger(__name__)

_COMMENT = re.compile(r"(^|\s)(;;;|#).*")
_VARIANT = re.compile(r"(.+)\(\d+\)")
_STRESS = re.compile("[A-Z]{2}[0-2]")  # of ARPAbet's vowels; digits of other phone sets are parts of their names
_PROBABILITY = re.compile(r"\d*\.\d+(e-?\d+)?")


@dataclass
class Pronunciations:
    """words: normalized word -> its pronunciations, the usual one first, each a tuple of phones."""

    words: dict[str, list[Phones]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path, normalizer: str = "basic", keep_stress: bool = False) -> Pronunciations:
        """Read a dictionary, which may be compressed (.gz, .bz2, .xz): a word and its phones in a line, further
        pronunciations as word(2) or in lines of their own; from ;;; or # on, a line is a comment.

        Words go through the normalizer; those that are not one word after it (`a.m.`, `x-ray`) are left out. Those that
        it changes come behind those that are written like this: `'cause` is the last of `cause`. Without keep_stress
        AH0 and AH1 are both AH. Raises TextError naming the file and the line.
        """
        path = Path(path)
        found, left_out = cls(), []
        changed: list[tuple[str, Phones]] = []
        checked: set[str] = set()
        for number, line in enumerate(read_lines(path), 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
                entry, *phones = (_COMMENT.sub("", text) if "#" in text or ";;;" in text else text).split() or [""]
                if not entry:
                    continue
                written = match[1] if entry[-1] == ")" and (match := _VARIANT.fullmatch(entry)) else entry
                if not phones or not checked.issuperset(phones):
                    _check(written, phones)
                    checked.update(phones)
            except (UnicodeDecodeError, TextError) as error:
                what = error if isinstance(error, TextError) else "not UTF-8; convert the file first"
                raise TextError(f"{path}: line {number}: {what}") from None
            if not keep_stress:
                phones = list(map(without_stress, phones))
            # Most words are plain, and there are many.
            word = written if normalizer == "none" and written.isascii() else normalize(written, normalizer)
            if not word or " " in word:
                left_out.append(written)
            elif word == written.lower():
                found._add(word, tuple(phones))
            else:
                changed.append((word, tuple(phones)))
        for word, each in changed:
            found._add(word, each)
        if not found.words:
            raise TextError(f"{path}: no pronunciations; a line of it is a word and its phones: hello HH AH L OW")
        if left_out:
            logger.info(f"{path}: {plural(len(left_out), 'entry', 'entries')} left out, not one word: {some(left_out)}")
        return found

    def save(self, path: str | Path) -> None:
        """Write the dictionary, whole or not at all: the words sorted, their pronunciations in order."""
        lines = [
            f"{word}{f'({number})' if number > 1 else ''} {' '.join(phones)}\n"
            for word in sorted(self.words)
            for number, phones in enumerate(self.words[word], 1)
        ]
        replace_file(Path(path), "".join(lines))

    @property
    def phones(self) -> list[str]:
        """All phones that occur, sorted."""
        return sorted({phone for each in self.words.values() for phones in each for phone in phones})

    def add(self, word: str, phones: Sequence[str]) -> bool:
        """Give a normalized word one more pronunciation, behind those it has; False where it has this one already.

        Raises TextError where it is not one word, or where these are no phones.
        """
        if len(word.split()) != 1:
            raise TextError(f"'{word}': is not one word; each word of a phrase has its own pronunciation")
        _check(word, phones)
        return self._add(word, tuple(phones))

    def _add(self, word: str, phones: Phones) -> bool:
        there = self.words.setdefault(word, [])
        if phones in there:
            return False
        there.append(phones)
        return True


@lru_cache(maxsize=1024)
def without_stress(phone: str) -> str:
    """AH0, AH1, AH2 -> AH; other symbols unchanged."""
    return phone[:-1] if _STRESS.fullmatch(phone) else phone


def _check(word: str, phones: Sequence[str]) -> None:
    """Raise TextError for what is no pronunciation."""
    if not phones:
        raise TextError(f"'{word}' has no phones; write them behind it: hello HH AH L OW")
    for phone in phones:
        if not _may_be_phone(phone):
            if _PROBABILITY.fullmatch(phone):
                raise TextError(f"'{phone}' is a number, not a phone of '{word}'; remove the column of probabilities")
            raise TextError(f"{phone!r} of '{word}' is not a phone")


@lru_cache(maxsize=1024)
def _may_be_phone(phone: str) -> bool:
    return not (_PROBABILITY.fullmatch(phone) or phone.startswith(("#", ";"))) and phone.split() == [phone]
