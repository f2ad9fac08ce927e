"""Forced alignment: the best of all paths, torchaudio's path, times where the words are, and texts that do not fit."""

import itertools
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import ROOT
from torchaudio.functional import forced_align

import asr
from asr.audio import read_audio
from asr.data.manifest import Manifest
from asr.decode.align import (
    CHUNK_S,
    PAUSE_S,
    align,
    best_path,
    long_log_probs,
    spell,
    token_spans,
    word_edges,
)
from asr.errors import TextError
from asr.lengths import min_frames
from asr.text import Tokenizer

LETTERS = Tokenizer("characters", ("<blank>", " ", "'", "a", "b", "c"))
DIGITS = Tokenizer("words", ("<blank>", "one", "two"))


def random_log_probs(rng, frames, symbols, scale=3.0):
    return torch.from_numpy(scale * rng.standard_normal((frames, symbols))).log_softmax(-1).numpy()


def score(log_probs, symbols):
    return log_probs[range(len(symbols)), symbols].sum()


def said(path, tokens):
    return np.where(path < 0, 0, np.append(tokens, 0)[path])


def torchaudio_path(log_probs, tokens):
    targets = torch.tensor([tokens], dtype=torch.int32)
    return forced_align(torch.from_numpy(log_probs).unsqueeze(0), targets)[0][0].numpy()


@pytest.fixture(scope="module")
def digits():
    return asr.load("digits", "cpu").recognizer


@pytest.fixture(scope="module")
def samples(digits):
    """The sample recordings that say one digit string each: (name, samples, text)."""
    utterances = Manifest(ROOT / "data/samples/samples.jsonl")
    return {u.id: (read_audio(u.audio, digits.sample_rate).samples, u.text) for u in utterances}


def test_no_path_is_better():
    rng = np.random.default_rng(0)
    for _ in range(60):
        frames, symbols = int(rng.integers(1, 7)), int(rng.integers(2, 4))
        tokens = rng.integers(1, symbols, rng.integers(1, 4)).tolist()
        log_probs = random_log_probs(rng, frames, symbols)
        saying = [
            path
            for path in itertools.product(range(symbols), repeat=frames)
            if [s for s, _ in itertools.groupby(path) if s] == tokens
        ]
        if not saying:
            assert min_frames(tokens) > frames
            with pytest.raises(TextError):
                best_path(log_probs, tokens)
            continue
        found = said(best_path(log_probs, tokens), tokens)
        assert tuple(found) in saying
        assert score(log_probs, found) == pytest.approx(max(score(log_probs, path) for path in saying), abs=1e-12)


@pytest.mark.parametrize(("frames", "most", "cases"), [(40, 40, 300), (1500, 1200, 8)])
def test_the_path_is_torchaudios(frames, most, cases):
    rng = np.random.default_rng(frames)
    compared = 0
    for _ in range(cases):
        count, symbols = int(rng.integers(1, most + 1)), int(rng.integers(3, 30))
        tokens = rng.integers(1, symbols, count).tolist()
        if min_frames(tokens) <= frames:
            log_probs = random_log_probs(rng, frames, symbols)
            assert said(best_path(log_probs, tokens), tokens).tolist() == torchaudio_path(log_probs, tokens).tolist()
            compared += 1
    assert compared >= cases // 2


def test_the_path_of_real_speech_is_torchaudios(digits, samples):
    for waveform, text in samples.values():
        tokens, log_probs = digits.tokenizer.encode(text), long_log_probs(digits, waveform)
        assert said(best_path(log_probs, tokens), tokens).tolist() == torchaudio_path(log_probs, tokens).tolist()


@pytest.mark.parametrize("tokens", [[1], [1, 2, 1], [1, 1], [2, 2, 2, 2, 2]])
def test_exactly_as_many_frames_as_needed(tokens):
    log_probs = random_log_probs(np.random.default_rng(1), min_frames(tokens), 3)
    path = best_path(log_probs, tokens)
    assert path[path >= 0].tolist() == list(range(len(tokens)))
    with pytest.raises(TextError, match="no path"):
        best_path(log_probs[1:], tokens)


def test_where_all_paths_are_equal_one_is_found():
    path = best_path(np.full((50, 4), np.log(0.25)), [1, 2, 2, 3])
    assert np.unique(path[path >= 0]).tolist() == [0, 1, 2, 3]
    assert (np.diff(path[path >= 0]) >= 0).all()


def test_impossible_symbols_leave_the_paths_around_them():
    log_probs = random_log_probs(np.random.default_rng(2), 30, 4)
    log_probs[:20, 1] = -np.inf
    log_probs[21:, 1] = -np.inf
    assert best_path(log_probs, [1])[20] == 0
    log_probs[20, 1] = -np.inf
    with pytest.raises(TextError, match="no path"):
        best_path(log_probs, [1])


def test_spans_hold_the_frames_and_their_mean_probability():
    log_probs = np.log([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.1, 0.9, 0.0001], [0.9, 0.05, 0.05], [0.2, 0.6, 0.2]])
    spans = token_spans(log_probs, [1, 1], best_path(log_probs, [1, 1]))
    assert (spans.start_frames.tolist(), spans.end_frames.tolist()) == ([1, 4], [3, 5])
    assert spans.scores == pytest.approx([0.8, 0.6])


def test_words_keep_their_spelling():
    words, unknown = spell(" “Ab”,\tCab! – b’a\u200bbax 7 \x00b\ud800", LETTERS, "basic")
    assert [word for word, _ in words] == ["“Ab”,", "Cab!", "b’a", "b"]
    assert [LETTERS.decode(tokens) for _, tokens in words] == ["ab", "cab", "b'a", "b"]
    assert unknown == ["bax", "7"]
    assert spell("One, three two", DIGITS, "basic") == ([("One,", [1]), ("two", [2])], ["three"])


