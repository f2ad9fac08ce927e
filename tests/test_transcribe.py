"""Long audio, many jobs, arrays: what `asr.load(...)` gives; and the decoder that its settings mean, one place for the
command line and for Python."""

import io
import json
import os
from collections import Counter

import numpy as np
import pytest
import soundfile
import torch

import asr
import asr.audio
from asr.cli.console import _unused_name
from asr.decode.beam import BeamSearch
from asr.decode.decoder import GREEDY, greedy
from asr.decode.lexicon import HOT_WORD_WEIGHT
from asr.decode.options import DecoderOptions
from asr.errors import AudioError, ModelError, TextError
from asr.lm.model import LanguageModel, store_tuned
from asr.lm.trie import SPECIAL, Level, build
from asr.model.folder import save_model
from asr.transcribe import Job, Transcriber, find_jobs

RATE = 8000


@pytest.fixture(scope="module")
def transcriber(untrained):
    return Transcriber(untrained)


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


def test_times_of_a_long_file_are_absolute(transcriber):
    result = transcriber.transcribe(noise(95), sample_rate=RATE)
    assert len(result.segments) >= 3
    assert result.segments[-1].end == result.duration == 95.0
    starts = [word.start for word in result.words]
    assert starts == sorted(starts)
    assert starts[-1] > 60
    for segment in result.segments:
        for word in segment.words:
            assert segment.start <= word.start < word.end <= segment.end


def test_many_jobs_equal_each_alone_in_order(transcriber):
    jobs = [Job(str(i), asr.audio.as_audio(noise(0.3 + 0.2 * (i % 7), seed=i), RATE)) for i in range(300)]
    results = list(transcriber.transcribe_all(jobs))
    assert [job.name for job, _ in results] == [str(i) for i in range(300)]
    for job, result in results[:20]:
        assert transcriber.transcribe(job.source.samples, sample_rate=RATE).text == result.text


def test_every_kind_of_source_gives_the_same(transcriber, tmp_path):
    samples = noise(1.0)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    data = (tmp_path / "a.wav").read_bytes()
    sources = [tmp_path / "a.wav", str(tmp_path / "a.wav"), data, io.BytesIO(data)]
    texts = {transcriber.transcribe(source).text for source in sources}
    texts |= {transcriber.transcribe(x, sample_rate=RATE).text for x in (samples, torch.from_numpy(samples))}
    assert len(texts) == 1


@pytest.mark.parametrize("shape", [(1, -1), (-1, 1), (-1,)])
@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int16, torch.float32, torch.bfloat16, torch.int16])
def test_one_channel_may_lie_either_way(transcriber, shape, kind):
    samples = (noise(1.0) * 2000).astype(np.int16)
    given = torch.from_numpy(samples) if isinstance(kind, torch.dtype) else samples
    if kind not in (np.int16, torch.int16):
        given = given / 2**15
    given = given.to(kind) if isinstance(kind, torch.dtype) else given.astype(kind)
    expected = given.float().numpy() if kind is torch.bfloat16 else samples / 2**15
    result = transcriber.transcribe(given.reshape(shape), sample_rate=RATE)
    assert result == transcriber.transcribe(expected, sample_rate=RATE)
    assert result.notes == ()


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_mixed_as_those_of_files(transcriber, tmp_path, channels):
    samples = np.stack([noise(1.0, seed) for seed in range(channels)])  # as torchaudio loads them
    soundfile.write(tmp_path / "a.wav", samples.T, RATE, subtype="FLOAT")
    expected = transcriber.transcribe(tmp_path / "a.wav")
    assert expected.notes == (f"{channels} channels averaged to one",)
    for given in (samples, samples.T, torch.from_numpy(samples).requires_grad_()):
        assert transcriber.transcribe(given, sample_rate=RATE) == expected


@pytest.mark.parametrize("shape", [(2, 1, 8000), (100, 200), (1, 0), (0, 1), (0,), (2, 0)])
def test_other_shapes_are_refused(transcriber, shape):
    with pytest.raises(AudioError, match=r"array: (shape .* is neither|holds no samples)"):
        transcriber.transcribe(np.zeros(shape, np.float32), sample_rate=RATE)


