"""Every recipe's prepare.py and run.sh, on small corpora in the true layouts of their archives."""

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from string import ascii_lowercase

import pytest
from helpers import ROOT
from helpers.servers import archive, pack, serving, sound

from asr.corpus.recipe import load, prepare
from asr.data.manifest import Manifest
from asr.errors import DownloadError

TEXTS = ("ONE AND ONE", "IT'S TWO", "NO MORE")
MANDARIN = ("一 加 一", "等于 二", "没有 了")
# Speakers of Speech Commands by their part in its published lists.
SPEAKERS = {"train": "f21893dc fa44fcf5", "dev": "439c84f4 fc94edb0 fd32732a", "test": "bb05582b f292725f fe1916ba"}
VOICES = {speaker: part for part, speakers in SPEAKERS.items() for speaker in speakers.split()}
TABLE = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tvariant\tlocale\tsegment\n"


def yesno(suffix=".wav"):
    for number in range(0, 240, 10):
        labels = f"{number:08b}"
        yield f"waves_yesno/{'_'.join(labels)}{suffix}", sound(suffix, 8000, 2.4, 300 + number)


def digits(suffix=".wav"):
    for speaker in ("ann", "bob"):
        for take in (0, 5, 10):
            for digit in range(10):
                name = f"free-spoken-digit-dataset-1.0.10/recordings/{digit}_{speaker}_{take}{suffix}"
                yield name, sound(suffix, 8000, 0.3, 300 + 100 * digit)


def librispeech(part, speakers):
    def files(suffix=".flac"):
        yield "LibriSpeech/README.TXT", "about the corpus\n"
        for speaker in speakers:
            folder = f"LibriSpeech/{part}/{speaker}/{speaker}0"
            for number in range(len(TEXTS)):
                name = f"{folder}/{speaker}-{speaker}0-{number:04}{suffix}"
                yield name, sound(suffix, 16_000, pitch=200 + int(speaker) + number)
            lines = [f"{speaker}-{speaker}0-{number:04} {text}\n" for number, text in enumerate(TEXTS)]
            yield f"{folder}/{speaker}-{speaker}0.trans.txt", "".join(lines)

    return files


def ljspeech(suffix=".wav"):
    yield "LJSpeech-1.1/README", "about the corpus\n"
    names = [f"LJ{chapter:03}-{number:04}" for chapter in (1, 2) for number in range(1, 21)]
    yield "LJSpeech-1.1/metadata.csv", "".join(f'{name}|"In 1,{name[-2:]}|"In one, two\n' for name in names)
    for number, name in enumerate(names):
        yield f"LJSpeech-1.1/wavs/{name}{suffix}", sound(suffix, 22_050, pitch=200 + number)


def speechocean762(suffix=".WAV"):
    for half, speakers in (("train", range(1, 24, 2)), ("test", range(2, 10, 2))):
        names = [f"{speaker:05}{number:04}" for speaker in speakers for number in range(2)]
        audio = {name: f"WAVE/SPEAKER{name[1:5]}/{name}" for name in names}
        yield f"speechocean762/{half}/wav.scp", "".join(f"{name}\t{audio[name]}.WAV\n" for name in names)
        yield f"speechocean762/{half}/text", "".join(f"{name}\t{TEXTS[int(name) % 3]}\n" for name in names)
        yield f"speechocean762/{half}/utt2spk", "".join(f"{name} {name[1:5]}\n" for name in names)
        yield f"speechocean762/{half}/spk2age", "".join(f"{speaker:04} 6\n" for speaker in speakers)
        for name in names:
            yield f"speechocean762/{audio[name]}{suffix}", sound(suffix, 16_000, pitch=200 + int(name) % 1000)
    yield "speechocean762/resource/scores.json", "{}"


def speech_commands(suffix=".wav", lists=("testing_list.txt", "validation_list.txt")):
    recordings = [f"{word}/{speaker}_nohash_{take}" for word in ("yes", "no") for speaker in VOICES for take in (0, 1)]
    for number, name in enumerate(recordings):
        yield f"./{name}{suffix}", sound(suffix, 16_000, 1.0, 200 + number)
    yield f"./_background_noise_/doing_the_dishes{suffix}", sound(suffix, 16_000, 3.0)
    for file, part in (("testing_list.txt", "test"), ("validation_list.txt", "dev")):
        if file in lists:
            names = [f"{name}.wav\n" for name in recordings if VOICES[name.split("/")[1][:8]] == part]
            yield f"./{file}", "".join(names)


