"""Manifests: what is written reads back, foreign keys are understood or kept, errors name the line of the file."""

import gzip
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asr.data.manifest import Manifest, Utterance, is_manifest, read_lines, write_manifest
from asr.errors import ManifestError


@pytest.fixture
def write(tmp_path):
    """write(content) -> the path of a manifest with this text or these bytes."""

    def to_file(content: str | bytes) -> Path:
        path = tmp_path / "m.jsonl"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return to_file


def test_round_trip(tmp_path):
    utterances = [
        Utterance("a", tmp_path / "wav/a.wav", 1.25, "hello", "s1", lang="en"),
        Utterance("b", Path("/elsewhere/b ü.flac"), 3.0, "grüße 一", start=7.123456, channel=0),
        Utterance("c", tmp_path / "c.wav", 0.5, other={"gender": "f", "age": None, "tags": [1, {"x": "y"}]}),
        Utterance("d", tmp_path / "d.wav", 2.0, text=""),
    ]
    path = tmp_path / "m.jsonl"
    assert write_manifest(path, iter(utterances)) == 4
    manifest = Manifest(path)
    assert list(manifest) == utterances
    assert [manifest[i] for i in range(4)] == utterances
    assert manifest[-1] == utterances[-1]
    assert manifest.durations.tolist() == [1.25, 3.0, 0.5, 2.0]
    assert len(manifest) == 4
    with pytest.raises(IndexError):
        manifest[4]


def test_seconds_are_written_precisely_enough_for_every_sample(tmp_path):
    for rate in (8_000, 44_100, 192_000, 768_000):
        for samples in (1, 12_345_679, rate * 3600 + 1):
            write_manifest(tmp_path / "m.jsonl", [Utterance("a", Path("a"), samples / rate, start=samples / rate)])
            read = Manifest(tmp_path / "m.jsonl")[0]
            assert round(read.duration * rate) == round(read.start * rate) == samples


def test_audio_is_written_relative_to_the_manifest_and_follows_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "real.wav").touch()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "link.wav").symlink_to(tmp_path / "far" / "real.wav")
    audio = [Path("data/a.wav"), tmp_path / "data/sub/b.wav", Path("data/link.wav"), Path("far/real.wav")]
    write_manifest(Path("data/m.jsonl"), [Utterance(str(i), path, 1.0) for i, path in enumerate(audio)])
    lines = [json.loads(line) for line in (tmp_path / "data/m.jsonl").read_text().splitlines()]
    assert [line["audio"] for line in lines] == ["a.wav", "sub/b.wav", "link.wav", f"{tmp_path}/far/real.wav"]
    Path("data").rename("moved")
    assert [str(u.audio) for u in Manifest("moved/m.jsonl")][:3] == ["moved/a.wav", "moved/sub/b.wav", "moved/link.wav"]


def test_file_names_that_are_not_utf8_are_found_again(tmp_path):
    audio = tmp_path / os.fsdecode(b"caf\xe9.wav")
    path = tmp_path / "m.jsonl"
    write_manifest(path, [Utterance("a", audio, 1.0, "ü")])
    assert b"caf\\udce9.wav" in path.read_bytes()
    assert (Manifest(path)[0].audio, Manifest(path)[0].text) == (audio, "ü")


def test_nemo_keys_and_defaults(write):
    path = write(
        '{"audio_filepath": "/x/a.wav", "duration": 2, "offset": 1.5, "text": "hi", "pred_text": "ho"}\n'
        '{"audio": "b.wav", "audio_filepath": "c.wav", "duration": 1, "start": 0, "offset": 9, "speaker": 1089}\n'
        '{"audio": null, "audio_filepath": "d.wav", "duration": 1, "text": null, "lang": null, "note": null, "id": 7}\n'
    )
    first, second, third = Manifest(path)
    assert first == Utterance("x-a-0001500", Path("/x/a.wav"), 2.0, "hi", start=1.5, other={"pred_text": "ho"})
    assert isinstance(first.duration, float)
    assert second == Utterance("b", path.parent / "b.wav", 1.0, speaker="1089")
    assert third == Utterance("7", path.parent / "d.wav", 1.0, other={"note": None})


def test_a_line_without_id_is_named_by_its_path_and_start(write):
    lines = [
        {"audio": "wav/a.b.flac", "duration": 1},
        {"audio": "wav/a.b.flac", "duration": 1, "start": 0.25},
        {"audio": "../a", "duration": 1, "id": None},
        {"audio": "/", "duration": 1, "id": 0},
    ]
    path = write("\n".join(map(json.dumps, lines)))
    assert [u.id for u in Manifest(path)] == ["wav-a.b", "wav-a.b-0000250", "..-a", "0"]


