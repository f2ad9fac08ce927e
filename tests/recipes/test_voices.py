"""The built-in model's data: what voices say, that test voices are not trained on, prepare.py on true layouts."""

import importlib.util
import json
import os
import shutil
import sys
import tarfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import ROOT

import asr
from asr.audio import read_audio, write_wav
from asr.corpus.recipe import prepare
from asr.data.manifest import Manifest, Utterance, write_manifest
from asr.data.waveforms import read_utterance
from asr.decode.align import align
from asr.errors import ManifestError

VOICES = ROOT / "recipes" / "digits" / "voices"
RATE = 8000


@pytest.fixture(scope="module")
def synthesize():
    threads = os.environ.get("OMP_NUM_THREADS")
    spec = importlib.util.spec_from_file_location("synthesize", VOICES / "synthesize.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    os.environ["OMP_NUM_THREADS"] = threads  # importing it sets that for its engines
    return module


def test_no_test_engine_and_no_development_voice_is_trained_on(synthesize):
    training, others = synthesize.training_voices(), synthesize.other_voices()
    names = [voice.name for voice in training + others]
    assert len(set(names)) == len(names) > 600
    assert len({voice.seed for voice in training + others}) == len(names)
    engines = {voice.engine for voice in training}
    assert not engines & {voice.engine for voice in others if voice.part == "test"}
    for voice in training:
        assert voice.part == "train"
        assert not str(voice.settings[0]).startswith("en-gb-scotland")
    assert synthesize.KOKORO_DEV not in synthesize.KOKORO
    assert training == synthesize.training_voices()


def test_texts_are_the_digits_that_are_said(synthesize):
    """Read back by rule: oh is zero, double and triple repeat, accents are other spellings."""
    kinds = set()
    for voice in synthesize.training_voices() + synthesize.other_voices():
        rng = np.random.default_rng(voice.seed)
        spellings = synthesize.ACCENTS[voice.accent].split() if voice.accent else synthesize.DIGITS
        for _ in range(voice.utterances):
            spoken, heard = synthesize.phrase(voice, rng)
            words = spoken.replace(",", "").split()
            if not heard:
                kinds.add("other")
                assert set(words) <= set(synthesize.OTHER)
                assert not set(words) & set(synthesize.DIGITS)
                continue
            read, times = [], 1
            for word in words:
                if word in ("double", "triple"):
                    times = {"double": 2, "triple": 3}[word]
                    kinds.add(word)
                    continue
                digit = 0 if word == "oh" else spellings.index(word)
                kinds.add("oh" if word == "oh" else "digit")
                read += [synthesize.DIGITS[digit]] * times
                times = 1
            assert " ".join(read) == heard
            if voice.part != "train":
                assert set(words) <= set(synthesize.DIGITS)
    assert kinds == {"digit", "other", "oh", "double", "triple"}


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng")
def test_a_voice_is_recorded_once_and_the_same(synthesize, tmp_path):
    voice = next(voice for voice in synthesize.training_voices() if voice.engine == "espeak")
    for folder in ("a", "b"):
        synthesize.record(voice, tmp_path / folder)
    first, second = (Manifest(tmp_path / folder / f"{voice.name}.jsonl") for folder in ("a", "b"))
    assert len(first) == voice.utterances + synthesize.SINGLES
    assert all(len(utterance.text.split()) == 1 for utterance in list(first)[voice.utterances :])
    for one, other in zip(first, second, strict=True):
        assert one.other == other.other
        samples = read_audio(one.audio, RATE).samples
        assert one.duration == pytest.approx(len(samples) / RATE)
        assert np.abs(samples).max() == pytest.approx(0.5, abs=1e-3)
        np.testing.assert_array_equal(samples, read_audio(other.audio, RATE).samples)


def noise(seconds, seed, rate=RATE):
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate))).astype(np.float32)


