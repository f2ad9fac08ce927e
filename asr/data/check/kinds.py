"""The kinds of checks. Each sees `Facts` one by one and gives at most one `Finding`; none keeps more than a few bytes
an utterance."""

from __future__ import annotations

import heapq
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from asr.data.check.facts import Facts

ERROR, WARNING = "error", "warning"
WORST = 5  # examples shown of each finding
LEFT_OVER_S = 0.25  # seconds, the shortest words: what a whole file may hold beyond its line's duration
OVERLAP_S = 0.1  # seconds that parts of one file may share: less than a word
FEWEST = 20  # values, below which there is no median to speak of
# Of logarithms: read speech of one kind differs by less, and its stray values are no mistakes.
LEAST_DEVIATION = 0.25

# How bad, and that in words.
Value = tuple[float, str]
Key = Callable[[Facts], "int | None"]


def integers() -> array[int]:
    """8 bytes each."""
    return array("q")


@dataclass
class Finding:
    """Something wrong. level: "error" breaks training, "warning" is to be looked at; count: how many `unit`s it
    concerns; examples: the worst, each an utterance's row or a name, and its value; rows: all utterances it concerns.
    """

    name: str
    level: str
    remedy: str
    count: int
    unit: str
    examples: list[tuple[int | str, str]]
    rows: array[int] = field(default_factory=integers)


class Check(Protocol):
    name: str
    remedy: str

    def see(self, facts: Facts) -> None: ...

    def finish(self) -> Finding | None: ...


@dataclass
class Each:
    """Utterances for which `test` gives a value."""

    name: str
    level: str
    remedy: str
    test: Callable[[Facts], Value | None]
    rows: array[int] = field(default_factory=integers)
    worst: list[tuple[float, int, str]] = field(default_factory=list)

    def see(self, facts: Facts) -> None:
        value = self.test(facts)
        if value is not None:
            badness, words = value
            self.rows.append(facts.row)
            push = heapq.heappush if len(self.worst) < WORST else heapq.heappushpop
            push(self.worst, (badness, -facts.row, words))  # of equals, the first

    def finish(self) -> Finding | None:
        return _finding(self, self.level, self.rows, ((-row, words) for _, row, words in sorted(self.worst)[::-1]))


@dataclass
class Tally:
    """Counts of things (symbols, rates); `odd` chooses those worth a word, worst first."""

    name: str
    remedy: str
    unit: str
    things: Callable[[Facts], Iterable[Hashable]]
    odd: Callable[[Counter], list[tuple[str, int]]]
    counts: Counter = field(default_factory=Counter)

    def see(self, facts: Facts) -> None:
        self.counts.update(self.things(facts))

    def finish(self) -> Finding | None:
        odd = self.odd(self.counts)
        examples: list[tuple[int | str, str]] = [(thing, f"× {count:,}") for thing, count in odd[: 2 * WORST]]
        return Finding(self.name, WARNING, self.remedy, len(odd), self.unit, examples) if odd else None


