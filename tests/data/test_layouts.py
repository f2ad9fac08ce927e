"""Corpora as others lay them out: utterances come with the right audio, text and speaker; what is wrong is named."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from asr.data.layouts import (
    LAYOUTS,
    checked,
    detect_layout,
    read_audio_alone,
    read_folder,
    read_kaldi,
    read_lhotse,
    read_librispeech,
    read_nemo,
    read_table,
)
from asr.data.layouts.common import AudioFinder
from asr.data.manifest import Manifest, Utterance
from asr.errors import AsrError, AudioError, ManifestError

RATE = 8000


@pytest.fixture
def record(tmp_path):
    """record("a/b.wav", seconds) -> the path of a real recording in the test's folder."""

    def write(name: str, seconds: float = 0.5, channels: int = 1) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros((round(seconds * RATE), channels)), RATE)
        return path

    return write


@pytest.fixture
def write(tmp_path):
    """write("text", "a hello\\n") -> the path of a file of this content in the test's folder."""

    def to_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def lines(*objects) -> str:
    return "".join(json.dumps(line) + "\n" for line in objects)


def test_folder_of_speakers(tmp_path, record, write):
    record("corpus/anna/1.flac", 0.25)
    record("corpus/bob/deep/1.wav", 0.5)
    record("corpus/bob/2.wav")
    record("corpus/bob/2.ogg")
    write("corpus/anna/1.txt", "\ufeff  Guten  Tag,\r\nHerr Müller \r\n")
    write("corpus/bob/deep/1.TXT", "")
    write("corpus/README.txt", "about")
    said = []
    assert list(read_folder(tmp_path, said.append)) == [
        Utterance("corpus-anna-1", tmp_path / "corpus/anna/1.flac", 0.25, "Guten Tag, Herr Müller", "anna"),
        Utterance("corpus-bob-deep-1", tmp_path / "corpus/bob/deep/1.wav", 0.5, "", "bob"),
    ]
    assert said == [
        f"audio without a text beside it: 1, such as {tmp_path}/corpus/bob/2.ogg",
        f"text without audio beside it: 1, such as {tmp_path}/corpus/README.txt",
        f"left out, as the same name is there with another extension: 1, such as {tmp_path}/corpus/bob/2.wav",
        f"speakers are the 2 sub-folders of {tmp_path}/corpus, such as anna",
    ]


def test_one_folder_that_holds_all_audio_is_no_speaker(tmp_path, record, write):
    for name in "ab":
        record(f"wavs/{name}.wav")
        write(f"wavs/{name}.txt", name)
    assert [u.speaker for u in read_folder(tmp_path)] == [None, None]


def test_folder_without_texts(tmp_path, record):
    record("a.wav")
    with pytest.raises(ManifestError, match=r"no audio has a text beside it; a\.wav needs a\.txt"):
        read_folder(tmp_path)


def test_audio_without_texts_is_read_when_asked_for(tmp_path, record, write):
    record("musan/noise/free-sound/noise-free-sound-0000.wav", 0.25)
    record("musan/noise/sound-bible/noise-sound-bible-0001.flac")
    write("musan/noise/free-sound/LICENSE", "public domain")
    write("musan/noise/free-sound/noise-free-sound-0002.wav", b"RIFF nothing")
    folder = tmp_path / "musan/noise"
    with pytest.raises(ManifestError, match="audio alone, with --layout audio"):
        detect_layout(folder)
    assert detect_layout(folder, "audio") == ("audio", folder)
    failed = []
    assert list(read_audio_alone(folder, failed=failed.append)) == [
        Utterance("free-sound-noise-free-sound-0000", folder / "free-sound/noise-free-sound-0000.wav", 0.25),
        Utterance("sound-bible-noise-sound-bible-0001", folder / "sound-bible/noise-sound-bible-0001.flac", 0.5),
    ]
    assert ["noise-free-sound-0002.wav: not readable audio" in str(error) for error in failed] == [True]
    with pytest.raises(AudioError, match="no audio files"):
        read_audio_alone(tmp_path / "musan/noise/nothing")


