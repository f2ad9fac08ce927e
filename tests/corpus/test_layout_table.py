"""Tables: Common Voice's, LJ Speech's and anybody's."""

import pytest

from asr.corpus.layouts import read_table
from asr.data.manifest import Utterance
from asr.errors import AsrError


def test_common_voice(tmp_path, record, write, caplog):
    record("en/clips/common_voice_en_1.ogg", 0.25)  # the table says mp3
    record("en/clips/common_voice_en_2.ogg")
    table = write(
        "en/train.tsv",
        "client_id\tpath\tsentence\tage\tlocale\tsegment\r\n"
        'f3a\tcommon_voice_en_1.mp3\t"Well, "he" said\t\ten\t\r\n'
        "f3b\tcommon_voice_en_2.mp3\t she\t\ten\t\r\n",
    )
    clips = tmp_path / "en/clips"
    assert list(read_table(table)) == [
        Utterance("common_voice_en_1", clips / "common_voice_en_1.ogg", 0.25, '"Well, "he" said', "f3a", lang="en"),
        Utterance("common_voice_en_2", clips / "common_voice_en_2.ogg", 0.5, "she", "f3b", lang="en"),
    ]
    assert caplog.messages == [
        "audio from column path, text from column sentence, speaker from column client_id, lang from column locale",
        f"audio is in {clips}",
    ]


def test_ljspeech(tmp_path, record, write):
    record("wavs/LJ001-0001.wav")
    record("wavs/LJ001-0002.flac")
    table = write("metadata.csv", 'LJ001-0001|In 1440, "he|In fourteen forty, "he\nLJ001-0002|b; c|b; c\n')
    found = list(read_table(table))
    assert [(u.id, u.text, u.audio.name) for u in found] == [
        ("LJ001-0001", 'In fourteen forty, "he', "LJ001-0001.wav"),
        ("LJ001-0002", "b; c", "LJ001-0002.flac"),
    ]
    assert [u.text for u in read_table(table, audio=1, text=2)] == ['In 1440, "he', "b; c"]


def test_csv_with_quotes_columns_by_name_and_parts_of_files(tmp_path, record, write):
    record("elsewhere/long.wav", 4)
    table = write(
        "list.csv",
        '\ufeffWho,Said,Audio Path,start,end\n\nanna,"one, ""two""\nthree",long.wav,0.5,1.25\n'
        "bob,four,long.wav,1.25,\nbob,five,long.wav,0,1\n",
    )
    found = list(read_table(table, text="Said", speaker="1", audio_folder=tmp_path / "elsewhere"))
    assert [(u.id, u.text, u.speaker, u.start, u.duration) for u in found] == [
        ("long-0000500", 'one, "two"\nthree', "anna", 0.5, 0.75),
        ("long-0001250", "four", "bob", 1.25, 2.75),
        ("long", "five", "bob", 0, 1),
    ]


