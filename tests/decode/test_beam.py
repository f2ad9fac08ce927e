"""Prefix beam search against the enumeration of all alignments, and against a plain search with the same pruning."""

import itertools
import math
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch

from asr.decode.beam import BeamSettings, prepare
from asr.decode.decoder import greedy
from asr.errors import ConfigError, ModelError
from asr.lm.model import SPACE, LanguageModel
from asr.lm.trie import SPECIAL, Level, build
from asr.text import Tokenizer

LETTERS = Tokenizer("characters", ("<blank>", " ", "a", "b"))
WORDS = Tokenizer("words", ("<blank>", "one", "two", "three"))
EVERYTHING = {"beam": 5000, "beam_threshold": 1e9, "token_threshold": 1e9}


class Bigrams:
    """A random model, and its probabilities once more in dictionaries."""

    def __init__(self, words, rng, **about):
        self.words = [*SPECIAL, *words]
        count = len(self.words)
        unigrams, backoffs = np.round(-3 * rng.random((2, count)), 3)
        pairs = sorted({(int(a), int(b)) for a, b in rng.integers(0, count, (2 * count, 2))})
        bigrams = np.round(-2 * rng.random(len(pairs)), 3)
        first, second = np.array(pairs).T
        levels = [
            Level(np.arange(count), np.zeros(count, int), unigrams, backoffs),
            Level(second, first, bigrams, np.zeros(len(pairs))),
        ]
        self.model = LanguageModel(build(levels, bits=16), self.words, **about)
        self.bigrams = dict(zip(pairs, bigrams, strict=True))
        self.unigrams, self.backoffs = unigrams, backoffs

    def log_prob(self, units, ends=True):
        """Of a sentence, or of its beginning."""
        numbers = [self.words.index(unit) if unit in self.words else 0 for unit in units]
        total = 0.0
        for before, after in itertools.pairwise([1, *numbers, *([2] if ends else [])]):
            total += self.bigrams.get((before, after), self.backoffs[before] + self.unigrams[after])
        return total


@lru_cache
def all_paths(frames, symbols):
    """(symbols ** frames, frames) paths, which prefix each collapses to, and the prefixes."""
    paths = np.array(list(itertools.product(range(symbols), repeat=frames)), int).reshape(symbols**frames, frames)
    collapsed = [tuple(s for s, _ in itertools.groupby(path) if s) for path in paths.tolist()]
    prefixes = {prefix: i for i, prefix in enumerate(dict.fromkeys(collapsed))}
    return paths, np.array([prefixes[prefix] for prefix in collapsed]), list(prefixes)


def enumerated(log_probs):
    """Every token sequence with its probability above zero, as a logarithm."""
    paths, owners, prefixes = all_paths(*log_probs.shape)
    scores = log_probs.astype(float)[np.arange(len(log_probs)), paths].sum(axis=1)
    sums = np.bincount(owners, np.exp(scores), len(prefixes))
    return {prefix: math.log(p) for prefix, p in zip(prefixes, sums, strict=True) if p > 0}


def random_log_probs(rng, frames, symbols, scale=2.0):
    logits = torch.from_numpy(scale * rng.standard_normal((frames, symbols)))
    return logits.log_softmax(-1).float().numpy()


def check_against_enumeration(rng, draw_case, symbols):
    """Searches without limits, of random log-probabilities, find what the enumeration finds. draw_case: see below."""
    for _ in range(10):
        search, bonus = draw_case(rng)
        for frames in rng.integers(0, 6, 10):
            log_probs = random_log_probs(rng, frames, symbols)
            if rng.random() < 0.2:
                log_probs[rng.random(log_probs.shape) < 0.3] = -np.inf
            expected = {}
            for prefix, acoustic in enumerated(log_probs).items():
                worth = bonus(prefix)
                if worth is not None:
                    expected[prefix] = acoustic + worth
            found = search.n_best(log_probs, 10_000)
            assert [h.total for h in found] == sorted((h.total for h in found), reverse=True)
            scores = {tuple(h.token_ids): h.total for h in found}
            assert len(scores) == len(found)
            assert scores.keys() >= expected.keys()
            for prefix, total in scores.items():
                if prefix in expected:
                    assert total == pytest.approx(expected[prefix], abs=1e-4)
                else:
                    assert total < -1000  # only through what has no probability


def hot_score(text, hot, bounds=" "):
    spaced = bounds + text + bounds
    return sum(
        weight * len(word)
        for word, weight in hot.items()
        for i in range(len(spaced))
        if spaced.startswith(bounds + word + bounds, i)
    )


