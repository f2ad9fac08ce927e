"""The G2P model: exact where its beam is wide, its probabilities, spelling, files, splits and error rates."""

import math
import random
from collections import defaultdict
from itertools import product

import pytest

from asr.errors import ConfigError, ModelError, TextError
from asr.lexicon.g2p import G2p, measure, split, train
from asr.lm.estimate import LmConfig
from asr.lm.estimate import train as train_lm
from asr.lm.trie import SPECIAL

SOUNDS = dict(zip("bdfklmnprstvz", ["B", "D", "F", "K", "L", "M", "N", "P", "R", "S", "T", "V", "Z"], strict=True))
SOUNDS |= {"a": "AE", "e": "EH", "i": "IH", "o": "AA", "x": "K S", "'": ""}


def regular(word):
    """Each letter has one sound, but for the e at the end of a word, which is silent."""
    return tuple(" ".join(SOUNDS[letter] for letter in word.removesuffix("e")).split())


@pytest.fixture(scope="module")
def made_up():
    draw = random.Random(1)
    words = {"".join(draw.choice(part) for part in ("bdfklm", "aeio", "nprstvzx", "aeio'")) for _ in range(400)}
    return {word: [regular(word)] for word in sorted(words)}


@pytest.fixture(scope="module")
def g2p(made_up):
    return train(made_up, order=4)


def brute_force(g2p, word):
    """Every pronunciation with its probability, by every sequence of graphones that spells the word."""
    language_model, found = g2p.language_model, defaultdict(float)
    labels = language_model.words[len(SPECIAL) :]
    for graphones in product(*([label for label in labels if label[0] == letter] for letter in reversed(word))):
        phones = tuple(phone for label in reversed(graphones) for phone in label.split()[1:])
        if phones:
            found[phones] += math.exp(language_model.score_sentence(graphones).sum())
    return {phones: value / sum(found.values()) for phones, value in found.items()}


@pytest.mark.parametrize("order", [1, 2, 5])
def test_wide_beam_is_exact(order):
    draw = random.Random(order)
    words = ["".join(draw.choices("abc", k=draw.randint(1, 6))) for _ in range(30)]
    g2p = train({word: [tuple(draw.choices("XYZ", k=len(word) + draw.randint(-1, 1) or 1))] for word in words}, order)
    for word in words[:8]:
        expected = brute_force(g2p, word[:4])
        found = g2p.pronounce(word[:4], variants=10**6, beam=10**6)
        assert dict(found) == pytest.approx(expected)
        assert [each for _, each in found] == sorted(dict(found).values(), reverse=True)
        assert sum(dict(found).values()) == pytest.approx(1)


def test_beam_keeps_what_is_likely(g2p):
    for word in ("detoe", "fexe", "meze", "lene"):
        (best, probability), (_, second) = g2p.pronounce(word, variants=2)
        assert best == max(brute_force(g2p, word).items(), key=lambda item: item[1])[0]
        assert probability > second > 0


def test_learns_regular_spelling(g2p):
    words = ["dapi", "fixe", "kazo", "moxi", "bane", "lita"]
    rates = measure((g2p.pronounce(word)[0][0], [regular(word)]) for word in words)
    assert (rates.words, rates.wer, rates.per) == (6, 0.0, 0.0)


def test_spelling(g2p):
    assert g2p.spell("dá\u0142o") == "dalo"
    assert g2p.pronounce("fàx\u00ed") == g2p.pronounce("faxi")
    assert train({"ab": [("X", "Y")]}).spell("a'b") == "ab"  # an apostrophe that no word of the dictionary has
    for word, letter in (("da4i", "4"), ("qi", "q"), ("愛", "愛")):
        with pytest.raises(TextError, match=f"'{word}': '{letter}' is in no word"):
            g2p.pronounce(word)
    for silent in ("", "'", "''"):
        with pytest.raises(TextError, match="has no sound"):
            g2p.pronounce(silent)


def test_folder_round_trip(g2p, tmp_path, made_up):
    g2p.save(tmp_path / "g2p")
    again = G2p.load(tmp_path / "g2p")
    for word in list(made_up)[:20]:
        assert again.pronounce(word, 3) == g2p.pronounce(word, 3)
    assert again.language_model.record == {"words": len(made_up), "pronunciations": len(made_up)}


def test_other_folders_are_refused(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a b c\n")
    train_lm([text], LmConfig())[0].save(tmp_path / "lm")
    with pytest.raises(ModelError, match="a language model of words; a G2P is made by asr lexicon train"):
        G2p.load(tmp_path / "lm")


def test_what_cannot_be_learned():
    for entries in ({}, {"w": [tuple("DABLYU")]}):
        with pytest.raises(TextError, match="nothing to learn from"):
            train(entries)
    with pytest.raises(ConfigError, match="order=11: expected 1 to 10"):
        train({"a": [("EY",)]}, order=11)


def test_split_is_the_same_every_time():
    words = [f"word{n}" for n in range(100)]
    assert split(words, 10) == split(reversed(words), 10)
    assert len(split(words, 10)) == 10
    assert split(words, 10) != split(words, 10, seed=1)


def test_measure_takes_the_nearest():
    right = [("T", "AH", "M", "EY", "T", "OW"), ("T", "AH", "M", "AA", "T", "AH")]
    rates = measure([(right[1], right), (("T", "AH", "M", "AA", "T"), right), ((), [("AH",)])])
    assert rates == (3, 2, 6 + 6 + 1, 0 + 1 + 1)
    assert (rates.wer, rates.per) == (2 / 3, 2 / 13)
