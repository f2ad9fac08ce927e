"""Kaldi's data folders."""

import re

import pytest

from asr.corpus.layouts import read_kaldi
from asr.data.manifest import Utterance
from asr.errors import AsrError


def test_kaldi(tmp_path, record, write, caplog):
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
    assert list(read_kaldi(folder)) == [
        Utterance("u1", first, 0.75, "HELLO  WORLD", "anna", 0.5, lang="en"),
        Utterance("u2", first, 0.75, "я 一", None, 1.25),
        Utterance("u3", second, 1.0, "", "bob", channel=0),
        Utterance("u4", second, 3.0, "x", None, channel=1),
    ]
    assert caplog.messages == [f"{folder}/text: no line for 1 utterance, such as u5; left out"]


def test_kaldi_with_nothing_but_wav_scp(tmp_path, record, write):
    audio = record("a.wav")
    write("wav.scp", f"a {audio}\n")
    assert list(read_kaldi(tmp_path)) == [Utterance("a", audio, 0.5)]


@pytest.mark.parametrize(("end", "over"), [("2.005", None), ("2.4", 0.4), ("2.6", 0.6)])
def test_a_segment_that_ends_after_its_recording(tmp_path, record, write, caplog, end, over):
    """Cut as Kaldi does, and told; left out where it is not a matter of rounding."""
    audio = record("rec.wav", 2)
    write("wav.scp", f"rec {audio}\n")
    write("segments", f"u1 rec 0 1\nu2 rec 1 {end}\n")
    failed = []
    found = [(each.id, each.start, each.duration) for each in read_kaldi(tmp_path, failed.append)]
    said = caplog.messages + [str(error) for error in failed]
    if over is None:
        assert (found, said) == ([("u1", 0.0, 1.0), ("u2", 1.0, 1.005)], [])
    elif over < 0.5:
        assert found == [("u1", 0.0, 1.0), ("u2", 1.0, 1.0)]
        assert said == ["cut to the end of the recording: 1 utterance ended up to 0.40 s later, u2 the most"]
    else:
        assert found == [("u1", 0.0, 1.0)]
        assert said == [f"{audio}: utterance u2 ends at 2.6 s, but the file at 2.000 s"]


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({}, "wav.scp: No such file"),
        ({"wav.scp": "a a.wav\nb sox b.mp3 -t wav - |\n"}, r"wav.scp, line 2: 'sox b\.mp3 -t wav - \|' is a command"),
        ({"wav.scp": "a\n"}, "wav.scp, line 1: no path after the recording's id"),
        ({"wav.scp": "a a.wav\na a.wav\n"}, "wav.scp, line 2: 'a' was there before"),
        ({"wav.scp": "a b.wav\n"}, r"utterance a: 'b\.wav': no such audio file in .* and \d+ more"),
        ({"segments": "u a 1\n"}, "segments, line 1: not UTTERANCE RECORDING START END"),
        ({"segments": "u a 0 1 C\n"}, "segments, line 1: the channel is 'C', not A, B or a number from 0"),
        ({"segments": "u a 0 0.5 1\n"}, "utterance u has channel 1, but the file has 1, numbered from 0"),
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


@pytest.mark.parametrize(
    ("files", "kept", "problems"),
    [
        (
            {"wav.scp": "a a.wav\nb cat a.wav |\nc a.wav\n"},
            ["a", "c"],
            ["utterance b: .*wav.scp, line 2: 'cat a.wav |' is"],
        ),
        ({"segments": "a a 0 1\nb a 0\nc a 1 2\n"}, ["a", "c"], ["utterance b: .*segments, line 2: not UTTERANCE"]),
        (
            {"segments": "a a 0 1\nb x 0 1\nc a 2 1\n"},
            ["a"],
            ["utterance b: .* not in wav.scp", "utterance c: .*line 3"],
        ),
        ({"wav.scp": "a a.wav\nb a.wav\nb a.wav\nc a.wav\n"}, ["a", "c"], ["utterance b: .*line 3: 'b' was there"]),
        ({"text": b"a x\nb \xff\nc x\n"}, ["a", "c"], ["text, line 2: not UTF-8"]),
        ({"reco2file_and_channel": "a a A\nb b Z\n"}, ["a", "c"], ["utterance b: .*line 2: the channel is 'Z'"]),
    ],
)
def test_a_bad_line_leaves_out_what_needs_it(tmp_path, record, write, files, kept, problems):
    record("a.wav", 3)
    for name, content in ({"wav.scp": "a a.wav\nb a.wav\nc a.wav\n"} | files).items():
        write(name, content)
    failed = []
    assert [u.id for u in read_kaldi(tmp_path, failed=failed.append)] == kept
    assert len(failed) == len(problems)
    for error, problem in zip(failed, problems, strict=True):
        assert re.search(problem.replace("|", r"\|"), str(error))


def test_channels_of_segments(tmp_path, record, write):
    record("a.wav", 3, channels=2)
    write("wav.scp", "a a.wav\n")
    write("segments", "u1 a 0 1 A\nu2 a 0 1 b\nu3 a 0 1 0\nu4 a 1 -1 1\nu5 a 1 2\n")
    assert [u.channel for u in read_kaldi(tmp_path)] == [0, 1, 0, 1, None]


def test_segments_past_the_end(tmp_path, record, write, caplog):
    """As Kaldi's extract-segments does: up to half a second is cut, what is beyond is left out."""
    record("a.wav", 3)
    write("wav.scp", "a a.wav\n")
    write("segments", "u1 a 0 3.005\nu2 a 1 3.42\nu3 a 2.5 3.1\nu4 a 1 3.6\nu5 a 3.2 3.4\n")
    failed = []
    found = list(read_kaldi(tmp_path, failed=failed.append))
    assert [(u.id, u.duration) for u in found] == [("u1", 3.005), ("u2", 2.0), ("u3", 0.5)]
    assert caplog.messages == ["cut to the end of the recording: 2 utterances ended up to 0.42 s later, u2 the most"]
    assert [str(error).partition(": ")[2] for error in failed] == [
        "utterance u4 ends at 3.6 s, but the file at 3.000 s",
        "utterance u5 starts at 3.2 s, but the file ends at 3.000 s",
    ]