def test_damaged_audio_and_text_are_named_and_the_rest_is_read(tmp_path, record, write):
    record("good.wav")
    record("latin.wav")
    write("damaged.wav", b"RIFF nothing")
    write("good.txt", "yes")
    write("latin.txt", b"caf\xe9")
    write("damaged.txt", "no")
    failed = []
    assert [u.id for u in read_folder(tmp_path, failed=failed.append)] == ["good"]
    texts = sorted(map(str, failed))
    assert len(texts) == 2
    assert "damaged.wav: not readable audio" in texts[0]
    assert "latin.txt, line 1: not UTF-8" in texts[1]
    with pytest.raises(AsrError):
        list(read_folder(tmp_path))


def test_common_voice(tmp_path, record, write):
    record("en/clips/common_voice_en_1.ogg", 0.25)  # the table says mp3
    record("en/clips/common_voice_en_2.ogg")
    table = write(
        "en/train.tsv",
        "client_id\tpath\tsentence\tage\tlocale\tsegment\r\n"
        'f3a\tcommon_voice_en_1.mp3\t"Well, "he" said\t\ten\t\r\n'
        "f3b\tcommon_voice_en_2.mp3\t she\t\ten\t\r\n",
    )
    said = []
    clips = tmp_path / "en/clips"
    assert list(read_table(table, said.append)) == [
        Utterance("common_voice_en_1", clips / "common_voice_en_1.ogg", 0.25, '"Well, "he" said', "f3a", lang="en"),
        Utterance("common_voice_en_2", clips / "common_voice_en_2.ogg", 0.5, "she", "f3b", lang="en"),
    ]
    assert said == [
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
        ("audio,text,start,end\na.wav,x,2,1\n", {}, "line 2: starts at 2 s and lasts -1 s"),
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


def test_audio_is_found_under_another_extension(tmp_path, record):
    for name in ("x.flac", "1.5.wav", "1.wav", "take.2.wav", "both.ogg", "both.wav"):
        record(name)
    find = AudioFinder(tmp_path / "none", tmp_path)
    for name, found in [
        ("x.wav", "x.flac"),
        ("x", "x.flac"),
        ("1.5", "1.5.wav"),
        ("take.2", "take.2.wav"),
        ("both.wav", "both.wav"),
        ("both.mp3", "both.ogg"),
        (str(tmp_path / "x.sph"), "x.flac"),
    ]:
        assert find(name) == tmp_path / found
    odd = ("", ".", "/", "a\0b", "x/y/" * 3000, "\ud800")
    for name in ("1.7", "x.part2", "take.v2", "y.wav", *odd, str(tmp_path / "y.wav")):
        with pytest.raises(AudioError, match="no such audio file"):
            find(name)


def test_audio_is_found_however_its_letters_are_composed(tmp_path, record):
    composed, decomposed = "Jos\u00e9/caf\u00e9", "Jose\u0301/cafe\u0301"
    for there, named in ((decomposed, composed), (composed, decomposed)):
        audio = record(f"{len(there)}/{there}.flac")
        find = AudioFinder(tmp_path / str(len(there)))
        for suffix in ("", ".flac", ".wav"):
            assert find(named + suffix) == audio
    half = record("half/caf\u00e9 Jose\u0301.wav")
    assert AudioFinder(half.parent)("cafe\u0301 Jos\u00e9.wav") == half


def test_kaldi(tmp_path, record, write):
    record("egs/WAVE/SPK 1/rec1.flac", 2)
    record("egs/data/train/rec2.wav", 3, channels=2)
    write("egs/data/train/wav.scp", "rec1 WAVE/SPK 1/rec1.WAV\nrec2-A rec2.wav\nrec2-B   rec2.wav\n")
    write("egs/data/train/segments", "u1 rec1 0.5 1.25\nu2 rec1 1.25 -1\nu3 rec2-A 0 1\nu4 rec2-B 0 3\nu5 rec1 0 1\n")
    write("egs/data/train/text", "u1 HELLO  WORLD\nu2\tя 一\r\nu3\nu4 x\n")
    write("egs/data/train/utt2spk", "u1 anna\nu2 u2\nu3 bob\n")
    write("egs/data/train/utt2lang", "u1 en\n")
    write("egs/data/train/reco2file_and_channel", "rec2-A rec2 A\nrec2-B rec2 B\n")
    folder = tmp_path / "egs/data/train"
    first, second = tmp_path / "egs/WAVE/SPK 1/rec1.flac", folder / "rec2.wav"
    said = []
    assert list(read_kaldi(folder, said.append)) == [
        Utterance("u1", first, 0.75, "HELLO  WORLD", "anna", 0.5, lang="en"),
        Utterance("u2", first, 0.75, "я 一", None, 1.25),
        Utterance("u3", second, 1.0, "", "bob", channel=0),
        Utterance("u4", second, 3.0, "x", None, channel=1),
    ]
    assert said == [f"{folder}/text: no line for 1 utterances, such as u5; they are left out"]


def test_kaldi_with_nothing_but_wav_scp(tmp_path, record, write):
    audio = record("a.wav")
    write("wav.scp", f"a {audio}\n")
    assert list(read_kaldi(tmp_path)) == [Utterance("a", audio, 0.5)]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "wav.scp: No such file"),
        ({"wav.scp": "a a.wav\nb sox b.mp3 -t wav - |\n"}, r"wav.scp, line 2: 'sox b\.mp3 -t wav - \|' is a command"),
        ({"wav.scp": "a\n"}, "wav.scp, line 1: no path after the recording's id"),
        ({"wav.scp": "a a.wav\na a.wav\n"}, "wav.scp, line 2: 'a' was there before"),
        ({"wav.scp": "a b.wav\n"}, r"utterance a: 'b\.wav': no such audio file in .* or \d+ folders more"),
        ({"segments": "u a 1\n"}, "segments, line 1: not UTTERANCE RECORDING START END"),
        ({"segments": "u a 1 nan\n"}, "segments, line 1: end is 'nan', not seconds"),
        ({"segments": "u a 1 1\n"}, "segments, line 1: ends at 1 s, which is not after its start at 1 s"),
        ({"segments": "u b 0 1\n"}, "utterance u: .*recording 'b' of u is not in wav.scp"),
        ({"reco2file_and_channel": "a a C\n"}, "line 1: the channel is 'C', not A, B or a number from 1"),
        ({"reco2file_and_channel": "a a 0\n"}, "reco2file_and_channel, line 1: the channel is '0'"),
        ({"text": b"a \xe9\n"}, "text, line 1: not UTF-8"),
    ],
)
def test_kaldi_errors(tmp_path, record, write, files, problem):
    record("a.wav")
    for name, content in (({"wav.scp": "a a.wav\n"} if files else {}) | files).items():
        write(name, content)
    with pytest.raises(AsrError, match=problem) as caught:
        list(read_kaldi(tmp_path))
    assert "\n" not in str(caught.value)