def common_voice(suffix=".mp3"):
    folder = "cv-corpus-21.0-2025-03-14/cy"
    for part, speakers in (("train", ("a", "b")), ("dev", ("c",)), ("test", ("d",)), ("other", ("e",))):
        rows = ""
        for speaker in speakers:
            for number, text in enumerate(("Un, dau!", "Mae'n \"dda", "Tŷ bach")):
                name = f"common_voice_cy_{ord(speaker)}{number}"
                rows += f"{speaker * 128}\t{name}.mp3\t{text}\t2\t0\t\t\t\t\tcy\t\n"
                yield f"{folder}/clips/{name}{suffix}", sound(suffix, 32_000, pitch=200 + ord(speaker) + number)
        yield f"{folder}/{part}.tsv", TABLE + rows


def aishell(suffix=".wav"):
    rows = []
    for part, speakers in (("train", ("S0002", "S0003")), ("dev", ("S0724",)), ("test", ("S0764",))):
        for speaker in speakers:
            names = [f"BAC009{speaker}W{number:04}" for number in range(4)]
            rows += [f"{name} {text}\n" for name, text in zip(names, MANDARIN, strict=False)]  # the fourth has none
            inner = [(f"{part}/{speaker}/{name}{suffix}", sound(suffix, 16_000)) for name in names]
            yield f"data_aishell/wav/{speaker}.tar.gz", archive(inner)
    yield "data_aishell/transcript/aishell_transcript_v0.8.txt", "".join(rows)


@dataclass(frozen=True)
class Corpus:
    """Its archives and the files in them, how many utterances each part then has, and its recordings' other format."""

    archives: dict[str, Callable[..., Iterable[tuple[str, bytes | str]]]]
    parts: dict[str, int]
    other_suffix: str = ".flac"


CORPORA = {
    "yesno": Corpus(
        {"openslr/1/waves_yesno.tar.gz": yesno},
        {"train": 10, "dev": 2, "test": 12, "kaldi_train": 10, "kaldi_dev": 2, "kaldi_test": 12},
    ),
    "digits": Corpus(
        {"digits/v1.0.10.tar.gz": digits},
        {"train": 20, "test_single": 20, "dev": 200, "test": 500, "test_noisy": 500}
        | {"heldout_ann": 200, "heldout_bob": 200},
    ),
    "mini_librispeech": Corpus(
        {
            "openslr/31/train-clean-5.tar.gz": librispeech("train-clean-5", ("19", "32", "226", "7312")),
            "openslr/31/dev-clean-2.tar.gz": librispeech("dev-clean-2", ("84", "174")),
        },
        {"train": 6, "dev": 6, "test": 6},
        ".wav",
    ),
    "librispeech": Corpus(
        {
            f"openslr/12/{part}.tar.gz": librispeech(part, (speaker,))
            for part, speaker in (
                *(("train-clean-100", "19"), ("dev-clean", "84"), ("dev-other", "116")),
                *(("test-clean", "61"), ("test-other", "367")),
            )
        },
        {"train-clean-100": 3, "train": 3, "dev-clean": 3, "dev-other": 3, "test-clean": 3, "test-other": 3},
        ".wav",
    ),
    "ljspeech": Corpus({"ljspeech/LJSpeech-1.1.tar.bz2": ljspeech}, {"train": 36, "dev": 2, "test": 2}),
    "speechocean762": Corpus({"openslr/101/speechocean762.tar.gz": speechocean762}, {"train": 20, "dev": 4, "test": 8}),
    "speech_commands": Corpus(
        {"speech_commands/speech_commands_v0.02.tar.gz": speech_commands}, {"train": 8, "dev": 12, "test": 12}
    ),
    "common_voice": Corpus(
        {"common_voice/cv-corpus-21.0-2025-03-14-cy.tar.gz": common_voice}, {"train": 6, "dev": 3, "test": 3}
    ),
    "aishell": Corpus({"openslr/33/data_aishell.tgz": aishell}, {"train": 6, "dev": 3, "test": 3}),
    "english": Corpus(
        {
            "openslr/31/train-clean-5.tar.gz": librispeech("train-clean-5", ("19", "32", "226", "7312")),
            "openslr/31/dev-clean-2.tar.gz": librispeech("dev-clean-2", ("84", "174")),
            "openslr/12/train-clean-100.tar.gz": librispeech("train-clean-100", ("19",)),  # in train-clean-5 as well
            "openslr/101/speechocean762.tar.gz": speechocean762,
            "ljspeech/LJSpeech-1.1.tar.bz2": ljspeech,
        },
        {"train": 60 + 200, "dev": 10, "test": 6, "test_speechocean762": 10, "test_ljspeech": 4, "test_sounds": 24},
    ),
}
EVERYWHERE = {"yesno", "digits", "ljspeech"}  # whose speakers are in all parts
IN_BOTH = ({"train", "train-clean-100"}, {"train", "test_ljspeech"}, {"train", "test_sounds"})


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr("asr.corpus.download.PAUSE_S", 0.001)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A mirror's folder with the archives of all recipes."""
    folder = tmp_path_factory.mktemp("mirror")
    for corpus in CORPORA.values():
        for path, files in corpus.archives.items():
            pack(folder / path, files())
    return folder


