"""What training and test share is found; what only looks alike is not."""

import numpy as np
import pytest
import soundfile
from helpers.spoilt import RATE, found, noise, settings

from asr.corpus.check import check
from asr.errors import ManifestError


@pytest.mark.parametrize("audio", [True, False])
def test_what_train_and_test_share(corpus, test_part, audio):
    manifest = corpus.manifest()
    assert check([manifest], settings(), audio=audio, against=[test_part.manifest()]).findings == []
    for key in ("id", "text", "speaker"):
        test_part.lines[5][key] = corpus.lines[4][key]
    if audio:
        soundfile.write(test_part.folder / "6.flac", soundfile.read(corpus.folder / "7.wav")[0], RATE)
        test_part.lines[6]["audio"] = "6.flac"
    else:
        test_part.lines[6]["audio"] = "../corpus/7.wav"
    report = check([manifest], settings(), audio=audio, against=[test_part.manifest()])
    assert {name.removesuffix(" shared with --against"): result.level for name, result in found(report).items()} == {
        "audio": "error",
        "id": "error",
        "speaker": "warning",
        "sentence": "warning",
    }
    assert report.dropped == {4: "id shared with --against", 7: "audio shared with --against"}
    assert found(report)["speaker shared with --against"].examples[0].what == "s1"


@pytest.mark.parametrize("audio", [True, False])
def test_parts_of_one_file_that_overlap_are_shared(corpus, test_part, audio):
    soundfile.write(corpus.folder / "long.wav", np.stack([noise(60, seed=9), noise(60, seed=8)], axis=1), RATE)
    (test_part.folder / "link").symlink_to(corpus.folder)
    (test_part.folder / "alias.wav").symlink_to(corpus.folder / "long.wav")
    ours = [(0.0, None), (2.0, 0), (4.0, 1), (6.0, None), (8.0, 0), (10.0, None)]
    theirs = [(0.1, None), (2.0, 1), (4.95, 1), (5.5, 0), (8.5, 0), (11.0, None)]
    for i, pair in enumerate(zip(ours, theirs, strict=True)):
        for part, (start, channel), name in zip((corpus, test_part), pair, ("long.wav", None), strict=True):
            part.lines[i].update(audio=name or ("link/long.wav", "alias.wav")[i % 2], start=start, channel=channel)
    for manifests in ((corpus, test_part), (test_part, corpus)):
        first, second = (part.manifest() for part in manifests)
        report = check([first], settings(), audio=audio, against=[second])
        assert report.dropped == dict.fromkeys((0, 3, 4), "audio shared with --against")


def test_short_parts_are_shared_by_half(corpus, test_part):
    for part, start in ((corpus, 0.02), (test_part, 0.0)):
        part.lines[0].update(audio=str(corpus.folder / "0.wav"), start=start, duration=0.06, text="a")
    dropped = check([corpus.manifest()], settings(), audio=False, against=[test_part.manifest()]).dropped
    assert dropped == {0: "audio shared with --against"}


def test_silence_is_not_shared(corpus, test_part):
    for part in (corpus, test_part):
        for i, level in ((4, 0.0), (5, 0.0), (6, 0.001), (7, 0.001)):
            part.write(i, np.full(RATE, level))
    assert list(found(check([corpus.manifest()], settings(), against=[test_part.manifest()]))) == ["near silence"]


def test_a_speaker_spelled_otherwise_is_shared(corpus, test_part):
    corpus.lines[4]["speaker"], test_part.lines[7]["speaker"] = "Jos\u00e9", "Jose\u0301 "
    report = check([corpus.manifest()], settings(), audio=False, against=[test_part.manifest()])
    assert found(report)["speaker shared with --against"].count == 1


def test_the_test_part_must_be_well_formed(corpus, test_part):
    with pytest.raises(ManifestError, match=r"line 31: not JSON .* check it by itself"):
        check([corpus.manifest()], settings(), against=[test_part.manifest(b"{")])
