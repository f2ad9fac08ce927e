"""Estimation against the formulas written out with dictionaries, on small random texts."""

import bz2
import gzip
import itertools
import json
import lzma
from collections import Counter

import numpy as np
import pytest

from asr.errors import ConfigError, TextError
from asr.lm.estimate import (
    FALLBACK,
    Corpus,
    LmConfig,
    count_ngrams,
    dense_table,
    discounts_of,
    estimate,
    frequent,
    limit_vocabulary,
    most_useful,
    read_corpus,
    train,
)
from asr.lm.model import SPACE, LanguageModel
from asr.lm.trie import SPECIAL, build, stored_bytes


class Reference:
    """Interpolated modified Kneser-Ney, straight from Chen and Goodman (1999), slow and plain.

    kept: of two and more words, the n-grams not left out; by default all that occur more often than `prune` says. By
    occurrences: every order counts them, not the words to the left.
    """

    def __init__(self, sentences, vocabulary, order, prune=(), kept=None, by_occurrences=False):
        self.vocabulary, self.order = vocabulary, order
        marked = [("<s>", *words, "</s>") for words in sentences]
        self.raw = [
            Counter(words[i : i + n] for words in marked for i in range(len(words) - n + 1))
            for n in range(1, order + 1)
        ]
        limits = [*prune, *[prune[-1] if prune else 0] * order][:order]
        ngrams = dict(enumerate(self.raw[1:], 1))
        self.kept = {gram for n, counts in ngrams.items() for gram, count in counts.items() if count > limits[n]}
        self.kept = self.kept if kept is None else kept
        self.adjusted = []
        for n in range(1, order + 1):
            left = None
            if n < order and not by_occurrences:
                left = Counter()
                for ngram, count in self.raw[n].items():
                    left[ngram[1:]] += 1 if ngram in self.kept else count
            counts = {}
            for ngram, count in self.raw[n - 1].items():
                counts[ngram] = count if left is None or ngram[0] == "<s>" else left[ngram]
            counts.pop(("<s>",), None)
            self.adjusted.append(counts)
        self.discounts = [self.discounts_of(counts) for counts in self.adjusted]

    @staticmethod
    def discounts_of(counts):
        t = Counter(counts.values())
        if t[1] and t[2] and t[3]:
            y = t[1] / (t[1] + 2 * t[2])
            d = [1 - 2 * y * t[2] / t[1], 2 - 3 * y * t[3] / t[2], 3 - 4 * y * t[4] / t[3]]
            if min(d) > 0:
                return d
        return [0.5, 1.0, 1.5]

    def prob(self, history, word):
        n = len(history) + 1
        counts = self.adjusted[n - 1]
        lower = self.prob(history[1:], word) if n > 1 else 1 / (len(self.vocabulary) - 1)
        followers = {ngram: count for ngram, count in counts.items() if ngram[:-1] == history}
        total = sum(followers.values())
        if not total:
            return lower
        mass, seen = 0.0, 0.0
        for ngram, count in followers.items():
            discount = self.discounts[n - 1][min(count, 3) - 1]
            kept = n == 1 or ngram in self.kept
            mass += discount if kept else count
            if ngram[-1] == word and kept:
                seen = count - discount
        return seen / total + mass / total * lower


def random_text(seed, words=6, sentences=40, longest=7):
    rng = np.random.default_rng(seed)
    names = np.array(list("abcdefghijkl")[:words])
    weights = 1 / np.arange(1, words + 1)
    return [list(rng.choice(names, rng.integers(1, longest + 1), p=weights / weights.sum())) for _ in range(sentences)]


def estimate_text(folder, sentences, order, prune=(), bits=16, **limits):
    path = folder / "text.txt"
    path.write_text("\n".join(map(" ".join, sentences)))
    corpus = limit_vocabulary(read_corpus([path], "word", "basic"), **limits)
    counts = count_ngrams(corpus, order)
    levels, discounts = estimate(counts, frequent(counts, prune))
    return LanguageModel(build(levels, bits), corpus.words), discounts