@pytest.fixture
def mirror(tmp_path):
    """A folder with small archives in the true layouts."""
    build, home = tmp_path / "build", tmp_path / "mirror"

    def pack(name, files):
        root = build / Path(name).name
        for path, contents in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(contents, str):
                (root / path).write_text(contents)
            else:
                soundfile.write(root / path, contents, 16_000)
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(home / name, "w:gz") as tar:
            for entry in sorted(root.iterdir()):
                tar.add(entry, entry.name)

    commands = {f"{word}/{speaker}_nohash_0.wav": noise(1, 1) for word in ("zero", "bed") for speaker in "ab"}
    commands |= {f"right/{speaker}_nohash_0.wav": noise(1, 2) for speaker in "bc"}
    pack("speech_commands/speech_commands_v0.02.tar.gz", commands)
    lines = "11-22-0000 A GARDEN\n11-22-0001 WENT TO SEA\n11-22-0002 FIFTEEN AND SOMEONE\n"
    pack(
        "openslr/31/dev-clean-2.tar.gz",
        {f"LibriSpeech/dev-clean-2/11/22/11-22-000{n}.flac": noise(4, n) for n in range(3)}
        | {"LibriSpeech/dev-clean-2/11/22/11-22.trans.txt": lines},
    )
    pack(
        "openslr/101/speechocean762.tar.gz",
        {
            "speechocean762/WAVE/SPEAKER0001/000010035.WAV": noise(2, 5),
            "speechocean762/WAVE/SPEAKER0001/000010036.WAV": noise(2, 6),
            "speechocean762/train/text": "000010035\tZERO THREE FIVE ONE\n000010036\tTHE BEST ONE\n",
            "speechocean762/train/utt2spk": "000010035\t0001\n000010036\t0001\n",
        },
    )
    esc = {
        f"ESC-50-master/audio/{fold}-100-A-{target}.wav": noise(5, fold) for fold in range(1, 6) for target in (0, 49)
    }
    pack("noise/esc10.tar.gz", esc)
    return home


def test_prepare_sorts_everything_into_its_part(mirror, tmp_path):
    data = tmp_path / "data"
    for part, speaker in (("train", "theo"), ("dev", "theo")):
        path = data / "digits" / "audio" / f"{part}.wav"
        write_wav(path, noise(0.5, 1), RATE)
        write_manifest(data / "digits" / f"{part}.jsonl", [Utterance(f"7_{part}", path, 0.5, "seven", speaker)])
    with pytest.raises(ManifestError, match=r"no voices; python .*synthesize.py .* makes them"):
        prepare(VOICES, data, str(mirror), True)
    made = data / "voices" / "made" / "synthetic"
    for part, text in (("train", "one"), ("train", ""), ("dev", "two"), ("test", "three")):
        name = f"{part}_{text}"
        write_wav(made / f"{name}.wav", noise(0.5, 2), RATE)
        said = Utterance(name, made / f"{name}.wav", 0.5, text, name, other={"source": "espeak", "part": part})
        write_manifest(made / f"{name}.jsonl", [said])
    prepare(VOICES, data, str(mirror), True)
    parts = {path.stem: list(Manifest(path)) for path in (data / "voices").glob("*.jsonl")}
    texts = {part: sorted({utterance.text for utterance in rows}) for part, rows in parts.items()}
    ids = {part: [utterance.id for utterance in rows] for part, rows in parts.items()}
    assert all(len(set(names)) == len(names) for names in ids.values())
    silent = sum(not utterance.text for utterance in parts["base_train"])
    assert silent > 160  # music and silence
    assert sum(not utterance.text for utterance in parts["train"]) == 5 * silent
    assert [name for name in ids["train"] if name.startswith("7_")] == ["7_train", "7_train_again2"]
    assert [name for name in ids["dev"] if name.startswith("7_")] == ["7_dev"]
    assert len(ids["train"]) == 2 + 5 * silent + len(ids["base_train"]) - silent
    assert texts == {
        "base_train": ["", "one", "zero"],
        "base_dev": ["two"],
        "train": ["", "one", "seven", "zero"],
        "dev": ["seven", "two"],
        "other_words": [""],
        "test_voices": ["three"],
        "test_learners": ["zero three five one"],
        "test_reject": [""],
        "test_speech": [""],
        "noise": [""],
    }
    assert [u.id for u in parts["test_speech"]] == ["right_c_nohash_0", "11-22-0000"]  # b says digits as well
    assert [u.id for u in parts["noise"]] == ["1-100-A-0", "2-100-A-0", "3-100-A-0"]  # no class of ESC-50 beyond ESC-10
    trained = {u.audio for part in ("train", "base_train", "noise") for u in parts[part]}
    tested = {u.audio for part in parts if part.startswith("test") for u in parts[part]}
    assert not trained & tested
    for rows in parts.values():
        for utterance in rows:
            assert utterance.audio.is_file()
            assert utterance.start + utterance.duration <= soundfile.info(utterance.audio).duration + 1e-3
    stamp = json.loads((data / "voices" / "prepared.json").read_text())
    assert set(stamp["parts"]) == set(parts)