def draw_case(rng):
    """A search without limits, and the function that says what a token sequence earns beside its acoustic score."""
    kind = rng.choice(["plain", "open", "closed", "characters", "tokens"])
    weights = {"lm_weight": float(rng.random()), "word_insertion_bonus": float(rng.normal())}
    settings = BeamSettings(
        **EVERYTHING, **weights, unk_score=-3 * float(rng.random()), closed_vocabulary=kind == "closed"
    )
    tokenizer = WORDS if kind == "tokens" else LETTERS
    known = ["a", "ab", "ba", "bab"] if rng.random() < 0.5 else ["b", "aab", "bb"]
    hot = {"ab": 0.7, "aa b": 0.4, "b a": 1.1, "b": -0.3} if tokenizer is LETTERS and rng.random() < 0.5 else {}
    if kind == "plain":
        lm = None
    elif kind == "characters":
        lm = Bigrams(["a", "b", SPACE], rng, unit="character")
    else:
        lm = Bigrams(["one", "three"] if kind == "tokens" else known, rng)
    spelled = {*known, *(word for phrase in hot for word in phrase.split())}

    def bonus(prefix):
        """None where the prefix may not be."""
        text = "".join(LETTERS.tokens[token] for token in prefix)
        words = [WORDS.tokens[token] for token in prefix] if kind == "tokens" else text.split()
        units = list(text.replace(" ", SPACE)) if kind == "characters" else words
        unknown = sum(word not in spelled for word in words) if kind in ("open", "closed") else 0
        if kind == "closed" and unknown:
            return None
        language = lm.log_prob(units) if lm else 0.0
        total = weights["lm_weight"] * language + weights["word_insertion_bonus"] * len(units)
        return total + settings.unk_score * unknown + hot_score(text, hot)

    return prepare(tokenizer, "basic", settings, lm and lm.model, hot), bonus


@pytest.mark.parametrize("seed", range(10))
def test_an_unbounded_beam_equals_the_enumeration_of_all_alignments(seed):
    check_against_enumeration(np.random.default_rng(seed), draw_case, 4)


def plain_search(log_probs, beam, token_threshold, worth=None):
    """Dictionaries from prefix to probabilities of ending in a blank and in a token.

    worth: what a prefix earns beside its acoustic score, by which its last token alone decides what follows: then only
    the best prefix with each last token stays in a full beam, with its beginnings and what begins with it.
    """

    def begins(longer, prefix):
        return longer[: len(prefix)] == prefix

    beams = {(): (1.0, 0.0)}
    for frame in np.exp(log_probs.astype(float)):
        tried = {token for token in range(1, len(frame)) if frame[token] >= frame.max() * math.exp(-token_threshold)}
        after = defaultdict(lambda: np.zeros(2))
        for prefix, (blank, token) in beams.items():
            after[prefix] += (blank + token) * frame[0], token * frame[prefix[-1]] if prefix else 0.0
            for new in range(1, len(frame)):
                begun = blank if prefix and prefix[-1] == new else blank + token
                if begun and (new in tried or (*prefix, new) in beams):
                    after[(*prefix, new)] += 0.0, begun * frame[new]
        ranks = {prefix: math.log(sum(scores)) + (worth(prefix) if worth else 0.0) for prefix, scores in after.items()}
        kept = sorted(after, key=ranks.__getitem__, reverse=True)[:beam]
        if worth and len(kept) == beam:
            best = {prefix[-1:]: prefix for prefix in reversed(kept)}  # the first of each last token is named last
            kept = [prefix for prefix in kept if begins(prefix, best[prefix[-1:]]) or begins(best[prefix[-1:]], prefix)]
        beams = {prefix: tuple(after[prefix]) for prefix in kept}
    return [(list(prefix), math.log(sum(scores))) for prefix, scores in beams.items()]