@pytest.mark.parametrize(
    ("seed", "order", "prune"),
    [
        (0, 1, ()),
        (1, 2, ()),
        (2, 3, ()),
        (3, 4, ()),
        (4, 3, (0, 0, 1)),
        (5, 3, (0, 1)),
        (6, 4, (0, 1, 1, 2)),
        (7, 5, ()),
    ],
)
def test_probabilities_are_those_of_the_formulas(tmp_path, seed, order, prune):
    sentences = random_text(seed)
    model, discounts = estimate_text(tmp_path, sentences, order, prune)
    reference = Reference(sentences, model.words, order, prune)
    np.testing.assert_allclose(discounts, reference.discounts, rtol=1e-12)
    predicted = [word for word in model.words if word != "<s>"]
    rng = np.random.default_rng(seed)
    for words in [*random_text(seed + 100, sentences=20), [], ["b", "<unk>", "a", "a"]]:
        history, state = ("<s>",), model.start_state
        for word in [*words, "</s>"]:
            known = history[max(len(history) - order + 1, 0) :]
            asked = rng.choice(predicted)
            assert np.exp(model.score(state, model.index[asked])[0]) == pytest.approx(
                reference.prob(known, asked), rel=1e-6
            )
            _, state = model.score(state, model.index[word])
            history = (*history, word)


@pytest.mark.parametrize(("order", "prune"), [(1, ()), (2, ()), (3, ()), (3, (0, 1)), (4, (0, 0, 1, 1)), (5, ())])
def test_probabilities_sum_to_one_after_every_context(tmp_path, order, prune):
    model, _ = estimate_text(tmp_path, random_text(9), order, prune)
    words = [number for number, word in enumerate(model.words) if word != "<s>"]
    for length in range(4):
        for context in itertools.product(words[:1] + words[2:6], repeat=length):
            state = model.start_state
            for word in context:
                state = model.score(state, word)[1]
            assert sum(np.exp(model.score(state, word)[0]) for word in words) == pytest.approx(1.0, abs=1e-6)


def test_discounts_follow_the_counts_of_counts():
    adjusted = np.repeat([1, 2, 3, 4, 9], [40, 20, 10, 6, 3])
    y = 40 / 80
    assert discounts_of(adjusted) == pytest.approx((1 - 2 * y * 20 / 40, 2 - 3 * y * 10 / 20, 3 - 4 * y * 6 / 10))
    assert discounts_of(np.array([5, 60, 700])) == FALLBACK
    assert discounts_of(np.repeat([1, 2, 3], [5, 1, 9])) == FALLBACK  # D2 would be negative


def test_rare_words_become_unknown(tmp_path):
    sentences = random_text(11, words=10)
    counts = Counter(itertools.chain(*sentences))
    model, _ = estimate_text(tmp_path, sentences, 2, min_count=5)
    assert model.words == ["<unk>", "<s>", "</s>", *sorted(word for word, count in counts.items() if count >= 5)]
    model, _ = estimate_text(tmp_path, sentences, 2, max_words=3)
    assert set(model.words[3:]) == {word for word, _ in counts.most_common(3)}
    replaced = [[word if word in model.index else "<unk>" for word in words] for words in sentences]
    reference = Reference(replaced, model.words, 2)
    for history, word in itertools.product(model.words[3:], [*model.words[3:], "<unk>", "</s>"]):
        asked = np.exp(model.score(model.index[history], model.index[word])[0])
        assert asked == pytest.approx(reference.prob((history,), word), rel=1e-6)


def test_perplexity_counts_the_ends_and_can_leave_out_the_unknown(tmp_path):
    model, _ = estimate_text(tmp_path, random_text(12), 3)
    model.normalizer = "basic"
    texts = ["A b, c!", "", "b zebra a"]
    log_probs = np.concatenate([model.score_sentence(words.split()) for words in ("a b c", "b zebra a")])
    measured = model.perplexity(texts)
    assert measured.all == pytest.approx(np.exp(-log_probs.mean()))
    assert measured.known == pytest.approx(np.exp(-np.delete(log_probs, 5).mean()))
    assert (measured.units, measured.unknown, measured.sentences) == (6, 1, 2)
    assert np.isnan(model.perplexity([]).all)