def lhotse_recording(name: str, path: str, channels=(0,), **other) -> dict:
    sources = [{"type": "file", "channels": list(channels), "source": path}]
    return {"id": name, "sources": sources, "sampling_rate": RATE, "num_samples": 1, "duration": 1} | other


@pytest.mark.parametrize("packed", [False, True])
def test_lhotse(tmp_path, record, write, packed):
    mono, stereo = record("audio/mono.flac", 2), record("audio/stereo.wav", 2, channels=2)
    recordings = lines(
        lhotse_recording("m", "audio/mono.wav"),
        lhotse_recording("s", str(stereo), (0, 1)),
        lhotse_recording("idle", "x"),
    )
    supervised = {"recording_id": "s", "start": 0, "duration": 2}
    supervisions = lines(
        {"id": "u1", "recording_id": "m", "start": 0.5, "duration": 1, "channel": 0, "text": "x", "speaker": 7},
        {"id": "u2", "channel": 1, "language": "en", "gender": "F", "custom": {"snr": 3, "id": "no"}} | supervised,
        {"id": "u3", "channel": [0, 1], "text": ""} | supervised,
    )
    for name, content in (("dev_recordings", recordings), ("dev_supervisions", supervisions)):
        write(f"manifests/{name}.jsonl" + ".gz" * packed, gzip.compress(content.encode()) if packed else content)
    said = []
    expected = [
        Utterance("u1", mono, 1.0, "x", "7", 0.5),
        Utterance("u2", stereo, 2.0, channel=1, lang="en", other={"snr": 3, "gender": "F"}),
        Utterance("u3", stereo, 2.0, ""),
    ]
    assert list(read_lhotse(tmp_path / "manifests", say=said.append)) == expected
    assert said == ["recordings without supervision: 1, such as idle"]
    [one, other] = sorted((tmp_path / "manifests").iterdir())
    assert list(read_lhotse(one, other)) == list(read_lhotse(one)) == list(read_lhotse(other)) == expected


