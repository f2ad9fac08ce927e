"""Sounds without speech: audible or nearly silent, within full scale, and the same for the same seed."""

import numpy as np
import pytest
import soundfile

from asr.corpus.sounds import SECONDS, band, music, silence


@pytest.mark.parametrize("make", [music, silence])
def test_sounds_are_what_their_name_says(tmp_path, make):
    made = list(make(tmp_path / "a", 8, 8_000, seed=1))
    waves = np.stack([soundfile.read(utterance.audio)[0] for utterance in made])
    assert waves.shape == (8, SECONDS * 8_000)
    levels, peaks = np.sqrt(np.square(waves).mean(1)), np.abs(waves).max(1)
    if make is music:
        assert (peaks > 0.05).all()  # -25 dB of full scale
        assert (peaks < 0.75).all()
    else:
        assert (levels[::4] == 0).all()
        assert (levels < 0.02).all()
        assert (levels[1:4] > 0).all()
    assert {utterance.text for utterance in made} == {""}
    assert len({utterance.id for utterance in made}) == 8
    again, other = (list(make(tmp_path / name, 8, 8_000, seed)) for name, seed in (("b", 1), ("c", 2)))
    content = [[utterance.audio.read_bytes() for utterance in each] for each in (made, again, other)]
    assert content[0] == content[1] != content[2]


def test_a_band_plays_for_a_while_and_always_the_same(tmp_path):
    made = list(band(tmp_path / "a", 5, 8_000, seed=1))
    for utterance in made:
        wave, rate = soundfile.read(utterance.audio)
        assert (rate, utterance.text) == (8_000, "")
        assert SECONDS <= utterance.duration == len(wave) / rate <= 4 * SECONDS
        assert 0.05 < np.abs(wave).max() < 0.75
        assert np.sqrt(np.mean(np.square(wave[-rate:]))) > 1e-3  # it plays to the end
    again, other = (list(band(tmp_path / name, 5, 8_000, seed)) for name, seed in (("b", 1), ("c", 2)))
    content = [[utterance.audio.read_bytes() for utterance in each] for each in (made, again, other)]
    assert content[0] == content[1] != content[2]