def test_speakers_that_look_the_same_are_the_same(write):
    spellings = ("Jos\u00e9", "Jose\u0301", " Jos\u00e9 ")
    path = write("\n".join(json.dumps({"audio": "a", "duration": 1, "speaker": name}) for name in spellings))
    assert {u.speaker for u in Manifest(path)} == {Utterance("a", Path("a"), 1.0, speaker="Jose\u0301").speaker}
    assert {line.parse()["speaker"] for line in read_lines(path)} == {"Jos\u00e9"}


def test_blank_lines_windows_line_ends_byte_order_mark_no_final_newline(write):
    one, two, three = (f'{{"audio": "{name}", "duration": {i}}}' for i, name in enumerate("abc", 1))
    manifest = Manifest(write(f"\ufeff{one}\r\n\r\n  \n{two}\r\n\n{three}"))
    assert [u.id for u in manifest] == ["a", "b", "c"]
    assert [manifest[i].duration for i in (2, 0, 1)] == [3, 1, 2]
    assert len(Manifest(write(""))) == 0
    assert list(Manifest(write("\n\n"))) == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", r"not JSON \(expecting property name enclosed in double quotes, column 2\)"),
        ("hello", r"not JSON \(expecting value, column 1\)"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "not a JSON object; 'asr data import FILE"),
        ("{}", "no 'audio'; 'asr data import FILE --output NEW.jsonl' makes a manifest"),
        ('{"audio": null, "duration": 1}', "no 'audio'"),
        ('{"audio": "a"}', "no 'duration'"),
        ('{"audio": "", "duration": 1}', "audio is '', not the path of an audio file"),
        ('{"audio": 3, "duration": 1}', "audio is 3"),
        (r'{"audio": "a\u0000", "duration": 1}', "audio is 'a.x00'"),
        ('{"audio": "a", "duration": "1"}', "duration is '1', not seconds"),
        ('{"audio": "a", "duration": true}', "duration is True"),
        ('{"audio": "a", "duration": -1}', "duration is -1"),
        ('{"audio": "a", "duration": NaN}', "duration is nan"),
        ('{"audio": "a", "duration": Infinity}', "duration is inf"),
        ('{"audio": "a", "duration": 1' + "0" * 400 + "}", "duration is 1000"),
        ('{"audio": "a", "duration": 1' + "0" * 5000 + "}", "not JSON"),
        ('{"audio": "a", "duration": 1, "start": -0.5}', "start is -0.5, not seconds"),
        ('{"audio": "a", "duration": 1, "offset": "x"}', "start is 'x'"),
        ('{"audio": "a", "duration": 1, "text": 3}', "text is 3, not a string"),
        ('{"audio": "a", "duration": 1, "channel": 1.0}', "channel is 1.0, not a channel number"),
        ('{"audio": "a", "duration": 1, "channel": -1}', "channel is -1"),
        ('{"audio": "a", "duration": 1, "lang": []}', r"lang is \[\]"),
        ('{"audio": "a", "duration": 1, "speaker": {}}', "speaker is {}, not a string or a number"),
        ('{"audio": "a", "duration": 1, "id": [1]}', r"id is \[1\]"),
    ],
    ids=lambda v: v[:50],
)
def test_every_rule_names_the_line_of_the_file(write, line, problem):
    path = write(f'{{"audio": "a", "duration": 1}}\n\n\n{line}\n')
    with pytest.raises(ManifestError, match=rf"m\.jsonl, line 4: {problem}") as caught:
        Manifest(path)
    assert "\n" not in str(caught.value)
    assert "line 1" not in str(caught.value)


def test_read_lines_goes_on_after_a_bad_line(write):
    path = write(
        '{"audio_filepath": "a", "duration": 1, "offset": 2}\n\n{"audio": "b"}\n?\n{"audio": "c", "duration": 3}'
    )
    one, three, four, five = read_lines(path)
    assert [line.number for line in (one, three, four, five)] == [1, 3, 4, 5]
    assert one.parse() == {"audio": "a", "duration": 1, "start": 2}
    assert five.parse() == {"audio": "c", "duration": 3}
    for line, problem in ((three, "line 3: no 'duration'"), (four, "line 4: not JSON (expecting value, column 1)")):
        with pytest.raises(ManifestError) as caught:
            line.parse()
        assert str(caught.value).startswith(f"{path}, {problem}")
    with pytest.raises(ManifestError, match="No such file"):
        next(read_lines(path.with_name("none.jsonl")))


