"""The beam search over pieces of words, against the enumeration of all alignments, and words found in pieces."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from decode.test_beam import EVERYTHING, Bigrams, check_against_enumeration, random_log_probs

from asr.decode.beam import BeamSettings, prepare
from asr.decode.decoder import Hypothesis, word_posteriors, word_spans, words_of
from asr.errors import ConfigError, ModelError, TextError
from asr.text import Tokenizer

PIECES = [
    Tokenizer("subwords", ("<blank>", "a", "b", "▁", "▁a")),
    Tokenizer("subwords", ("<blank>", "a", "▁", "▁a", "aa")),
    Tokenizer("subwords", ("<blank>", "b", "▁", "▁b", "▁bb")),
]
VOCABULARIES = (["a", "ab", "ba", "aab"], ["b", "bb", "bab", "aa"], ["aaa", "a", "bbb", "bb", "abba"])


def spans(prefix, tokenizer):
    """The pieces of each word that a token sequence says; what comes before the first mark is a word as well."""
    words = []
    for token in prefix:
        if not words or tokenizer.tokens[token].startswith("▁"):
            words.append(())
        words[-1] += (token,)
    return words


def draw_case(rng):
    """A search without limits, its tokenizer, and what a token sequence earns beside its acoustic score."""
    tokenizer = PIECES[rng.integers(len(PIECES))]
    kind = rng.choice(["plain", "open", "closed"])
    weights = {"lm_weight": float(rng.random()), "word_insertion_bonus": float(rng.normal())}
    unk_score = float(rng.choice([-3, 2]) * rng.random())
    settings = BeamSettings(**EVERYTHING, **weights, unk_score=unk_score, closed_vocabulary=kind == "closed")
    possible = [word for words in VOCABULARIES for word in words if not tokenizer.unknown(word)]
    known = rng.permutation(sorted(set(possible)))[:4].tolist()
    lm = None if kind == "plain" else Bigrams(known, rng)
    phrases = [*possible, " ".join(rng.choice(possible, 2)), " ".join(rng.choice(possible, 2))]
    hot = {str(phrase): float(rng.choice([0.7, 1.1, -0.3])) for phrase in rng.choice(phrases, rng.integers(0, 4))}
    spelled = {tuple(tokenizer.encode(word)): word for word in [*known, *" ".join(hot).split()]}
    hot_words = {tuple(tuple(tokenizer.encode(word)) for word in text.split()): text for text in hot}

    def bonus(prefix):
        """None where the prefix may not be."""
        said = spans(prefix, tokenizer)
        words = [spelled.get(word, "?") for word in said]
        unknown = words.count("?") if lm else 0
        if kind == "closed" and unknown:
            return None
        language = lm.log_prob(words) if lm else 0.0
        total = weights["lm_weight"] * language + weights["word_insertion_bonus"] * len(words) + unk_score * unknown
        for phrase, text in hot_words.items():
            times = sum(tuple(said[i : i + len(phrase)]) == phrase for i in range(len(said)))
            total += times * hot[text] * len(text.replace(" ", ""))
        return total

    return prepare(tokenizer, "basic", settings, lm and lm.model, hot), bonus


@pytest.mark.parametrize("seed", range(10))
def test_an_unbounded_beam_equals_the_enumeration_of_all_alignments(seed):
    check_against_enumeration(np.random.default_rng(seed), draw_case, 5)


@pytest.mark.parametrize("seed", range(10))
def test_what_is_not_asked_as_it_gains_too_little_would_not_have_been_kept(seed):
    rng = np.random.default_rng(seed)
    weights = {"unk_score": 3.0, "lm_weight": 0.1, "word_insertion_bonus": 0.0}
    settings = BeamSettings(beam=20, beam_threshold=2.0, token_threshold=1e9, **weights)
    search = prepare(PIECES[0], "basic", settings, Bigrams(["a"], rng).model)
    asking = replace(search, rules=search.rules._replace(max_gain=math.inf))
    for _ in range(5):
        log_probs = random_log_probs(rng, 20, 5, 3.0)
        assert search.n_best(log_probs, 20) == asking.n_best(log_probs, 20)


def said(tokenizer, text, others=()):
    """(frames, tokens) that say a text's pieces clearly, a blank after each; others: pairs of a place and a token that
    sounds nearly the same there."""
    token_ids = tokenizer.encode(text)
    rows = np.full((2 * len(token_ids), len(tokenizer)), 1e-4, np.float32)
    rows[1::2, 0] = 1.0
    rows[range(0, len(rows), 2), token_ids] = 0.5
    for place, token in others:
        rows[2 * place, token] = 0.4
    return np.log(rows / rows.sum(-1, keepdims=True))


def test_the_language_model_chooses_words_and_hot_words_are_whole_ones():
    tokenizer = Tokenizer.build("subwords", ["the party is on the art art part"] * 2, subwords=24)
    assert tokenizer.symbols("the art party") == ["▁the", "▁art", "▁part", "y"]
    lm = Bigrams(["the", "party", "part", "is"], np.random.default_rng(0)).model
    y, s = tokenizer.tokens.index("y"), tokenizer.tokens.index("s")
    log_probs = said(tokenizer, "the parts", [(2, y)])  # "parts" sounds likelier

    def heard(log_probs, lm, hot, **settings):
        return prepare(tokenizer, "basic", BeamSettings(**settings), lm, hot).best_text(log_probs)

    assert heard(log_probs, None, {}) == "the parts"
    assert heard(log_probs, lm, {}) == heard(log_probs, lm, {}, closed_vocabulary=True) == "the party"
    assert heard(log_probs, None, {"party": None}) == "the party"
    assert heard(log_probs, None, {"the party": 0.1}) == "the party"
    assert heard(log_probs, None, {"y": 9.0, "ty": 9.0, "part": 9.0}) != "the party"
    assert heard(said(tokenizer, "party", [(1, s)]), lm, {"parts": 1.5}, closed_vocabulary=True) == "parts"
    with pytest.raises(TextError, match=r"hot word 'ärt': the model has no token for 'ä'"):
        heard(log_probs, None, {"ärt": None})


def test_language_models_that_do_not_fit_are_refused():
    rng = np.random.default_rng(1)
    with pytest.raises(ModelError, match="tokens are subwords, the language model's units characters: use"):
        prepare(PIECES[0], "basic", lm=Bigrams(["a", "b"], rng, unit="character").model)
    with pytest.raises(ModelError, match=r"cannot spell most .* 'AB'"):
        prepare(PIECES[0], "basic", lm=Bigrams(["AB"], rng).model)
    with pytest.raises(ConfigError, match="closed vocabulary"):
        prepare(PIECES[0], "basic", BeamSettings(closed_vocabulary=True))


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ("▁a b ▁a", ["ab", "a"]),
        ("b a ▁a", ["ba", "a"]),  # the first mark was not heard
        ("▁ a b ▁ b", ["ab", "b"]),
        ("▁ ▁ ▁a ▁", ["a"]),  # a mark alone is no word
        ("▁", []),
        ("", []),
    ],
)
def test_words_are_found_in_pieces(pieces, words):
    tokenizer = PIECES[0]
    token_ids = [tokenizer.tokens.index(piece) for piece in pieces.split()]
    frames = list(range(len(token_ids)))
    hypothesis = Hypothesis(token_ids, frames, [frame + 1 for frame in frames])
    assert words_of(hypothesis, tokenizer) == words
    assert tokenizer.decode(token_ids) == " ".join(words)
    log_probs = torch.from_numpy(random_log_probs(np.random.default_rng(2), len(token_ids), 5)).double()
    expected = [
        math.exp(log_probs[range(first, end), token_ids[first:end]].sum())  # one frame a token: one path
        for first, end in word_spans(token_ids, tokenizer)
    ]
    assert word_posteriors(log_probs, hypothesis, tokenizer).tolist() == pytest.approx(expected)
