"""Normalizers, tokenizers, the report of symbols, and the frames that CTC needs."""

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asr.errors import TextError
from asr.lengths import min_frames
from asr.text import (
    BLANK,
    NORMALIZERS,
    Oddities,
    SymbolReport,
    Tokenizer,
    normalize,
    split_phones,
    without_marks,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
WORDS = st.text("ab' ’.ÄßΣ́̇İŉ\u00ad\u200b\ufeff1½", max_size=12)


@pytest.mark.parametrize("normalizer", NORMALIZERS)
@given(text=TEXTS | WORDS)
@example("İ\u0323")  # lower case undoes the normal form
@example("ŉ")  # its compatibility form holds an apostrophe
@example("a\u00ad\u0323\u0307")
@example("i\u0307\u0307I\u0331\u0307Ị\u0307j\u0307")
@example("ΑΣ.ΑΣ'ΤΟ ΣΣ'")
@example("''a''b''")
def test_normalizing_twice_changes_nothing_more(normalizer, text):
    once = normalize(text, normalizer)
    assert normalize(once, normalizer) == once
    assert once == " ".join(once.split())


@pytest.mark.parametrize(
    ("text", "basic"),
    [
        ("Hello,  World!\r\n", "hello world"),
        ("\ufeffhello", "hello"),
        ("don’t DON‘T donʼt don`t don´t don＇t", "don't don't don't don't don't don't"),
        ("'quoted' rock 'n' roll, the dogs' '' '", "quoted rock n roll the dogs"),
        ("well-known—yes…no", "well known yes no"),
        ("cafe\u0301 CAFÉ", "café café"),
        ("ﬁne ｗｉｄｅ Ⅷ x²", "fine wide viii x2"),
        ("STRASSE Straße", "strasse straße"),
        ("ОДИН два 三", "один два 三"),
        ("हिन्दी's", "हिन्दी's"),
        ("soft\u00adhyphen zero\u200dwidth left\u200eright", "softhyphen zerowidth leftright"),
        ("zero\u200bspace a\u00a0b\u3000c", "zero space a b c"),
        ("50 % of $3.20", "50 of 3 20"),
        ("... !!", ""),
    ],
)
def test_basic_normalizer(text, basic):
    assert normalize(text, "basic") == basic


@pytest.mark.parametrize(
    ("lang", "text", "basic"),
    [
        ("tr", "Ilık İstanbul, IRMAK ve İZMİR", "ılık istanbul ırmak ve izmir"),
        ("TR-tr", "I\u0307yi DIŞ", "iyi dış"),
        ("tr_TR.UTF-8", "Iğdır'da", "ığdır'da"),
        ("az", "İNANIRAM Qızıl", "inanıram qızıl"),
        ("tur", "KAPI", "kapı"),
        ("ga", "An tUisce, an t-uisce; NÓTA", "an t uisce an t uisce nóta"),
        ("lt", "I\u0307\u0301 į\u0307\u0301", "í į́"),
        ("el", "ΟΔΟΣ.ΟΔΟΣ: ΣΑΣ σας", "οδος οδος σας σας"),
        ("en", "Istanbul I İzmir", "istanbul i izmir"),
        (None, "Istanbul İzmir", "istanbul izmir"),
        ("", "KAPI", "kapi"),
    ],
)
def test_lower_case_is_that_of_the_language(lang, text, basic):
    assert normalize(text, "basic", lang) == basic
    assert "\u0307" not in normalize(text, "basic", lang)
    assert normalize(text, "none", lang) == normalize(text, "none")


def test_the_language_may_be_named_by_the_normalizer():
    assert normalize("ILIK İyi", "basic-tr") == normalize("ILIK İyi", "basic-tr", "tr") == "ılık iyi"


@pytest.mark.parametrize(
    ("text", "marks", "symbols", "rest"),
    [
        ("[noise] well <laugh> so", ["[noise]", "<laugh>"], "", "well so"),
        ("hello (inaudible) {breath} *coughs*", ["(inaudible)", "{breath}", "*coughs*"], "", "hello"),
        ("<s> a <unk> b </s> R&amp;B", ["<s>", "<unk>", "</s>", "&amp;"], "", "a b R B"),
        ("（笑）はい 【拍手】 ((a guess))", ["（笑）", "【拍手】", "(a guess)"], "", "はい ( )"),
        ("<b>so</b> [background noise 2]", ["<b>", "</b>", "[background noise 2]"], "", "so"),
        ("fifty % off, $ 3 & 4 °C + ☃ ５％", [], "%$&°+☃％", "fifty % off, $ 3 & 4 °C + ☃ ５％"),
        ("2 * 3 > 1, a < b [...] (", [], "", "2 * 3 > 1, a < b [...] ("),
        ("well-known — “it's” fine… हिन्दी ok", [], "", "well-known — “it's” fine… हिन्दी ok"),
    ],
)
def test_marks_and_symbols_are_told_and_marks_can_be_left_out(text, marks, symbols, rest):
    found = Oddities()
    found.add(text)
    assert list(found.marks) == marks
    assert set(found.symbols) == set(symbols)
    assert without_marks(text) == rest


def test_what_is_told_depends_on_the_normalizer():
    found = Oddities()
    for _ in range(3):
        found.add("[um] 5 % İyi dış", None)
    found.add("İyi dış", "tr")
    lines = found.lines("basic")
    assert [line.split(": ")[:2] for line in lines] == [
        ["mark in text", "'[um]' × 3"],
        ["symbol left out", "'%' × 3"],
        ["letter of which language?", "'İ' × 3, 'ı' × 3"],
    ]
    assert found.lines("basic-tr") == lines[:2]
    assert found.lines("none") == lines[:1]
    assert Oddities().lines("basic") == []


def test_none_normalizer_keeps_case_and_punctuation():
    assert normalize("\ufeff Hello,\t World’s cafe\u0301 \n", "none") == "Hello, World’s café"


def test_unknown_normalizer_is_named():
    with pytest.raises(TextError, match="unknown normalizer 'fancy'; there are none, basic, basic-tr, basic-ga"):
        normalize("a", "fancy")


@pytest.mark.parametrize("kind", ["characters", "words"])
@given(texts=st.lists(TEXTS | WORDS, min_size=1, max_size=4))
def test_decoding_undoes_encoding(kind, texts):
    texts = [normalize(text, "basic") for text in texts]
    tokenizer = Tokenizer.build(kind, texts)
    assert tokenizer.tokens[0] == BLANK
    assert list(tokenizer.tokens[1:]) == sorted(tokenizer.tokens[1:])
    for text in texts:
        numbers = tokenizer.encode(text)
        assert all(0 < number < len(tokenizer) for number in numbers)
        assert tokenizer.decode(numbers) == text
        assert tokenizer.unknown(text) == []


def test_tokens_of_both_kinds():
    characters = Tokenizer.build("characters", ["no on", "yes"])
    assert characters.tokens == (BLANK, " ", "e", "n", "o", "s", "y")
    assert characters.encode("so no") == [5, 4, 1, 3, 4]
    assert characters.decode([1, 3, 0, 4, 1, 1, 0, 5, 1]) == "no s"
    words = Tokenizer.build("words", ["no on", "yes"])
    assert words.tokens == (BLANK, "no", "on", "yes")
    assert words.encode("yes no") == [3, 1]
    assert words.decode([3, 0, 3, 1]) == "yes yes no"
    assert Tokenizer("words", words.tokens) == words


def test_symbols_without_a_token_are_named():
    tokenizer = Tokenizer.build("characters", ["abc"])
    with pytest.raises(TextError, match="no token for 'x' in 'axb'"):
        tokenizer.encode("axb")
    assert tokenizer.unknown("axbyx") == ["x", "y", "x"]


def test_no_text_spells_the_blank():
    words = Tokenizer.build("words", ["a b"])
    assert words.unknown(f"a {BLANK}") == [BLANK]
    with pytest.raises(TextError, match="no token for '<blank>'"):
        words.encode(f"a {BLANK}")
    with pytest.raises(TextError, match="listed twice"):
        Tokenizer.build("words", [f"a {BLANK}"])


def test_token_lists_that_no_model_can_have():
    for kind, tokens, problem in [
        ("letters", (BLANK, "a"), "unknown kind of tokens 'letters'"),
        ("words", ("a", BLANK), "token 0 must be <blank>"),
        ("words", (), "token 0 must be <blank>"),
        ("words", (BLANK, "a", "b", "a"), r"listed twice: \['a'\]"),
    ]:
        with pytest.raises(TextError, match=problem):
            Tokenizer(kind, tokens)


def test_report_counts_unknown_symbols_and_numerals():
    tokenizer = Tokenizer.build("characters", ["ab 1"])
    report = SymbolReport()
    assert report.lines() == []
    report.add(tokenizer.unknown("ab ba"), "ab ba")
    assert report.lines() == []
    for text in ("a 11", "axé1x"):
        report.add(tokenizer.unknown(text), text)
    assert report.lines() == [
        "symbols without a token: 'x' × 2, 'é' × 1",
        "numerals in the text, to be spelled out as they are spoken: '1' × 3",
    ]
    for number in range(30):
        report.add([chr(0x4E00 + number)], "")
    assert report.lines()[0].endswith(" and 12 more")


def test_least_frames_against_all_frame_sequences():
    """The shortest CTC path that collapses to the tokens, by enumeration."""

    def collapse(path):
        return [token for token, _ in itertools.groupby(path) if token != 0]

    shortest = {}
    for frames in range(7):
        for path in itertools.product(range(3), repeat=frames):
            shortest.setdefault(tuple(collapse(path)), frames)
    for tokens in itertools.chain.from_iterable(itertools.product((1, 2), repeat=n) for n in range(4)):
        assert min_frames(list(tokens)) == shortest[tokens]


def test_phones_spell_words_as_they_sound():
    sounds = {"read": [("R", "EH", "D"), ("R", "IY", "D")], "the": [("DH", "AH")]}
    tokenizer = Tokenizer.build("phones", ["read the", "the"], sounds)
    assert tokenizer.tokens == (BLANK, " ", "AH", "D", "DH", "EH", "R")
    assert [tokenizer.tokens[n] for n in tokenizer.encode("the read")] == ["DH", "AH", " ", "R", "EH", "D"]
    assert tokenizer.decode([0, *tokenizer.encode("the read"), 1]) == "DH-AH R-EH-D" == tokenizer.pronounce("the read")
    assert split_phones("DH-AH R-EH-D") == ["DH", "AH", "R", "EH", "D"]
    assert tokenizer.unknown("the book reads") == ["book=?", "reads=?"]
    report = SymbolReport()
    report.add(tokenizer.unknown("the book"), "the book", 2)
    assert report.lines() == ["words that the lexicon lacks, so they cannot be found: 'book' × 2"]
    assert tokenizer.encode_symbols(("R", "EH", "D")) == [6, 5, 3]
    assert tokenizer.encode_symbols(("R", "IY", "D")) is None
    with pytest.raises(TextError, match=r"no token for 'book=[?]' in 'the book'"):
        tokenizer.encode("the book")