@pytest.mark.parametrize(
    ("recording", "supervision", "problem"),
    [
        ({"sources": [{"type": "command", "channels": [0], "source": "sox"}]}, {}, "'command', not 'file'"),
        ({"sources": []}, {}, "not of one source"),
        ({"transforms": [{"name": "Speed"}]}, {}, "has transforms"),
        ({"sources": [{"type": "file", "channels": None, "source": "a.wav"}]}, {}, "no list of channels"),
        ({}, {"recording_id": "b"}, "supervisions.jsonl, line 1: recording 'b' is not in"),
        ({}, {"channel": 1}, r"channel 1 is not one of the recording's \[0\]"),
        ({}, {"start": None}, "start is None, not seconds"),
        ({}, {"duration": float("nan")}, "duration is nan, not seconds"),
        ({}, {"text": ["x"]}, r"text is \['x'\], not a string"),
    ],
)
def test_lhotse_errors(tmp_path, record, write, recording, supervision, problem):
    record("a.wav")
    write("recordings.jsonl", lines(lhotse_recording("a", "a.wav") | recording))
    good = {"id": "u", "recording_id": "a", "start": 0, "duration": 0.5, "channel": 0}
    write("supervisions.jsonl", lines(good | supervision))
    with pytest.raises(ManifestError, match=problem):
        list(read_lhotse(tmp_path))


def test_nemo(tmp_path, record, write):
    a, b = record("audio/a.flac", 3), record("audio/b.wav")
    path = write(
        "m.json",
        lines(
            {"audio_filepath": "audio/a.wav", "duration": 1, "offset": 0, "text": "x", "lang": "en"},
            {"audio_filepath": str(a), "duration": 1.5, "offset": 1.5, "text": "y", "pred_text": "z"},
            {"audio": "audio/b.wav", "text": "", "speaker": 3, "id": "own", "channel": 0, "sentence": "kept"},
            {"path": "audio/b", "sentence": "w"},
        ),
    )
    assert list(read_nemo(path)) == [
        Utterance("audio-a", a, 1.0, "x", lang="en"),
        Utterance("audio-a-0001500", a, 1.5, "y", start=1.5, other={"pred_text": "z"}),
        Utterance("own", b, 0.5, "", "3", channel=0, other={"sentence": "kept"}),
        Utterance("audio-b", b, 0.5, "w"),
    ]
    failed = []
    wrong = write("w.jsonl", lines({"audio": 3}, {"audio": "none.wav"}, {"audio": "audio/b.wav", "duration": "long"}))
    assert list(read_nemo(wrong, failed=failed.append)) == []
    assert [str(error).partition(" in /")[0] for error in failed] == [
        f"{wrong}, line 1: audio is 3, not the path of an audio file",
        f"{wrong}, line 2: 'none.wav': no such audio file",
        f"{wrong}, line 3: duration is 'long', not seconds",
    ]
    with pytest.raises(ManifestError, match="line 1: not JSON"):
        list(read_nemo(write("x.jsonl", "hello\n")))


def test_librispeech(tmp_path, record, write):
    audio = [record(f"dev/84/121/84-121-000{i}.{kind}") for i, kind in enumerate(("flac", "ogg"))]
    path = write("dev/84/121/84-121.trans.txt", "84-121-0000 GO  ON\n84-121-0001 NO\n84-121-0002 LOST\n")
    failed = []
    assert list(read_librispeech(tmp_path, failed=failed.append)) == [
        Utterance("84-121-0000", audio[0], 0.5, "GO  ON", "84"),
        Utterance("84-121-0001", audio[1], 0.5, "NO", "84"),
    ]
    [error] = failed
    assert str(error).startswith(f"{path}, line 3: '84-121-0002': no such audio file")


