"""Every defect is found under its own name and no other; what is sound gives no finding."""

import json
import os
from functools import partial

import numpy as np
import pytest
import soundfile
from helpers.command_line import asr
from helpers.spoilt import RATE, WORDS, Corpus, found, noise, settings

from asr.config import parse_config
from asr.corpus.check import check, fix
from asr.corpus.check.findings import MAX_EXAMPLES
from asr.corpus.check.lines import CheckSettings
from asr.data.manifest import Manifest
from asr.data.subset import read_subset
from asr.data.training import TrainingData
from asr.errors import ManifestError
from asr.text import Tokenizer


def no_speech(c):
    c.write(4, 0.001 * noise(seed=4))


def wild(c):
    samples = noise(seed=4)
    samples[500] = np.inf
    c.write(4, samples, subtype="FLOAT")


def flat_tops(c):
    c.write(4, (20 * noise(seed=4)).clip(-1, 1))


def folder_for_audio(c):
    (c.folder / "4.wav").unlink()
    (c.folder / "4.wav").mkdir()


def link_to_itself(c):
    (c.folder / "4.wav").unlink()
    (c.folder / "4.wav").symlink_to("4.wav")


def same_sound(c):
    c.write(4, noise(seed=3))


def same_text(c):
    for line in c.lines[:9]:
        line["text"] = "the same again"


def half(c):
    soundfile.write(c.folder / "4.flac", noise(seed=4), RATE)
    (c.folder / "4.flac").write_bytes((c.folder / "4.flac").read_bytes()[:3000])
    c.lines[4]["audio"] = "4.flac"


AT_THE_FASTEST = "too few frames at the fastest speed"


DEFECTS = {
    "missing text": lambda c: c.lines[4].pop("text"),
    "empty text": lambda c: c.lines[4].update(text=" ?! "),
    "too few frames for CTC": lambda c: c.lines[4].update(text="aabbccddee aabbccddee"),
    "duplicate id": lambda c: c.lines[4].update(id="u3"),
    "unknown symbol": lambda c: c.lines[4].update(text="the quick öxö"),
    "missing audio": lambda c: c.lines[4].update(audio="nowhere.wav"),
    "missing audio, a link to itself": link_to_itself,
    "unreadable audio": lambda c: (c.folder / "4.wav").write_bytes(b"this is not audio" * 99),
    "unreadable audio, 0 bytes": lambda c: (c.folder / "4.wav").write_bytes(b""),
    "unreadable audio, a folder": folder_for_audio,
    "unreadable audio, cut in the middle": half,
    "unreadable audio, no such channel": lambda c: c.lines[4].update(channel=1),
    "audio shorter than its line says": lambda c: c.lines[4].update(duration=1.3),
    "audio shorter than its line says, from its start": lambda c: c.lines[4].update(start=0.5),
    "audio without samples": lambda c: c.write(4, np.zeros(0)),
    "NaN or infinite samples": wild,
    "digits in text": lambda c: c.lines[4].update(text="chapter 12"),
    "rare symbol": lambda c: c.lines[4].update(text="the quæck fox"),
    "rare symbol, an accent": lambda c: c.lines[4].update(text="the quick brôwn"),
    "word in another script": lambda c: c.lines[4].update(text="the quick brоwn"),  # a Cyrillic о
    "word in another script, all of it": lambda c: c.lines[4].update(text="the quick привет"),
    "word in another script, Greek": lambda c: c.lines[4].update(text="the λόγος fox"),
    "word in another script, none but these": lambda c: c.lines[4].update(text="我们说中文"),
    "mark in text": lambda c: c.lines[4].update(text="the [loud noise] quick"),
    "mark in text, a tag": lambda c: c.lines[4].update(text="<laugh> the quick"),
    "mark in text, an entity": lambda c: c.lines[4].update(text="the &quick; lazy"),
    "symbol left out": lambda c: c.lines[4].update(text="the % quick"),
    "symbol left out, of money": lambda c: c.lines[4].update(text="the quick € dog"),
    "odd duration": lambda c: (c.lines[4].update(duration=8.0, text=" ".join(WORDS)), c.write(4, noise(8, seed=4))),
    "odd pace": lambda c: c.lines[4].update(text="a"),
    "missing speaker": lambda c: c.lines[4].pop("speaker"),
    "duplicate audio": same_sound,
    "audio longer than its line says": lambda c: c.write(4, noise(1.5, seed=4)),
    "sample rates differ": lambda c: c.write(4, noise(seed=4, rate=16000), 16000),
    "several channels": lambda c: c.write(4, np.stack([noise(seed=4), noise(seed=5)], axis=1)),
    "near silence": no_speech,
    "clipping": flat_tops,
    "offset": lambda c: c.write(4, noise(seed=4) + 0.05),
}