@pytest.fixture
def server(folder):
    with serving(folder) as server:
        yield server


def read(home):
    """{part: its utterances}."""
    return {path.stem: list(Manifest(path)) for path in sorted(home.glob("*.jsonl"))}


def counts(parts):
    return {part: len(utterances) for part, utterances in parts.items()}


@pytest.mark.parametrize("name", CORPORA)
def test_every_transfer_breaks_off_once_and_goes_on(server, tmp_path, name):
    archives = list(CORPORA[name].archives)
    server.broken |= set(archives)
    sources = [f"{server.url}/{archives[0]}?signature=of+this+day"] if name == "common_voice" else []
    parts = read(prepare(ROOT / "recipes" / name, tmp_path, server.url, False, sources=sources))
    assert counts(parts) == CORPORA[name].parts
    for path in archives:
        (first, sent), (resumed_at, rest) = [row[1:] for row in server.sent if row[0] == path]
        assert (first, resumed_at) == (0, sent)
        assert sent + rest == (server.folder / path).stat().st_size
    assert {row[0] for row in server.sent} == set(archives)
    for utterances in parts.values():
        for utterance in utterances:
            assert utterance.audio.is_file()
            assert utterance.duration > 0.2
            assert utterance.speaker
            assert (utterance.text == "") == (utterance.other.get("corpus") == "sounds")
        assert len({utterance.id for utterance in utterances}) == len(utterances)
    if name not in EVERYWHERE:
        speakers = {part: {utterance.speaker for utterance in utterances} for part, utterances in parts.items()}
        for one, other in combinations(speakers, 2):
            assert not speakers[one] & speakers[other] or {one, other} in IN_BOTH


@pytest.mark.parametrize("name", [name for name in CORPORA if name != "digits"])  # whose strings are made anew
def test_a_corpus_that_is_there_in_another_format_is_used_in_place(tmp_path, name):
    for path, files in CORPORA[name].archives.items():
        with tarfile.open(pack(tmp_path / path, files(CORPORA[name].other_suffix))) as tar:
            tar.extractall(tmp_path / "here", filter="data")
    home = prepare(ROOT / "recipes" / name, tmp_path / "data", None, True, sources=[str(tmp_path / "here")])
    parts = read(home)
    assert counts(parts) == CORPORA[name].parts
    assert not list(home.rglob("*.tar*"))
    in_place = [u for utterances in parts.values() for u in utterances if u.audio.is_relative_to(tmp_path / "here")]
    assert in_place or name == "aishell"
    assert {utterance.audio.suffix for utterance in in_place} <= {CORPORA[name].other_suffix}