def load_cut():
    spec = importlib.util.spec_from_file_location("cut", VOICES / "cut.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_digits_are_cut_out_of_what_readers_say(tmp_path, monkeypatch, capsys):
    """By the built-in model: every digit of the samples, in order, where it is said, the rare ones more often."""
    cut = load_cut()
    transcriber = asr.load("digits")
    spoken = list(Manifest(ROOT / "data" / "samples" / "samples.jsonl"))
    sentences, output = tmp_path / "sentences.jsonl", tmp_path / "read"
    written = [replace(each, text=each.text.upper().replace(" ", ", ") + ".") for each in spoken]
    silent = replace(spoken[0], id="silent", text="Nobody counts here.")
    gone = replace(spoken[0], id="gone", audio=tmp_path / "gone.wav")
    write_manifest(sentences, [silent, gone, *written])
    other = tmp_path / "train.jsonl"
    write_manifest(other, [replace(spoken[0], id="before")])
    command = ["cut.py", "digits", str(sentences), str(output), str(other)]
    monkeypatch.setattr(sys, "argv", command)
    monkeypatch.setattr(cut, "MAX_PER_WORD", 1)
    cut.main()
    assert "gone: left out" in capsys.readouterr().err
    pieces = list(Manifest(output / "digits.jsonl"))
    assert len({piece.id for piece in pieces}) == len(pieces)
    assert {piece.speaker for piece in pieces} == {f"read_{each.speaker or each.id}" for each in spoken}
    assert [each.id for each in Manifest(output / "train.jsonl")] == ["before", *(piece.id for piece in pieces)]
    for sample in spoken:
        own = [piece for piece in pieces if piece.audio.name == sample.audio.name]
        times = {word: 4 if word in ("one", "two") else 12 for word in sample.text.split()}
        assert Counter(piece.text for piece in own) == times
        starts = [piece.start for piece in own]
        assert starts == sorted(starts)
        assert starts[0] >= sample.start
        assert own[-1].start + own[-1].duration <= sample.start + sample.duration + 1e-6
    audio = [read_utterance(piece, RATE) for piece in pieces]
    heard = [transcriber.transcribe(np.pad(samples, RATE // 5), RATE).text for samples in audio]
    assert sum(text == piece.text for text, piece in zip(heard, pieces, strict=True)) >= 0.8 * len(pieces)

    monkeypatch.setattr(cut, "Recognizer", None)  # nothing is aligned again
    write_manifest(other, [replace(spoken[0], id="changed")])
    cut.main()
    assert [each.id for each in Manifest(output / "train.jsonl")] == ["changed", *(piece.id for piece in pieces)]


def test_cutting_counts_from_the_beginning_of_the_file_and_stays_between_the_neighbors(tmp_path):
    cut = load_cut()
    recognizer = asr.load("digits").recognizer
    spoken = max(Manifest(ROOT / "data" / "samples" / "samples.jsonl"), key=lambda each: len(each.text))
    whole = [*cut.digits_of(recognizer, listed(tmp_path, spoken))]
    samples = np.concatenate([noise(1.5, 0), read_utterance(spoken, RATE)])
    write_wav(tmp_path / "late.wav", samples, RATE)
    late = replace(spoken, audio=tmp_path / "late.wav", start=1.5)
    for early, piece in zip(whole, cut.digits_of(recognizer, listed(tmp_path, late)), strict=True):
        assert piece.start - 1.5 == pytest.approx(early.start - spoken.start, abs=1e-3)
        assert piece.duration == pytest.approx(early.duration, abs=1e-3)
    words = align(recognizer, read_utterance(spoken, RATE), spoken.text).words
    found = [*cut.cut(recognizer, spoken)]
    assert len(found) > 3
    for _, start, end in found:
        overlaps = [max(0.0, min(end, word.end) - max(start, word.start)) for word in words]
        own, *others = sorted(overlaps, reverse=True)
        assert own >= cut.SHORTEST_S - cut.OVERLAP_S
        assert max(others) <= cut.OVERLAP_S + 1e-6
        assert end - start <= own + cut.BEFORE_S + cut.AFTER_S + 2 * cut.OVERLAP_S + 1e-6


def test_what_is_too_short_or_uncertain_is_not_cut(tmp_path, monkeypatch):
    cut = load_cut()
    recognizer = asr.load("digits").recognizer
    sentences = Manifest(ROOT / "data" / "samples" / "samples.jsonl")
    everything = len([*cut.digits_of(recognizer, sentences)])
    for limit, beyond in (("SHORTEST_S", 9.0), ("MIN_SCORE", 1.1)):
        with monkeypatch.context() as context:
            context.setattr(cut, limit, beyond)
            assert [*cut.digits_of(recognizer, sentences)] == []
    assert everything > 0


def listed(folder, utterance):
    write_manifest(folder / "listed.jsonl", [utterance])
    return Manifest(folder / "listed.jsonl")