@pytest.mark.parametrize("case", DEFECTS)
def test_every_defect_under_its_own_name_and_nothing_else(corpus, case):
    DEFECTS[case](corpus)
    name = case.partition(",")[0]
    tokenizer = Tokenizer.build("characters", [*WORDS, " "]) if name == "unknown symbol" else None
    report = check([corpus.manifest()], settings(tokenizer))
    assert list(found(report)) == [name]
    result = found(report)[name]
    if result.unit == "utterance":
        assert result.count == 1
        assert result.examples[0].what == ("u3" if name.startswith("duplicate") else "u4")
    assert report.failed == (result.level == "error") == (set(report.dropped) == {4})


def test_a_sound_corpus_gives_no_finding(corpus):
    report = check([corpus.manifest()], settings())
    assert report.findings == []
    assert (report.utterances, report.failed) == (30, False)
    assert report.hours == pytest.approx(30 / 3600)


def test_every_malformed_line_is_counted(corpus):
    report = check([corpus.manifest(b"{", b"", b'{"audio": "caf\xe9"}', b"[1]", b'{"audio": "a\\u0000"}')], settings())
    assert list(found(report)) == ["malformed line"]
    result = found(report)["malformed line"]
    assert result.count == 4
    assert [example.what for example in result.examples] == ["line 31", "line 33", "line 34", "line 35"]
    assert result.examples[0].value.startswith("not JSON (expecting property name")
    assert report.utterances == 30


def test_feasible_as_in_training(corpus):
    """1 s at 40 ms a frame is 26 frames: 26 different letters fit, a repeated one needs a blank more."""
    for text, sections, fits in [
        ("abcdefghijklmnopqrstuvwxyz", {}, True),
        ("abcdefghijklmnopqrstuvwxyy", {}, False),
        ("abcdefghijklmnopqrstuvwxyz", {"augment": {"speed": [0.9, 1.1]}}, False),
        ("abcdefghijklmnopqrstuvwxyz", {"augment": {"speed": [0.9, 1.1]}, "train": {"overfit": 1}}, True),
        ("abcdefghijklmnopqrstuvwxyy", {"model": {"subsampling": 2}}, True),
        ("abcdefghijklmnopqrstuvwxyy", {"text": {"tokens": "words"}}, True),
    ]:
        corpus.lines[4]["text"] = text
        report = check([corpus.manifest()], settings(**sections), audio=False)
        assert ({"too few frames for CTC", AT_THE_FASTEST}.isdisjoint(found(report))) == fits, (text, sections)
    corpus.lines[4]["text"] = "abcdefghijklmnopqrstuvwxyy"
    [example] = found(check([corpus.manifest()], settings(), audio=False))["too few frames for CTC"].examples
    assert example.value == "27 needed, 26 there"


def test_frames_are_those_of_audio_that_ends_before_its_line_says(corpus):
    """2.000 s written, 1.999 s there: within the tolerance of reading, but a frame less."""
    for i, line in enumerate(corpus.lines):
        line.update(duration=2.0, text=f"{'abc' * 17}")
        corpus.write(i, noise(15990 / RATE, seed=i))
    assert check([corpus.manifest()], settings(), audio=False).findings == []
    result = found(check([corpus.manifest()], settings()))["too few frames for CTC"]
    assert (result.count, result.examples[0].value) == (30, "51 needed, 50 there")
    for line in corpus.lines:
        line["text"] = line["text"][1:]
    assert check([corpus.manifest()], settings()).findings == []