def test_texts_speakers_and_languages(folder, tmp_path):
    first = {}
    for name in ("mini_librispeech", "ljspeech", "speechocean762", "speech_commands", "common_voice", "aishell"):
        first[name] = read(prepare(ROOT / "recipes" / name, tmp_path, str(folder), False))["dev"]
    shown = {name: (u[0].id, u[0].text, u[0].speaker, u[0].lang) for name, u in first.items()}
    assert shown == {
        "mini_librispeech": ("32-320-0000", "ONE AND ONE", "32", None),
        "ljspeech": ("LJ001-0010", '"In one, two', "LJ", None),
        "speechocean762": ("000010000", "IT'S TWO", "0001", None),
        "speech_commands": ("no_439c84f4_nohash_0", "no", "439c84f4", None),
        "common_voice": ("common_voice_cy_990", "Un, dau!", "c" * 128, "cy"),
        "aishell": ("BAC009S0724W0000", "一加一", "S0724", "zh"),
    }
    assert first["common_voice"][1].text == "Mae'n \"dda"


def with_sums_of(folder, tmp_path, name):
    """A copy of a recipe with the checksums of the archives here for the published ones; and these by path."""
    text = (ROOT / "recipes" / name / "prepare.py").read_text(encoding="utf-8")
    summed = {}
    for one in load(ROOT / "recipes" / name / "prepare.py").ARCHIVES:
        for kind in ("sha256", "md5"):
            published = getattr(one, kind)
            if published and (folder / one.path).is_file():
                assert published in text
                summed[one.path] = hashlib.new(kind, (folder / one.path).read_bytes()).hexdigest()
                text = text.replace(published, summed[one.path])
    copy = tmp_path / name
    copy.mkdir()
    (copy / "prepare.py").write_text(text, encoding="utf-8")
    return copy, summed


@pytest.mark.parametrize("name", CORPORA)
def test_a_wrong_byte_is_refused_and_nothing_unpacked(server, tmp_path, name):
    recipe, summed = with_sums_of(server.folder, tmp_path, name)
    path = next(iter(CORPORA[name].archives))
    server.spoilt.add(path)
    how = {"sources": [f"{server.url}/{path}"]} if name == "common_voice" else {}
    # Where nothing is published the archive's own checksum, of gzip or bzip2, tells.
    wrong = f"is [0-9a-f]+, published is {summed[path]}; not used" if path in summed else "cannot be unpacked"
    with pytest.raises(DownloadError, match=wrong):
        prepare(recipe, tmp_path / "data", server.url, True, **how)
    assert not [file for file in (tmp_path / "data" / name).glob("corpus/*/**/*") if file.is_file()]
    for damaged in (tmp_path / "data").rglob(Path(path).name):
        damaged.unlink()  # to get it again, as the error says
    assert counts(read(prepare(recipe, tmp_path / "data", server.url, True, **how))) == CORPORA[name].parts