def test_characters_are_a_unit_like_words(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("ab ba\nabba a\n")
    model, _ = train([path], LmConfig(order=3, unit="character"))
    assert model.words[3:] == ["a", "b", SPACE]
    reference = Reference([list(f"ab{SPACE}ba"), list(f"abba{SPACE}a")], model.words, 3)
    state = model.start_state
    for history, symbol in [(("<s>",), "b"), (("<s>", "b"), SPACE), (("b", SPACE), "a"), ((SPACE, "a"), "</s>")]:
        log_prob, state = model.score(state, model.index[symbol])
        assert np.exp(log_prob) == pytest.approx(reference.prob(history, symbol), rel=1e-6)
    assert model.perplexity(["ba ab"]).units == 5


def test_packed_texts_are_read_and_recorded(tmp_path):
    text = "\n".join(map(" ".join, random_text(13))).encode()
    (tmp_path / "a.txt").write_bytes(text)
    (tmp_path / "b.dat").write_bytes(lzma.compress(text))  # told by their content
    (tmp_path / "c.gz").write_bytes(gzip.compress(text))
    (tmp_path / "d.bz2").write_bytes(bz2.compress(text))
    paths = [tmp_path / name for name in ("a.txt", "b.dat", "c.gz", "d.bz2")]
    corpora = [read_corpus([path], "word", "basic") for path in paths]
    for corpus in corpora[1:]:
        assert corpus.words == corpora[0].words
        np.testing.assert_array_equal(corpus.numbers, corpora[0].numbers)
    model, _ = train(paths, LmConfig(order=2), paths[0])
    assert [source["file"] for source in model.record["sources"]] == [path.name for path in paths]
    assert model.record["sentences"] == 160
    assert model.record["perplexity"]["all"] == model.perplexity(text.decode().splitlines()).all
    json.dumps(model.record)


def test_a_manifest_is_read_as_its_texts(tmp_path):
    texts = ["One  two", None, "two, one two"]
    records = [{"id": str(i), "audio": "a.wav", "duration": 1.0, "text": text} for i, text in enumerate(texts)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    (tmp_path / "train.txt").write_text("one two\ntwo one two\n")
    paths = [tmp_path / "train.jsonl", tmp_path / "train.txt"]
    listed, plain = (read_corpus([path], "word", "basic") for path in paths)
    assert listed.words == plain.words == [*SPECIAL, "one", "two"]
    np.testing.assert_array_equal(listed.numbers, plain.numbers)
    measured = [train([paths[1]], LmConfig(order=2), path)[0].record["perplexity"]["all"] for path in paths]
    assert measured[0] == measured[1]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"good\nb\xe4d\n", "line 2 is not UTF-8"),
        ("a.txt", b" \n...\n", "no text to learn from"),
        ("a.gz", gzip.compress(b"a b c\n" * 9999)[:60], "a.gz: "),
        ("a.xz", lzma.compress(b"a b c\n" * 9999)[:80], "a.xz: "),
        ("a.gz", b"\x1f\x8bnonsense", "a.gz: "),
        ("folder", None, "folder"),
    ],
)
def test_texts_that_cannot_be_used_are_named(tmp_path, name, content, said):
    path = tmp_path / name
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(TextError, match=said.replace(".", r"\.")) as caught:
        read_corpus([path], "word", "basic")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("normalizer", ["none", "basic"])
@pytest.mark.parametrize(
    ("unit", "line", "sentences"),
    [
        ("word", "<s> one two </s>", [["one", "two"]]),
        ("word", "<s> one </s><s>two</s> <S> </S>", [["one"], ["two"]]),
        ("word", "<unk> one <UNK> two <unk>", [["<unk>", "one", "<unk>", "two", "<unk>"]]),
        ("character", "<s> a <unk> bc </s>", [["a", SPACE, "<unk>", SPACE, "b", "c"]]),
    ],
)
def test_special_words_in_a_text_are_no_words(tmp_path, said, normalizer, unit, line, sentences):
    (tmp_path / "a.txt").write_text(line + "\n")
    corpus = read_corpus([tmp_path / "a.txt"], unit, normalizer)
    expected = [unit for sentence in sentences for unit in ("<s>", *sentence, "</s>")]
    assert [corpus.words[number] for number in corpus.numbers] == expected
    assert corpus.sentences == len(sentences)
    assert said == []
    model, _ = train([tmp_path / "a.txt"], LmConfig(unit=unit, normalizer=normalizer))
    found = model.perplexity([line])
    assert (found.sentences, found.unknown) == (len(sentences), line.lower().count("<unk>"))


def test_marks_in_a_text_are_told_and_can_be_left_out(tmp_path, said):
    (tmp_path / "a.txt").write_text("<s> one [noise] two </s>\n<laugh> five % <unk>\n(inaudible)\n[noise] one\n")
    assert {"noise", "laugh", "inaudible"} < set(read_corpus([tmp_path / "a.txt"], "word", "basic").words)
    assert said[0].startswith("warning: mark in text: '[noise]' × 2, '<laugh>' × 1, '(inaudible)' × 1: ")
    assert "--drop-marks" in said[0]
    assert said[1].startswith("warning: symbol left out: '%' × 1: ")
    corpus = read_corpus([tmp_path / "a.txt"], "word", "basic", drop_marks=True)
    assert corpus.words == [*SPECIAL, "one", "two", "five"]
    assert corpus.sentences == 3
    assert len(said) == 3


