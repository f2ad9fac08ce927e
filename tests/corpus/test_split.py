"""Splits: no speaker in two parts, shares of the audio, the same for the same seed in whatever order lines come."""

import json
import random
from functools import partial
from pathlib import Path

import pytest
from helpers.command_line import asr
from hypothesis import given
from hypothesis import strategies as st

from asr.corpus.split import assign, split_manifest
from asr.data.manifest import Manifest, Utterance, write_manifest
from asr.errors import ManifestError

SHARES = {"dev": 0.1, "test": 0.1}


@pytest.fixture
def manifest(tmp_path) -> Path:
    """1,000 utterances of 50 speakers, some of whom say far more than others."""
    rng = random.Random(1)
    weights = [rng.uniform(0.2, 3) for _ in range(50)]
    speakers = rng.choices([f"s{i}" for i in range(50)], weights, k=1000)
    utterances = [
        Utterance(f"u{i}", tmp_path / f"wav/{i}.wav", rng.uniform(1, 15), f"text {i % 900}", speaker)
        for i, speaker in enumerate(speakers)
    ]
    write_manifest(tmp_path / "all.jsonl", utterances)
    return tmp_path / "all.jsonl"


def ids(path: Path) -> list[str]:
    return [utterance.id for utterance in Manifest(path)]


def test_no_speaker_in_two_parts_and_shares_of_the_audio(manifest):
    parts = split_manifest(manifest, SHARES)
    assert [part.path.name for part in parts] == ["train.jsonl", "dev.jsonl", "test.jsonl"]
    whole = list(Manifest(manifest))
    total = sum(u.duration for u in whole)
    found = [list(Manifest(part.path)) for part in parts]
    assert sorted(u.id for utterances in found for u in utterances) == sorted(u.id for u in whole)
    train, dev, test = ({u.speaker for u in utterances} for utterances in found)
    assert not train & dev
    assert not train & test
    assert not dev & test
    for part, utterances, share in zip(parts, found, (0.8, 0.1, 0.1), strict=True):
        assert utterances == [u for u in whole if u in utterances]
        assert part.utterances == len(utterances)
        assert part.seconds == pytest.approx(sum(u.duration for u in utterances))
        assert part.seconds / total == pytest.approx(share, abs=0.01)
        assert part.speakers == len({u.speaker for u in utterances})
        texts = {u.text for u in utterances}
        assert part.shared == (len(texts & {u.text for u in found[0]}), len(texts))


def test_the_order_of_lines_does_not_matter_but_the_seed_does(manifest, tmp_path):
    lines = manifest.read_text().splitlines()
    random.Random(2).shuffle(lines)
    (tmp_path / "shuffled.jsonl").write_text("\n".join(lines))
    for by in ("speaker", "utterance"):
        one = split_manifest(manifest, SHARES, tmp_path / f"{by}1", by=by)
        other = split_manifest(tmp_path / "shuffled.jsonl", SHARES, tmp_path / f"{by}2", by=by)
        seeded = split_manifest(manifest, SHARES, tmp_path / f"{by}3", by=by, seed=1)
        assert [sorted(ids(part.path)) for part in one] == [sorted(ids(part.path)) for part in other]
        assert set(ids(one[2].path)) != set(ids(seeded[2].path))


def spoken_by(path: Path) -> frozenset[str | None]:
    return frozenset(utterance.speaker for utterance in Manifest(path))


def test_the_seed_chooses_among_speakers_who_all_say_too_much(tmp_path):
    lengths = {"a": 10.0, "b": 11.0, "c": 12.4, "d": 10.0, "e": 10.5, "huge": 20.0}
    write_manifest(tmp_path / "m.jsonl", [Utterance(s, Path(s), length, speaker=s) for s, length in lengths.items()])
    chosen = []
    for seed in range(20):
        parts = split_manifest(tmp_path / "m.jsonl", SHARES, seed=seed, force=True)
        chosen += [spoken_by(part.path) for part in parts[1:]]
    assert set(chosen) == {frozenset(s) for s in "abcde"}


def test_hundredths_of_seconds_in_any_order_make_the_same_parts(tmp_path):
    for number in range(60):
        rng = random.Random(number)
        lines = [
            Utterance(f"u{i}", Path("a"), rng.randrange(1, 2000) / 100, speaker=f"s{rng.randrange(8)}")
            for i in range(200)
        ]
        lines += [Utterance(f"{u.id}x", u.audio, u.duration, speaker=f"{u.speaker}x") for u in lines]
        found = []
        for name in ("one", "other"):
            write_manifest(tmp_path / "m.jsonl", lines)
            parts = split_manifest(tmp_path / "m.jsonl", SHARES, tmp_path / name, force=True)
            found.append([spoken_by(part.path) for part in parts])
            rng.shuffle(lines)
        assert found[0] == found[1]


def test_a_speaker_spelled_in_two_ways_is_one(tmp_path):
    names = ("Jos\u00e9", "Jose\u0301", "Jos\u00e9 ")
    lines = [{"audio": f"{i}.wav", "duration": 1, "speaker": name} for i, name in enumerate((*names, "a", "b"))]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    parts = split_manifest(tmp_path / "m.jsonl", SHARES)
    assert [part.speakers for part in parts] == [1, 1, 1]


def test_by_utterance(manifest, tmp_path):
    parts = split_manifest(manifest, {"dev": 0.0, "test": 0.25}, tmp_path / "out", by="utterance")
    assert [part.path.name for part in parts] == ["train.jsonl", "test.jsonl"]
    assert sorted(name for part in parts for name in ids(part.path)) == sorted(ids(manifest))
    assert parts[1].seconds / sum(part.seconds for part in parts) == pytest.approx(0.25, abs=0.002)