def test_a_list_is_a_batch_and_a_list_of_numbers_is_not(transcriber, tmp_path):
    waveforms = [noise(0.5 + 0.2 * seed, seed) for seed in range(3)]
    paths = [tmp_path / f"{number}.wav" for number in range(3)]
    for path, samples in zip(paths, waveforms, strict=True):
        soundfile.write(path, samples, RATE, subtype="FLOAT")
    expected = [transcriber.transcribe(path) for path in paths]
    texts = [result.text for result in expected]
    assert [result.text for result in transcriber.transcribe(paths)] == texts
    assert [result.text for result in transcriber.transcribe([str(path) for path in paths])] == texts
    assert [result.text for result in transcriber.transcribe([path.read_bytes() for path in paths])] == texts
    tensors = [torch.from_numpy(samples)[None] for samples in waveforms]
    assert [result.text for result in transcriber.transcribe(tensors, sample_rate=RATE)] == texts
    assert transcriber.transcribe(paths[:1]) == expected[:1]
    assert transcriber.transcribe([]) == []
    assert transcriber.transcribe(waveforms[0].tolist(), sample_rate=RATE).text == texts[0]
    with pytest.raises(AudioError, match=r"missing\.wav"):
        transcriber.transcribe([paths[0], tmp_path / "missing.wav"])


def test_transcribe_all_takes_paths_and_goes_on_after_a_bad_one(transcriber, tmp_path):
    soundfile.write(tmp_path / "a.wav", noise(0.5), RATE)
    good = str(tmp_path / "a.wav")
    found = list(transcriber.transcribe_all([good, "missing.wav", tmp_path / "a.wav", noise(0.5)]))
    assert [job.name for job, _ in found] == [good, "missing.wav", good, "array"]
    assert [isinstance(result, asr.AsrError) for _, result in found] == [False, True, False, True]
    assert "sample_rate=" in str(found[3][1])
    content = (tmp_path / "a.wav").read_bytes()
    for alone in (good, content, bytearray(content), io.BytesIO(content), noise(0.5), torch.from_numpy(noise(0.5))):
        [(_, result)] = transcriber.transcribe_all(alone, RATE)
        assert result.text == found[0][1].text


def test_an_array_needs_its_rate(transcriber):
    with pytest.raises(AudioError, match="sample_rate="):
        transcriber.transcribe(noise(1))


def test_load_names_the_built_in_models():
    with pytest.raises(ModelError, match="nor a built-in model"):
        asr.load("no-such-model")


@pytest.fixture
def folder(tmp_path, untrained):
    save_model(untrained, tmp_path / "model")
    level = Level(np.arange(5), np.zeros(5, int), np.log(np.full(5, 0.2)), np.zeros(5))
    LanguageModel(build([level], 8), [*SPECIAL, "ab", "a"], normalizer="basic").save(tmp_path / "lm")
    return tmp_path


def test_without_settings_it_is_greedy(untrained):
    assert DecoderOptions().decoder(untrained) is greedy
    assert DecoderOptions().record() == GREEDY
    assert DecoderOptions(hotwords={}).greedy


def test_load_takes_every_setting(folder):
    store_tuned(folder / "lm", {"lm_weight": 0.7, "unk_score": -3.0})
    model = asr.load(
        folder / "model", "cpu", lm=folder / "lm", hotwords={"bab": 50.0, "ab": None}, beam=8, unk_score=-2.0
    )
    assert isinstance(model.decoder, BeamSearch)
    settings = model.decoder.settings
    assert (settings.beam, settings.lm_weight, settings.unk_score) == (8, 0.7, -2.0)
    record = model.options.record()
    assert record["hotwords"] == {"bab": 50.0, "ab": HOT_WORD_WEIGHT}
    assert record["weights"]["closed_vocabulary"] is False
    samples = 0.1 * np.random.default_rng(0).standard_normal(8000)
    assert "bab" in model.transcribe(samples, sample_rate=8000).text.split()


def test_hot_words_without_weights_are_a_list(folder):
    search = asr.load(folder / "model", "cpu", hotwords=["ab"]).decoder
    assert search.rules.hot.emitted.max() == pytest.approx(2 * HOT_WORD_WEIGHT)
    with pytest.raises(TextError, match="weight 1000, expected at most 100 nats a letter"):
        asr.load(folder / "model", "cpu", hotwords={"ab": 1000.0})


def test_a_missing_language_model_is_named(folder):
    with pytest.raises(ModelError, match=r"nowhere: no such language model; asr lm train"):
        asr.load(folder / "model", "cpu", lm=folder / "nowhere")


def test_a_language_model_tuned_for_another_model_is_said(folder, caplog):
    store_tuned(folder / "lm", {"platt_scaling": [0.5, 0.0], "model": "another"})
    search = asr.load(folder / "model", "cpu", lm=folder / "lm").decoder
    assert "was tuned with the model 'another'" in caplog.text
    assert search.platt_scaling is None


