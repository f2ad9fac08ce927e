"""The table that `asr evaluate` prints."""

import pytest

from asr.cli.tables import print_evaluation

RECORD = {
    "manifest": "m.jsonl",
    "wer": 0.25,
    "cer": 0.1,
    "ser": 0.5,
    "substitutions": 1,
    "deletions": 0,
    "insertions": 2,
    "words": 12,
    "utterances": 4,
    "wer_ci95": [0.1, 0.4],
    "ci_method": "bootstrap",
    "ci_unit": "speaker",
    "normalizer": "basic",
    "decoder": {"kind": "greedy"},
    "rtf": 0.01,
    "device": "cpu",
}


def test_the_figures_stand_with_what_they_count(capsys):
    print_evaluation(RECORD, expect=0.2)
    shown = " ".join(capsys.readouterr().out.split())
    assert "WER 25.00 % 95 % interval 10.00 % to 40.00 % (bootstrap, by speaker) expected 20.00 % or less" in shown
    assert "3 in 12 words: 1 substitution, 0 deletions, 2 insertions" in shown


@pytest.mark.parametrize("high", [1.0, 1.8])
def test_an_interval_that_holds_everything_is_none(capsys, high):
    print_evaluation(RECORD | {"words": 1, "wer_ci95": [0.0, high]})
    shown = capsys.readouterr().out
    assert "too few words to tell" in shown
    assert "in 1 word:" in shown