def test_a_visitor_sees_every_line_once(write):
    seen = []
    lines = ['{"audio": "a", "duration": 1, "text": null}', "", '{"audio": "b", "duration": 2, "speaker": 3}']
    manifest = Manifest(write("\n".join(lines)), lambda row, line: seen.append((row, line)))
    assert seen == [(0, {"audio": "a", "duration": 1}), (1, {"audio": "b", "duration": 2, "speaker": 3})]
    assert [u.id for u in manifest] == ["a", "b"]


def test_bytes_that_are_not_utf8(write):
    with pytest.raises(ManifestError, match="line 1: not JSON"):
        Manifest(write(b'{"audio": "caf\xe9", "duration": 1}'))


def test_files_that_are_no_manifest(tmp_path):
    for path, problem in [("none.jsonl", "No such file"), (".", "Is a directory"), ("a\0b", "null")]:
        with pytest.raises(ManifestError, match=problem):
            Manifest(tmp_path / path)


def test_what_is_a_manifest(tmp_path, write):
    path = tmp_path / "data.list"
    for content, listed in [
        (b'{"audio": "a", "duration": 1}\n', True),
        (b'\xef\xbb\xbf\n {"wav": "a"}', True),
        (b'[{"audio": "a"}]', True),
        (b"RIFF....WAVE", False),
        (b"shard-1.tar\n", False),
        (b"", False),
    ]:
        path.write_bytes(content)
        assert is_manifest(str(path)) == listed
    names = {"a.jsonl": True, "A.JSON": True, "cuts.jsonl.gz": True, "a.wav": False, "a\0": False, str(tmp_path): False}
    assert {name: is_manifest(name) for name in names} == names


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"{}"),
        b'{"key": "a", "wav": "a.wav", "txt": "x"}\n',
        b'{"id": "c", "type": "MonoCut", "start": 0, "duration": 1, "recording": {}}\n',
        b'[\n{"audio": "a.wav"}\n]\n',
    ],
)
def test_lists_of_other_toolkits_name_the_command_that_reads_them(write, content):
    with pytest.raises(ManifestError, match=r"m\.jsonl.*'asr data import FILE --output NEW\.jsonl'"):
        Manifest(write(content))


def test_a_manifest_changed_while_in_use_is_noticed(write):
    manifest = Manifest(write('\n{"audio": "a", "duration": 1}\n{"audio": "b", "duration": 2}\n'))
    write('{"audio": "somewhere/else/a", "duration": 1}\n')
    with pytest.raises(ManifestError, match=r"m\.jsonl, changed since it was first read: not JSON"):
        manifest[1]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEYS = st.sampled_from(["id", "audio", "duration", "text", "speaker", "start", "channel", "lang", "x"])
KEYS |= st.sampled_from(["audio_filepath", "offset"])


@given(st.lists(st.dictionaries(KEYS, JSON | st.sampled_from(["a.wav", 1.5, 0]), max_size=9) | JSON, max_size=3))
def test_random_lines_give_utterances_or_manifest_error(tmp_path_factory, objects):
    path = tmp_path_factory.getbasetemp() / "random.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in objects))
    try:
        manifest = Manifest(path)
    except ManifestError as error:
        place = str(error).partition(": ")[0]
    else:
        place = None
        assert [u.duration for u in manifest] == manifest.durations.tolist()
        assert write_manifest(path.with_name("again.jsonl"), manifest) == len(objects)
        again = Manifest(path.with_name("again.jsonl"))
        kept = [[(u.id, u.text, u.speaker, u.channel, repr(u.other)) for u in each] for each in (manifest, again)]
        assert kept[0] == kept[1]
    assert place is None or place.removeprefix(f"{path}, line ") in {"1", "2", "3"}


def test_an_interrupted_write_leaves_the_old_manifest_and_nothing_else(tmp_path):
    path = tmp_path / "m.jsonl"
    write_manifest(path, [Utterance("old", Path("a"), 1.0)])

    def interrupted():
        yield Utterance("new", Path("a"), 1.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_manifest(path, interrupted())
    assert [u.id for u in Manifest(path)] == ["old"]
    assert os.listdir(tmp_path) == ["m.jsonl"]


def test_twenty_thousand_lines_random_access_agrees_with_reading_in_order(tmp_path):
    rng = np.random.default_rng(0)
    durations = rng.uniform(0.5, 20, 20_000).round(3).tolist()
    utterances = (Utterance(f"u{i}", Path(f"{i}.wav"), d, "ä" * (i % 50)) for i, d in enumerate(durations))
    manifest = Manifest((write_manifest(tmp_path / "m.jsonl", utterances), tmp_path / "m.jsonl")[1])
    assert manifest.durations.tolist() == durations
    in_order = list(manifest)
    assert [u.id for u in in_order] == [f"u{i}" for i in range(20_000)]
    for i in rng.permutation(20_000)[:500].tolist():
        assert manifest[i] == in_order[i]