@pytest.mark.parametrize(
    ("content", "options", "problem"),
    [
        ("", {}, "the table has no rows"),
        ("audio,text\n", {}, "the table has no rows"),
        ("a.wav,x,y\n", {}, r"which column is audio\? .*no header, 3 columns"),
        ("audio,label\na.wav,x\n", {}, r"which column is text\? .*its header has audio, label"),
        ("audio,text\na.wav,x\n", {"text": "txet"}, "no column 'txet' for text; its first line has audio, text"),
        ("audio,text\na.wav,x\n", {"text": 3}, "no column 3 for text; columns are numbered from 1 to 2"),
        ("audio,text\na.wav,x\n", {"delimiter": "ab"}, "'ab' cannot divide columns"),
        ("audio,text\na.wav,x\nb.wav,x,y\n", {}, "line 3: 3 columns where the first line has 2"),
        ('audio,text\na.wav,"x\ny\n', {}, r"line 3: 1 columns where the first line has 2; .*--no-quotes"),
        ("audio,text\na.wav,a.wav\n", {}, r"line 2: the text is 'a\.wav', the name of a file which is no plain text"),
        (
            "audio,text\na.wav,txt/a.txt\n",
            {},
            r"line 2: the text is 'txt/a\.txt', the name of a file that is not there",
        ),
        ("audio,text,end\na.wav,x,1.1\n", {}, r"a\.wav: utterance a ends at 1\.1 s, but the file at 0\.500 s"),
        ("audio,text\n\na.wav,x\nb.wav,x\n", {}, r"line 4: 'b\.wav': no such audio file"),
        ("audio,text,start\na.wav,x,soon\n", {}, "line 2: start is 'soon', not seconds"),
        ("audio,text,start,end\na.wav,x,2,1\n", {}, "line 2: ends at 1 s, which is not after its start at 2 s"),
        ("audio,text,start\na.wav,x,7\n", {}, r"a\.wav: utterance a-0007000 starts at 7 s, but the file ends at 0\.5"),
        (b"audio,text\na.wav,\xff\n", {}, "line 2: not UTF-8"),
    ],
)
def test_table_errors(record, write, content, options, problem):
    record("a.wav")
    table = write("t.csv", content)
    with pytest.raises(AsrError, match=problem) as caught:
        list(read_table(table, **options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "wav/a.wav,txt/a.txt\nwav/b.wav,txt/b.txt\n",
        "file\ttranscript_path\na.wav\ttxt/a.txt\nb.wav\ttxt/b.txt\n",
        "a|../txt/a.txt\nb|{folder}/txt/b.txt\n",
        "a.wav;texts of mine/a.lab\nb.wav;txt/b.TXT\n",
    ],
)
def test_texts_that_name_their_files(tmp_path, record, write, content):
    record("wav/a.wav")
    record("wav/b.wav")
    write("texts of mine/a.lab", "GOOD DAY\n")
    write("txt/a.txt", "\ufeffGOOD\r\nDAY\r\n")
    write("txt/b.txt", "bye")
    write("txt/b.TXT", "bye")
    table = write("t.csv", content.format(folder=tmp_path))
    assert [u.text for u in read_table(table)] == ["GOOD DAY", "bye"]


def test_texts_that_only_look_like_files(record, write):
    record("a.wav")
    texts = ["open readme.txt", "and/or", "a.m.", "see a.wav now"]
    table = write("t.tsv", "audio\ttext\tid\n" + "".join(f"a.wav\t{text}\t{i}\n" for i, text in enumerate(texts)))
    assert [u.text for u in read_table(table)] == texts


@pytest.mark.parametrize(
    ("rows", "texts", "note"),
    [
        (
            ['a.wav,"one', "b.wav,two", 'c.wav,three"', "d.wav,4"],
            ['"one', "two", 'three"', "4"],
            "1 row, such as line 2",
        ),
        (['a.wav,"one', 'b.wav,"two, 2"', "c.wav,3"], ['"one', "two, 2", "3"], "1 row, such as line 2: quotes that"),
        (["a.wav,one", 'b.wav,"two'], ["one", '"two'], "1 row, such as line 3: quotes that enclose no cell"),
        (['a.wav,"one" two', 'b.wav,"""two"""'], ['"one" two', '"two"'], "1 row, such as line 2: quotes that"),
        (['a,"one', "b,two", 'c,three"'], ['"one', "two", 'three"'], "1 row, such as line 2: quotes that"),
        (
            ['a.wav,"one, 1', "", 'and, more"', "b.wav,2"],
            ["one, 1\n\nand, more", "2"],
            "1 row, such as line 2: cells over",
        ),
    ],
)
def test_a_missing_quote_swallows_no_row(record, write, caplog, rows, texts, note):
    for name in "abcd":
        record(f"{name}.wav")
    assert [u.text for u in read_table(write("t.csv", "\n".join(["audio,text", *rows]) + "\n"))] == texts
    assert note in caplog.messages[-1]
    if "," not in rows[0].partition(",")[2] and rows[0].startswith("a.wav"):  # without header
        assert [u.text for u in read_table(write("n.csv", "\n".join(rows) + "\n"))] == texts


def test_a_bad_row_ends_nothing(record, write):
    """Not even where it is the first, by which the audio's folder is found."""
    for name in "bde":
        record(f"clips/{name}.wav")
    failed = []
    rows = [b"none.wav,x,1", b"b.wav,x,1", b"c,d.wav", b"d.wav,\xff,1", b"e.wav,x,1", b"b.wav,x,9e99"]
    table = write("t.csv", b"\n".join([b"audio,text,duration", *(row.replace(b",1", b",0.5") for row in rows)]))
    assert [u.audio.name for u in read_table(table, failed=failed.append)] == ["b.wav", "e.wav"]
    assert sorted(str(error).split(", ")[1][:6] for error in failed) == ["line 2", "line 4", "line 5", "line 7"]
