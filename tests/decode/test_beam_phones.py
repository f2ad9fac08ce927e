"""The beam search through pronunciations, against the enumeration of all alignments and all words that sound so."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from decode.test_beam import EVERYTHING, Bigrams, enumerated, hot_score, random_log_probs

from asr.decode.beam import BeamSettings, prepare
from asr.decode.decoder import words_of
from asr.errors import TextError
from asr.text import Tokenizer

NAMES = ("zero", "one", "two", "three", "four")
PHONES = Tokenizer("phones", ("<blank>", " ", "A", "B"))
SOUNDS = [phones for count in (1, 2, 3) for phones in itertools.product("AB", repeat=count)]


def draw_pronunciations(rng):
    """Of each word one or two, some of them those of another word."""
    common = [SOUNDS[i] for i in rng.choice(len(SOUNDS), 5, replace=False)]
    return {name: [common[i] for i in rng.choice(5, rng.integers(1, 3), replace=False)] for name in NAMES}


def readings(text, pronunciations):
    """Every sequence of words that phones between spaces can stand for."""
    sounds = [tuple(sound) for sound in text.split()]
    known = [[word for word, each in pronunciations.items() if sound in each] for sound in sounds]
    return list(itertools.product(*known))


def draw_case(rng):
    pronunciations = draw_pronunciations(rng)
    weights = {"lm_weight": float(rng.random()), "word_insertion_bonus": float(rng.normal())}
    lm = Bigrams(rng.permutation(NAMES)[: rng.integers(2, 6)].tolist(), rng) if rng.random() < 0.8 else None
    hot = {str(rng.choice(NAMES)): float(rng.choice([0.7, -0.3, 2.0]))} if rng.random() < 0.5 else {}
    vocabulary = NAMES if lm is None else {*lm.words, *hot}
    reachable = {word: sounds for word, sounds in pronunciations.items() if word in vocabulary}

    def worth(text, words):
        language = lm.log_prob(words) if lm else 0.0
        total = weights["lm_weight"] * language + weights["word_insertion_bonus"] * len(words)
        for word, weight in hot.items():
            spelled = {"".join(sound): weight for sound in pronunciations[word]}
            total += hot_score(text, spelled)
            # What sounds like it and is another word does not earn what it earns.
            for said, sound in zip(words, text.split(), strict=True):
                if said != word and sound in spelled:
                    total -= max(0.0, weight) * len(sound)
        return total

    tokenizer = replace(PHONES, pronunciations=pronunciations)
    search = prepare(tokenizer, "basic", BeamSettings(**EVERYTHING, **weights), lm and lm.model, hot)
    return search, reachable, worth


@pytest.mark.parametrize("seed", range(10))
def test_an_unbounded_beam_equals_the_enumeration_of_alignments_and_words(seed):
    rng = np.random.default_rng(seed)
    several = 0
    for _ in range(20):
        search, reachable, worth = draw_case(rng)
        for frames in rng.integers(0, 6, 5):
            log_probs = random_log_probs(rng, frames, 4)
            expected = {}
            for prefix, acoustic in enumerated(log_probs).items():
                text = "".join(PHONES.tokens[token] for token in prefix)
                for words in readings(text, reachable):
                    expected[prefix, words] = acoustic + worth(text, words)
            found = search.n_best(log_probs, 100_000)
            assert [h.total for h in found] == sorted((h.total for h in found), reverse=True)
            scores = {(tuple(h.token_ids), tuple(h.words)): h.total for h in found}
            assert len(scores) == len(found)
            assert scores == pytest.approx(expected, abs=1e-4)
            several += len(expected) > len({prefix for prefix, _ in expected})
    assert several > 10  # words that sound alike were among them


def test_words_that_sound_alike_are_told_apart_by_the_language_model():
    from asr.lm.estimate import Corpus, count_ngrams, estimate
    from asr.lm.model import LanguageModel
    from asr.lm.trie import END_ID, SPECIAL, START_ID, build

    words = [*SPECIAL, "ball", "blue", "he", "red", "sees", "the", "to", "two", "walks"]
    sentences = ["he sees two", "he walks to the ball", "two red", "sees two blue"]
    numbers = [n for s in sentences for n in (START_ID, *(words.index(word) for word in s.split()), END_ID)]
    levels, _ = estimate(count_ngrams(Corpus(np.array(numbers, np.int32), words, len(sentences)), 2))
    lm = LanguageModel(build(levels, bits=16), words)
    sounds = {"he": "H", "sees": "S", "two": "T", "to": "T", "walks": "W", "the": "E", "ball": "B", "red": "R"}
    spelled = {word: [(phone,)] for word, phone in sounds.items()}
    tokenizer = Tokenizer("phones", ("<blank>", " ", *sorted(set(sounds.values()))), spelled)
    search = prepare(tokenizer, "basic", BeamSettings(lm_weight=1.0, word_insertion_bonus=0.0), lm)
    for sentence in ("he sees two", "he walks to the ball"):
        frames = [token for n in tokenizer.encode(sentence) for token in (n, 0)]
        log_probs = torch.full((1, len(frames), len(tokenizer)), 0.01)
        log_probs[0, range(len(frames)), frames] = 0.9
        [found] = search(log_probs.log_softmax(-1) * 10, torch.tensor([len(frames)]))
        assert words_of(found, tokenizer) == sentence.split()
        assert search.best_text((log_probs.log_softmax(-1) * 10)[0].numpy()) == sentence


def one_hot(*tokens):
    """(frames, tokens): phones said clearly, a blank after each."""
    rows = np.full((2 * len(tokens), 4), -9.0, np.float32)
    rows[range(0, 2 * len(tokens), 2), tokens] = -0.01
    rows[range(1, 2 * len(tokens), 2), 0] = -0.01
    return rows


def test_hot_words_have_the_models_pronunciation_or_a_given_one():
    rng = np.random.default_rng(0)
    lm = Bigrams(["baa"], rng).model
    tokenizer = replace(PHONES, pronunciations={"baa": [("B", "A")], "abba": [("A", "B", "A")]})
    said = one_hot(2, 3, 2)

    def heard(hot):
        return prepare(tokenizer, "basic", BeamSettings(), lm, hot).best_text(said)

    assert heard({}) == "baa"  # the nearest that the language model knows
    assert heard({"abba": 3.0}) == "abba"
    assert heard({"Aber = A B A": 3.0}) == "aber"
    tokenizer.pronunciations["abra"] = [("A", "B", "R", "A"), ("A", "B", "A")]  # it has no R
    assert heard({"abra": 3.0}) == "abra"
    assert tokenizer.encode("abra") == [2, 3, 2]
    with pytest.raises(TextError, match=r"no pronunciation for it; give it, as in 'aber=HH AH L OW'"):
        heard({"aber": 3.0})
    for wrong in ("aber=A X", "aber=", "a ber=A B", "=A B"):
        with pytest.raises(TextError, match="expected one word = its phones, of   A B"):
            heard({wrong: 3.0})


def test_a_hot_word_is_preferred_to_what_sounds_like_it():
    lm = Bigrams(["baa"], np.random.default_rng(1)).model
    tokenizer = replace(PHONES, pronunciations={"baa": [("B", "A")], "bah": [("B", "A")]})
    for hot, expected in (({}, "baa"), ({"bah": 8.0}, "bah"), ({"baa": 8.0}, "baa")):
        assert prepare(tokenizer, "basic", BeamSettings(), lm, hot).best_text(one_hot(3, 2)) == expected


def test_what_follows_the_last_whole_word_is_no_word():
    lm = Bigrams(["baa"], np.random.default_rng(1)).model
    tokenizer = replace(PHONES, pronunciations={"baa": [("B", "A", "A")]})
    search = prepare(tokenizer, "basic", BeamSettings(token_threshold=1.0), lm)
    [found] = search(torch.from_numpy(one_hot(3, 2, 3))[None], torch.tensor([6]))
    assert (found.words, found.token_ids) == ([], [])
    assert search.best_text(one_hot(3, 2, 3)) == ""