def test_a_folder_gives_all_that_would_be_read_by_name_and_tells_of_the_rest(tmp_path, said):
    samples = noise(0.3)
    for name in ("b.wav", "memo.3gp", "CALL.WMA", "sub/book.m4b", "voice.amr"):  # told by their names
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"any")
    for name, form in (("2026.05.01", "WAV"), ("take", "FLAC"), ("clip.bin", "OGG")):  # told by what is in them
        soundfile.write(tmp_path / name, samples, RATE, format=form)
    for name in ("a.txt", "sub/b.TXT", "scan.pdf", "LICENSE", ".hidden"):
        (tmp_path / name).write_text("some text")
    jobs, errors = find_jobs([str(tmp_path)])
    names = ["2026.05.01", "CALL.WMA", "b.wav", "clip.bin", "memo.3gp", "sub/book.m4b", "take", "voice.amr"]
    assert [os.path.relpath(job.name, tmp_path) for job in jobs] == names
    outputs = ["2026.05.01", "CALL", "b", "clip.bin", "memo", "sub/book", "take", "voice"]
    assert [job.output.as_posix() for job in jobs] == outputs
    assert errors == []
    [line] = said
    assert line == f"{tmp_path}: 4 files left out, which may not be audio: 2 .txt, 1 without extension, 1 .pdf"


def test_a_result_has_a_name_whatever_the_recording_is_called(tmp_path):
    for name in ("..wav", "...wav", ".wav", "a..wav"):
        soundfile.write(tmp_path / name, noise(0.3), RATE, format="WAV")
    jobs, errors = find_jobs([str(tmp_path)])
    given = Counter()
    assert [str(_unused_name(job.output, ".txt", given)) for job in jobs] == ["..", "..wav", "a."]
    assert errors == []


def test_what_a_folder_cannot_give_is_an_error_each_and_the_rest_goes_on(tmp_path):
    soundfile.write(tmp_path / "good.wav", noise(0.3), RATE)
    (tmp_path / "annex.wav").symlink_to("../objects/missing")
    (tmp_path / "loop.flac").symlink_to("loop.flac")
    (tmp_path / "disk").symlink_to("/nowhere/mounted")
    os.mkfifo(tmp_path / "pipe.wav")
    jobs, errors = find_jobs([str(tmp_path), str(tmp_path / "good.wav")])
    assert [os.path.basename(job.name) for job in jobs] == ["good.wav", "good.wav"]
    said = " | ".join(map(str, errors))
    assert len(errors) == 4
    for words in (
        "a link to ../objects/missing: No such",
        "loop.flac: a link",
        "a link to /nowhere",
        "pipe.wav: is a pipe",
    ):
        assert words in said


def test_a_folder_with_nothing_but_other_files_says_which(tmp_path):
    (tmp_path / "a.txt").write_text("text")
    [error] = find_jobs([str(tmp_path)])[1]
    assert str(error) == f"{tmp_path}: no audio files in this folder, only 1 .txt"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_an_error(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    assert "closed: Permission denied" in str(find_jobs([str(tmp_path)])[1][0])


def test_bad_lines_of_a_manifest_are_left_out_by_number(tmp_path):
    good = {"audio": "a.wav", "duration": 1.0}
    lines = [good, {"audio": 3, "duration": 1.0}, good | {"start": 1.0}, {"audio": "b.wav"}, good | {"start": -1}]
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\nnot JSON\n")
    jobs, errors = find_jobs([str(tmp_path / "list.jsonl")])
    assert [job.start for job in jobs] == [0.0, 1.0]
    assert [str(error).split(":")[0] for error in errors] == [
        f"{tmp_path / 'list.jsonl'}, line {n}" for n in (2, 4, 5, 6)
    ]
    (tmp_path / "none.jsonl").write_text("this\nis\nno manifest\n")
    jobs, errors = find_jobs([str(tmp_path / "none.jsonl"), str(tmp_path / "list.jsonl")])
    assert (len(jobs), len(errors)) == (2, 5)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"lm_weight": 0.5}, "lm_weight: not used without a language model (lm)"),
        ({"unk_score": -1.0, "lm_weight": 0.5, "beam": 4}, "lm_weight, unk_score: not used"),
        ({"beam": 4, "word_insertion_bonus": 1.0}, ""),
    ],
)
def test_weights_without_a_language_model_are_told(untrained, caplog, given, says):
    DecoderOptions(**given).decoder(untrained)
    assert says in caplog.text if says else not caplog.text
