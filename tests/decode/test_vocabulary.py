"""The search closed to a vocabulary, against the enumeration of all alignments and all ways to read them as entries."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from decode.test_beam import EVERYTHING, LETTERS, WORDS, enumerated, random_log_probs

from asr.decode.beam import BeamSettings, prepare
from asr.decode.decoder import word_spans
from asr.decode.vocabulary import BARRED, read_vocabulary
from asr.errors import ConfigError, TextError
from asr.text import Tokenizer

SOUNDS = {"on": [("A",)], "off": [("B",), ("B", "A")], "of": [("B",)], "all": [("A", "B")]}
PHONES = Tokenizer("phones", ("<blank>", " ", "A", "B"), SOUNDS)
PHRASES = {"on": 2.0, "all on": 1.0, "all of": 1.0, "all": 0.5, "off on off": 3.0}


def readings(sounds, entries, cost):
    """Every way to read sounds, "A B" is ("A B",), as entries and unknown words: ln p, without what is barred."""
    if not sounds:
        return [((), 0.0)]
    found = []
    known = {word for words in entries for word in words}
    if not any(tuple(sounds[0]) in SOUNDS[word] for word in known):
        found += [((None, *rest), cost * len(sounds[0]) + p) for rest, p in readings(sounds[1:], entries, cost)]
    for words, weight in entries.items():
        heard = sounds[: len(words)]
        if len(heard) == len(words) and all(tuple(s) in SOUNDS[w] for s, w in zip(heard, words, strict=True)):
            share = math.log(weight / sum(entries.values()))
            found += [((*words, *rest), share + p) for rest, p in readings(sounds[len(words) :], entries, cost)]
    return found


@pytest.mark.parametrize("cost", [-0.7, None])
def test_an_unbounded_beam_equals_the_enumeration_of_entries(cost):
    rng = np.random.default_rng(0)
    entries = {tuple(text.split()): weight for text, weight in PHRASES.items()}
    settings = BeamSettings(**EVERYTHING, unk_score=cost or 0.0, closed_vocabulary=cost is None)
    search = prepare(PHONES, "basic", settings, vocabulary=PHRASES)
    several = 0
    for frames in [0, 1, 3, 5, 6]:
        log_probs = random_log_probs(rng, frames, 4)
        expected = []
        for prefix, acoustic in enumerated(log_probs).items():
            sounds = ["".join(PHONES.tokens[t] for t in prefix[a:b]) for a, b in word_spans(prefix, PHONES)]
            for words, language in readings(sounds, entries, cost or 0.0):
                if cost is not None or None not in words:
                    expected.append((acoustic + language, prefix, words))
        found = [h for h in search.n_best(log_probs, 100_000) if h.total > BARRED / 2]
        assert [h.total for h in found] == pytest.approx(sorted((p for p, *_ in expected), reverse=True), abs=1e-3)
        texts = {(tuple(h.token_ids), tuple(h.words)) for h in found}
        assert texts == {(prefix, words) for _, prefix, words in expected}
        several += len(expected)
    assert several > (200 if cost else 10)


def said(tokenizer, text, clear=12.0):
    """(1, frames, tokens): phones or letters and spaces of a text, each followed by a blank, after one more."""
    tokens = [0]
    for symbol in filter(None, text.split("-")) if tokenizer.kind == "phones" else text:
        tokens += [tokenizer.tokens.index(symbol), 0]
    logits = torch.zeros(1, len(tokens), len(tokenizer))
    logits[0, range(len(tokens)), tokens] = clear
    return logits.log_softmax(-1)


def heard(log_probs, tokenizer, vocabulary, **settings):
    search = prepare(tokenizer, "basic", BeamSettings(unk_score=-1.5, **settings), vocabulary=vocabulary)
    [found] = search(log_probs, torch.tensor([log_probs.shape[1]]))
    spans = word_spans(found.token_ids, tokenizer)
    assert len(spans) == len(found.words)
    assert found.start_frames == sorted(found.start_frames)
    assert all(start < end for start, end in zip(found.start_frames, found.end_frames, strict=True))
    return " ".join(found.words), [found.start_frames[first] for first, _ in spans]


@pytest.mark.parametrize("closed", [False, True])
def test_nothing_said_is_nothing_heard(closed):
    vocabulary = {"on": 1.0, "all off": 1.0}
    for silence in (said(PHONES, "")[:, :0], said(LETTERS, "")[:, :1].expand(1, 50, 4)):
        assert heard(silence, PHONES, vocabulary, closed_vocabulary=closed) == ("", [])


def test_words_of_a_phrase_are_heard_in_its_order_and_to_its_end():
    vocabulary = read_vocabulary(["all off", "on"])
    assert heard(said(PHONES, "A-B- -B- -A"), PHONES, vocabulary) == ("all off on", [1, 7, 11])
    for part in ("A-B", "A- -A-B"):  # the beginning of a phrase at the end is none
        assert heard(said(PHONES, part), PHONES, vocabulary, closed_vocabulary=True)[0] in ("", "on", "on on")


def test_what_else_is_said_is_left_out_unless_all_speech_is_taken_for_entries():
    other = said(PHONES, "B-A-B-A- -A- -B-B-A-B")
    assert heard(other, PHONES, {"on": 1.0}) == ("on", [11])
    assert heard(other, PHONES, {"on": 1.0}, closed_vocabulary=True)[0].split().count("on") > 1
    letters = said(LETTERS, "abab a bbab")
    assert heard(letters, LETTERS, {"a": 1.0}) == ("a", [11])
    assert heard(said(LETTERS, "ab a bb"), LETTERS, {"ab": 1.0, "bb": 1.0}) == ("ab bb", [1, 11])


def test_subwords_are_heard_by_whole_words():
    pieces = Tokenizer("subwords", ("<blank>", "▁a", "▁b", "a", "b"))
    logits = torch.zeros(1, 4, 5)
    logits[0, range(4), [1, 4, 2, 1]] = 12.0  # ab b a
    for vocabulary, expected in (({"ab": 1.0, "b": 1.0, "a": 1.0}, "ab b a"), ({"b": 1.0, "a b": 1.0}, "b")):
        assert heard(logits.log_softmax(-1), pieces, vocabulary)[0] == expected


def test_a_weight_decides_between_words_that_sound_alike():
    for weights, expected in (({"off": 3.0, "of": 1.0}, "off"), ({"off": 1.0, "of": 3.0}, "of")):
        assert heard(said(PHONES, "B"), PHONES, weights)[0] == expected


def test_pronunciations_come_from_the_entry_the_lexicon_or_a_guess():
    assert heard(said(PHONES, "B-B"), PHONES, {"Bob = B B": 1.0, "bob=A A": 1.0})[0] == "bob"
    assert heard(said(PHONES, "A-A"), PHONES, {"Bob = B B": 1.0, "bob=A A": 1.0})[0] == "bob"
    guessing = replace(PHONES, guess=lambda word: [("B", "B")] if word == "bob" else [])
    assert heard(said(PHONES, "B-B- -A"), guessing, {"bob on": 1.0})[0] == "bob on"
    with pytest.raises(TextError, match=r"vocabulary 'on bub': .* no pronunciation for it; give it, as in 'on bub=HH"):
        prepare(guessing, "basic", vocabulary={"on bub": 1.0})
    with pytest.raises(TextError, match=r"vocabulary 'on=X': expected one word = its phones, of   A B"):
        prepare(PHONES, "basic", vocabulary={"on=X": 1.0})


def test_what_a_vocabulary_cannot_be_used_with_is_refused():
    with pytest.raises(TextError, match="vocabulary 'c': the model has no token for 'c'"):
        prepare(LETTERS, "basic", vocabulary={"c": 1.0})
    with pytest.raises(TextError, match=r"vocabulary '\?': nothing of it is left"):
        prepare(LETTERS, "basic", vocabulary={"?": 1.0})
    for tokenizer in (WORDS, Tokenizer("characters", ("<blank>", "a", "b"))):
        with pytest.raises(ConfigError, match=f"this one's tokens are {tokenizer.kind}"):
            prepare(tokenizer, "basic", vocabulary={"a": 1.0})
    with pytest.raises(ConfigError, match="lm_weight is 0"):
        prepare(LETTERS, "basic", BeamSettings(lm_weight=0.0), vocabulary={"a": 1.0})


def test_a_file_holds_an_entry_a_line(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("\ufeffone\n\n# a comment\nturn on\t2.5\n  two  \t\nthree=TH R IY\n", encoding="utf-8")
    expected = {"one": 1.0, "turn on": 2.5, "two": 1.0, "three=TH R IY": 1.0}
    assert read_vocabulary(file) == read_vocabulary(str(file)) == read_vocabulary(expected) == expected
    assert read_vocabulary(["one", "two"]) == {"one": 1.0, "two": 1.0}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"one\ntwo\tmany\n", "line 2: 'many' is no weight"),
        (b"one\t0\n", "'one' has the weight 0, expected a number above 0"),
        (b"one\tnan\n", "weight nan"),
        (b"one\n\xff\n", "line 2 is not UTF-8"),
        (b"# nothing\n", "no words; write one word or phrase a line"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, says):
    (tmp_path / "words.txt").write_bytes(content)
    with pytest.raises(TextError, match=f"words.txt: .*{says}"):
        read_vocabulary(tmp_path / "words.txt")
    with pytest.raises(TextError, match=r"gone.txt: No such file"):
        read_vocabulary(tmp_path / "gone.txt")


def test_small_beams_have_room_where_every_token_ends_a_word_in_several_ways():
    letters = "abcdefghij"
    tokenizer = Tokenizer("subwords", ("<blank>", *(f"\u2581{letter}" for letter in letters)))
    entries = [*letters, *(f"a {letter}" for letter in letters)]
    log_probs = np.full((12, 11), math.log(1 / 11), np.float32)
    log_probs[:2] = -20.0
    log_probs[0, 1] = log_probs[1, 0] = 0.0  # a clear "a", and then anything
    for beam in range(2, 40):
        settings = BeamSettings(beam=beam, beam_threshold=1e9, token_threshold=1e9, closed_vocabulary=True)
        search = prepare(tokenizer, "basic", settings, vocabulary=dict.fromkeys(entries, 1.0))
        found = search.n_best(log_probs, beam)
        assert found[0].words[0] == "a"
        assert [each.total for each in found] == sorted((each.total for each in found), reverse=True)


def test_letters_spell_what_has_a_pronunciation():
    log_probs = random_log_probs(np.random.default_rng(0), 6, len(LETTERS))
    plain, given = (prepare(LETTERS, "basic", vocabulary={text: 1.0}) for text in ("ab", "ab=A B"))
    assert given.n_best(log_probs, 5) == plain.n_best(log_probs, 5)
