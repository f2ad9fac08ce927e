"""Long audio is cut in pauses: in the longest of them, however loud the noise is, and covers everything."""

import itertools

import numpy as np
import pytest

from asr.segmentation import MARGIN_S, MAX_SEGMENT_S, cut_at_pauses

RATE = 8000


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * RATE))).astype(np.float32)


def test_cuts_cover_everything_and_fall_into_the_silences():
    samples = noise(100)
    silences = [(20.0, 20.5), (45.0, 45.5), (70.0, 70.4)]
    for start, end in silences:
        samples[int(start * RATE) : int(end * RATE)] *= 0.01
    bounds = cut_at_pauses(samples, RATE)
    assert bounds[0][0] == 0
    assert bounds[-1][1] == len(samples)
    for (_, end), (start, _) in itertools.pairwise(bounds):
        assert end == start
        assert any(a <= end / RATE <= b for a, b in silences) or end / RATE > 71
    assert all(0 < end - start <= MAX_SEGMENT_S * RATE for start, end in bounds)


def test_short_audio_is_one_segment():
    assert cut_at_pauses(noise(29), RATE) == [(0, 29 * RATE)]


def spoken(parts, floor_db, rate=RATE):
    """Syllables of 0.15 s with closures of 0.05 s for the seconds given, and the pauses between, over noise."""
    rng = np.random.default_rng(1)
    pieces, pauses, at = [], [], 0.0
    for speech_s, pause_s in parts:
        time_s = np.arange(int(speech_s * rate)) / rate
        voiced = (time_s % 0.2 < 0.15) * rng.uniform(0.3, 1.0, len(time_s) // (rate // 5) + 1)[
            (time_s // 0.2).astype(int)
        ]
        pieces += [0.2 * voiced * np.sin(2 * np.pi * 200 * time_s), np.zeros(int(pause_s * rate))]
        pauses.append((at + speech_s, at + speech_s + pause_s))
        at += speech_s + pause_s
    samples = np.concatenate(pieces)
    return (samples + 10 ** (floor_db / 20) * rng.standard_normal(len(samples))).astype(np.float32), pauses


@pytest.mark.parametrize("floor_db", [-200, -70, -45, -30])
@pytest.mark.parametrize("rate", [8000, 16_000, 11_025])
def test_every_cut_is_in_a_pause_and_the_longest_is_chosen(floor_db, rate):
    """Pauses of 0.3 s between words, of 2.2 to 20 s between sentences of up to 15 s: no sentence is cut."""
    rng = np.random.default_rng(7)
    words = [(float(rng.uniform(0.4, 1.5)), 0.3) for _ in range(200)]
    parts = [
        (speech_s, float(rng.uniform(2.2, 20)) if n % 8 == 7 else pause_s)
        for n, (speech_s, pause_s) in enumerate(words)
    ]
    samples, pauses = spoken(parts, floor_db, rate)
    bounds = cut_at_pauses(samples, rate)
    assert (bounds[0][0], bounds[-1][1]) == (0, len(samples))
    sentences = [pause for pause in pauses if pause[1] - pause[0] > 1]
    for _, end in bounds[:-1]:
        assert any(start < end / rate < stop for start, stop in sentences), end / rate
    assert max((end - first) / rate for first, end in bounds) <= MAX_SEGMENT_S
    for start, stop in sentences:  # the quiet part is a segment of its own, MARGIN_S of it stay with the sentences
        cuts = [end / rate for _, end in bounds[:-1] if start < end / rate < stop]
        expected = [start + MARGIN_S, stop - MARGIN_S][: 1 if (start, stop) == pauses[-1] else 2]
        assert cuts == pytest.approx(expected, abs=0.3)


def test_words_without_a_long_pause_between_them_are_cut_at_the_longest():
    parts = [(0.7, 0.25)] * 200
    parts[15::20] = [(0.7, 0.9)] * 10
    samples, pauses = spoken(parts, -60)
    longest = [pause for pause in pauses if pause[1] - pause[0] > 0.5]
    bounds = cut_at_pauses(samples, RATE)
    assert len(bounds) > 6
    assert all(any(a < end / RATE < b for a, b in longest) for _, end in bounds[:-1])


def test_a_short_recording_with_a_long_pause_is_cut_too():
    samples, _ = spoken([(2.0, 4.0), (3.0, 0.3)], -60)
    ends = [end / RATE for _, end in cut_at_pauses(samples, RATE)]
    assert ends == pytest.approx([2.5, 5.5, 9.3], abs=0.3)


def test_who_speaks_without_a_pause_is_cut_where_it_is_quietest():
    samples, _ = spoken([(70.0, 0.0)], -60)
    samples[20 * RATE : int(20.12 * RATE)] = 0  # with the closure before it, shorter than a pause
    bounds = cut_at_pauses(samples, RATE)
    assert bounds[0][1] == pytest.approx(20.03 * RATE, abs=0.1 * RATE)


@pytest.mark.parametrize("samples", [np.zeros(100 * RATE, np.float32), np.full(100 * RATE, 0.5, np.float32)])
def test_what_is_level_is_cut_somewhere(samples):
    bounds = cut_at_pauses(samples, RATE)
    assert all(first < end <= first + MAX_SEGMENT_S * RATE for first, end in bounds)
    assert [end for _, end in bounds[:-1]] == [first for first, _ in bounds[1:]]