@pytest.mark.parametrize("seed", range(20))
def test_pruning_equals_a_plain_search_with_the_same_pruning(seed):
    rng = np.random.default_rng(seed)
    letters = Tokenizer("characters", ("<blank>", *"abcdefg"))
    settings = BeamSettings(
        beam=int(rng.integers(1, 12)), token_threshold=2.0, beam_threshold=1e9, word_insertion_bonus=0.0
    )
    log_probs = random_log_probs(rng, 40, 8)
    found = prepare(letters, "basic", settings).n_best(log_probs, settings.beam)
    expected = plain_search(log_probs, settings.beam, settings.token_threshold)
    assert [h.token_ids for h in found] == [tokens for tokens, _ in expected]
    assert [h.total for h in found] == pytest.approx([total for _, total in expected], abs=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_prefixes_that_go_on_alike_make_room_in_a_full_beam(seed):
    rng = np.random.default_rng(seed)
    spoken = Tokenizer("words", ("<blank>", *(f"word{i}" for i in range(7))))
    lm = Bigrams(spoken.tokens[1:], rng)
    weights = {"lm_weight": 0.7, "word_insertion_bonus": -0.5}
    settings = BeamSettings(beam=int(rng.integers(2, 12)), token_threshold=1e9, beam_threshold=1e9, **weights)

    def worth(prefix, ends=False):
        return 0.7 * lm.log_prob([spoken.tokens[token] for token in prefix], ends) - 0.5 * len(prefix)

    log_probs = random_log_probs(rng, 40, 8)
    expected = plain_search(log_probs, settings.beam, settings.token_threshold, worth)
    total, tokens = max((acoustic + worth(tokens, ends=True), tokens) for tokens, acoustic in expected)
    found = prepare(spoken, "basic", settings, lm.model).n_best(log_probs, settings.beam)
    assert len(found) == len(expected)
    assert found[0].token_ids == tokens
    assert found[0].total == pytest.approx(total, abs=1e-3)


@pytest.mark.parametrize("beam", [64, 256])
def test_a_word_that_is_repeated_stays_in_a_full_beam(beam):
    """Though for a language model of order 2 the longer text goes on as the shorter one does."""
    rng = np.random.default_rng(9)
    digits = Tokenizer("words", ("<blank>", *"0123456789"))
    search = prepare(digits, "basic", BeamSettings(beam=beam, lm_weight=0.3), Bigrams(digits.tokens[1:], rng).model)
    unlimited = replace(search, rules=search.rules._replace(beam=10_000))
    for _ in range(20):
        spoken = rng.integers(1, 11, 4)
        spoken[2] = spoken[1]
        rows = []
        for token in spoken:  # 6 frames that may be the word or none, then a pause
            rows += [*([[0.5, 0.47, token]] * 6), [0.97, 0.0, token]]
        probabilities = np.full((len(rows), 11), 0.003)
        for row, (pause, word, token) in zip(probabilities, rows, strict=True):
            row[0], row[token] = pause, row[token] + word
        log_probs = np.log(probabilities / probabilities.sum(1, keepdims=True)).astype(np.float32)
        found, best = search.n_best(log_probs)[0], unlimited.n_best(log_probs)[0]
        assert found.token_ids == best.token_ids
        assert found.total == pytest.approx(best.total, abs=0.1)


@pytest.mark.parametrize("value", [-np.inf, np.nan, np.inf, -1e30, 0.0, 3e38])
@pytest.mark.parametrize("closed", [False, True])
def test_no_log_probs_give_nan_or_inf(value, closed):
    rng = np.random.default_rng(3)
    lm = Bigrams(["ab", "b"], rng).model
    search = prepare(LETTERS, "basic", BeamSettings(closed_vocabulary=closed), lm, {"aba": 2.0})
    for frames in (0, 1, 2, 30):
        for share in (0.1, 0.7, 1.0):
            log_probs = random_log_probs(rng, frames, 4)
            log_probs[rng.random(log_probs.shape) < share] = value
            found = search.n_best(log_probs, 5)
            assert found
            assert all(math.isfinite(x) for h in found for x in (h.acoustic, h.lm, h.total))
            [timed] = search(torch.from_numpy(log_probs).unsqueeze(0), torch.tensor([frames]))
            assert timed.token_ids == found[0].token_ids
            assert all(0 <= a < b <= frames for a, b in zip(timed.start_frames, timed.end_frames, strict=True))


def test_all_blank_is_an_empty_text():
    log_probs = np.log(np.full((50, 4), 1e-6, np.float32))
    log_probs[:, 0] = 0.0
    [best] = prepare(LETTERS, "basic").n_best(log_probs)
    assert best.token_ids == []
    assert best.acoustic == pytest.approx(0.0, abs=1e-3)


def test_peaked_log_probs_are_read_as_by_greedy_with_the_same_times():
    path = [0, 2, 2, 3, 0, 1, 0, 0, 3, 3]
    log_probs = torch.full((1, 10, 4), 1e-9).log()
    log_probs[0, range(10), path] = 0.0
    lengths = torch.tensor([10])
    [expected], [found] = greedy(log_probs, lengths), prepare(LETTERS, "basic")(log_probs, lengths)
    assert (found.token_ids, found.start_frames, found.end_frames) == (
        expected.token_ids,
        expected.start_frames,
        expected.end_frames,
    )


def test_batches_equal_singles_and_threads_do_not_meet():
    rng = np.random.default_rng(4)
    search = prepare(LETTERS, "basic", BeamSettings(beam=20), Bigrams(["ab", "b", "aab"], rng).model, {"bb": 1.0})
    log_probs = torch.from_numpy(np.stack([random_log_probs(rng, 60, 4) for _ in range(40)]))
    lengths = torch.from_numpy(rng.integers(0, 61, 40))
    singles = [search(log_probs[i : i + 1, : lengths[i]], lengths[i : i + 1])[0] for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        for batch in pool.map(lambda _: search(log_probs, lengths), range(8)):
            assert batch == singles


def test_the_language_model_decides_between_what_sounds_alike():
    rng = np.random.default_rng(5)
    log_probs = np.log(np.full((3, 4), 0.02, np.float32))
    log_probs[0, 2] = log_probs[1, 0] = math.log(0.94)
    log_probs[2, [2, 3]] = math.log(0.5), math.log(0.46)  # "aa" sounds more likely than "ab"
    lm = Bigrams(["ab"], rng).model
    assert LETTERS.decode(prepare(LETTERS, "basic").n_best(log_probs)[0].token_ids) == "aa"
    for closed in (False, True):
        search = prepare(LETTERS, "basic", BeamSettings(closed_vocabulary=closed), lm)
        assert LETTERS.decode(search.n_best(log_probs)[0].token_ids) == "ab"


def test_a_closed_vocabulary_that_fits_nothing_still_gives_a_text():
    log_probs = np.log(np.full((4, 4), 1e-4, np.float32))
    log_probs[range(4), [2, 2, 0, 2]] = 0.0  # "aa" for certain
    lm = Bigrams(["aab"], np.random.default_rng(6)).model
    [best] = prepare(LETTERS, "basic", BeamSettings(closed_vocabulary=True, beam=1, lm_weight=0.1), lm).n_best(
        log_probs
    )
    assert math.isfinite(best.total)


def test_a_language_model_that_does_not_fit_is_refused():
    rng = np.random.default_rng(7)
    with pytest.raises(ModelError, match="normalizer 'none'"):
        prepare(LETTERS, "basic", lm=Bigrams(["ab"], rng, normalizer="none").model)
    with pytest.raises(ModelError, match=r"cannot spell most .* 'AB'"):
        prepare(LETTERS, "basic", lm=Bigrams(["AB"], rng).model)
    with pytest.raises(ModelError, match="units characters"):
        prepare(WORDS, "basic", lm=Bigrams(["a"], rng, unit="character").model)
    with pytest.raises(ModelError, match="no space"):
        prepare(Tokenizer("characters", ("<blank>", "a")), "basic", lm=Bigrams(["a"], rng).model)
    with pytest.raises(ConfigError, match="closed vocabulary"):
        prepare(LETTERS, "basic", BeamSettings(closed_vocabulary=True))
    with pytest.raises(ConfigError, match="tokens are words"):
        prepare(WORDS, "basic", BeamSettings(closed_vocabulary=True), Bigrams(["one"], rng).model)


@pytest.mark.parametrize(
    ("tokenizer", "unit", "others", "same"),
    [
        (WORDS, "word", ["ONE", "TWO"], ["one"]),
        (WORDS, "word", ["One", "Two", "Three", "o'clock"], ["one", "Two", "clock"]),
        (WORDS, "word", ["eins", "zwei"], ["zwei", "two"]),
        (LETTERS, "character", ["A", "B", SPACE], ["a", SPACE]),
        (LETTERS, "character", ["一", "二", SPACE], ["b", "二"]),
    ],
)
def test_a_language_model_that_writes_its_units_in_another_way_is_refused(tokenizer, unit, others, same):
    rng = np.random.default_rng(8)
    prepare(tokenizer, "basic", lm=Bigrams(same, rng, unit=unit).model)
    with pytest.raises(ModelError, match="in common; train it on text in the") as caught:
        prepare(tokenizer, "basic", lm=Bigrams(others, rng, unit=unit).model)
    assert repr(others[0]) in str(caught.value)
    assert repr(tokenizer.tokens[2]) in str(caught.value)


@pytest.mark.parametrize("wrong", [{"beam": 0}, {"token_threshold": math.nan}, {"lm_weight": math.inf}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        BeamSettings(**wrong)
