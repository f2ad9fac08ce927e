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
        ('audio,text\na.wav,"x\ny\n', {}, r"line 3: unexpected end of data; .*--no-quotes"),
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
