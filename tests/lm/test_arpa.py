"""ARPA files of other tools, of our own, and damaged ones."""

import gzip
import lzma
import math

import numpy as np
import pytest

from asr.errors import ModelError
from asr.lm.arpa import is_arpa, read_arpa, write_arpa
from asr.lm.estimate import LmConfig, train
from asr.lm.model import LanguageModel

PLAIN = """some words before the data

\\data\\
ngram 1=5
ngram 2 = 4
ngram 3=2

\\1-grams:
-0.7\t<unk>
-99\t<s>\t-0.3
-0.8\t</s>
-0.5\ta\t-0.2
-0.6\tb\t0.1

\\2-grams:
-0.3 <s> a -0.4
-0.2 a b -0.1
-0.25 b b
-0.9 b </s>

\\3-grams:
-0.11 <s> a b
-0.12 a b </s>

\\end\\
"""


def written(tmp_path, text, name="lm.arpa"):
    path = tmp_path / name
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes({".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)(data))
    return path


def log10(model, words):
    return model.score_sentence(words.split()) / math.log(10)


@pytest.mark.parametrize("name", ["lm.arpa", "lm.arpa.gz", "lm.arpa.xz"])
def test_scores_are_those_of_the_file(tmp_path, name):
    model = LanguageModel.load(written(tmp_path, PLAIN + "anything after the end\n", name))
    assert model.words == ["<unk>", "<s>", "</s>", "a", "b"]
    assert model.normalizer is None
    np.testing.assert_allclose(log10(model, "a b"), [-0.3, -0.11, -0.12], rtol=1e-6)
    np.testing.assert_allclose(log10(model, "b b a"), [-0.3 - 0.6, -0.25, 0.1 - 0.5, -0.2 - 0.8], rtol=1e-6)
    np.testing.assert_allclose(log10(model, "a zebra"), [-0.3, -0.4 - 0.2 - 0.7, -0.8], rtol=1e-6)


def test_missing_contexts_are_filled_in_by_backing_off(tmp_path):
    text = PLAIN.replace("-0.2 a b -0.1\n", "").replace("ngram 2 = 4", "ngram 2=3")
    model = LanguageModel.load(written(tmp_path, text))
    np.testing.assert_allclose(log10(model, "a b"), [-0.3, -0.11, -0.12], rtol=1e-6)
    np.testing.assert_allclose(log10(model, "b a b a")[2:4], [-0.2 - 0.6, 0.1 - 0.5], rtol=1e-6)


def test_a_model_without_special_words_gets_them(tmp_path):
    text = "\\data\\\nngram 1=1\nngram 2=1\n\n\\1-grams:\n-0.1 x -0.2\n\n\\2-grams:\n-0.05 x x\n\n\\end\\\n"
    model = LanguageModel.load(written(tmp_path, text))
    np.testing.assert_allclose(log10(model, "x x y"), [-0.1, -0.05, -99.2, -99.0], rtol=1e-6)


@pytest.mark.parametrize(("order", "prune"), [(1, ()), (2, ()), (4, (0, 1)), (5, ())])
def test_what_is_written_is_read_again(tmp_path, order, prune):
    rng = np.random.default_rng(order)
    lines = [" ".join(rng.choice(["ä", "b'c", "d", "日本"], rng.integers(1, 9))) for _ in range(60)]
    (tmp_path / "text").write_text("\n".join(lines), encoding="utf-8")
    model, levels = train([tmp_path / "text"], LmConfig(order=order, prune=prune))
    write_arpa(tmp_path / "lm.arpa.gz", model.words, levels)
    words, again = read_arpa(tmp_path / "lm.arpa.gz")
    assert words == model.words
    for one, other in zip(levels, again, strict=True):
        np.testing.assert_array_equal(one.words, other.words)
        np.testing.assert_array_equal(one.parents, other.parents)
        np.testing.assert_allclose(one.log_probs, other.log_probs, atol=1e-5)
        np.testing.assert_allclose(one.log_backoffs, other.log_backoffs, atol=1e-5)
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("\\data\\", "data", "no \\data\\ line"),
        ("ngram 1=5", "ngram one=5", "line 4: 'ngram ORDER=COUNT'"),
        ("ngram 1=5", "ngram 1=6", "5 1-grams, 6 declared"),
        ("ngram 3=2", "ngram 30=2", "line 6"),
        ("\\3-grams:", "\\2-grams:", "line 21: \\3-grams: is expected here"),
        ("\\end\\", "\\4-grams:\n-1 a b a b\n\\end\\", "1 4-grams, 0 declared"),
        ("-0.5\ta", "nan\ta", "line 12: a log10 probability of nan"),
        ("-0.5\ta", "0.5\ta", "line 12: a log10 probability of 0.5"),
        ("-0.5\ta", "x\ta", "line 12: could not convert"),
        ("a\t-0.2", "a\tinf", "line 12: a log10 backoff weight of inf"),
        ("-0.25 b b", "-0.25 b", "line 18: 2 fields"),
        ("-0.25 b b", "-0.25 b c", "line 18: 'c' is not among the 1-grams"),
        ("-0.25 b b", "-0.25 a b", "some 2-grams are listed twice"),
        ("-0.8\t</s>", "-0.8\ta", "some 1-grams are listed twice"),
        ("\\end\\", "", "no \\end\\ line"),
        ("\\end\\", "nothing", "line 25: 1 fields"),
        ("-0.12 a b </s>\n\n\\end\\", "", "1 3-grams, 2 declared"),
    ],
)
def test_damage_is_named_with_its_line(tmp_path, old, new, said):
    path = written(tmp_path, PLAIN.replace(old, new, 1))
    with pytest.raises(ModelError) as caught:
        read_arpa(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\x00" * 999, b"\x1f\x8b\x08" + b"x" * 50, PLAIN.replace("a", "\xe4").encode("latin-1")]
)
def test_what_is_no_arpa_file_is_told(tmp_path, content):
    with pytest.raises(ModelError, match=r"lm\.arpa"):
        LanguageModel.load(written(tmp_path, content))


def test_arpa_files_are_told_by_their_names(tmp_path):
    assert all(is_arpa(tmp_path / name) for name in ("a.arpa", "a.ARPA", "b.arpa.gz", "b.arpa.xz"))
    assert not any(is_arpa(tmp_path / name) for name in ("arpa", "lm", "a.gz", "a.arpa.d"))


def test_an_order_without_ngrams_may_be_left_out(tmp_path):
    path = tmp_path / "a.arpa"
    path.write_text(
        "\\data\\\nngram 1=4\nngram 2=0\nngram 3=0\n\n\\1-grams:\n"
        + "".join(f"-0.5\t{word}\n" for word in ("<unk>", "<s>", "</s>", "one"))
        + "\n\\end\\\n"
    )
    words, levels = read_arpa(path)
    assert (words[-1], len(levels)) == ("one", 1)
