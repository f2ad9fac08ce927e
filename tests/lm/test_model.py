"""Packing, the compiled query against a plain one, folders whole and damaged, the commands."""

import gzip
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import asr, asr_process
from helpers.servers import serving

from asr.errors import ModelError
from asr.lm import trie
from asr.lm.arpa import read_arpa, write_arpa
from asr.lm.estimate import LmConfig, train
from asr.lm.model import LanguageModel, store_tuned

WORDS = ["a", "b", "c", "d", "e'f", "ü"]


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    rng = np.random.default_rng(3)
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n".join(" ".join(rng.choice(WORDS, rng.integers(1, 9))) for _ in range(300)), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=[1, 2, 3, 5])
def trained(request, text):
    return train([text], LmConfig(order=request.param, bits=16, prune=(0, 0, 1)[: request.param]))


def looked_up(levels, words, sentence):
    """ln p of each word, from a dictionary of all n-grams: the definition of a backoff model."""
    known = {}
    for n in range(1, len(levels) + 1):
        for row in range(len(levels[n - 1])):
            ngram, place = (), row
            for level in reversed(levels[:n]):
                ngram, place = (words[level.words[place]], *ngram), level.parents[place]
            known[ngram] = levels[n - 1].log_probs[row], levels[n - 1].log_backoffs[row]

    def log_prob(ngram):
        if ngram in known:
            return known[ngram][0]
        return known.get(ngram[:-1], (0, 0))[1] + log_prob(ngram[1:])

    marked = ["<s>", *(word if (word,) in known else "<unk>" for word in sentence), "</s>"]
    return [log_prob(tuple(marked[max(i - len(levels) + 1, 0) : i + 1])) for i in range(1, len(marked))]


def test_compiled_query_is_the_definition(trained):
    model, levels = trained
    rng = np.random.default_rng(1)
    for length in (0, 1, 2, 5, 30):
        sentence = list(rng.choice([*WORDS, "zebra"], length))
        expected = looked_up(levels, model.words, sentence)
        np.testing.assert_allclose(model.score_sentence(sentence), expected, atol=2e-4)
        plain, state = [], model.start_state
        for word in [*model.ids(sentence), model.index["</s>"]]:
            log_prob, state = trie.score.py_func(model.tables, state, word)
            plain.append(log_prob)
        np.testing.assert_allclose(plain, expected, atol=2e-4)


