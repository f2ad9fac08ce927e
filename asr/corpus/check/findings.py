"""What checks find, by name, each with its worst examples; and the report of it all."""

from __future__ import annotations

import heapq
from array import array
from dataclasses import asdict, dataclass
from typing import Any

from asr.errors import AudioFault
from asr.text import ODDITIES

ERROR, WARNING = "error", "warning"
MAX_EXAMPLES = 5  # shown of each finding; twice as many symbols and the like

# What breaks training, or the test's honesty, and the remedy; in the order in which they are reported.
ERRORS = {
    "malformed line": "correct the line, or write the manifest again",
    "missing text": "add the text; training needs it",
    "too few frames for CTC": "lower model.subsampling; or text and audio do not belong together",
    "unknown symbol": "spell it with the model's tokens",
    AudioFault.MISSING.value: "audio is relative to the manifest's folder; get the files again",
    AudioFault.UNREADABLE.value: "get the file again, or convert it to flac or wav",
    AudioFault.TOO_SHORT.value: "correct start and duration, or get the file again",
    AudioFault.EMPTY.value: "leave it out",
    AudioFault.NOT_FINITE.value: "write the file again from its source",
    "duplicate id": "give each utterance an id of its own",
    "audio shared with --against": "remove it from one: the test is not honest",
    "id shared with --against": "remove it from one, or rename it if it is another",
}
# What deserves a look.
WARNINGS = {
    "empty text": "empty after text.normalizer={normalizer}: training learns silence from it; is nothing said?",
    "too few frames at the fastest speed": (
        "training skips them when they are sped up that much; a lower augment.speed keeps them"
    ),
    "missing speaker": "without it, parts cannot be kept apart by speaker",
    "near silence": "listen: is anything said?",
    "clipping": "record at a lower level, or get the original",
    "offset": "filter it out below 20 Hz, or repair the recorder",
    "low sample rate": "set features.sample_rate to what most files have",
    "speaker shared with --against": "keep speakers apart: the test should be about new voices",
    "sentence shared with --against": "the model may have memorized it",
    "digits in text": "spell numbers out as they are spoken",
    "word in another script": "retype it: letters that look alike are different symbols; or leave it out",
    "rare symbol": "correct or replace it: a model cannot learn it",
    **{name: remedy for name, (_, remedy) in ODDITIES.items()},
    "odd duration": "split it, or correct the line",
    "odd pace": "listen: does it say its text?",
    "sentence repeated": "keep fewer of them",
    "duplicate audio": "keep one of each: sometimes their texts differ",
    "audio longer than its line says": "correct duration: words may be cut off",
    "sample rates differ": "all are converted; is any mislabeled?",
    "several channels": "they are averaged, unless the line names a channel",
}
# What is counted where it is not utterances.
UNITS = {
    "speaker shared with --against": "speaker",
    "digits in text": "digit",
    "rare symbol": "symbol",
    **{name: unit for name, (unit, _) in ODDITIES.items()},
    "sample rates differ": "rate",
    "several channels": "layout",
}


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

    def __init__(self, name: str, remedy: str) -> None:
        self.name, self.level, self.remedy = name, ERROR if name in ERRORS else WARNING, remedy
        self.unit = UNITS.get(name, "utterance")
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


@dataclass(frozen=True)
class Report:
    """utterances: lines that are not malformed; rates: how many have which sample rate (Hz); dropped: rows that
    break training, with the reason."""

    utterances: int
    hours: float
    audio: bool
    rates: dict[int, int]
    findings: list[Finding]
    dropped: dict[int, str]

    @property
    def failed(self) -> bool:
        return any(finding.level == ERROR for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        return {
            "utterances": self.utterances,
            "hours": round(self.hours, 4),
            "audio": self.audio,
            "broken": len(self.dropped),
            "findings": [finding.to_json() for finding in self.findings],
        }