def test_chunks_give_what_the_whole_does(digits, samples):
    whole = np.tile(np.concatenate([waveform for waveform, _ in samples.values()]), 6)
    assert len(whole) / digits.sample_rate > 2.5 * CHUNK_S
    with torch.inference_mode():
        direct, _ = digits(torch.from_numpy(whole).unsqueeze(0), torch.tensor([len(whole)]))
    difference = np.abs(np.exp(long_log_probs(digits, whole)) - direct[0].exp().numpy())
    assert difference.shape[0] == digits.output_frames(len(whole))
    assert np.median(difference) < 1e-4
    assert (difference.max(axis=1) > 0.1).mean() < 0.005


def test_word_times_of_a_synthesizer(digits, samples):
    # By flite -psdur for what scripts/make_samples.py has it say, less the silence that is trimmed there.
    starts = [0.200, 0.930, 1.243, 1.866, 2.471, 2.960, 3.418]
    ends = [0.767, 1.119, 1.725, 2.352, 2.896, 3.314, 3.898]
    words = align(digits, *samples["rms_8k"]).words
    assert np.median(np.abs([word.start for word in words] - np.array(starts))) < 0.08
    assert np.median(np.abs([word.end for word in words] - np.array(ends))) < 0.08


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_word_starts_of_voices_that_tell_them():
    command = [sys.executable, ROOT / "scripts/bench_align.py", "--strings", "2"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    words, median_ms = re.search(r"^\| all \| (\d+) \| (\d+) ms", printed, re.MULTILINE).groups()
    assert int(words) >= 40
    assert int(median_ms) <= 80


def test_times_do_not_drift(digits, samples):
    waveform, text = samples["heart_16k"]
    room = np.random.default_rng(4).standard_normal(round(38.2 * digits.sample_rate))
    pause = (5e-4 * room).astype(np.float32)  # as in the samples
    once = align(digits, waveform, text).words
    many = align(digits, np.concatenate([waveform, pause] * 4), " ".join([text] * 4)).words
    period = (len(waveform) + len(pause)) / digits.sample_rate
    for number, word in enumerate(many):
        turn, place = divmod(number, len(once))
        assert word.start - turn * period == pytest.approx(once[place].start, abs=0.06)
        assert word.end - turn * period == pytest.approx(once[place].end, abs=0.06)


def test_words_follow_one_another_and_hold_their_tokens(digits, samples, untrained):
    noise = (0.1 * np.random.default_rng(3).standard_normal(8_000)).astype(np.float32)
    for recognizer, waveform, text in [(digits, *samples["gongitsune"]), (untrained, noise, "ab ba a bab")]:
        result = align(recognizer, waveform, text)
        assert [word.text for word in result.words] == text.split()
        edges = [edge for word in result.words for edge in (word.start, word.end)]
        assert edges == sorted(edges)
        assert edges[0] >= 0
        assert edges[-1] <= result.duration
        for word in result.words:
            assert word.start < word.end
            assert 0 <= word.score <= 1
            assert recognizer.tokenizer.kind == "words" or [t.text for t in word.tokens] == list(word.text)
            assert (word.tokens[0].start, word.tokens[-1].end) == (word.start, word.end)
            assert all(a.start < a.end == b.start for a, b in itertools.pairwise(word.tokens))


def test_loudness_bounds_words_between_pauses():
    rate = 8_000
    waveform = np.full(3 * rate, 1e-4, np.float32)
    for begin, end in [(0.50, 0.90), (0.95, 1.00), (2.00, 2.60)]:  # a word with a stop in it, and another
        waveform[round(begin * rate) : round(end * rate)] = 0.3
    starts, ends = word_edges(waveform, rate, np.array([0.62, 1.95]), np.array([0.70, 2.10]))
    assert starts == pytest.approx([0.50, 1.95], abs=0.011)
    assert ends == pytest.approx([1.00, 2.60], abs=0.011)
    assert PAUSE_S > 0.05
    starts, ends = word_edges(np.full(rate, 0.3, np.float32), rate, np.array([0.2, 0.5]), np.array([0.3, 0.6]))
    assert (starts.tolist(), ends) == ([0.2, 0.5], [0.5, 1.0])


def test_what_was_not_said_scores_low(digits, samples):
    waveform, text = samples["heart_16k"]
    heard = text.split()
    words = align(digits, waveform, " ".join([*heard[:3], "zero", *heard[3:]])).words
    assert min(words, key=lambda word: word.score).text == "zero"
    assert words[3].score < 0.1
    assert np.median([word.score for word in words]) > 0.9


def test_texts_that_cannot_be_aligned(digits, samples):
    waveform, text = samples["heart_16k"]
    with pytest.raises(TextError, match=r"no tokens for 'Hello,', '7'; .*'eight'.*--skip-unknown"):
        align(digits, waveform, f"Hello, {text} 7")
    result = align(digits, waveform, f"Hello, {text} 7", skip_unknown=True)
    assert result.skipped == ("Hello,", "7")
    assert " ".join(word.text for word in result.words) == text
    for empty in ("", " \n", "– !"):
        with pytest.raises(TextError, match="no words to align in the text"):
            align(digits, waveform, empty)
    with pytest.raises(TextError, match="no words to align: the model has no tokens for 'hello'"):
        align(digits, waveform, "hello", skip_unknown=True)
    with pytest.raises(
        TextError, match=r"60 words of at least 119 frames of 40 ms \(4.76 s\), there are 87 \(3.48 s\)"
    ):
        align(digits, waveform, "one " * 60)
    assert len(align(digits, waveform[:10], "one").words) == 1
