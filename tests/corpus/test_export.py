"""Exports for Kaldi and lhotse: what they demand of the files holds, and what is written reads back as it was."""

import gzip
import json
import re
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.command_line import asr
from hypothesis import given
from hypothesis import strategies as st

from asr.corpus.export import KALDI_FILES, _kaldi_ids, export_manifest
from asr.corpus.layouts import read_kaldi, read_lhotse
from asr.data.manifest import Manifest, Utterance, write_manifest
from asr.errors import AsrError, ManifestError

RATE = 16_000


@pytest.fixture
def corpus(tmp_path):
    """A manifest of whole files, two formats and rates: every line one file."""
    audio = tmp_path / "corpus/wav"
    audio.mkdir(parents=True)
    for name, rate in (("x 1.wav", RATE), ("x 2.flac", 44_100), ("y.wav", RATE)):
        soundfile.write(audio / name, np.zeros(rate // 3), rate)
    seconds = (RATE // 3) / RATE
    utterances = [
        Utterance("b-2", audio / "y.wav", seconds, "ещё раз", "b"),
        Utterance("a-1", audio / "x 1.wav", seconds, "one two", "a", lang="en"),
        Utterance("b-10", audio / "x 2.flac", 44_100 // 3 / 44_100, "", "b"),
    ]
    return write(tmp_path / "corpus/m.jsonl", utterances)


@pytest.fixture
def parts(tmp_path):
    """A manifest of parts of a stereo file: times, channels, both channels, a speaker less; and of a whole file."""
    for name, channels in (("long.wav", 2), ("mono.wav", 1)):
        soundfile.write(tmp_path / name, np.zeros((4 * RATE, channels)), RATE)
    long = tmp_path / "long.wav"
    utterances = [
        Utterance("a-1", long, 1.234567, "left", "a", 0.1, channel=0, other={"gender": "f", "snr": [1, 2.5]}),
        Utterance("a-2", long, 4.0, "right", "a", channel=1),
        Utterance("lone", long, 2.5, "both", None, 1.5),
        Utterance("z-1", tmp_path / "mono.wav", 4.0, None, "z"),
    ]
    return write(tmp_path / "parts.jsonl", utterances)


def write(path: Path, utterances: list[Utterance]) -> Manifest:
    write_manifest(path, utterances)
    return Manifest(path)


def export(manifest: Manifest, to: str, folder: Path, **options) -> None:

    def failed(error: AsrError) -> None:
        raise error

    options = {"force": False, "failed": failed} | options
    export_manifest(manifest, to, folder, **options)


def table(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def by_id(utterances) -> dict[str, Utterance]:
    return {utterance.id: utterance for utterance in utterances}


def test_kaldi_of_whole_files(tmp_path, corpus, caplog):
    folder = tmp_path / "kaldi"
    export(corpus, "kaldi", folder)
    assert sorted(path.name for path in folder.iterdir()) == ["spk2utt", "text", "utt2lang", "utt2spk", "wav.scp"]
    assert table(folder / "wav.scp") == [
        f"a-1 {tmp_path}/corpus/wav/x 1.wav",
        f"b-10 {tmp_path}/corpus/wav/x 2.flac",
        f"b-2 {tmp_path}/corpus/wav/y.wav",
    ]
    assert table(folder / "text") == ["a-1 one two", "b-10", "b-2 ещё раз"]
    assert table(folder / "utt2spk") == ["a-1 a", "b-10 b", "b-2 b"]
    assert table(folder / "spk2utt") == ["a a-1", "b b-10 b-2"]
    assert table(folder / "utt2lang") == ["a-1 en"]
    [note] = caplog.messages
    assert note.startswith(f"not wav: 1 file, such as {tmp_path}/corpus/wav/x 2.flac")
    assert by_id(read_kaldi(folder)) == by_id(corpus)


def test_kaldi_of_parts_of_files(tmp_path, parts, caplog):
    folder = tmp_path / "kaldi"
    export(parts, "kaldi", folder)
    assert table(folder / "wav.scp") == [
        f"long {tmp_path}/long.wav",
        f"long-1 {tmp_path}/long.wav",
        f"long-2 {tmp_path}/long.wav",
        f"mono {tmp_path}/mono.wav",
    ]
    assert table(folder / "segments") == [
        "a-1 long-1 0.100000 1.334567",
        "a-2 long-2 0.000000 4.000000",
        "lone long 1.500000 4.000000",
        "z-1 mono 0.000000 4.000000",
    ]
    assert table(folder / "reco2dur") == [f"{name} 4.000000" for name in ("long", "long-1", "long-2", "mono")]
    assert table(folder / "reco2file_and_channel") == ["long-1 long 1", "long-2 long 2"]
    assert table(folder / "utt2spk") == ["a-1 a", "a-2 a", "lone lone", "z-1 z"]
    assert "without text: 1 utterance, in wav.scp but not in text" in caplog.messages
    expected = {name: u for name, u in by_id(parts).items() if u.text is not None}
    expected["a-1"] = Utterance("a-1", tmp_path / "long.wav", 1.234567, "left", "a", 0.1, channel=0)
    assert by_id(read_kaldi(folder)) == expected


def test_a_line_that_is_the_beginning_of_a_file_gets_a_segment(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    export(write(tmp_path / "m.jsonl", [Utterance("a", tmp_path / "a.wav", 0.5, "x")]), "kaldi", tmp_path / "k")
    assert table(tmp_path / "k/segments") == ["a a 0.000000 0.500000"]


@pytest.mark.parametrize("which", ["corpus", "parts"])
def test_lhotse(tmp_path, request, which, caplog):
    manifest = request.getfixturevalue(which)
    folder = tmp_path / "lhotse"
    export(manifest, "lhotse", folder)
    assert caplog.messages == []
    assert list(read_lhotse(folder)) == list(manifest)
    recordings = [
        json.loads(line) for line in gzip.decompress((folder / "recordings.jsonl.gz").read_bytes()).splitlines()
    ]
    assert len({recording["id"] for recording in recordings}) == len(recordings)
    for recording in recordings:
        [source] = recording["sources"]
        header = soundfile.info(source["source"])
        assert Path(source["source"]).is_absolute()
        assert source["channels"] == recording["channel_ids"] == list(range(header.channels))
        assert (recording["sampling_rate"], recording["num_samples"]) == (header.samplerate, header.frames)
        assert recording["duration"] == header.frames / header.samplerate
    before = (folder / "supervisions.jsonl.gz").read_bytes()
    export(manifest, "lhotse", folder, force=True)
    assert (folder / "supervisions.jsonl.gz").read_bytes() == before


def test_lhotse_has_a_name_for_every_file(tmp_path):
    utterances = []
    for i, name in enumerate(("a/1.wav", "b/1.wav", "b/1.2.wav", "c/1.flac")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        soundfile.write(tmp_path / name, np.zeros(RATE), RATE)
        utterances.append(Utterance(f"u{i}", tmp_path / name, 1.0, speaker="s"))
    manifest = write(tmp_path / "m.jsonl", utterances)
    export(manifest, "lhotse", tmp_path / "l")
    assert list(read_lhotse(tmp_path / "l")) == utterances


NAMES = st.text(st.sampled_from("ab1-_. +é一\t"), min_size=1, max_size=4)


@given(st.lists(st.tuples(NAMES, st.none() | NAMES), max_size=8))
def test_ids_are_as_kaldi_demands(pairs):
    utterances = [Utterance(name, Path("a"), 1.0, speaker=speaker) for name, speaker in pairs]
    try:
        ids = _kaldi_ids(utterances)
    except ManifestError:  # two became one
        cleaned = {re.sub(r"[^\w.]", "_", name.strip()) for name, _ in pairs}
        assert len(cleaned) < len(pairs)
        return
    assert len({name for name, _ in ids}) == len(ids)
    assert all(word and not any(c.isspace() for c in word) for pair in ids for word in pair)
    ordered = sorted(ids, key=lambda pair: pair[0].encode())
    assert all(before[1].encode() <= after[1].encode() for before, after in pairwise(ordered))


def test_ids_get_their_speaker_only_where_the_order_needs_it():
    def ids(*pairs):
        return _kaldi_ids([Utterance(name, Path("a"), 1.0, speaker=speaker) for name, speaker in pairs])

    assert ids(("000010011", "0001"), ("000020001", "0002")) == [("000010011", "0001"), ("000020001", "0002")]
    assert ids(("u1", "b"), ("u2", "a")) == [("b-u1", "b"), ("a-u2", "a")]
    assert ids(("ann-1", "ann"), ("u", "ann-b")) == [("ann-1", "ann"), ("u", "ann-b")]
    assert ids(("ann-x", "ann"), ("ann-b-1", "ann-b")) == [("ann-x", "ann"), ("ann_b-ann-b-1", "ann_b")]
    with pytest.raises(ManifestError, match="given to more than one utterance: a_b"):
        ids(("a b", None), ("a_b", None))


def test_speakers_stay_apart(tmp_path, caplog):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    speakers = ["x 1", "x-1", "x_1", "a", "x"]
    utterances = [Utterance(f"u{i}", tmp_path / "a.wav", 1.0, "yes", name) for i, name in enumerate(speakers)]
    export(write(tmp_path / "m.jsonl", utterances), "kaldi", tmp_path / "k")
    assert {u.speaker for u in read_kaldi(tmp_path / "k")} == {"a", "x", "x_1", "x_1.2", "x_1.3"}
    assert caplog.messages == ["speakers with names that Kaldi cannot have: 3, such as 'x 1', now x_1"]


def test_any_channel_comes_back(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros((RATE, 12)), RATE)
    utterances = [Utterance(f"u{i:02}", tmp_path / "a.wav", 1.0, "yes", channel=i) for i in range(12)]
    export(write(tmp_path / "m.jsonl", utterances), "kaldi", tmp_path / "k")
    assert list(read_kaldi(tmp_path / "k")) == utterances


@pytest.mark.parametrize("name", ["space ", "tab\t", "pipe|", "two\nlines"])
def test_paths_that_wav_scp_cannot_hold(tmp_path, name):
    soundfile.write(tmp_path / name, np.zeros(RATE), RATE, format="WAV")
    manifest = write(tmp_path / "m.jsonl", [Utterance("a", tmp_path / name, 1.0)])
    with pytest.raises(ManifestError, match=r"wav.scp cannot hold a path .*; rename the file"):
        export(manifest, "kaldi", tmp_path / "k")


def test_files_are_not_overwritten_unless_forced_and_none_is_left_from_before(tmp_path, corpus, parts):
    folder = tmp_path / "k"
    export(parts, "kaldi", folder)
    with pytest.raises(ManifestError, match=r"wav\.scp: already exists; .*--force"):
        export(corpus, "kaldi", folder)
    export(corpus, "kaldi", folder, force=True)
    assert {path.name for path in folder.iterdir()} == set(KALDI_FILES[:5])
    assert by_id(read_kaldi(folder)) == by_id(corpus)


def test_audio_that_cannot_be_read_is_named_and_left_out(tmp_path, corpus):
    (tmp_path / "corpus/wav/y.wav").write_text("nothing")
    for to, read in (("kaldi", read_kaldi), ("lhotse", read_lhotse)):
        failed = []
        export(corpus, to, tmp_path / to, failed=failed.append)
        assert sorted(u.id for u in read(tmp_path / to)) == ["a-1", "b-10"]
        assert ["y.wav: not readable audio" in str(error) for error in failed] == [True]
    for path in (tmp_path / "corpus/wav").iterdir():
        path.unlink()
    with pytest.raises(ManifestError, match="no utterance whose audio can be read"):
        export(corpus, "kaldi", tmp_path / "none", failed=[].append)


def test_text_that_utf8_cannot_express(tmp_path, corpus):
    broken = write(tmp_path / "m.jsonl", [Utterance("a", next(iter(corpus)).audio, 0.3, "\ud800")])
    with pytest.raises(ManifestError, match="text: the line of 'a' cannot be written as UTF-8"):
        export(broken, "kaldi", tmp_path / "k")
    assert not list((tmp_path / "k").glob("*.part"))


def test_export_command(tmp_path, corpus):
    command = partial(asr, "data", "export")
    folder = tmp_path / "l"
    done = command(corpus.path, "--to", "lhotse", "--output", folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{folder}: 3 utterances\n", "")
    assert command(corpus.path, "--to", "espnet", "--output", folder).returncode == 2
    again = command(corpus.path, "--to", "lhotse", "--output", folder)
    assert again.returncode == 1
    assert again.stderr.startswith(f"error: {folder}/recordings.jsonl.gz: already exists")
