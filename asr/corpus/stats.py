"""What a corpus holds: hours, speakers, words, symbols, and how durations and texts are distributed. No decoding."""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from asr.audio import audio_info
from asr.data.manifest import Utterance, read_lines
from asr.errors import AudioError, ManifestError
from asr.text import normalize
from asr.util.files import atomic_write
from asr.util.format import as_time, plural, printable, some

MAX_HEADERS = 100  # audio headers read, of files spread evenly over the manifests
MAX_BINS = 14
SHOWN = 0.995  # quantile up to which bins go; the rest is one more


@dataclass
class Stats:
    """durations: seconds of each utterance; lengths: characters of each text (white space made single);
    speaker_s: seconds by speaker; suffixes and rates count files, rates of a sample of them."""

    durations: np.ndarray = field(default_factory=lambda: np.empty(0))
    lengths: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    paces: np.ndarray = field(default_factory=lambda: np.empty(0))
    words: int = 0
    symbols: Counter[str] = field(default_factory=Counter)
    speaker_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    suffixes: Counter[str] = field(default_factory=Counter)
    rates: Counter[str] = field(default_factory=Counter)

    def rows(self) -> list[tuple[str, str]]:
        """Name and value of everything but the histograms, for people."""
        rows = [
            ("utterances", f"{len(self.durations):,}"),
            ("audio", as_time(self.durations.sum())),
            ("duration", _spread(self.durations, "s")),
            ("speakers", f"{len(self.speaker_s):,}" if self.speaker_s else "not given"),
        ]
        if self.speaker_s:
            rows.append(("hours by speaker", _spread(np.array(list(self.speaker_s.values())) / 3600, "h", 3)))
        if len(self.lengths):
            rows += [
                ("words", f"{self.words:,}"),
                ("characters", f"{int(self.lengths.sum()):,}, {len(self.symbols)} different"),
                ("characters per second", _spread(self.paces, "")),
            ]
        if len(self.lengths) < len(self.durations):
            rows.append(("without text", f"{len(self.durations) - len(self.lengths):,}"))
        rows.append(("files", _counts(self.suffixes)))
        rows.append((f"headers of {self.rates.total()}", _counts(self.rates)))
        return rows

    def histograms(self) -> list[tuple[str, np.ndarray]]:
        names = ("duration, s", "text, characters", "characters per second")
        columns = zip(names, (self.durations, self.lengths, self.paces), strict=True)
        return [(name, values) for name, values in columns if len(values)]


def collect(manifests: Sequence[Path]) -> Stats:
    """Read manifests, taken together as one corpus. Raises ManifestError for a malformed line, or where there is none.

    Memory is a few bytes an utterance; of audio only some headers are read.
    """
    total = sum(1 for path in manifests for _ in read_lines(path))
    if not total:
        raise ManifestError(f"{some(manifests)}: no utterances in it")
    stats = Stats()
    durations, lengths, paces = array("d"), array("q"), array("d")
    for row, line in enumerate(line for path in manifests for line in read_lines(path)):
        utterance = Utterance.from_record(line.parse(), line.path.parent)
        durations.append(utterance.duration)
        if utterance.speaker is not None:
            stats.speaker_s[utterance.speaker] += utterance.duration
        if utterance.text is not None:
            text = normalize(utterance.text, "none")
            lengths.append(len(text))
            stats.words += len(text.split())
            stats.symbols.update(text)
            if utterance.duration > 0:
                paces.append(len(text) / max(utterance.duration, 1e-3))  # of a mistake: not infinite
        stats.suffixes[utterance.audio.suffix.lower().lstrip(".") or "no suffix"] += 1
        if row % (total // MAX_HEADERS + 1) == 0:
            stats.rates[_header(utterance.audio)] += 1
    stats.durations, stats.lengths, stats.paces = np.array(durations), np.array(lengths), np.array(paces)
    return stats


def _header(path: Path) -> str:
    try:
        info = audio_info(path)
    except AudioError:
        return "unreadable"
    return f"{info.sample_rate} Hz {'mono' if info.channels == 1 else f'{info.channels} channels'}"


def bins(values: np.ndarray) -> list[tuple[str, int]]:
    """A histogram: label and count of bins of a round width from 0 on; the last holds what is far out."""
    top = max(float(np.quantile(values, SHOWN)), 1e-3)
    rough = top / MAX_BINS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    edges = step * np.arange(math.floor(top / step) + 2)
    counts = np.histogram(values, [*edges, np.inf])[0].tolist()
    labels = [f"{low:g} to {low + step:g}" for low in edges[:-1].round(9)] + [f"{edges[-1]:g} and more"]
    shown = list(zip(labels, counts, strict=True))
    first = next(i for i, count in enumerate(counts) if count)
    return shown[first:] if counts[-1] else shown[first:-1]


def write_png(stats: Stats, path: Path) -> None:
    """Draw the histograms. The file appears only when it is complete."""
    from matplotlib.figure import Figure  # half a second: only where something is drawn

    named = stats.histograms()
    figure = Figure(figsize=(4.5 * len(named), 3.2), layout="constrained")
    for axes, (name, values) in zip(figure.subplots(1, len(named), squeeze=False)[0], named, strict=True):
        axes.hist(values[values <= np.quantile(values, SHOWN)], bins=40)
        axes.set(xlabel=name, ylabel="utterances")
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{plural(len(stats.durations), 'utterance')}, {as_time(stats.durations.sum())}")
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=150)


def _spread(values: np.ndarray, unit: str, digits: int = 1) -> str:
    if not len(values):
        return "–"
    parts = (f"{value:.{digits}f}" for value in (values.min(), np.median(values), values.max()))
    return "min {}, median {}, max {} ".format(*parts).rstrip() + (f" {unit}" if unit else "")


def _counts(counts: Counter[str]) -> str:
    return printable(some((f"{name} × {count:,}" for name, count in counts.most_common()), 8))