def test_linked_folders_are_read(tmp_path, record, write):
    audio = [record(f"{place}-1-0000.wav") for place in ("far/84/1/84", "libri/85/1/85")]
    write("far/84/1/84-1.trans.txt", "84-1-0000 YES\n")
    write("libri/85/1/85-1.trans.txt", "85-1-0000 NO\n")
    write("far/84/1/84-1-0000.txt", "yes")
    for name, target in (("84", tmp_path / "far/84"), ("85/up", tmp_path / "libri")):
        (tmp_path / "libri" / name).symlink_to(target)
    found = [u.audio for u in read_librispeech(tmp_path / "libri")]
    assert found == [tmp_path / "libri/84/1/84-1-0000.wav", audio[1]]
    assert [u.text for u in read_folder(tmp_path / "libri")] == ["yes"]
    assert detect_layout(tmp_path / "libri", "folder")[0] == "folder"


def test_what_macos_keeps_beside_files_is_no_corpus(tmp_path, record, write):
    record("side/a.wav")
    for name in ("side/a.txt", "side/._a.wav", "side/._a.txt", "lj/metadata.csv", "lj/._metadata.csv"):
        write(name, "x")
    for name in ("recordings", "supervisions", "._recordings", "._supervisions"):
        write(f"lhotse/{name}.jsonl", "")
    assert [u.id for u in read_folder(tmp_path / "side")] == ["a"]
    assert detect_layout(tmp_path / "lj") == ("table", tmp_path / "lj/metadata.csv")
    assert detect_layout(tmp_path / "lhotse") == ("lhotse", tmp_path / "lhotse/recordings.jsonl")


def test_the_order_is_kept_over_many_headers(tmp_path, record, write):
    for i in range(300):
        record(f"{i:03d}.wav", (i + 1) / 1000)
        write(f"{i:03d}.txt", str(i))
    assert [u.duration for u in read_folder(tmp_path)] == [(i + 1) / 1000 for i in range(300)]


def test_repeated_ids_and_nothing_at_all_are_refused():
    twice = [
        Utterance("a", Path("x/a.wav"), 1.0),
        Utterance("b", Path("b.wav"), 1.0),
        Utterance("a", Path("y/a.wav"), 1),
    ]
    with pytest.raises(ManifestError, match=r"given to more than one utterance: 1, such as 'a' \(y/a\.wav\)"):
        list(checked(twice))
    assert list(checked(twice[:2])) == twice[:2]
    with pytest.raises(ManifestError, match="no utterance"):
        list(checked([]))


def test_detection(tmp_path, record, write):
    record("side/a.wav")
    write("side/a.txt", "x")
    write("kaldi/wav.scp", "")
    write("kaldi/own.jsonl", "")
    write("libri/1/2/1-2.trans.txt", "")
    write("lj/metadata.csv", "")
    write("nemo/m.jsonl", "")
    for name in ("x_recordings.jsonl.gz", "x_supervisions.jsonl.gz"):
        write(f"lhotse/{name}", "")
    for name, layout, source in [
        ("side", "folder", "side"),
        ("kaldi", "kaldi", "kaldi"),
        ("kaldi/own.jsonl", "nemo", "kaldi/own.jsonl"),
        ("libri", "librispeech", "libri"),
        ("lj", "table", "lj/metadata.csv"),
        ("lj/metadata.csv", "table", "lj/metadata.csv"),
        ("nemo", "nemo", "nemo/m.jsonl"),
        ("lhotse", "lhotse", "lhotse/x_recordings.jsonl.gz"),
        ("lhotse/x_supervisions.jsonl.gz", "lhotse", "lhotse/x_supervisions.jsonl.gz"),
    ]:
        assert detect_layout(tmp_path / name) == (layout, tmp_path / source)
        assert detect_layout(tmp_path / name, layout) == (layout, tmp_path / source)
    write("lj/other.tsv", "")
    write("side/made.jsonl", "")
    with pytest.raises(ManifestError, match=r"more than one could be meant: metadata\.csv \(table\), other\.tsv"):
        detect_layout(tmp_path / "lj")
    with pytest.raises(
        ManifestError, match=r"made\.jsonl \(nemo\), .*/side \(folder\); name the file, or give --layout"
    ):
        detect_layout(tmp_path / "side")
    assert detect_layout(tmp_path / "side", "folder") == ("folder", tmp_path / "side")
    write("data/train/wav.scp", "")
    with pytest.raises(ManifestError, match=r"no corpus found \(looked for wav\.scp; .*Kaldi data in .*/data/train:"):
        detect_layout(tmp_path / "data")
    with pytest.raises(ManifestError, match="which layout is this"):
        detect_layout(write("a.xyz", ""))
    with pytest.raises(ManifestError, match="no such file"):
        detect_layout(tmp_path / "nothing")