def test_what_only_a_fast_voice_makes_too_short_does_not_break_training(corpus):
    corpus.lines[4]["text"] = "abcdefghijklmnopqrstuvwxyz"
    report = check([corpus.manifest()], settings(augment={"speed": [0.9, 1.1]}), audio=False)
    [example] = found(report)[AT_THE_FASTEST].examples
    assert (example.what, example.value) == ("u4", "26 needed, 23 there")
    assert not report.failed
    assert not report.dropped


def test_infeasible_are_those_that_training_leaves_out(corpus):
    raw = {
        "features": {"sample_rate": RATE, "n_mels": 10, "hop_ms": 12.5},
        "model": {"layers": 1, "hidden_size": 4, "subsampling": 2},
        "augment": {"speed": [0.9, 1.07]},
        "data": {"train": str(corpus.folder / "m.jsonl")},
    }
    config = parse_config(raw, "test")
    rng = np.random.default_rng(0)
    for line in corpus.lines:
        line.update(text="".join(rng.choice(list("aab "), 35)) + "b", duration=round(rng.uniform(0.8, 1.2), 3))
    tokenizer = Tokenizer("characters", ("<blank>", " ", "a", "b"))
    report = check([corpus.manifest()], CheckSettings(config), audio=False)
    part = read_subset(config.data.train, config, "data.train")
    left_out = TrainingData(part, tokenizer, config).infeasible.tolist()
    too_fast = found(report)[AT_THE_FASTEST].count
    assert set(report.dropped) < set(left_out)
    assert len(report.dropped) + too_fast == len(left_out)
    assert min(len(report.dropped), too_fast) >= 3


def test_segments_of_a_long_file_are_not_too_short(corpus):
    soundfile.write(corpus.folder / "long.flac", noise(30, seed=9), RATE)
    for i, line in enumerate(corpus.lines):
        line.update(audio="long.flac", start=float(i))
    assert check([corpus.manifest()], settings()).findings == []


@pytest.mark.parametrize("audio", [True, False])
def test_segments_without_ids_are_no_duplicates(corpus, test_part, audio):
    for part in (corpus, test_part):
        soundfile.write(part.folder / "long.flac", noise(30, seed=len(part.folder.name)), RATE)
        for i, line in enumerate(part.lines):
            line.update(audio_filepath="long.flac", offset=float(i))
            del line["id"], line["audio"]
    report = check([corpus.manifest()], settings(), audio=audio, against=[test_part.manifest()])
    assert report.findings == []
    corpus.lines[4]["text"] = "öffnen, bitte sofort öffnen!"
    report = check([corpus.manifest()], settings(), audio=audio)
    assert found(report)["too few frames for CTC"].examples[0].what == "long-0004000"


def test_the_worst_come_first_and_only_some_are_shown(corpus):
    for i in range(1, 9):
        corpus.write(i, noise(seed=i, level=0.001 / i))
    result = found(check([corpus.manifest()], settings()))["near silence"]
    assert result.count == 8
    assert [example.what for example in result.examples] == ["u8", "u7", "u6", "u5", "u4"][:MAX_EXAMPLES]


def test_a_rare_symbol_is_one_among_many(corpus):
    for line in corpus.lines:
        line["text"] = "na " * 400 + "in"
        line["duration"] = 100.0
    corpus.lines[4]["text"] = "na " * 400 + "iñ"
    result = found(check([corpus.manifest()], settings(), audio=False))["rare symbol"]
    assert [(e.what, e.value) for e in result.examples] == [("'ñ' LATIN SMALL LETTER N WITH TILDE", "× 1")]


def test_the_word_in_another_script_is_shown(corpus):
    corpus.lines[4]["text"] = "the quick brоwn fox"
    corpus.lines[7]["text"] = "привет"
    result = found(check([corpus.manifest()], settings(), audio=False))["word in another script"]
    assert result.count == 2
    assert [(e.what, e.value) for e in result.examples] == [("u4", "brоwn: cyrillic"), ("u7", "привет: cyrillic")]


def test_two_languages_in_two_scripts(corpus):
    for line in corpus.lines[:10]:
        line["text"] = "привет всем"
    assert check([corpus.manifest()], settings(), audio=False).findings == []