def test_english_takes_what_a_mirror_folder_has_besides(folder, tmp_path, caplog):
    mirror = tmp_path / "mirror"
    shutil.copytree(folder, mirror)
    renamed = [(path.replace("-cy", "-en"), text) for path, text in common_voice()]
    pack(mirror / "common_voice" / "cv-corpus-21.0-2025-03-14-en.tar.gz", renamed)
    clips = "cv-corpus-13.0/en/clips"
    heard = "path\tsentence\tavg_logprob\n" + "".join(f"common_voice_en_{n}.mp3\tIt is {n}.\t-0.1\n" for n in (1, 2))
    # The third clip is by a speaker of the other archive's test part; the fourth is among its clips already.
    rows = TABLE + "".join(
        f"{speaker * 128}\t{name}.mp3\tA clip.\t2\t0\t\t\t\t\ten\t\n"
        for speaker, name in (("a", "common_voice_en_3"), ("d", "common_voice_en_4"), ("a", "common_voice_cy_970"))
    )
    sounds = [(f"{clips}/common_voice_en_{n}.mp3", sound(".mp3", 32_000, pitch=300 + n)) for n in (1, 2, 3, 4)]
    sounds.append((f"{clips}/common_voice_cy_970.mp3", sound(".mp3", 32_000)))
    tables = [("cv-corpus-13.0/en/machine.tsv", heard), ("cv-corpus-13.0/en/train.tsv", rows)]
    pack(mirror / "english" / "cv-corpus-21.0-2025-03-14-en.tar.gz", [*sounds, *tables])  # of the same name
    pack(mirror / "english" / "kathleen.tar.gz", [("kathleen/arctic_a0001_1.opus", sound(".opus", 16_000)),
                                                   ("kathleen/arctic_a0001_1.txt", "Author of it.")])  # fmt: skip
    pack(
        mirror / "noise" / "esc10.tar.gz",
        [(f"esc10/rain/{fold}-17367-A.opus", sound(".opus", 16_000)) for fold in (1, 5)],
    )
    home = prepare(ROOT / "recipes" / "english", tmp_path / "data", str(mirror), False)
    caplog.set_level("INFO")
    prepare(ROOT / "recipes" / "english", tmp_path / "data", str(mirror), False)
    parts = read(home)
    assert counts(parts) == CORPORA["english"].parts | {
        "train": 60 + 6 + 1 + 2 + 1 + 201, "dev": 10 + 3, "test_common_voice": 3, "noise": 1, "test_sounds": 24 + 1
    }  # fmt: skip
    corpora = Counter(utterance.other["corpus"] for utterance in parts["train"])
    assert corpora == {
        **{"librispeech": 6, "speechocean762": 18, "ljspeech": 36},
        **{"common_voice": 7, "common_voice_machine": 2, "kathleen": 1, "sounds": 201},
    }
    assert parts["noise"][0].text is None
    assert "already prepared" in caplog.text
    pack(mirror / "english" / "more.tar.gz", [("kathleen/arctic_a0002_1.opus", sound(".opus", 16_000, pitch=400)),
                                              ("kathleen/arctic_a0002_1.txt", "Not at this.")])  # fmt: skip
    assert len(read(prepare(ROOT / "recipes" / "english", tmp_path / "data", str(mirror), False))["train"]) == 71 + 201


def test_librispeech_has_large_parts_only_when_asked(folder, tmp_path):
    mirror = tmp_path / "mirror"
    for part, speaker in (("train-clean-100", "19"), ("train-clean-360", "14")):
        pack(mirror / f"openslr/12/{part}.tar.gz", librispeech(part, (speaker,))())
    recipe = ROOT / "recipes" / "librispeech"
    home = prepare(recipe, tmp_path / "data", str(mirror), False, parts=["train-clean-100"])
    assert counts(read(home)) == {"train-clean-100": 3, "train": 3}
    prepare(recipe, tmp_path / "data", str(mirror), False, parts=["train-clean-100", "train-clean-360"])
    assert counts(read(home)) == {"train-clean-100": 3, "train-clean-360": 3, "train": 6}


@pytest.mark.parametrize("lists", [(), ("testing_list.txt",)])
def test_speech_commands_without_both_lists_is_split_by_their_rule(folder, tmp_path, lists):
    path = "speech_commands/speech_commands_v0.02.tar.gz"
    pack(tmp_path / "mirror" / path, speech_commands(lists=lists))
    with_lists, without = [
        read(prepare(ROOT / "recipes" / "speech_commands", tmp_path / data, str(mirror), False))
        for data, mirror in (("with", folder), ("without", tmp_path / "mirror"))
    ]
    for part in ("train", "dev", "test"):
        assert [u.id for u in without[part]] == [u.id for u in with_lists[part]]


def test_a_clip_that_cannot_be_read_is_left_out_and_named(tmp_path, capsys):
    files = dict(common_voice())
    name = next(name for name in files if name.endswith(".mp3"))
    files[name] = b""
    path = "common_voice/cv-corpus-21.0-2025-03-14-cy.tar.gz"
    pack(tmp_path / path, files.items())
    home = prepare(ROOT / "recipes" / "common_voice", tmp_path / "data", str(tmp_path), False)
    assert counts(read(home)) == {"train": 5, "dev": 3, "test": 3}
    assert f"left out: {home / 'corpus' / Path(path).name.removesuffix('.tar.gz') / name}" in capsys.readouterr().err