@given(
    st.lists(st.floats(0, 100), min_size=3, max_size=30),
    st.tuples(st.floats(0.01, 0.45), st.floats(0.01, 0.45)),
    st.integers(0, 5),
)
def test_every_part_has_a_unit_and_none_grows_far_beyond_its_share(lengths, shares, seed):
    part_of = assign([str(i) for i in range(len(lengths))], lengths, shares, seed)
    assert set(part_of) == {0, 1, 2}
    for part, share in enumerate(shares, 1):
        own = [length for length, chosen in zip(lengths, part_of, strict=True) if chosen == part]
        assert len(own) == 1 or sum(own) <= share * sum(lengths) + max(own) / 2 + 1e-6


def test_lines_keep_their_keys_and_audio_is_found_from_another_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in/wav").mkdir(parents=True)
    lines = [
        {"audio": "wav/ü.wav", "duration": 1.0, "speaker": "a", "note": [1, None], "text": "grüße"},
        {"id": 2, "audio": "/far/x.wav", "duration": 2, "speaker": 7},
        {"audio_filepath": "../out/y.wav", "duration": 3, "offset": 1.5, "speaker": "c"},
        {"audio": "caf\udce9.wav", "duration": 1, "speaker": "a"},
    ]
    Path("in/m.jsonl").write_text("\ufeff" + "\n\n".join(map(json.dumps, lines)))
    split_manifest(Path("in/m.jsonl"), SHARES, Path("out"))
    found = [u for part in ("train", "dev", "test") for u in Manifest(f"out/{part}.jsonl")]
    assert {str(u.audio.resolve()): u.other for u in Manifest("in/m.jsonl")} == {
        str(u.audio.resolve()): u.other for u in found
    }
    assert {(u.id, u.text, u.start, u.speaker) for u in found} == {
        ("wav-ü", "grüße", 0.0, "a"),
        ("2", None, 0.0, "7"),
        ("..-out-y-0001500", None, 1.5, "c"),
        ("caf\udce9", None, 0.0, "a"),
    }
    assert {u.id for u in found} == {u.id for u in Manifest("in/m.jsonl")}
    written = [json.loads(line) for path in Path("out").iterdir() for line in path.read_text().splitlines()]
    assert {line["audio"] for line in written} == {
        f"{tmp_path}/in/wav/ü.wav",
        "/far/x.wav",
        "y.wav",
        f"{tmp_path}/in/caf\udce9.wav",
    }


def test_what_cannot_be_split(tmp_path):
    path = tmp_path / "m.jsonl"

    def write(*speakers: str | None) -> None:
        write_manifest(path, [Utterance(f"u{i}", Path("a"), 1.0, speaker=name) for i, name in enumerate(speakers)])

    write("a", "b", None, None)
    with pytest.raises(ManifestError, match=r"2 of 4 utterances have no speaker; .*--by utterance"):
        split_manifest(path, SHARES)
    assert [part.speakers for part in split_manifest(path, {"test": 0.5}, by="utterance")] in (
        [None, 2],
        [2, None],
        [None, None],
    )
    write("a", "a", "b")
    with pytest.raises(ManifestError, match="2 speakers cannot make 3 parts"):
        split_manifest(path, SHARES, force=True)
    write("a", "b")
    with pytest.raises(ManifestError, match="2 utterances cannot make 3 parts"):
        split_manifest(path, SHARES, by="utterance", force=True)
    write()
    with pytest.raises(ManifestError, match="0 speakers cannot make 3 parts"):
        split_manifest(path, SHARES, force=True)
    path.write_text('{"audio": "a", "duration": 1, "speaker": "a"}\n{"audio": "a"}\n')
    with pytest.raises(ManifestError, match="line 2: no 'duration'"):
        split_manifest(path, SHARES, force=True)
    assert not list(tmp_path.glob("*.part"))


def test_files_are_not_overwritten(manifest, tmp_path):
    split_manifest(manifest, SHARES)
    with pytest.raises(ManifestError, match=r"train\.jsonl: already exists; .*--force"):
        split_manifest(manifest, SHARES)
    before = (tmp_path / "train.jsonl").read_bytes()
    with pytest.raises(ManifestError, match="is one of the files to be written"):
        split_manifest(tmp_path / "train.jsonl", SHARES, force=True)
    assert (tmp_path / "train.jsonl").read_bytes() == before
    split_manifest(manifest, SHARES, force=True, seed=3)
    assert (tmp_path / "train.jsonl").read_bytes() != before


def test_split_command(manifest, tmp_path):
    split = partial(asr, "data", "split")
    done = split(manifest, "--dev", 0.05, "--output-dir", tmp_path / "out")
    assert done.returncode == 0
    train, dev, test = done.stdout.splitlines()
    assert train.startswith(f"{tmp_path}/out/train.jsonl: ")
    assert dev.startswith(f"{tmp_path}/out/dev.jsonl: ")
    assert test.endswith(" speakers")
    assert "different texts are in train.jsonl too" in done.stderr
    assert split(manifest, "--dev", 0.5, "--test", 0.5).returncode == 2
    assert split(manifest, "--by", "text").returncode == 2
    assert split(tmp_path / "none.jsonl").stderr == f"error: {tmp_path}/none.jsonl: No such file or directory\n"
