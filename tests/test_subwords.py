"""Byte-pair encoding: against a naive one, and spelling any text."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asr.errors import TextError
from asr.subwords import learn, spell
from asr.text import BLANK, Tokenizer, normalize, symbols_of

TEXTS = st.lists(
    st.text(st.sampled_from("ab  é'▁字ñ\U0001f600") | st.characters(exclude_categories=["Cs"]), max_size=40)
)


def naive_spell(word, pieces):
    """Every piece in turn is joined from its parts wherever they stand, and then all is tried again."""
    spelled = ["▁", *word]
    again = True
    while again:
        again = False
        for piece in pieces:
            pairs = [i for i in range(len(spelled) - 1) if spelled[i] + spelled[i + 1] == piece]
            while pairs:
                again = True
                spelled[pairs[0] : pairs[0] + 2] = [piece]
                pairs = [i for i in range(len(spelled) - 1) if spelled[i] + spelled[i + 1] == piece]
            if again:
                break
    return spelled


def naive_learn(words, size):
    pieces = sorted({"▁"}.union(*words))
    while len(pieces) < size:
        counts = Counter()
        for word, count in words.items():
            spelled = naive_spell(word, pieces)
            for i in range(len(spelled) - 1):
                counts[spelled[i] + spelled[i + 1]] += count
        if not counts or max(counts.values()) < 2:
            break
        pieces.append(min(counts, key=lambda piece: (-counts[piece], piece)))
    return pieces


@pytest.mark.parametrize("seed", range(30))
def test_pieces_and_spellings_are_those_of_a_naive_one(seed):
    rng = np.random.default_rng(seed)
    letters = list("aab'éz"[: rng.integers(1, 7)])
    words = Counter("".join(rng.choice(letters, rng.integers(1, 9))) for _ in range(rng.integers(1, 60)))
    size = int(rng.integers(0, 60))
    pieces = learn(words, size, BLANK)
    assert pieces == naive_learn(words, size)
    rank = {piece: place for place, piece in enumerate(pieces)}
    others = ["".join(rng.choice(letters, rng.integers(1, 12))) for _ in range(30)]
    for word in [*words, *others]:
        assert list(spell(word, rank)) == naive_spell(word, pieces)


def test_what_is_learned_from_a_few_words():
    words = {"low": 5, "lower": 2, "newest": 6, "widest": 3}  # the example of Sennrich et al.
    expected = ["d", "e", "i", "l", "n", "o", "r", "s", "t", "w", "▁"]
    expected += ["es", "est", "lo", "low", "▁low", "ew", "ewest", "newest", "▁newest"]
    assert learn(words, 20, BLANK) == expected
    shuffled = dict(sorted(words.items(), reverse=True))
    assert learn(shuffled, 20, BLANK) == expected
    tokenizer = Tokenizer.build("subwords", [" ".join([word] * count) for word, count in words.items()], subwords=21)
    assert tokenizer.tokens == (BLANK, *expected)
    assert tokenizer.symbols("lowest low") == ["▁low", "est", "▁low"]
    assert (
        tokenizer.decode([0, *tokenizer.encode("lowest low"), 0]) == "lowest low" == tokenizer.pronounce("lowest low")
    )
    assert [tokenizer.begins_word(token) for token in tokenizer.encode("lowest new")] == [
        True,
        False,
        True,
        False,
        False,
    ]
    assert tokenizer.unknown("wax list") == ["a", "x"]
    with pytest.raises(TextError, match="no token for 'x' in 'low x'"):
        tokenizer.encode("low x")


def test_characters_are_never_left_out_and_rare_pieces_are():
    assert len(Tokenizer.build("subwords", ["abcdefgh"], subwords=3)) == 10
    assert len(Tokenizer.build("subwords", ["abcdefgh"], subwords=300)) == 10
    assert Tokenizer.build("subwords", ["ab ab"], subwords=300).tokens == (BLANK, "a", "b", "▁", "ab", "▁ab")
    assert Tokenizer.build("subwords", [], subwords=300).tokens == (BLANK, "▁")


@given(learned=TEXTS, said=TEXTS)
@example(["<blank> <blank>"] * 9, ["x<blank>"])
@example(["a▁b ▁a"] * 3, ["▁ a▁b"])
def test_decoding_undoes_encoding_of_whatever_has_tokens(learned, said):
    learned, said = ([normalize(text, "none") for text in texts] for texts in (learned, said))
    tokenizer = Tokenizer.build("subwords", learned, subwords=40)
    for text in [*learned, *said]:
        missing = tokenizer.unknown(text)
        known = set("".join(word for word in " ".join(learned).split() if "▁" not in word))
        marked = {f"▁{word}" for word in text.split() if "▁" in word}
        assert set(missing) == marked | (set("".join(word for word in text.split() if "▁" not in word)) - known)
        if not missing:
            assert tokenizer.decode(tokenizer.encode(text)) == text
            assert symbols_of("subwords", text, tokenizer.spellings_of) == tokenizer.symbols(text)