def test_aishell_unpacked_by_hand_beside_its_archives(folder, tmp_path):
    with tarfile.open(folder / "openslr/33/data_aishell.tgz") as tar:
        tar.extractall(tmp_path, filter="data")
    wav = tmp_path / "data_aishell" / "wav"
    for inner in wav.glob("S00*.tar.gz"):
        with tarfile.open(inner) as tar:
            tar.extractall(wav, filter="data")
    sources = [str(tmp_path / "data_aishell")]
    parts = read(prepare(ROOT / "recipes" / "aishell", tmp_path / "data", None, True, sources=sources))
    assert counts(parts) == CORPORA["aishell"].parts
    assert {utterance.audio.is_relative_to(wav) for utterance in parts["train"]} == {True}
    assert {utterance.audio.is_relative_to(wav) for utterance in parts["dev"]} == {False}


def run(name, folder, tmp_path, *arguments, **environment):
    """A recipe's script as in its README."""
    variables = {**os.environ, "MIRROR": str(folder), "VERIFY": "0", **environment}
    settings = (
        "train.epochs=1",
        "train.batch_seconds=10",
        "model.layers=1",
        "model.hidden_size=8",
        "data.workers=0",
        "device=cpu",
    )
    return subprocess.run(
        ["bash", str(ROOT / "recipes" / name / "run.sh"), *arguments, *settings],
        cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="run.sh needs bash")
RUN_HERE = [name for name in CORPORA if name not in ("yesno", "digits", "mini_librispeech", "english")]


@needs_bash
@pytest.mark.usefixtures("quick_asr")
@pytest.mark.slow
@pytest.mark.parametrize("name", RUN_HERE)
def test_run_from_archive_to_wer(folder, tmp_path, name):
    done = run(name, folder, tmp_path)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "runs" / name / "eval" / "wer.json").read_text())
    assert record["utterances"] == CORPORA[name].parts["test-clean" if name == "librispeech" else "test"]
    assert record["manifest"].startswith(f"data/{name}/test")


@needs_bash
@pytest.mark.usefixtures("quick_asr")
@pytest.mark.slow
def test_run_english_by_kind_of_speech(folder, tmp_path):
    words = sorted({word for text in (*TEXTS, "IN ONE TWO") for word in text.lower().split()})
    (tmp_path / "data" / "cmudict").mkdir(parents=True)
    letters = sorted({*"".join(words)} - {"'"})  # what the texts teach; numbers need the others
    phone_of = {letter: letters[place % len(letters)].upper() for place, letter in enumerate(ascii_lowercase)}
    phone_of |= {letter: letter.upper() for letter in letters} | {"'": "Q"}
    spelled = [*words, *ascii_lowercase]
    dictionary = "".join(f"{word} {' '.join(phone_of[letter] for letter in word)}\n" for word in spelled)
    (tmp_path / "data" / "cmudict" / "cmudict-en-us.dict").write_text(dictionary)
    (tmp_path / "text.txt").write_text(f"{' '.join(words)}\n" * 30)
    quick = ("augment.codec.prob=0", "train.ctc_epochs=0", "augment.reverb.prob=0", "compose.utterances_per_epoch=60")
    done = run("english", folder, tmp_path, *quick, TEXT=str(tmp_path / "text.txt"))
    assert done.returncode == 0, done.stderr
    records = {path.parent.name: json.loads(path.read_text()) for path in (tmp_path / "runs").rglob("eval/**/wer.json")}
    assert {name: record["utterances"] for name, record in records.items()} == {
        "eval": 6, "speechocean762": 10, "ljspeech": 4, "sounds": 24
    }  # fmt: skip
    assert records["eval"]["decoder"]["kind"] == "beam"


@needs_bash
@pytest.mark.usefixtures("quick_asr")
def test_run_refuses_what_it_does_not_know(folder, tmp_path):
    for name, argument in (("librispeech", "hours=500"), ("ljspeech", "run=here"), ("ljspeech", "model.cel=gru")):
        done = run(name, folder, tmp_path, argument)
        assert done.returncode in (1, 2)
        assert argument.split("=")[0] in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "runs").exists()
