"""Corpora as others lay them out: utterances come with the right audio, text and speaker; what is wrong is named."""

import json
import shutil
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import soundfile
from helpers.command_line import asr
from hypothesis import given
from hypothesis import strategies as st

from asr.cli.data import Layout
from asr.corpus.layouts import LAYOUTS, detect_layout, read_audio_alone, read_folder, read_librispeech
from asr.corpus.layouts.common import AudioFinder, require_unique_ids
from asr.data.manifest import Manifest, Utterance
from asr.errors import AsrError, AudioError, ManifestError

RATE = 8000


def test_folder_of_speakers(tmp_path, record, write, caplog):
    record("corpus/anna/1.flac", 0.25)
    record("corpus/bob/deep/1.wav", 0.5)
    record("corpus/bob/2.wav")
    record("corpus/bob/2.ogg")
    write("corpus/anna/1.txt", "\ufeff  Guten  Tag,\r\nHerr Müller \r\n")
    write("corpus/bob/deep/1.TXT", "")
    write("corpus/README.txt", "about")
    failed = []
    assert list(read_folder(tmp_path, failed=failed.append)) == [
        Utterance("corpus-anna-1", tmp_path / "corpus/anna/1.flac", 0.25, "Guten Tag, Herr Müller", "anna"),
        Utterance("corpus-bob-deep-1", tmp_path / "corpus/bob/deep/1.wav", 0.5, "", "bob"),
    ]
    assert caplog.messages == [
        f"audio without a text beside it: 1, such as {tmp_path}/corpus/bob/2.ogg",
        f"text without audio beside it: 1, such as {tmp_path}/corpus/README.txt",
        f"speakers are the 2 sub-folders of {tmp_path}/corpus, such as anna",
    ]
    twice = f"{tmp_path}/corpus/bob/2.wav: left out, as 2.ogg is there too; rename or delete one of them"
    assert list(map(str, failed)) == [twice]


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
    with pytest.raises(AudioError, match="No such file"):
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
    with pytest.raises(ManifestError, match=r"y/a\.wav: the id 'a' is that of an utterance before it"):
        list(require_unique_ids(twice))
    failed = []
    assert list(require_unique_ids(twice, failed.append)) == twice[:2]
    assert len(failed) == 1
    assert list(require_unique_ids(twice[:2])) == twice[:2]
    with pytest.raises(ManifestError, match="no utterance"):
        list(require_unique_ids([]))


def test_the_command_offers_every_layout():
    assert get_args(Layout) == tuple(LAYOUTS)


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


def test_import_command(tmp_path, record, write):
    record("corpus/wav/a.wav")
    record("corpus/wav/b.wav")
    write("corpus/wav/cut.wav", "nothing")
    table = write("corpus/list.csv", "a.wav;eins;A\nb.wav;zwei;B\ncut.wav;drei;C\n")
    output = tmp_path / "made/here/m.jsonl"
    command = ["data", "import", tmp_path / "corpus", "--output", output, "--audio", "1", "--text", "2", "--speaker", 3]
    done = asr(*command)
    assert (done.returncode, done.stdout) == (1, f"{output}: 2 utterances, 1.0 s, 2 speakers\n")
    assert f"reading {table} as table\naudio from column 1, text from column 2, speaker from column 3" in done.stderr
    assert "cut.wav: not readable audio" in done.stderr
    assert done.stderr.endswith("left out: 1\n")
    assert [(u.text, u.audio) for u in Manifest(output)] == [
        ("eins", tmp_path / "corpus/wav/a.wav"),
        ("zwei", tmp_path / "corpus/wav/b.wav"),
    ]
    again = asr("data", "import", output, "--output", tmp_path / "again.jsonl")
    assert (again.returncode, again.stderr.splitlines()[0]) == (0, f"reading {output} as a manifest")
    before = output.read_bytes()
    assert "--force" in asr(*command).stderr
    table.write_text("none.wav;x\n")
    nothing = asr(*command[:9], "--force")
    assert (nothing.returncode, nothing.stderr.splitlines()[-1]) == (
        1,
        "error: no utterance could be read; nothing is written",
    )
    assert output.read_bytes() == before
    assert asr("data", "import", tmp_path, "--output", tmp_path / "x.jsonl", "--layout", "kaldy").returncode == 2


def test_two_files_of_one_stem_and_a_length_nobody_knows(tmp_path, record):
    """The rest is written, and every line can be read again."""
    for name in ("a.flac", "a.wav", "b.flac"):
        record(f"corpus/{name}", 0.25)
    flac = bytearray((tmp_path / "corpus/b.flac").read_bytes())
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)  # the number of samples, 0 for unknown: a flac written to a pipe
    (tmp_path / "corpus/b.flac").write_bytes(flac)
    output = tmp_path / "m.jsonl"
    done = asr("data", "import", tmp_path / "corpus", "--layout", "audio", "--output", output)
    assert done.returncode == 1
    assert "corpus/a.wav: the id 'a' is that of an utterance before it" in done.stderr
    durations = {u.audio.name: u.duration for u in Manifest(output)}
    assert durations.pop("a.flac") == 0.25
    if shutil.which("ffmpeg"):
        assert durations == {"b.flac": 0.25}
    else:
        assert durations == {}
        assert "b.flac: its header does not tell its length; to read it, put an ffmpeg on the PATH" in done.stderr
