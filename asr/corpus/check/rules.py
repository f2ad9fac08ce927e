"""What checks find, and the checks of single lines. A new one is a function of `LineInfo` and a line in `LINE_CHECKS`.

Thresholds are those of real corpora that train well: LibriSpeech, Common Voice, speechocean762, LJ Speech, Speech
Commands, spoken digits.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from asr.corpus.check.lines import AudioStats, CheckSettings, LineInfo
from asr.errors import AudioFault

ERROR, WARNING = "error", "warning"
MAX_EXAMPLES = 5  # shown of each finding; twice as many symbols and the like

# Of full scale. Soft but usable speech reaches 0.01; below 0.0056 (-45 dB) nothing is recorded.
QUIET_PEAK = 0.0056
# Share of samples in flat tops at full scale. 1 ms a second; good recordings have none.
CLIPPED_FRACTION = 0.001
# Of full scale. Cheap microphones reach 0.02; beyond, a converter is broken.
OFFSET = 0.025
# Different unknown symbols named of one utterance.
MAX_SYMBOLS = 5


@dataclass
class Example:
    """One of the worst. what: an utterance's row, until `check` puts its id, or a name; place: "FILE, line N"
    where there is one; text: the utterance's."""

    what: int | str
    value: str
    place: str = ""
    text: str = ""


class Finding:
    """Something wrong. level: "error" breaks training, "warning" deserves a look; rows: all utterances it concerns;
    unit: what is counted, utterances or symbols, speakers …"""

    def __init__(self, name: str, level: str, remedy: str, unit: str = "utterance") -> None:
        self.name, self.level, self.remedy, self.unit = name, level, remedy, unit
        self.rows = array("q")
        self._shown = 0
        self._worst: list[tuple[float, int, Example]] = []

    def add(self, row: int, value: str = "", badness: float = 0.0) -> None:
        """Count an utterance. value: what is wrong with it, in words; the worst become examples."""
        self.rows.append(row)
        self.show(row, value, badness)

    def show(self, what: int | str, value: str, badness: float) -> None:
        """Offer an example without counting an utterance."""
        limit = MAX_EXAMPLES if self.unit == "utterance" else 2 * MAX_EXAMPLES
        push = heapq.heappush if len(self._worst) < limit else heapq.heappushpop
        push(self._worst, (badness, -self._shown, Example(what, value)))  # of equals, the first
        self._shown += 1

    @property
    def count(self) -> int:
        return len(self.rows) if self.unit == "utterance" else self._shown

    @property
    def examples(self) -> list[Example]:
        """The worst first."""
        return [example for _, _, example in sorted(self._worst, key=lambda each: each[:2], reverse=True)]

    def to_json(self) -> dict[str, Any]:
        keys = ("name", "level", "count", "unit", "remedy")
        return {key: getattr(self, key) for key in keys} | {"examples": [asdict(each) for each in self.examples]}


# Checks of a line: how bad, and that in words; None where nothing is wrong.
Value = tuple[float, str] | None
LineCheck = Callable[[LineInfo, CheckSettings], Value]


def malformed(info: LineInfo, settings: CheckSettings) -> Value:
    return (0, info.error) if info.error else None


def missing_text(info: LineInfo, settings: CheckSettings) -> Value:
    return (0, "no text") if info.utterance is not None and info.text is None else None


def empty_text(info: LineInfo, settings: CheckSettings) -> Value:
    return (0, repr(info.utterance.text)) if info.utterance is not None and info.text == "" else None


def too_few_frames(info: LineInfo, settings: CheckSettings) -> Value:
    return _missing_frames(info, settings, 1.0)


def too_few_at_the_fastest(info: LineInfo, settings: CheckSettings) -> Value:
    if settings.fastest <= 1.0 or _missing_frames(info, settings, 1.0):
        return None
    return _missing_frames(info, settings, settings.fastest)


