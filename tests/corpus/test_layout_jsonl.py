"""JSON Lines: lhotse's recordings and supervisions, NeMo's manifests."""

import gzip
import json

import pytest

from asr.corpus.layouts import detect_layout, read_lhotse, read_nemo
from asr.data.manifest import Utterance
from asr.errors import ManifestError

RATE = 8000


def lines(*objects) -> str:
    return "".join(json.dumps(line) + "\n" for line in objects)


def lhotse_recording(name: str, path: str, channels=(0,), **other) -> dict:
    sources = [{"type": "file", "channels": list(channels), "source": path}]
    return {"id": name, "sources": sources, "sampling_rate": RATE, "num_samples": 1, "duration": 1} | other


@pytest.mark.parametrize("packed", [False, True])
def test_lhotse(tmp_path, record, write, packed, caplog):
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
    expected = [
        Utterance("u1", mono, 1.0, "x", "7", 0.5),
        Utterance("u2", stereo, 2.0, channel=1, lang="en", other={"snr": 3, "gender": "F"}),
        Utterance("u3", stereo, 2.0, ""),
    ]
    assert list(read_lhotse(tmp_path / "manifests")) == expected
    assert caplog.messages == ["recordings without supervision: 1, such as idle"]
    [one, other] = sorted((tmp_path / "manifests").iterdir())
    assert list(read_lhotse(one)) == list(read_lhotse(other)) == expected


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


def cut(name: str, start: float, duration: float, *supervisions: dict, **other) -> dict:
    recording = lhotse_recording("r", "audio/r.wav")
    line = {"id": name, "start": start, "duration": duration, "channel": 0, "supervisions": list(supervisions)}
    return line | {"recording": recording, "type": "MonoCut"} | other


@pytest.mark.parametrize("name", ["cuts.jsonl.gz", "train_cuts.jsonl", "of/icefall/cuts_dev.jsonl.gz"])
def test_lhotse_cuts(tmp_path, record, write, name):
    audio = record("audio/r.wav", 4)
    supervised = {"recording_id": "r", "channel": 0, "language": "en", "speaker": "anna"}
    content = lines(
        cut("c1", 0.5, 3, {"id": "s1", "start": 0, "duration": 1, "text": "x"} | supervised,
            {"id": "s2", "start": 1.25, "duration": 1, "text": "y"} | supervised),
        cut("c2", 3, 1),
        cut("c3", 0, 1, type="MixedCut", tracks=[]),
        cut("c4", 0, 1, recording=None, features={"type": "fbank"}),
        cut("c5", 0, 1, recording=lhotse_recording("r", "audio/r.wav", transforms=[{"name": "Speed"}])),
        cut("c6", 0, 1, {"id": "s6", "start": -0.5, "duration": 1} | supervised),
    )  # fmt: skip
    path = write(name, gzip.compress(content.encode()) if name.endswith(".gz") else content)
    assert detect_layout(path) == detect_layout(path.parent) == ("lhotse", path)
    failed = []
    assert list(read_lhotse(path, failed=failed.append)) == [
        Utterance("s1", audio, 1.0, "x", "anna", 0.5, lang="en"),
        Utterance("s2", audio, 1.0, "y", "anna", 1.75, lang="en"),
        Utterance("c2", audio, 1.0, start=3.0),
    ]
    for error, problem in zip(failed, ["is a MixedCut", "no recording", "transforms", "start is -0.5"], strict=True):
        assert problem in str(error)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.list", lines({"key": "u", "wav": "a.wav", "txt": "x"})),
        ("data.jsonl", lines({"key": "u", "wav": "a.wav", "txt": "x", "start": 0, "end": 0.5})),
        ("train.json", json.dumps([{"id": "u", "audio_filepath": "a.wav", "text": "x"}], indent=1)),
        ("list.txt", lines({"utt": "u", "file": "a", "transcript": "x", "duration": "0.5"})),
        ("texts.jsonl", lines({"utt_id": "u", "audio": "a.wav", "text_filepath": "said.txt"})),
    ],
)
def test_lists_of_other_toolkits(tmp_path, record, write, name, content):
    audio = record("a.wav")
    write("said.txt", "x\n")
    path = write(name, content)
    assert detect_layout(path) == detect_layout(tmp_path) == ("nemo", path)
    assert list(read_nemo(path)) == [Utterance("u", audio, 0.5, "x")]


def test_bad_lines_are_left_out(tmp_path, record, write):
    record("a.wav")
    failed = []
    good = json.dumps({"audio": "a.wav", "text": "x"})
    path = write("m.jsonl", f'{good}\n{{"audio"\n[1]\n{good}\n'.encode() + b'{"audio": "\xff"}\n')
    assert len(list(read_nemo(path, failed=failed.append))) == 2
    assert [str(error).split(": ")[0][-6:] for error in failed] == ["line 2", "line 3", "line 5"]
    write(
        "x_recordings.jsonl", lines(lhotse_recording("a", "a.wav"), lhotse_recording("b", "a.wav", sources=[])) + "?\n"
    )
    parts = [{"id": name, "recording_id": name, "start": 0, "duration": 0.5, "channel": 0} for name in "ab"]
    failed.clear()
    supervisions = write("x_supervisions.jsonl", lines(*parts))
    assert [u.id for u in read_lhotse(supervisions, failed=failed.append)] == ["a"]
    assert [("line 3: not JSON" in str(e), "line 2: recording b is not of one" in str(e)) for e in failed] == [
        (True, False), (False, True)
    ]  # fmt: skip
