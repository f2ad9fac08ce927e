"""The sounds without speech: ten minutes, the same every time, and words in them are counted."""

import noise_test
import numpy as np
from helpers import ROOT

import asr


def test_ten_minutes_of_sound():
    made = list(noise_test.sounds())
    seconds = [len(samples) / noise_test.RATE for _, samples in made]
    assert sum(seconds) == 600
    assert 10 <= min(seconds) <= max(seconds) <= 30
    again = noise_test.sounds()
    for (kind, samples), _ in zip(made, range(8), strict=False):
        other, same = next(again)
        assert other == kind
        np.testing.assert_array_equal(samples, same)
    for kind, samples in made:
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()
        assert (np.abs(samples).max() > 1e-5) == (kind != "silence")
        assert np.mean(np.abs(samples) >= 1) < 0.01


def test_noise_has_its_color():
    rng = np.random.default_rng(0)
    for slope in (0, 1, 2):
        power = np.square(np.abs(np.fft.rfft(noise_test.colored(rng, 10, slope))))
        low, high = power[2000:4000].mean(), power[20000:40000].mean()  # 200 to 400 Hz, 2 to 4 kHz
        assert abs(np.log10(low / high) - slope) < 0.1


def test_words_are_counted(capsys):
    speech = ROOT / "data" / "samples" / "heart_16k.flac"
    assert noise_test.listen(asr.load("digits"), [("speech", speech), ("speech", speech)]) == 14
    first, last = capsys.readouterr().out.splitlines()
    assert first.split()[:5] == ["speech", "7", "s", "14", "words"]
    assert last.split() == ["together", "7", "s", "14", "words"]
