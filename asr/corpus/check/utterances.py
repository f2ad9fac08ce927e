"""The checks of single utterances. A new check is a function of `LineInfo` and a line in `CHECKS`.

Thresholds are those of real corpora that train well: LibriSpeech, Common Voice, speechocean762, LJ Speech, Speech
Commands, spoken digits.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable

import numpy as np

from asr.corpus.check.findings import ERROR, WARNING, WORST, Finding, of_utterances
from asr.corpus.check.lines import CheckSettings, LineInfo, Sound
from asr.errors import AudioFault

# Of full scale. Soft but usable speech reaches 0.01; below 0.0056 (-45 dB) are recordings of nothing.
QUIET_PEAK = 0.0056
# Share of samples in flat tops at full scale. 1 ms a second; good recordings have none.
CLIPPED_FRACTION = 0.001
# Of full scale. Cheap microphones reach 0.02; beyond, a converter is broken.
OFFSET = 0.025
# Different unknown symbols named of one utterance.
SYMBOLS_SHOWN = 5

# How bad, and that in words; None where nothing is wrong.
Value = tuple[float, str] | None
Test = Callable[[LineInfo, CheckSettings], Value]


class Check:
    """Collects the utterances for which `test` gives a value, 8 bytes each, and the worst of them."""

    def __init__(self, name: str, level: str, remedy: str, test: Test, rules: CheckSettings) -> None:
        self.name, self.level, self.remedy = name, level, remedy.format(rules=rules)
        self.test, self.rules = test, rules
        self.rows = array("q")
        self.worst: list[tuple[float, int, str]] = []

    def see(self, facts: LineInfo) -> None:
        value = self.test(facts, self.rules)
        if value is not None:
            badness, words = value
            self.rows.append(facts.row)
            push = heapq.heappush if len(self.worst) < WORST else heapq.heappushpop
            push(self.worst, (badness, -facts.row, words))  # of equals, the first

    def finish(self) -> Finding | None:
        worst = ((-row, words) for _, row, words in sorted(self.worst)[::-1])
        return of_utterances(self.name, self.level, self.remedy, np.array(self.rows), worst)


def malformed(facts: LineInfo, rules: CheckSettings) -> Value:
    return (0, facts.error) if facts.error else None


def missing_text(facts: LineInfo, rules: CheckSettings) -> Value:
    return (0, "no text") if facts.line and facts.text is None else None


def empty_text(facts: LineInfo, rules: CheckSettings) -> Value:
    return (0, repr(facts.line["text"])) if facts.text == "" else None


def too_few_frames(facts: LineInfo, rules: CheckSettings) -> Value:
    return _lacking(facts, rules, 1.0) if facts.text else None


def too_few_at_the_fastest(facts: LineInfo, rules: CheckSettings) -> Value:
    if not facts.text or rules.fastest <= 1.0 or _lacking(facts, rules, 1.0):
        return None
    return _lacking(facts, rules, rules.fastest)


def _lacking(facts: LineInfo, rules: CheckSettings, speed: float) -> Value:
    needed, there = rules.needed_frames(facts.text or ""), rules.frames(facts.heard_s, speed)
    return (needed - there, f"{needed} needed, {there} there") if needed > there else None


def unknown(facts: LineInfo, rules: CheckSettings) -> Value:
    symbols = rules.tokenizer.unknown(facts.text) if rules.tokenizer is not None and facts.text else ()
    different = list(dict.fromkeys(symbols))
    return (len(symbols), " ".join(map(repr, different[:SYMBOLS_SHOWN]))) if symbols else None


def missing_speaker(facts: LineInfo, rules: CheckSettings) -> Value:
    return (0, "") if facts.line and "speaker" not in facts.line else None


def fault(kind: AudioFault) -> Test:
    """Whether this is what kept the audio from being read."""

    def test(facts: LineInfo, rules: CheckSettings) -> Value:
        return (0, facts.sound.detail) if facts.sound is not None and facts.sound.fault is kind else None

    return test


def beyond(limit: float, measure: Callable[[Sound], float], words: Callable[[Sound], str]) -> Test:
    """Whether a measure of the samples reaches the limit."""

    def test(facts: LineInfo, rules: CheckSettings) -> Value:
        sound = facts.sound
        if sound is None or sound.fault or measure(sound) < limit:
            return None
        return measure(sound), words(sound)

    return test


quiet = beyond(-QUIET_PEAK, lambda sound: -sound.peak, lambda sound: f"peak {sound.peak:.4f}")
clipped = beyond(CLIPPED_FRACTION, lambda sound: sound.clipped, lambda sound: f"{100 * sound.clipped:.2f} %")
offset = beyond(OFFSET, lambda sound: abs(sound.mean), lambda sound: f"mean {sound.mean:+.3f}")


def low_rate(facts: LineInfo, rules: CheckSettings) -> Value:
    sound, wanted = facts.sound, rules.features.sample_rate
    if sound is None or not rules.named or not 0 < sound.sample_rate < wanted:
        return None
    return wanted - sound.sample_rate, f"{sound.sample_rate} Hz, {wanted} Hz wanted"


# Name, level, remedy, test; in the order in which they are reported.
CHECKS: tuple[tuple[str, str, str, Test], ...] = (
    ("malformed line", ERROR, "correct the line, or write the manifest again", malformed),
    ("missing text", ERROR, "add the text; training cannot use an utterance without", missing_text),
    ("empty text", ERROR, "nothing is left of it after text.normalizer={rules.normalizer}", empty_text),
    (
        "too few frames for CTC",
        ERROR,
        "a lower model.subsampling keeps them; or the text is not theirs",
        too_few_frames,
    ),
    (
        "too few frames at the fastest speed",
        WARNING,
        "training leaves them out when they are made so fast; a lower augment.speed keeps them",
        too_few_at_the_fastest,
    ),
    ("unknown symbol", ERROR, "spell it with the model's tokens", unknown),
    (
        AudioFault.MISSING.value,
        ERROR,
        "audio is relative to the manifest's folder; get the files again",
        fault(AudioFault.MISSING),
    ),
    (
        AudioFault.UNREADABLE.value,
        ERROR,
        "get the file again, or convert it to flac or wav",
        fault(AudioFault.UNREADABLE),
    ),
    (
        AudioFault.TOO_SHORT.value,
        ERROR,
        "correct start and duration, or get the file again",
        fault(AudioFault.TOO_SHORT),
    ),
    (AudioFault.EMPTY.value, ERROR, "leave it out", fault(AudioFault.EMPTY)),
    (AudioFault.NOT_FINITE.value, ERROR, "write the file again from its source", fault(AudioFault.NOT_FINITE)),
    ("missing speaker", WARNING, "without, parts cannot be kept apart by speaker", missing_speaker),
    ("near silence", WARNING, "hear whether anything is said", quiet),
    ("clipping", WARNING, "record at a lower level, or get the original", clipped),
    ("offset", WARNING, "filter it out below 20 Hz, or mend the recorder", offset),
    ("low sample rate", WARNING, "set features.sample_rate to what most files have", low_rate),
)
