"""Prefix beam search with a language model and hot words: log-probabilities -> the most likely texts.

Graves (2012), Hannun et al. (2014). The score of a text is the sum over all its alignments, not the best one:

    ln p(text | audio) + lm_weight · ln p(text) + word_insertion_bonus · words + bonus of hot words

Where more texts compete than the beam holds, and a language model is used, those are recombined that cannot be told
apart by what follows, because they differ in words too far back for the language model: the likeliest stays (Ney and
Ortmanns 1999).
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from asr.decode.align import best_path, token_spans
from asr.decode.decoder import Hypothesis, log_prob_rows, word_spans
from asr.decode.lexicon import (
    Lexicon,
    build_hot_words,
    build_lexicon,
    given_pronunciations,
    sound_alike_losses,
    spell_characters,
    spell_words,
)
from asr.decode.prefixes import SearchSettings
from asr.decode.search import search, walk
from asr.decode.vocabulary import BARRED, build_vocabulary
from asr.errors import ConfigError, ModelError
from asr.lm.model import SPACE, UNITS, LanguageModel
from asr.lm.trie import END_ID, SPECIAL, UNKNOWN_ID, Level, build
from asr.text import Tokenizer, listed, normalize
from asr.util.jit import is_compiled
from asr.util.runtime import map_ahead

if TYPE_CHECKING:
    from asr.lm.neural import NeuralLanguageModel

logger = logging.getLogger(__name__)

RESCORE_WEIGHT = 0.5  # before it is tuned
LOWEST = -1e4  # stands for ln 0, so that a frame of zero probabilities does not end the search


@dataclass(frozen=True)
class BeamSettings:
    """The size of a beam search and its weights. Scores are natural logarithms (nats).

    beam: prefixes kept from frame to frame; beam_threshold: prefixes this far below the best one are dropped.
    max_tokens: tokens tried in a frame; token_threshold: tokens this far below the frame's best symbol are not tried.
    lm_weight: factor on the language model's ln p. word_insertion_bonus: added for every word, or for every token if
    the language model scores characters. unk_score: added for every word that the language model lacks, beside its
    score for <unk>. closed_vocabulary: such words are never recognized.
    """

    beam: int = 512
    beam_threshold: float = 12.0
    max_tokens: int = 64
    token_threshold: float = 6.0
    lm_weight: float = 1.0
    word_insertion_bonus: float = 0.0
    unk_score: float = -20.0
    closed_vocabulary: bool = False

    def __post_init__(self) -> None:
        for name, maximum in (("beam", 10_000), ("max_tokens", 1_000_000)):
            if not 1 <= getattr(self, name) <= maximum:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected 1 to {maximum:,}")
        for name in ("beam_threshold", "token_threshold"):
            if not 0 <= getattr(self, name) <= 1e9:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected a number of nats, 0 to 1e9")
        for name in ("lm_weight", "word_insertion_bonus", "unk_score"):
            if not abs(getattr(self, name)) <= 1000:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected a number between -1000 and 1000")


@dataclass(frozen=True)
class Scored:
    """A token sequence with its scores, natural logarithms: acoustic, of the language model (unweighted), and total.

    words: those of the lexicon that the search found, one for each of its `word_spans`, None for one that the lexicon
    lacks; None altogether where tokens spell them.
    """

    token_ids: list[int]
    acoustic: float
    lm: float
    total: float
    words: list[str | None] | None = None


@dataclass(frozen=True)
class Rescorer:
    """A neural language model that chooses among the best texts of a search: their ln p is a mix of both models'.

        lm_weight · ((1 − weight) · ln p(text) + weight · ln p'(text))      instead of lm_weight · ln p(text)

    weight: from 0 to 1; count: how many texts it chooses from.
    """

    lm: NeuralLanguageModel
    weight: float = RESCORE_WEIGHT
    count: int = 50

    def score(self, texts: Sequence[str]) -> np.ndarray:
        """ln p' of each text, computed together; of equal ones once. (texts,)"""
        place = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        return self.lm.score_sentences([text.split() for text in place])[[place[text] for text in texts]]


def rescored(found: Sequence[Scored], scores: np.ndarray, weight: float) -> Scored:
    """The best of what a search found, with another model's ln p of each. weight: Rescorer.weight times lm_weight."""
    totals = [each.total + weight * (score - each.lm) for each, score in zip(found, scores, strict=True)]
    return found[int(np.argmax(totals))]


@dataclass(frozen=True)
class BeamSearch:
    """A ready-to-use beam search, made by `prepare`. Thread-safe.

    words: of the lexicon, where only these are heard; None where tokens spell what is heard. rescorer: chooses among
    what the search finds.
    """

    settings: BeamSettings
    rules: SearchSettings
    lm: LanguageModel
    tokenizer: Tokenizer
    words: list[str] | None = None
    rescorer: Rescorer | None = None

    @property
    def platt_scaling(self) -> tuple[float, float] | None:
        return self.lm.platt_scaling

    def n_best(self, log_probs: np.ndarray, count: int = 1) -> list[Scored]:
        """(frames, tokens) -> at most `count` token sequences, best first; at least one, which may be empty."""
        return [self._scored(*found) for found in search(_finite(log_probs), count, self.rules)]

    def _scored(self, token_ids: np.ndarray, entries: np.ndarray, scores: tuple[float, float, float]) -> Scored:
        acoustic, lm, total = scores
        if self.words is None:
            return Scored(token_ids.tolist(), acoustic, lm, total)
        ended = entries[[end - 1 for _, end in word_spans(token_ids.tolist(), self.tokenizer)]]
        words = [self.words[self.rules.lexicon.word[entry]] if entry >= 0 else None for entry in ended]
        for i in reversed(range(len(words))):  # the beginning of a phrase that does not end is not heard
            if words[i] is None or self.lm.tables.unigrams[self.rules.lexicon.unit[ended[i]], 1] > BARRED:
                break
            words[i] = None
        return Scored(token_ids.tolist(), acoustic, lm, total, words)

    def best(self, log_probs: np.ndarray) -> Scored:
        """(frames, tokens) -> the best token sequence, after rescoring."""
        if self.rescorer is None:
            return self.n_best(log_probs)[0]
        found = self.n_best(log_probs, self.rescorer.count)
        scores = self.rescorer.score([self.text_of(each) for each in found])
        return rescored(found, scores, self.settings.lm_weight * self.rescorer.weight)

    def text_of(self, found: Scored) -> str:
        return self.tokenizer.decode(found.token_ids) if found.words is None else " ".join(filter(None, found.words))

    def best_text(self, log_probs: np.ndarray) -> str:
        """(frames, tokens) -> the likeliest text."""
        return self.text_of(self.best(log_probs))

    def __call__(self, log_probs: Tensor, lengths: Tensor, /) -> list[Hypothesis]:
        """log_probs: (B, T, V), lengths: (B,) -> hypotheses, as `greedy` gives them."""
        rows = log_prob_rows(log_probs, lengths)
        return list(map_ahead(self._decode, rows, os.cpu_count() or 1, len(rows)))

    def _decode(self, log_probs: np.ndarray) -> Hypothesis:
        """The best tokens, with the frames of the best path through them; without those of unknown words."""
        log_probs = _finite(log_probs)
        best = self.best(log_probs)
        spans = token_spans(log_probs, best.token_ids, best_path(log_probs, best.token_ids))
        token_ids, words = np.array(best.token_ids, int), best.words
        heard = np.full(len(token_ids), True)
        if words is not None:
            for (first, end), word in zip(word_spans(best.token_ids, self.tokenizer), words, strict=True):
                heard[first:end] = word is not None
        starts, ends = spans.start_frames[heard].tolist(), spans.end_frames[heard].tolist()
        found = None if words is None else [word for word in words if word is not None]
        return Hypothesis(token_ids[heard].tolist(), starts, ends, words=found)

    def warm_up(self) -> BeamSearch:
        """Load the machine code, or compile it the first time, so that no later timing includes it. Returns self."""
        if not is_compiled(walk):
            logger.info("compiling the beam search, once (about 15 s)…")
        self.n_best(np.zeros((1, len(self.rules.units)), np.float32))
        return self


def prepare(
    tokenizer: Tokenizer,
    normalizer: str,
    settings: BeamSettings | None = None,
    lm: LanguageModel | None = None,
    hot_words: Mapping[str, float | None] | None = None,
    vocabulary: Mapping[str, float] | None = None,
    rescorer: Rescorer | None = None,
) -> BeamSearch:
    """Make a search for a model's tokens and normalizer.

    settings: by default those that the language model was tuned to. hot_words: weights in nats a token, None for
    HOT_WORD_WEIGHT; they can be recognized even if the language model or a closed vocabulary lacks them. vocabulary:
    instead of both, the only words and phrases to be heard, with their weights, see `read_vocabulary`. Words that are
    none of them are left out; unk_score is then added for every token of these.

    Raises ModelError, ConfigError for a language model and settings that do not fit the model, TextError for a hot word
    or a vocabulary's that cannot be spelled.
    """
    settings = settings or BeamSettings(**(lm.weights if lm else {}))
    if settings.closed_vocabulary and tokenizer.kind == "words":
        raise ConfigError(
            "the recognizer's tokens are words, so it hears no others anyway: leave out closed_vocabulary"
        )
    if vocabulary is not None:
        if settings.lm_weight <= 0:
            raise ConfigError(f"lm_weight is {settings.lm_weight}: with a vocabulary it must be above 0")
        tokenizer, lm = build_vocabulary(vocabulary, tokenizer, normalizer)
    if lm is not None:
        _check_fit(lm, tokenizer, normalizer)
    if rescorer is not None and rescorer.lm.normalizer != normalizer:
        raise ModelError(_other_normalizer(rescorer.lm.normalizer, normalizer))
    phones = tokenizer.kind == "phones"
    if phones and vocabulary is None:  # an unknown word would have no spelling
        settings = replace(settings, closed_vocabulary=True)
    by_word = tokenizer.kind in ("phones", "subwords") or (
        tokenizer.kind == "characters" and (tokenizer.space >= 0 if lm is None else lm.unit == "word")
    )
    tokenizer, hot_words = given_pronunciations(tokenizer, normalizer, hot_words or {})
    hot = build_hot_words(hot_words, tokenizer, normalizer)
    known = lm or _no_lm()
    extra = [word for text in hot_words for word in normalize(text, normalizer).split()]
    if phones and lm is None:
        extra += tokenizer.pronunciations
    # With a price for a word, whatever its length, one unknown word would swallow all that is said.
    unk_score, token_score = (settings.unk_score, 0.0) if vocabulary is None else (0.0, settings.unk_score)
    named, extra = (known, extra) if by_word else (_no_lm(), [])
    words, lexicon = _make_lexicon(named, settings, token_score, extra, tokenizer, hot_words, normalizer)
    if lm is not None and by_word:
        _check_spelling(lm, lexicon, tokenizer)
    elif lm is not None:
        _check_tokens(lm, tokenizer)
    if settings.closed_vocabulary and not len(lexicon.unit):
        raise ConfigError("a closed vocabulary needs a language model of words (--lm), or hot words")
    unk_score = unk_score if lm is not None else 0.0
    # One token may end an unknown word and begin another.
    max_gain = settings.word_insertion_bonus + 2 * max(0.0, unk_score) + hot.emitted.max() + hot.potential.max()
    if vocabulary is not None:
        max_gain += max(0.0, lexicon.gain.max()) + max(0.0, token_score)
    is_border = np.array([i == tokenizer.space or tokenizer.begins_word(i) for i in range(len(tokenizer))])
    return BeamSearch(
        settings,
        SearchSettings(
            beam=settings.beam,
            beam_threshold=float(settings.beam_threshold),
            max_tokens=settings.max_tokens,
            token_threshold=float(settings.token_threshold),
            space=tokenizer.space,
            borders=np.flatnonzero(is_border),
            is_border=is_border,
            by_word=by_word,
            closed_vocabulary=settings.closed_vocabulary,
            scored=lm is not None,
            lm_weight=float(settings.lm_weight),
            bonus=float(settings.word_insertion_bonus),
            unk_score=float(unk_score),
            unknown_ahead=float(settings.lm_weight * known.tables.unigrams[UNKNOWN_ID, 0] + unk_score),
            token_score=float(token_score),
            max_gain=float(max_gain) if settings.lm_weight >= 0 else math.inf,
            start=known.start_state,
            units=known.ids(SPACE if token == " " else token for token in tokenizer.tokens),
            lexicon=lexicon,
            hot=hot,
            tables=known.tables,
        ),
        known,
        tokenizer,
        words if phones or vocabulary is not None else None,
        rescorer,
    )


def _check_fit(lm: LanguageModel, tokenizer: Tokenizer, normalizer: str) -> None:
    if lm.unit not in UNITS:
        raise ModelError(f"a model of {lm.unit}s is no language model; asr lm train makes one")
    if lm.normalizer is not None and lm.normalizer != normalizer:
        raise ModelError(_other_normalizer(lm.normalizer, normalizer))
    if lm.unit == "character" and tokenizer.kind != "characters":
        raise ModelError(
            f"the recognizer's tokens are {tokenizer.kind}, the language model's units characters: use one of words"
        )
    if lm.unit == "word" and tokenizer.kind == "characters" and tokenizer.space < 0:
        raise ModelError(
            "the recognizer's tokens hold no space to end a word: use a language model of characters (--unit character)"
        )


def _other_normalizer(found: str, normalizer: str) -> str:
    return (
        f"the language model's text went through the normalizer '{found}', the recognizer's through"
        f" '{normalizer}': train the language model with --normalizer {normalizer}"
    )


def _check_spelling(lm: LanguageModel, lexicon: Lexicon, tokenizer: Tokenizer) -> None:
    """Raise ModelError if the tokens cannot spell most words, as with upper and lower case: it would be useless."""
    lacks = np.arange(len(lm.words)) > END_ID
    mass = np.exp(lm.tables.unigrams[:, 0].astype(np.float64)) * lacks
    lacks[lexicon.unit] = False
    if mass[lacks].sum() > 0.5 * mass.sum():
        lacking = np.flatnonzero(lacks)
        words = [lm.words[i] for i in lacking[np.argsort(-mass[lacking], kind="stable")][:3]]
        remedy = "; asr lexicon make writes a lexicon of all of them" if tokenizer.kind == "phones" else ""
        raise ModelError(
            f"the recognizer cannot spell most of the language model's words, such as {listed(words)}{remedy}"
        )


def _check_tokens(lm: LanguageModel, tokenizer: Tokenizer) -> None:
    """The same where the language model scores tokens: if they have nothing in common, or little but for case."""
    tokens, units = set(tokenizer.tokens[1:]) - {" "}, set(lm.words[END_ID + 1 :])
    common, folded = len(tokens & units), {unit.casefold() for unit in units}
    if common == 0 or 2 * common < sum(token.casefold() in folded for token in tokens):
        mass = lm.tables.unigrams[END_ID + 1 :, 0]
        theirs = listed(lm.words[END_ID + 1 + i] for i in np.argsort(-mass, kind="stable")[:3])
        raise ModelError(
            f"the language model's {lm.unit}s are such as {theirs}, the recognizer's {listed(sorted(tokens)[:3])}:"
            f" {common or 'none'} in common; train it on text in the recognizer's spelling"
        )


def _make_lexicon(
    lm: LanguageModel,
    settings: BeamSettings,
    token_score: float,
    extra: list[str],
    tokenizer: Tokenizer,
    hot_words: Mapping[str, float | None],
    normalizer: str,
) -> tuple[list[str], Lexicon]:
    """The words of a language model and extra ones, and the lexicon of those that can be spelled."""
    words = lm.words[END_ID + 1 :]
    added = [word for word in dict.fromkeys(extra) if word not in lm.index]
    units = np.concatenate([np.arange(END_ID + 1, len(lm.words)), np.full(len(added), UNKNOWN_ID)]).astype(np.int64)
    alone = lm.tables.unigrams[units, 0].astype(np.float64)
    ahead = settings.lm_weight * np.where(alone <= BARRED, 0.0, alone)  # inside a phrase nothing is known before it
    words = [*words, *added]
    if tokenizer.kind in ("phones", "subwords"):
        letters, numbers = spell_words(words, tokenizer)
    else:
        letters, numbers = spell_characters(words, tokenizer.tokens)
    gains = np.zeros(len(numbers))
    if tokenizer.kind == "phones":
        gains = sound_alike_losses(letters, [words[number] for number in numbers], hot_words, tokenizer, normalizer)
    return words, build_lexicon(letters, numbers, units, gains, ahead, token_score)


def _no_lm() -> LanguageModel:
    """A placeholder where compiled code expects a language model; its scores are never used."""
    zeros = np.zeros(len(SPECIAL))
    level = Level(np.arange(len(SPECIAL)), zeros.astype(int), zeros, zeros)
    return LanguageModel(build([level], bits=2), list(SPECIAL))


def _finite(log_probs: np.ndarray) -> np.ndarray:
    clean = np.nan_to_num(log_probs.astype(np.float32), nan=LOWEST, posinf=0.0, neginf=LOWEST)
    return np.ascontiguousarray(clean.clip(LOWEST, 0.0))