def test_an_empty_text_trains(corpus, tmp_path):
    corpus.lines[4]["text"] = "?!"
    report = check([corpus.manifest()], settings(), audio=False)
    assert (report.failed, list(found(report)), fix([corpus.manifest()], report.dropped, tmp_path / "f.jsonl")) == (
        False,
        ["empty text"],
        30,
    )
    raw = {"data": {"train": str(corpus.manifest())}, "features": {"sample_rate": RATE}}
    config = parse_config(raw, "test")
    subset = read_subset(config.data.train, config, "data.train")
    assert (len(subset), subset.needed[4]) == (30, 0)


@pytest.mark.parametrize(
    "text",
    ["私はカタカナとひらがなを書く人々です", "это русский текст", "我们说中文", "कहते हैं", "it's café time"],
)
def test_any_script_is_the_corpus_s_own(corpus, text):
    for line in corpus.lines:
        line.update(text=text, duration=3.0)
    assert check([corpus.manifest()], settings(), audio=False).findings == []


def test_a_sentence_said_often_among_others_and_commands(corpus):
    many = Corpus(corpus.folder / "many", 100)
    for i, line in enumerate(many.lines):
        line["text"] = "thank you very much" if i < 30 else f"{chr(97 + i % 26)} {line['text']}"
    result = found(check([many.manifest()], settings(), audio=False))["sentence repeated"]
    assert (result.count, result.examples[0].text, result.examples[0].value) == (29, "thank you very much", "× 30")
    for i, line in enumerate(many.lines):
        line["text"] = ["yes please", "no thanks"][i % 2]
    assert check([many.manifest()], settings(), audio=False).findings == []


def test_without_audio_no_audio_is_opened(corpus):
    for path in corpus.folder.glob("*.wav"):
        path.unlink()
        os.mkfifo(path)  # to open it would wait for ever
    assert check([corpus.manifest()], settings(), audio=False).findings == []


def test_a_low_rate_counts_only_where_a_rate_was_asked_for(corpus):
    manifest = corpus.manifest()
    assert list(found(check([manifest], settings(features={"sample_rate": 16000})))) == ["low sample rate"]
    assert check([manifest], CheckSettings(parse_config({}, "test"), named=False)).findings == []


def test_what_is_fixed_checks_clean_wherever_it_lies(corpus, tmp_path):
    corpus.lines[0]["note"] = {"kept": [1]}
    corpus.lines[1]["audio"] = str(corpus.folder / "1.wav")
    corpus.lines[2].pop("id")
    corpus.lines[4].pop("text")
    corpus.lines[5]["id"] = "u3"
    corpus.lines[6]["duration"] = 2.0
    manifest = corpus.manifest(b"{")
    report = check([manifest], settings())
    assert report.failed
    out = tmp_path / "elsewhere" / "clean.jsonl"
    assert fix([manifest], report.dropped, out) == 27
    assert check([out], settings()).findings == []
    kept = list(Manifest(out))
    assert [u.id for u in kept[:4]] == ["u0", "u1", "2", "u3"]
    assert kept[0].other == {"note": {"kept": [1]}}
    assert all(u.audio.is_file() for u in kept)
    rows = [line.split("\t") for line in (out.parent / "clean.dropped.tsv").read_text().splitlines()]
    assert [row[:2] for row in rows] == [
        ["id", "reason"],
        ["u4", "missing text"],
        ["u3", "duplicate id"],
        ["u6", "audio shorter than its line says"],
        ["line 31", "malformed line"],
    ]
    assert sorted(os.listdir(out.parent)) == ["clean.dropped.tsv", "clean.jsonl"]


def test_several_manifests_are_one_corpus(corpus, test_part):
    test_part.lines[5]["id"] = "u4"
    report = check([corpus.manifest(), test_part.manifest()], settings(), audio=False)
    [example] = found(report)["duplicate id"].examples
    assert example.place == f"{corpus.folder / 'm.jsonl'}, line 5"
    assert report.dropped == {35: "duplicate id"}