def _missing_frames(info: LineInfo, settings: CheckSettings, speed: float) -> Value:
    if info.utterance is None or not info.text:
        return None
    lacking_s = 0.0 if info.audio is None else info.audio.lacking_s
    needed = settings.needed_frames(info.text)
    there = settings.frames(round(info.utterance.duration - lacking_s, 6), speed)
    return (needed - there, f"{needed} needed, {there} there") if needed > there else None


def unknown(info: LineInfo, settings: CheckSettings) -> Value:
    symbols = settings.tokenizer.unknown(info.text) if settings.tokenizer is not None and info.text else ()
    different = list(dict.fromkeys(symbols))
    return (len(symbols), " ".join(map(repr, different[:MAX_SYMBOLS]))) if symbols else None


def missing_speaker(info: LineInfo, settings: CheckSettings) -> Value:
    return (0, "") if info.utterance is not None and info.utterance.speaker is None else None


def fault(kind: AudioFault) -> LineCheck:
    """Whether this is what kept the audio from being read."""
    return lambda info, _: (0, info.audio.detail) if info.audio is not None and info.audio.fault is kind else None


def beyond(limit: float, measure: Callable[[AudioStats], float], words: Callable[[AudioStats], str]) -> LineCheck:
    """Whether a measure of the samples reaches the limit."""

    def check(info: LineInfo, settings: CheckSettings) -> Value:
        audio = info.audio
        if audio is None or audio.fault is not None or measure(audio) < limit:
            return None
        return measure(audio), words(audio)

    return check


quiet = beyond(-QUIET_PEAK, lambda audio: -audio.peak, lambda audio: f"peak {audio.peak:.4f}")
clipped = beyond(CLIPPED_FRACTION, lambda audio: audio.clipped, lambda audio: f"{100 * audio.clipped:.2f} %")
offset = beyond(OFFSET, lambda audio: abs(audio.mean), lambda audio: f"mean {audio.mean:+.3f}")


def low_rate(info: LineInfo, settings: CheckSettings) -> Value:
    rate, wanted = 0 if info.audio is None else info.audio.sample_rate, settings.features.sample_rate
    return (wanted - rate, f"{rate} Hz, {wanted} Hz wanted") if settings.named and 0 < rate < wanted else None


# Name, level, remedy, check; in the order in which they are reported.
LINE_CHECKS: tuple[tuple[str, str, str, LineCheck], ...] = (
    ("malformed line", ERROR, "correct the line, or write the manifest again", malformed),
    ("missing text", ERROR, "add the text; training needs it", missing_text),
    ("empty text", ERROR, "it is empty after text.normalizer={settings.normalizer}", empty_text),
    (
        "too few frames for CTC",
        ERROR,
        "lower model.subsampling; or text and audio do not belong together",
        too_few_frames,
    ),
    (
        "too few frames at the fastest speed",
        WARNING,
        "training skips them when they are sped up that much; a lower augment.speed keeps them",
        too_few_at_the_fastest,
    ),
    ("unknown symbol", ERROR, "spell it with the model's tokens", unknown),
    *(
        (kind.value, ERROR, remedy, fault(kind))
        for kind, remedy in {
            AudioFault.MISSING: "audio is relative to the manifest's folder; get the files again",
            AudioFault.UNREADABLE: "get the file again, or convert it to flac or wav",
            AudioFault.TOO_SHORT: "correct start and duration, or get the file again",
            AudioFault.EMPTY: "leave it out",
            AudioFault.NOT_FINITE: "write the file again from its source",
        }.items()
    ),
    ("missing speaker", WARNING, "without it, parts cannot be kept apart by speaker", missing_speaker),
    ("near silence", WARNING, "listen: is anything said?", quiet),
    ("clipping", WARNING, "record at a lower level, or get the original", clipped),
    ("offset", WARNING, "filter it out below 20 Hz, or repair the recorder", offset),
    ("low sample rate", WARNING, "set features.sample_rate to what most files have", low_rate),
)