def test_a_saved_model_is_the_same(trained, tmp_path):
    model, _ = trained
    model.save(tmp_path / "lm")
    again = LanguageModel.load(tmp_path / "lm")
    assert (again.words, again.unit, again.normalizer) == (model.words, "word", "basic")
    assert again.record == json.loads(json.dumps(model.record))
    for one, other in zip(model.tables, again.tables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert not isinstance(again.tables.words, np.memmap)
    assert again.tables.words.base is not None  # a view of the file
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lm"]
    assert sorted(path.name for path in (tmp_path / "lm").iterdir()) == ["lm.json", "ngrams.safetensors", "words.txt"]


def test_an_arpa_file_of_a_packed_model_gives_the_same_model(trained, tmp_path):
    model, _ = trained
    packed = LanguageModel(trie.build(trie.levels_of(model.tables), 8), model.words)
    write_arpa(tmp_path / "lm.arpa", packed.words, trie.levels_of(packed.tables))
    again = LanguageModel.load(tmp_path / "lm.arpa", bits=8)
    for name, one, other in zip(trie.Tables._fields, packed.tables, again.tables, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("width", [1, 7, 17, 31, 32])
def test_streams_keep_any_width(width):
    values = np.random.default_rng(width).integers(0, 1 << width, 1000)
    stream = trie.packed(values, width)
    assert len(stream) == (1000 * width + 31) // 32 + 1
    np.testing.assert_array_equal(trie.unpacked(stream, width, 1000), values)


def test_codebooks_are_exact_for_few_values_and_close_for_many():
    few = np.array([-1.5, 0.0, -1.5, -7.0])
    np.testing.assert_array_equal(trie.codebook(few, 2)[trie.codes(few, trie.codebook(few, 2))], few)
    many = np.append(np.random.default_rng(1).normal(-5, 2, 20_000), np.zeros(500))
    book = trie.codebook(many, 8)
    assert len(book) <= 256
    near = book[trie.codes(many, book)]
    assert np.all(near[many == 0] == 0)
    assert np.sqrt(np.mean((near - many) ** 2)) < 0.015  # a uniform grid over the same range: 0.02
    for value in many[:50]:
        assert abs(near[many == value][0] - value) == pytest.approx(np.abs(book - value).min())


def test_threads_ask_at_the_same_time(trained):
    model, _ = trained
    ids = np.random.default_rng(5).integers(3, len(model.words), 3000)
    expected = trie.score_words(model.tables, model.start_state, ids)
    results = [None] * 4

    def ask(number):
        results[number] = trie.score_words(model.tables, model.start_state, ids)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result in results:
        np.testing.assert_array_equal(result, expected)


@pytest.fixture
def folder(text, tmp_path):
    train([text], LmConfig(order=3))[0].save(tmp_path / "lm")
    return tmp_path / "lm"


def _edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "lm.json").unlink(), "not a language model"),
        (lambda folder: (folder / "lm.json").write_text("{"), "lm.json: unreadable"),
        (lambda folder: (folder / "lm.json").write_text("[]"), "format_version is None"),
        (lambda folder: _edit(folder / "lm.json", format_version=99), "format_version is 99"),
        (lambda folder: _edit(folder / "lm.json", packing={"bits": 8}), "damaged"),
        (lambda folder: _edit(folder / "lm.json", packing=None), "damaged"),
        (lambda folder: _edit(folder / "lm.json", packing={"bits": float("inf")}), "damaged"),
        (lambda folder: _edit(folder / "lm.json", tuned={"lm_weight": 10**400}), "damaged"),
        (lambda folder: _edit(folder / "lm.json", tuned={"word_insertion_bonus": float("nan")}), "damaged"),
        (lambda folder: _edit(folder / "lm.json", tuned={"platt_scaling": [-1, 0]}), "platt_scaling is -1"),
        (lambda folder: (folder / "words.txt").unlink(), "damaged"),
        (lambda folder: (folder / "words.txt").write_bytes(b"\xff"), "damaged"),
        (lambda folder: (folder / "words.txt").write_text("one\ntwo"), "2 lines in words.txt for 9 words"),
        (lambda folder: (folder / "ngrams.safetensors").unlink(), "ngrams.safetensors: unreadable"),
        (lambda folder: (folder / "ngrams.safetensors").write_bytes(b""), "ngrams.safetensors: unreadable"),
        (lambda folder: (folder / "ngrams.safetensors").write_bytes(b"\xff" * 99), "ngrams.safetensors: unreadable"),
    ],
)
def test_damaged_folders_are_one_line(folder, damage, said):
    damage(folder)
    with pytest.raises(ModelError) as caught:
        LanguageModel.load(folder)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cut_file_is_never_mapped(folder):
    path = folder / "ngrams.safetensors"
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 37):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match="ngrams"):
            LanguageModel.load(folder)


def test_saving_replaces_a_model_and_nothing_else(folder, tmp_path):
    model = LanguageModel.load(folder)
    model.save(folder)
    assert LanguageModel.load(folder).words == model.words
    (tmp_path / "empty").mkdir()
    model.save(tmp_path / "empty")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    for taken in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt"):
        with pytest.raises(ModelError, match="not a language model"):
            model.save(taken)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years"


