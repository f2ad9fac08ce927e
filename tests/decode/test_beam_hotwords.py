"""Hot words: earned and taken back; as options and files; heard where the language model never saw them."""

import math

import numpy as np
import pytest

from asr.decode.beam import BeamSettings, prepare
from asr.decode.lexicon import build_hot_words, parse_hot_words
from asr.errors import TextError
from asr.lm.model import LanguageModel
from asr.lm.trie import SPECIAL, Level, build
from asr.text import Tokenizer

LETTERS = Tokenizer("characters", ("<blank>", " ", *"abcdefghijklmnopqrstuvwxyz"))


def earned(weights, text):
    """After every letter of a text, what has been emitted for it and what its last state may still become."""
    hot = build_hot_words(weights, LETTERS, "basic")
    state, emitted, course = hot.start, 0.0, []
    for token in LETTERS.encode(text):
        state = hot.following[state, hot.column[token]]
        emitted += hot.emitted[state]
        course.append(emitted + hot.potential[state])
    return course


def test_a_word_earns_letter_by_letter_and_pays_back():
    assert earned({"quin": 1.0}, "quin ") == [1, 2, 3, 4, 4]
    assert earned({"quin": 1.0}, "quit ") == [1, 2, 3, 0, 0]
    assert earned({"quin": 1.0}, "quins ") == [1, 2, 3, 4, 0, 0]
    assert earned({"art": 2.0}, "party art ") == [0, 0, 0, 0, 0, 0, 2, 4, 6, 6]


def test_words_that_overlap_each_earn():
    assert earned({"new york": 1.0, "york": 1.0}, "new york ")[-1] == 12
    assert earned({"new york city": 1.0, "york": 1.0}, "new york pie ")[-1] == 4
    assert earned({"b": 1.0}, "b b b ")[-1] == 3


def test_options_and_files(tmp_path):
    path = tmp_path / "names.txt"
    path.write_bytes("\ufeffAda:3\r\n\r\nO'Brien\r\n".encode())
    assert parse_hot_words(["Quilter", "Van Dyck:0.5", f"@{path}"]) == {
        "Quilter": None,
        "Van Dyck": 0.5,
        "Ada": 3.0,
        "O'Brien": None,
    }
    path.write_text("Ada\nBob:much\n")
    with pytest.raises(TextError, match=r"names.txt, line 2: expected NAME"):
        parse_hot_words([f"@{path}"])
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TextError, match="UTF-8"):
        parse_hot_words([f"@{path}"])
    for wrong in ("", ":2", "Ada:nan", "Ada:1e9", "Ada:0"):
        with pytest.raises(TextError, match="expected NAME"):
            parse_hot_words([wrong])


def test_a_word_the_model_cannot_spell_is_named():
    with pytest.raises(TextError, match=r"hot word 'Žofie'.*'ž'"):
        build_hot_words({"Žofie": 1.0}, LETTERS, "basic")
    with pytest.raises(TextError, match="nothing of it is left"):
        build_hot_words({"…": 1.0}, LETTERS, "basic")
    digits = Tokenizer("words", ("<blank>", "one", "two"))
    with pytest.raises(TextError, match="the model knows 'one', 'two', not 'three'"):
        build_hot_words({"one three": 1.0}, digits, "basic")


@pytest.mark.parametrize("closed", [False, True])
def test_a_name_the_language_model_never_saw_is_heard(closed):
    words = [*SPECIAL, "quiet", "quick"]
    level = Level(np.arange(5), np.zeros(5, int), np.log([0.01, 1e-9, 0.3, 0.3, 0.3]), np.zeros(5))
    lm = LanguageModel(build([level], bits=8), words)
    spoken = LETTERS.encode("quiln")
    log_probs = np.full((2 * len(spoken), len(LETTERS)), math.log(1e-4), np.float32)
    log_probs[1::2, 0] = math.log(0.99)
    for place, token in enumerate(spoken):
        log_probs[2 * place, token] = math.log(0.5)
    for place, other in zip((6, 8), LETTERS.encode("et"), strict=True):
        log_probs[place, other] = math.log(0.4)
    settings = BeamSettings(closed_vocabulary=closed, token_threshold=20.0)

    def read(hot_words):
        search = prepare(LETTERS, "basic", settings, lm, hot_words)
        return LETTERS.decode(search.n_best(log_probs)[0].token_ids)

    assert read({}) == "quiet"
    assert read({"Quiln": 2.0}) == "quiln"