def test_files_that_are_no_manifest(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n\n")
    for name, problem in [("none.jsonl", "No such file"), (".", "directory"), ("empty.jsonl", "no utterances")]:
        with pytest.raises(ManifestError, match=problem):
            check([tmp_path / name], settings())


check_command = partial(asr, "data", "check")


def test_the_command(corpus, tmp_path):
    manifest = corpus.manifest()
    done = check_command(manifest)
    assert (done.returncode, done.stdout.strip()) == (0, "30 utterances, 30.0 s; 0 errors, 0 warnings")
    assert done.stderr.startswith("no audio is above 8000 Hz: train with features.sample_rate=8000")
    corpus.lines[4].update(text="öx \ud800 [bold] 7", audio="nowhere.wav")
    manifest = corpus.manifest()
    done = check_command(manifest, "--model", "digits", "--format", "json")
    assert (done.returncode, done.stderr) == (1, "")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)["findings"]}
    assert findings["missing audio"]["examples"] == [
        {
            "what": "u4",
            "value": f"{corpus.folder}/nowhere.wav",
            "place": f"{manifest}, line 5",
            "text": "öx \ud800 [bold] 7",
        }
    ]
    assert findings["unknown symbol"]["count"] == 30
    done = check_command(manifest, "--fix", tmp_path / "clean.jsonl")
    assert done.returncode == 0
    assert "missing audio" in done.stdout
    assert "[bold] 7" in done.stdout
    assert done.stderr.endswith("clean.jsonl: 29 utterances; 1 left out\n")
    assert check_command(tmp_path / "clean.jsonl").returncode == 0


def test_the_command_with_a_config(corpus, tmp_path):
    (tmp_path / "c.yaml").write_text("features: {sample_rate: 8000}\ntext: {tokens: characters}\n")
    corpus.lines[4]["text"] = "abcdefghijklmnopqrstuvwxyy"
    manifest = corpus.manifest()
    assert check_command(manifest, "--config", tmp_path / "c.yaml", "--no-audio").returncode == 1
    assert check_command(manifest, "--config", tmp_path / "c.yaml", "--no-audio", "model.subsampling=1").returncode == 0


def test_marks_are_left_out_when_asked_for(corpus, tmp_path):
    for i, text in enumerate(["[noise] the <laugh> quick", "(inaudible)", "the dog"]):
        corpus.lines[i]["text"] = text
    manifest, out = corpus.manifest(), tmp_path / "out.jsonl"
    assert "--drop-marks" in asr("data", "check", manifest, "--no-audio").stdout
    assert fix([manifest], {}, out) == 30
    assert fix([manifest], {}, out, drop_marks=True) == 29
    assert [utterance.text for utterance in Manifest(out)][:2] == ["the quick", "the dog"]
    assert "u1\tnothing but marks\t" in out.with_suffix(".dropped.tsv").read_text()
    assert not check([out], settings(), audio=False).findings


@pytest.mark.parametrize(
    ("lang", "name"),
    [(None, ["letter of which language?"]), ("", ["letter of which language?"]), ("tr", []), ("az-AZ", [])],
)
def test_the_lower_case_of_a_language_is_used_or_asked_for(corpus, lang, name):
    for line in corpus.lines:
        line["text"] = f"{line['text'].split()[0]} IRI İyi"
        if lang is not None:
            line["lang"] = lang
    tokens = Tokenizer.build("characters", [*WORDS, "ırı iyi"])
    result = found(check([corpus.manifest()], settings(tokens), audio=False))
    assert [each for each in result if each != "rare symbol"] == name
    if name:
        finding = result[name[0]]
        assert [example.what for example in finding.examples] == ["İ"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["m.jsonl", "--drop-marks"],
        ["m.jsonl", "model.subsampling=1"],
        ["model.subsampling=1", "--config", "c.yaml"],
        ["m.jsonl", "--config", "c.yaml", "--model", "digits"],
        ["m.jsonl", "--format", "xml"],
        ["m.jsonl", "--fix", "m.jsonl"],
        ["m.jsonl", "--fix", "."],
    ],
)
def test_wrong_usage(arguments):
    assert check_command(*arguments).returncode == 2