def test_the_commands_make_and_convert_models(text, tmp_path):
    done = asr("lm", "train", text, "--order", 2, "--heldout", text, "-o", tmp_path / "lm")
    assert done.returncode == 0, done.stderr
    model = LanguageModel.load(tmp_path / "lm")
    assert done.stdout.startswith(f"perplexity {model.record['perplexity']['all']:.2f}; ")
    store_tuned(tmp_path / "lm", {"lm_weight": 0.7})
    refused = asr("lm", "train", text, "-o", tmp_path / "lm")
    assert (refused.returncode, "holds tuned weights" in refused.stderr) == (1, True)
    assert asr("lm", "train", text, "--order", 2, "-o", tmp_path / "lm", "--force").returncode == 0
    assert LanguageModel.load(tmp_path / "lm").tuned == {}
    assert asr("lm", "convert", tmp_path / "lm", "-o", tmp_path / "lm.arpa.gz").returncode == 0
    assert read_arpa(tmp_path / "lm.arpa.gz")[0] == model.words
    done = asr("lm", "convert", tmp_path / "lm.arpa.gz", "--normalizer", "basic", "-o", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    again = LanguageModel.load(tmp_path / "again")
    assert again.normalizer == "basic"
    np.testing.assert_allclose(again.score_sentence(["a", "b"]), model.score_sentence(["a", "b"]), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("train", "missing.txt", "-o", "lm"), 1, "missing.txt: No such file"),
        (("train", "missing.txt", "-o", "lm", "--prune", "x"), 2, "--prune"),
        (("train", "there.txt", "-o", "lm", "--order", "50"), 1, "order=50"),
        (("convert", "missing", "-o", "lm"), 1, "missing: No such file"),
        (("convert", "there.arpa", "-o", "lm.arpa"), 1, "lm.arpa"),
    ],
)
def test_what_goes_wrong_is_one_line(tmp_path, monkeypatch, arguments, status, said):
    monkeypatch.chdir(tmp_path)
    for name in ("there.txt", "there.arpa"):
        (tmp_path / name).write_text("one two\n")
    done = asr("lm", *arguments)
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert status == 2 or done.stderr.count("\n") == 1


def test_a_damaged_folder_may_be_written_again(tmp_path):
    (tmp_path / "t.txt").write_text("one two\ntwo one\n")
    (tmp_path / "lm").mkdir()
    (tmp_path / "lm/lm.json").write_text("{")
    assert asr_process("lm", "train", tmp_path / "t.txt", "-o", tmp_path / "lm").returncode == 0
    assert LanguageModel.load(tmp_path / "lm").words


def test_a_text_without_a_word_that_is_frequent_enough_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("one two\nthree\n")
    done = asr("lm", "train", tmp_path / "a.txt", "--min-count", 3, "--output", tmp_path / "lm")
    assert done.returncode == 1
    assert "no word occurs 3 times or more: lower min_count, or add text" in done.stderr
    assert not (tmp_path / "lm").exists()


def test_the_public_text_is_downloaded_once_and_a_broken_transfer_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("asr.corpus.download.PAUSE_S", 0.001)
    path = "openslr/11/librispeech-lm-norm.txt.gz"
    (tmp_path / "mirror" / path).parent.mkdir(parents=True)
    (tmp_path / "mirror" / path).write_bytes(gzip.compress(np.random.default_rng(0).bytes(100_000)))
    command = ("lm", "download", "--data", tmp_path / "data", "--mirror")
    with serving(tmp_path / "mirror") as server:
        server.broken.add(path)
        done = asr(*command, server.url)
        assert done.stdout.strip() == str(tmp_path / "data" / "librispeech_lm" / "librispeech-lm-norm.txt.gz")
        assert len(server.sent) == 2
        asr(*command, server.url)
        assert len(server.sent) == 2
    assert Path(done.stdout.strip()).read_bytes() == (tmp_path / "mirror" / path).read_bytes()
    assert asr(*command, tmp_path / "mirror").stdout.strip() == str(tmp_path / "mirror" / path)
    assert "MIRROR must hold openslr/11/" in asr(*command, tmp_path).stderr
