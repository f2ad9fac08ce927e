"""Dictionaries as they come: CMUdict's own formats, damaged ones, and round trips."""

import gzip
import lzma

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.errors import TextError
from asr.lexicon.pronunciations import Pronunciations

OLD = """;;; # CMUdict  --  Major Version: 0.07
HELLO  HH AH0 L OW1
HELLO(1)  HH EH0 L OW1
HELLO(2)  HH AH1 L OW0
A.M.  EY2 EH1 M
'CAUSE  K AH0 Z
!EXCLAMATION-POINT  EH2 K S K L AH0 M EY1 SH AH0 N P OY2 N T
"""
NEW = """\
'cause K AH Z
cause K AO Z # usual
# a comment
naïve\tN AY IY V

hello HH AH L OW\r
don’t D OW N T ;;; or without T
"""


def written(tmp_path, text, name="words.dict"):
    path = tmp_path / name
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes({".gz": gzip.compress, ".xz": lzma.compress}.get(path.suffix, bytes)(data))
    return path


@pytest.mark.parametrize("name", ["words.dict", "words.dict.gz", "words.dict.xz"])
def test_old_format(tmp_path, name, said):
    found = Pronunciations.load(written(tmp_path, OLD, name))
    assert found.words == {"hello": [("HH", "AH", "L", "OW"), ("HH", "EH", "L", "OW")], "cause": [("K", "AH", "Z")]}
    assert found.phones == ["AH", "EH", "HH", "K", "L", "OW", "Z"]
    assert "2 entries left out, not one word: A.M., !EXCLAMATION-POINT" in said[0]


def test_stress_is_kept_where_it_is_wanted(tmp_path):
    found = Pronunciations.load(written(tmp_path, OLD), keep_stress=True)
    assert found.words["hello"][::2] == [("HH", "AH0", "L", "OW1"), ("HH", "AH1", "L", "OW0")]


def test_digits_that_are_no_stress_stay(tmp_path):
    found = Pronunciations.load(written(tmp_path, "好 h ao3\n学 x ve2 1 9 t_2\n"))
    assert found.words == {"好": [("h", "ao3")], "学": [("x", "ve2", "1", "9", "t_2")]}


def test_new_format_and_what_is_written_as_it_stands_first(tmp_path):
    assert Pronunciations.load(written(tmp_path, NEW)).words == {
        "cause": [("K", "AO", "Z"), ("K", "AH", "Z")],
        "hello": [("HH", "AH", "L", "OW")],
        "naïve": [("N", "AY", "IY", "V")],
        "don't": [("D", "OW", "N", "T")],
    }


def test_words_without_a_normalizer(tmp_path):
    assert list(Pronunciations.load(written(tmp_path, OLD), "none").words)[:2] == ["HELLO", "A.M."]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a EY\nhello\n", "line 2: 'hello' has no phones; write them behind it"),
        ("a EY\nhello # nothing\n", "line 2: 'hello' has no phones"),
        ("hello 0.75 HH AH L OW\n", "line 1: '0.75' is a number, not a phone of 'hello'; remove the column"),
        (b"caf\xe9 K AE F EY\n", "line 1: not UTF-8; convert the file first"),
        (";;; nothing\n\n", "no pronunciations; a line of it is a word and its phones"),
        ("x-ray EH K S R EY\n", "no pronunciations"),
    ],
)
def test_damaged(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(TextError) as caught:
        Pronunciations.load(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_cut_off_archive(tmp_path):
    path = tmp_path / "words.dict.gz"
    path.write_bytes(gzip.compress(OLD.encode())[:60])
    with pytest.raises(TextError, match="end-of-stream"):
        Pronunciations.load(path)


def test_add():
    found = Pronunciations()
    assert found.add("tomato", ["T", "AH", "M", "EY", "T", "OW"])
    assert found.add("tomato", ["T", "AH", "M", "AA", "T", "OW"])
    assert not found.add("tomato", ["T", "AH", "M", "EY", "T", "OW"])
    assert [phones[3] for phones in found.words["tomato"]] == ["EY", "AA"]
    for word, phones in (("hot dog", ["HH"]), ("", ["HH"]), ("dog", []), ("dog", ["D AO", "G"]), ("dog", ["#0"])):
        with pytest.raises(TextError):
            found.add(word, phones)
    assert list(found.words) == ["tomato"]


PHONES = st.lists(st.sampled_from(["AH", "B", "t_h", "ɕ", "1"]), min_size=1, max_size=4).map(tuple)
WORDS = st.text(st.sampled_from("abcé'愛"), min_size=1).map(lambda word: "x" + word.replace("'", "'x"))


@given(st.dictionaries(WORDS, st.lists(PHONES, min_size=1, max_size=3, unique=True), min_size=1))
def test_round_trip(tmp_path_factory, words):
    path = tmp_path_factory.mktemp("dict") / "words.dict"
    Pronunciations(words).save(path)
    assert Pronunciations.load(path) == Pronunciations(words)