FILES = {
    "kaldi": ("wav.scp", "segments", "text", "utt2spk", "reco2file_and_channel"),
    "lhotse": ("recordings.jsonl", "supervisions.jsonl"),
    "librispeech": ("1-2.trans.txt",),
    "table": ("t.csv",),
    "nemo": ("m.jsonl",),
    "folder": ("a.txt",),
    "audio": ("a.txt",),
}
WORDS = st.sampled_from(["a", "a.wav", "u", "0", "1", "-1", "1e400", "nan", "|", ",", "\t", '"', "\n", " ", "\r", "A"])
KEYS = ["id", "audio", "text", "start", "duration", "channel", "sources", "recording_id", "type", "source", "channels"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "a.wav", "file", "", "\ud800"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=12,
)
CONTENT = (
    st.binary(max_size=60)
    | st.lists(WORDS, max_size=30).map(lambda words: "".join(words).encode())
    | st.lists(WORDS, max_size=30).map(lambda words: ("audio,text,start\n" + " ".join(words)).encode())
    | VALUES.map(lambda value: json.dumps(value).encode())
)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(data=st.data())
def test_whatever_the_files_hold_errors_are_ours(tmp_path_factory, layout, data):
    folder = tmp_path_factory.mktemp("f")
    soundfile.write(folder / "a.wav", np.zeros(RATE), RATE)
    for name in FILES[layout]:
        (folder / name).write_bytes(data.draw(CONTENT, name))
    source = folder / FILES[layout][0] if layout in ("table", "nemo") else folder
    failed = []
    try:
        for utterance in LAYOUTS[layout][0](source, failed=failed.append):
            assert utterance.audio == folder / "a.wav"
            assert 0 <= utterance.duration <= 1e9
    except AsrError as error:
        failed.append(error)
    assert all("\n" not in str(error) for error in failed)


def asr(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "asr", "data", *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )


def test_import_command(tmp_path, record, write):
    record("corpus/wav/a.wav")
    record("corpus/wav/b.wav")
    write("corpus/wav/cut.wav", "nothing")
    table = write("corpus/list.csv", "a.wav;eins;A\nb.wav;zwei;B\ncut.wav;drei;C\n")
    output = tmp_path / "made/here/m.jsonl"
    command = ["import", tmp_path / "corpus", "--output", output, "--audio", "1", "--text", "2", "--speaker", 3]
    done = asr(*command)
    assert (done.returncode, done.stdout) == (1, f"{output}: 2 utterances, 0.00 h, 2 speakers\n")
    assert f"reading {table} as table\naudio from column 1, text from column 2, speaker from column 3" in done.stderr
    assert "cut.wav: not readable audio" in done.stderr
    assert done.stderr.endswith("left out: 1\n")
    assert [(u.text, u.audio) for u in Manifest(output)] == [
        ("eins", tmp_path / "corpus/wav/a.wav"),
        ("zwei", tmp_path / "corpus/wav/b.wav"),
    ]
    before = output.read_bytes()
    assert "--force" in asr(*command).stderr
    table.write_text("none.wav;x\n")
    nothing = asr(*command[:8], "--force")
    assert (nothing.returncode, nothing.stderr.splitlines()[-1]) == (
        1,
        "error: no utterance could be read; nothing is written",
    )
    assert output.read_bytes() == before
    assert asr("import", tmp_path, "--output", tmp_path / "x.jsonl", "--layout", "kaldy").returncode == 2
