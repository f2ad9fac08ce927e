"""The vocabulary of a beam search as a prefix tree (trie) of tokens, and hot words as an automaton: arrays for compiled
code."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice, product
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from asr.errors import TextError
from asr.subwords import MARK
from asr.text import Tokenizer, listed, normalize

MAX_WORD_LENGTH = 64  # characters; longer ones are taken for accidents in the text and are unknown
# The default, in nats a token. A higher one hears words that nobody said, see scripts/bench_hotwords.py.
HOT_WORD_WEIGHT = 0.6
MAX_HOT_WORD_WEIGHT = 100.0
MAX_PRONUNCIATIONS = 16  # of a phrase
Weight = TypeVar("Weight")


class Lexicon(NamedTuple):
    """Node 0 is the empty word. The children of node n are the nodes first[n] up to first[n + 1], their tokens rising.
    The words that end at node n are the entries entry[n] up to entry[n + 1]: none, one, or several that sound alike.

    token, ahead: (nodes,); first, entry: (nodes + 1,). ahead: the highest score that any word through this node would
    add to a prefix (lookahead). unit, gain, word: (entries,). unit: its number in the language model. gain: what it
    adds besides. word: its number among the words that the lexicon was built from.
    """

    first: np.ndarray
    token: np.ndarray
    ahead: np.ndarray
    entry: np.ndarray
    unit: np.ndarray
    gain: np.ndarray
    word: np.ndarray


def spell_characters(words: Sequence[str], tokens: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Words as tokens that are single characters: (spellings, longest) their token ids, padded with 0, and (spellings,)
    the numbers of the words. A word that cannot be spelled is left out."""
    number = np.full(0x110000, -1, np.int32)
    for index, token in enumerate(tokens):
        if index > 0 and len(token) == 1 and token != " ":
            number[ord(token)] = index
    usable = [row for row, word in enumerate(words) if 0 < len(word) <= MAX_WORD_LENGTH]
    spelled = np.array([words[row] for row in usable], dtype=np.str_)
    width = max(1, spelled.dtype.itemsize // 4)
    codes = spelled.view(np.uint32).reshape(len(spelled), width) if len(spelled) else np.empty((0, width), np.uint32)
    inside = np.arange(width) < np.char.str_len(spelled).astype(np.int64)[:, None]
    letters = np.where(inside, number[codes], 0)  # no word holds token 0, the blank: it pads
    possible = (letters >= 0).all(axis=1)
    return letters[possible], np.array(usable, np.int64)[possible]


def spell_words(words: Sequence[str], tokenizer: Tokenizer) -> tuple[np.ndarray, np.ndarray]:
    """The same for tokens that are pieces of words, or phones: every known pronunciation of a word is a spelling."""
    spell = tokenizer.pronunciations.get if tokenizer.kind == "phones" else tokenizer.spellings_of
    spellings, numbers = [], []
    for row, word in enumerate(words):
        for symbols in spell(word) or ():
            if 0 < len(symbols) <= MAX_WORD_LENGTH:
                spellings.append(symbols)
                numbers.append(row)
    lengths = np.array([len(symbols) for symbols in spellings], int)
    number = defaultdict(lambda: -1, {token: index for index, token in enumerate(tokenizer.tokens) if index > 0})
    letters = np.zeros((len(spellings), lengths.max(initial=1)), np.int32)
    letters[np.arange(letters.shape[1]) < lengths[:, None]] = [number[each] for each in chain.from_iterable(spellings)]
    possible = (letters >= 0).all(axis=1)
    return letters[possible], np.array(numbers, np.int64)[possible]


def build_lexicon(
    letters: np.ndarray,
    word: np.ndarray,
    units: np.ndarray,
    gains: np.ndarray,
    ahead: np.ndarray,
    token_score: float = 0.0,
) -> Lexicon:
    """letters, word: spellings of words, as above; gains: (spellings,), units, ahead: (words,), see Lexicon, the last
    of one word. token_score: what every token of a word costs that is not known, see SearchSettings."""
    order = np.lexsort(letters.T[::-1])
    letters, word = letters[order], word[order]
    inside = letters > 0
    lengths = inside.sum(axis=1)
    fresh = np.ones(letters.shape, bool)  # the first word with this beginning
    fresh[1:] = np.logical_or.accumulate(letters[1:] != letters[:-1], axis=1)
    fresh &= inside
    # Numbered level by level, so that siblings are neighbors.
    node = np.cumsum(fresh.T, dtype=np.int32).reshape(fresh.T.shape).T  # of each beginning of each word
    depths, rows = np.nonzero(fresh.T)
    parents = np.where(depths > 0, node[rows, depths - 1], 0)
    children = np.bincount(parents, minlength=len(rows) + 1)
    highest = np.full(len(children), -np.inf)
    np.maximum.at(highest, node[inside], np.repeat(ahead[word], lengths))
    highest[0] = 0.0  # nothing is known before the first letter
    highest[1:] -= token_score * (depths + 1)
    last = node[np.arange(len(node)), lengths - 1]
    by_node = np.argsort(last, kind="stable")
    return Lexicon(
        first=np.cumsum(np.append(1, children)).astype(np.int32),
        token=np.append(0, letters[rows, depths]).astype(np.int32),
        ahead=highest,
        entry=np.append(0, np.cumsum(np.bincount(last, minlength=len(children)))).astype(np.int32),
        unit=units[word[by_node]].astype(np.int64),
        gain=(gains[order] - token_score * lengths)[by_node].astype(np.float64),
        word=word[by_node].astype(np.int32),
    )


class HotWords(NamedTuple):
    """An automaton (Aho and Corasick 1975) that gives the bonus of a prefix after every token. A hot word earns its
    weight token by token, and loses it again if the text continues differently.

    column: (tokens,) the column of a token in following, 0 for tokens that are in no hot word.

    following: (states, columns) the state after a token. emitted: (states,) the bonus of reaching a state,
    for whole words. potential: (states,) the temporary bonus for the part of a word that has been matched. ended:
    (states,) the bonus of ending a word in a state, without a token for it. start: the state before the first token.
    """

    column: np.ndarray
    following: np.ndarray
    emitted: np.ndarray
    potential: np.ndarray
    ended: np.ndarray
    start: int


def parse_hot_words(items: Iterable[str]) -> dict[str, float | None]:
    """NAME, NAME:WEIGHT, or @FILE with one of them a line -> weights in nats a token, None where none is given. NAME
    may be "word=P R O N", see `given_pronunciations`.

    Raises TextError for what is neither, and for a file that cannot be read.
    """
    weights: dict[str, float | None] = {}
    for item in items:
        lines = _lines(Path(item[1:])) if item.startswith("@") else [(item, f"hot word '{item}'")]
        for line, where in lines:
            name, colon, number = line.rpartition(":")
            name = (name if colon else line).strip()
            try:
                weight = float(number) if colon else None
            except ValueError:
                weight = math.nan
            if not name or not _is_weight(weight):
                raise TextError(
                    f"{where}: expected NAME or NAME:weight, a weight of at most {MAX_HOT_WORD_WEIGHT:g} nats a letter"
                )
            weights[name] = weight
    return weights


def _is_weight(weight: float | None) -> bool:
    return weight is None or 0 < abs(weight) <= MAX_HOT_WORD_WEIGHT


def _lines(path: Path) -> list[tuple[str, str]]:
    """Those that are not blank, and what errors call them."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise TextError(f"{path}: {error.strerror}; --hotword @FILE names a file of hot words, one a line") from None
    except ValueError:
        raise TextError(f"{path}: a file of hot words must be text in UTF-8, one a line") from None
    return [(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]


def build_hot_words(weights: Mapping[str, float | None], tokenizer: Tokenizer, normalizer: str) -> HotWords:
    """weights: nats a token, for subwords a letter; None for HOT_WORD_WEIGHT. If tokens tell where a word ends, only
    whole words match: "art" is not found in "party".

    Raises TextError naming a word that the model cannot spell, or whose weight is out of range.
    """
    subwords = tokenizer.kind == "subwords"
    # Between words stands the space, or before a subword that begins one a token that no frame says.
    border = len(tokenizer) if subwords else tokenizer.space
    bounds = (border,) if border >= 0 else ()
    states: dict[tuple[int, ...], int] = {(): 0}  # by what of a word has been matched
    children: dict[tuple[int, ...], list[int]] = defaultdict(list)
    whole: dict[tuple[int, ...], float] = {}
    begun: dict[tuple[int, ...], float] = defaultdict(float)
    for word, given in weights.items():
        if not _is_weight(given):
            raise TextError(
                f"hot word '{word}': weight {given:g}, expected at most {MAX_HOT_WORD_WEIGHT:g} nats a letter"
            )
        weight = HOT_WORD_WEIGHT if given is None else given
        for letters in spell_phrase(word, tokenizer, normalizer):
            sizes = [len(tokenizer.tokens[token].removeprefix(MARK)) if subwords else 1 for token in letters]
            parts = [(border, 0)]  # tokens, and the letters that each stands for
            for token, size in zip(letters, sizes, strict=True):
                if tokenizer.begins_word(token) and len(parts) > 1:
                    parts.append((border, 0))
                parts.append((token, size))
            phrase: tuple[int, ...] = ()
            reached = 0
            for token, size in [*parts, (border, 0)] if bounds else parts[1:]:
                before, phrase, reached = phrase, (*phrase, token), reached + size
                if phrase not in states:
                    states[phrase] = len(states)
                    children[before].append(token)
                begun[phrase] = max(begun[phrase], weight * reached)
            whole[phrase] = weight * reached
    known = sorted({token for branches in children.values() for token in branches})
    column = np.zeros(len(tokenizer) + 1, np.int32)
    column[known] = np.arange(1, len(known) + 1)
    following = np.zeros((len(states), len(known) + 1), np.int32)
    # Where a match breaks, it continues from its longest suffix that is a state.
    links = np.zeros(len(states), np.int32)
    emitted, potential = np.zeros((2, len(states)))
    for matched, state in sorted(states.items(), key=lambda item: len(item[0])):
        if matched:
            parent = states[matched[:-1]]
            fallback = links[state] = following[links[parent], column[matched[-1]]] if parent else 0
            following[state] = following[fallback]
            emitted[state] = whole.get(matched, 0.0) + emitted[fallback]
            open_ended = begun[matched] if children[matched] else 0.0  # otherwise it is emitted
            potential[state] = max(open_ended, potential[fallback])
        for token in children[matched]:
            longer = (*matched, token)
            following[state, column[token]] = states[longer]
    end = following[:, column[border]] if bounds else np.zeros(len(states), np.int32)
    # A subword that begins a word is two steps: over the border, and over itself.
    begins = column[[token for token in range(len(tokenizer)) if tokenizer.begins_word(token)]]
    following[:, begins] = following[end][:, begins]
    return HotWords(column, following, emitted, potential, emitted[end], states[bounds] if weights else 0)


def spell_phrase(word: str, tokenizer: Tokenizer, normalizer: str, what: str = "hot word") -> list[list[int]]:
    """The spellings of a word or phrase: one, or for phones one for each of its first pronunciations.

    Raises TextError, which calls it `what`, if there is none.
    """
    text = normalize(word, normalizer)
    missing = tokenizer.unknown(text)
    if not text:
        raise TextError(f"{what} '{word}': nothing of it is left after normalizer '{normalizer}'")
    if missing and tokenizer.kind == "words":
        raise TextError(f"{what} '{word}': the model knows {listed(tokenizer.tokens[1:])}, not {missing[0]!r}")
    if missing and tokenizer.kind == "phones":
        raise TextError(f"{what} '{word}': the model has no pronunciation for it; give it, as in '{word}=HH AH L OW'")
    if missing:
        raise TextError(f"{what} '{word}': the model has no token for {missing[0]!r}")
    if tokenizer.kind != "phones":
        return [tokenizer.encode(text)]
    of_words = [map(tokenizer.encode_symbols, tokenizer.spellings_of(each)) for each in text.split()]
    possible = [[found for found in spellings if found] for spellings in of_words]
    phrases = islice(product(*possible), MAX_PRONUNCIATIONS)
    return [[token for spelled in phrase for token in (tokenizer.space, *spelled)][1:] for phrase in phrases]


def given_pronunciations(
    tokenizer: Tokenizer, normalizer: str, texts: Mapping[str, Weight], what: str = "hot word"
) -> tuple[Tokenizer, dict[str, Weight]]:
    """Words and phrases as they are written; and for tokens that are phones, as others spell by themselves, a tokenizer
    with the pronunciations that are given behind a "=", or guessed. Raises TextError, which calls a text `what`, for
    phones that the model does not have."""
    if tokenizer.kind != "phones":
        return tokenizer, {text.partition("=")[0].strip(): weight for text, weight in texts.items()}
    words: dict[str, Weight] = {}
    given: dict[str, list[tuple[str, ...]]] = {}
    for text, weight in texts.items():
        word, equals, phones = text.partition("=")
        words[word.strip()] = weight
        if equals:
            pronunciation = tuple(phones.split())
            missing = [phone for phone in pronunciation if phone not in tokenizer or phone == " "]
            if missing or not pronunciation or len(normalize(word, normalizer).split()) != 1:
                raise TextError(f"{what} '{text}': expected one word = its phones, of {' '.join(tokenizer.tokens[1:])}")
            given.setdefault(normalize(word, normalizer), []).append(pronunciation)
    for each in " ".join(normalize(word, normalizer) for word in words).split():
        if each not in given and (found := tokenizer.spellings_of(each)):
            given[each] = found
    return replace(tokenizer, pronunciations={**tokenizer.pronunciations, **given}), words


def sound_alike_losses(
    letters: np.ndarray,
    words: Sequence[str],
    hot_words: Mapping[str, float | None],
    tokenizer: Tokenizer,
    normalizer: str,
) -> np.ndarray:
    """(spellings,) what a word loses that sounds like a hot word and is none: the bonus that it got for the sound.

    letters: (spellings, longest) and words: (spellings,) as of `spell_words`.
    """
    bonus: dict[bytes, float] = defaultdict(float)
    hot = set()
    for text, weight in hot_words.items():
        word = normalize(text, normalizer)
        if " " not in word:
            hot.add(word)
            for spelled in spell_phrase(text, tokenizer, normalizer):
                padded = np.zeros(letters.shape[1], letters.dtype)
                padded[: len(spelled)] = spelled
                each = HOT_WORD_WEIGHT if weight is None else weight
                bonus[padded.tobytes()] += each * len(spelled)
    losses = np.zeros(len(words))
    if bonus:
        for row, (spelled, word) in enumerate(zip(letters, words, strict=True)):
            if word not in hot:
                losses[row] = -max(0.0, bonus.get(spelled.tobytes(), 0.0))
    return losses