@dataclass
class Keyed:
    """Keys of 8 bytes (hashes) and the rows they came from; None is no key. varied: look only where at least half of
    the keys differ, as in a corpus of commands the few sentences repeat on purpose."""

    name: str
    level: str
    remedy: str
    key: Key
    varied: bool = False
    keys: array[int] = field(default_factory=integers)
    rows: array[int] = field(default_factory=integers)

    def see(self, facts: Facts) -> None:
        key = self.key(facts)
        if key is not None:
            self.keys.append(key)
            self.rows.append(facts.row)

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys and rows, none of them where the keys are not varied enough."""
        keys, rows = np.array(self.keys, dtype=np.int64), np.array(self.rows, dtype=np.int64)
        enough = not self.varied or 2 * len(np.unique(keys)) >= len(keys)
        return (keys, rows) if enough else (keys[:0], rows[:0])


@dataclass
class Repeats(Keyed):
    """Utterances whose key an earlier one has, where it occurs at least `least` times."""

    least: int = 2

    def finish(self) -> Finding | None:
        keys, rows = self.arrays()
        _, first, group, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        later = counts[group] >= self.least
        later[first] = False
        most = [i for i in np.argsort(-counts, kind="stable")[:WORST] if counts[i] >= self.least]
        return _finding(self, self.level, rows[later], ((int(rows[first[i]]), f"× {counts[i]:,}") for i in most))


@dataclass
class Shared(Keyed):
    """Utterances whose key occurs in other manifests too, which `see_other` is shown."""

    others: array[int] = field(default_factory=integers)

    def see_other(self, facts: Facts) -> None:
        key = self.key(facts)
        if key is not None:
            self.others.append(key)

    def shared(self) -> np.ndarray:
        """(shared,) their rows."""
        keys, rows = self.arrays()
        return rows[np.isin(keys, np.array(self.others, dtype=np.int64))]

    def finish(self) -> Finding | None:
        found = self.shared()
        return _finding(self, self.level, found, ((int(row), "") for row in found[:WORST]))


class Places:
    """Where utterances lie: hashes of their files, start and end in seconds, channel (negative: all)."""

    def __init__(self) -> None:
        self.rows, self.files, self.channels = integers(), integers(), integers()
        self.starts, self.ends = array("d"), array("d")

    def add(self, facts: Facts) -> None:
        if facts.line:
            self.rows.append(facts.row)
            self.files.append(hash(facts.file))
            self.channels.append(hash(facts.line.get("channel", -1)))  # of 8 bytes, however large the number
            self.starts.append(facts.start)
            self.ends.append(facts.start + facts.duration)

    def arrays(self) -> tuple[np.ndarray, ...]:
        """(utterances,) files, starts, ends and channels, in order of the files; and rows."""
        files = np.array(self.files, dtype=np.int64)
        order = np.argsort(files, kind="stable")
        columns = (np.array(column)[order] for column in (self.starts, self.ends, self.channels, self.rows))
        return files[order], *columns


@dataclass
class SharedAudio(Shared):
    """Utterances whose key other manifests have, or whose place in a file overlaps one there."""

    places: Places = field(default_factory=Places)
    other_places: Places = field(default_factory=Places)

    def see(self, facts: Facts) -> None:
        super().see(facts)
        self.places.add(facts)

    def see_other(self, facts: Facts) -> None:
        super().see_other(facts)
        self.other_places.add(facts)

    def shared(self) -> np.ndarray:
        return np.union1d(super().shared(), np.fromiter(self.overlapping(), dtype=np.int64))

    def overlapping(self) -> Iterator[int]:
        """Rows of the utterances of which more than OVERLAP_S, or of short ones half, is in another manifest."""
        known, starts, ends, channels, _ = self.other_places.arrays()
        mine = self.places.arrays()
        shared = np.isin(mine[0], known)
        for file, start, end, channel, row in zip(*(column[shared].tolist() for column in mine), strict=True):
            there = slice(np.searchsorted(known, file), np.searchsorted(known, file, side="right"))
            common_s = np.minimum(end, ends[there]) - np.maximum(start, starts[there])
            heard = (channel < 0) | (channels[there] < 0) | (channels[there] == channel)
            if (heard & (common_s > min(OVERLAP_S, (end - start) / 2))).any():
                yield row


@dataclass
class Longer(Keyed):
    """Whole files of which a line without `start` takes only the beginning, and no other line the rest. key: the
    file's."""

    left_s: array[float] = field(default_factory=lambda: array("f"))

    def see(self, facts: Facts) -> None:
        super().see(facts)
        if facts.line:
            whole = facts.sound is not None and not facts.sound.fault and facts.start == 0
            self.left_s.append(facts.sound.file_s - facts.duration if whole and facts.sound is not None else 0.0)

    def finish(self) -> Finding | None:
        keys, rows = self.arrays()
        _, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
        left_s = np.array(self.left_s)
        cut = np.flatnonzero((counts[group] == 1) & (left_s > LEFT_OVER_S))
        worst = cut[np.argsort(-left_s[cut], kind="stable")[:WORST]]
        return _finding(self, self.level, rows[cut], ((int(rows[i]), f"{left_s[i]:.2f} s left over") for i in worst))


@dataclass
class Outliers:
    """Utterances whose value is beyond absolute bounds, or beyond so many deviations below and above the median
    (1.4826 × the median absolute deviation, of logarithms). `value` is positive, or None where there is none."""

    name: str
    remedy: str
    unit: str
    value: Callable[[Facts], float | None]
    bounds: tuple[float, float]
    deviations: tuple[float, float]
    values: array[float] = field(default_factory=lambda: array("f"))
    rows: array[int] = field(default_factory=integers)

    def see(self, facts: Facts) -> None:
        value = self.value(facts)
        if value is not None:
            self.values.append(value)
            self.rows.append(facts.row)

    def finish(self) -> Finding | None:
        if not self.values:
            return None
        logs = np.log(np.maximum(np.array(self.values), 1e-9))
        middle = float(np.median(logs))
        low, high = np.log(self.bounds)
        if len(logs) >= FEWEST:
            deviation = max(1.4826 * float(np.median(np.abs(logs - middle))), LEAST_DEVIATION)
            low = max(low, middle - self.deviations[0] * deviation)
            high = min(high, middle + self.deviations[1] * deviation)
        odd = np.flatnonzero((logs < low) | (logs > high))
        worst = odd[np.argsort(-np.abs(logs[odd] - middle), kind="stable")[:WORST]]
        examples = ((self.rows[i], f"{self.values[i]:.3g} {self.unit}") for i in worst)
        return _finding(self, WARNING, np.array(self.rows)[odd], examples)


def _finding(
    check: Check, level: str, rows: np.ndarray | array[int], examples: Iterable[tuple[int, str]]
) -> Finding | None:
    """What a check found of utterances; nothing where there are no rows."""
    if not len(rows):
        return None
    sorted_rows = integers()
    sorted_rows.frombytes(np.sort(np.asarray(rows, dtype=np.int64)).tobytes())
    return Finding(check.name, level, check.remedy, len(rows), "utterance", list(examples), sorted_rows)