@pytest.mark.parametrize("wrong", [{"order": 0}, {"order": 99}, {"unit": "letter"}, {"normalizer": "x"}, {"bits": 1}])
def test_wrong_settings_are_told(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        LmConfig(**wrong)


def counted(sentences, order):
    index = {word: number for number, word in enumerate([*SPECIAL, *sorted(set(itertools.chain(*sentences)))])}
    numbers = [index[word] for words in sentences for word in ("<s>", *words, "</s>")]
    return count_ngrams(Corpus(np.array(numbers, np.int32), list(index), len(sentences)), order), list(index)


def ngrams_of(counts, words, n):
    rows, columns = np.arange(len(counts[n - 1])), []
    for level in reversed(counts[:n]):
        columns.append([words[number] for number in level.words[rows]])
        rows = level.parents[rows]
    return list(zip(*columns[::-1], strict=True))


@pytest.mark.parametrize(("seed", "order"), [(0, 2), (1, 3), (2, 4)])
def test_a_small_model_keeps_the_ngrams_that_are_worth_most(seed, order):
    sentences = random_text(seed, words=8, sentences=60)
    counts, words = counted(sentences, order)
    model = Reference(sentences, words, order, by_occurrences=True)
    worth = {}
    for n in range(2, order + 1):
        totals = Counter()
        for ngram, count in model.raw[n - 1].items():
            totals[ngram[:-1]] += count
        for ngram, count in model.raw[n - 1].items():
            history, word = ngram[:-1], ngram[-1]
            p, lower = model.prob(history, word), model.prob(history[1:], word)
            seen = (count - model.discounts[n - 1][min(count, 3) - 1]) / totals[history]
            freed = seen + (p - seen) / lower  # gamma, if this n-gram alone is left out
            worth[ngram] = totals[history] * p * np.log(p / (freed * lower))
    for ngram in sorted(worth, key=len, reverse=True):
        if len(ngram) > 2:
            worth[ngram[:-1]] = max(worth[ngram[:-1]], worth[ngram])
    all_of = [len(level) for level in counts]
    before = set()
    for size in np.linspace(stored_bytes([all_of[0], *[0] * (order - 1)], 4), stored_bytes(all_of, 4), 6).astype(int):
        kept = most_useful(counts, size, 4)
        named = {n: ngrams_of(counts, words, n) for n in range(2, order + 1)}
        chosen = {ngram for n, names in named.items() for ngram, keep in zip(names, kept[n - 1], strict=True) if keep}
        assert kept[0].all()
        assert before <= chosen  # more room only adds
        assert all(len(ngram) == 2 or ngram[:-1] in chosen for ngram in chosen)
        assert stored_bytes([keep.sum() for keep in kept], 4) <= size
        missing = worth.keys() - chosen
        if missing and chosen:
            assert min(map(worth.get, chosen)) >= max(map(worth.get, missing)) - 1e-9
        if missing:  # there was no room for one more
            assert stored_bytes([keep.sum() + (n == order - 1) for n, keep in enumerate(kept)], 4) > size - 8
        before = chosen
    assert before == worth.keys()


@pytest.mark.parametrize(("seed", "order"), [(3, 2), (4, 3), (5, 4)])
def test_a_small_model_has_the_probabilities_of_the_formulas(seed, order):
    sentences = random_text(seed, words=8, sentences=60)
    counts, words = counted(sentences, order)
    singles, all_of = len(counts[0]), [len(level) for level in counts]
    least = stored_bytes([singles, *[0] * (order - 1)], 4)
    kept = most_useful(counts, least + (stored_bytes(all_of, 4) - least) // 3, 4)
    named = {n: ngrams_of(counts, words, n) for n in range(2, order + 1)}
    chosen = {ngram for n, names in named.items() for ngram, keep in zip(names, kept[n - 1], strict=True) if keep}
    assert 0 < len(chosen) < sum(all_of[1:])
    levels, _ = estimate(counts, kept)
    model, reference = LanguageModel(build(levels, 16), words), Reference(sentences, words, order, kept=chosen)
    predicted = [word for word in words if word != "<s>"]
    for sentence in [*random_text(seed + 100, words=8, sentences=8), ["b", "<unk>", "a", "a"]]:
        history, state = ("<s>",), model.start_state
        for word in sentence:
            known = history[max(len(history) - order + 1, 0) :]
            probs = {each: np.exp(model.score(state, model.index[each])[0]) for each in predicted}
            assert sum(probs.values()) == pytest.approx(1.0, abs=1e-6)
            assert probs[word] == pytest.approx(reference.prob(known, word), rel=1e-6)
            _, state = model.score(state, model.index[word])
            history = (*history, word)


def test_a_folder_is_no_larger_than_it_may_be(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n".join(map(" ".join, random_text(3, words=12, sentences=3000))))
    sizes = []
    for megabytes in (0.022, 0.025):
        model, _ = train([path], LmConfig(order=4, megabytes=megabytes))
        model.save(tmp_path / "lm")
        sizes.append(sum(file.stat().st_size for file in (tmp_path / "lm").iterdir()))
        assert megabytes * 1e6 - 10_000 < sizes[-1] <= megabytes * 1e6
        assert model.record["megabytes"] == megabytes
    assert sizes[0] < sizes[1]
    with pytest.raises(ConfigError, match="megabytes: 15 words alone take"):
        train([path], LmConfig(megabytes=0.005))
    for nonsense in (np.nan, np.inf, 0.0, -1.0):
        with pytest.raises(ConfigError, match=r"megabytes=\S+: expected 0.001 to"):
            LmConfig(megabytes=nonsense)
    with pytest.raises(ConfigError, match="prune and megabytes"):
        LmConfig(prune=(0, 1), megabytes=1.0)


@pytest.mark.parametrize("prune", [(1,), (0, 2, 1), (0, 0, 0, 0)])
def test_pruning_must_not_lose_the_beginnings_of_what_it_keeps(tmp_path, prune):
    with pytest.raises(ConfigError, match="prune"):
        estimate_text(tmp_path, random_text(1), 3, prune)


def test_the_same_text_gives_the_same_model_whatever_the_order_of_its_lines(tmp_path):
    sentences = random_text(14)
    first, _ = estimate_text(tmp_path, sentences, 3)
    second, _ = estimate_text(tmp_path, sentences[::-1], 3)
    assert first.words == second.words
    for one, other in zip(first.tables, second.tables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("order", [2, 3])
def test_a_dense_table_has_the_probabilities_of_the_formulas_without_unk(order):
    sentences = [*random_text(order), []]
    names = "_abcdefg"  # f is the last that may occur; g never does
    size = len(names)
    table = dense_table([[names.index(name) for name in words] for words in sentences], size, order)
    assert table.shape == (size,) * order
    np.testing.assert_allclose(table.sum(-1), 1.0)
    reference = Reference(sentences, ["<unk>", "<s>", "</s>", *names[1:]], order)
    for history in itertools.product(range(size), repeat=order - 1):
        if any(before and not after for before, after in itertools.pairwise(history)):
            continue  # a beginning after something
        words = tuple(names[number] for number in history if number)
        given = (("<s>",) * (0 in history) + words)[-(order - 1) :]
        expected = np.array([reference.prob(given, "</s>" if name == "_" else name) for name in names])
        np.testing.assert_allclose(table[history], expected / expected.sum(), rtol=1e-10)


def test_an_order_that_no_sentence_is_long_enough_for(tmp_path):
    text = tmp_path / "short.txt"
    text.write_text("one\ntwo\n")
    model, levels = train([text], LmConfig(order=6))
    assert model.order == len(levels) == 3
    assert np.exp(model.score_sentence(["one"]).sum()) > np.exp(model.score_sentence(["one", "two"]).sum()) > 0


def test_sentences_that_share_seven_words_with_a_text_are_left_out(tmp_path, caplog):
    text = tmp_path / "books.txt"
    text.write_text("so A b c, d e f g then\na b c d e f\nb c d e f g h\n<s> x y </s> a b c d e f g\n")
    with caplog.at_level("INFO"):
        model, _ = train([text], LmConfig(order=1), without=["z a b c d e f G."])
    assert "2 sentences left out, with 7 words in a row that must not be known" in caplog.messages
    assert model.words[3:] == [*"abcdefgh", "x", "y"]
    assert model.record["without"] == 2
