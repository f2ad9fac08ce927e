"""All checks over manifests: one pass, a report, and a manifest without what breaks training."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr.corpus.check.comparisons import Corpus, compare
from asr.corpus.check.findings import ERROR, Example, Finding
from asr.corpus.check.lines import CheckSettings, LineInfo, read_line_infos, with_sound
from asr.corpus.check.utterances import CHECKS, Check
from asr.data.manifest import Utterance, numbered_lines, write_manifest
from asr.errors import ManifestError
from asr.util.files import written

# What is shown while it takes long: (items, how many, of what) -> the items.
Watch = Callable[[Iterable[LineInfo], int, str], Iterable[LineInfo]]


@dataclass(frozen=True)
class Report:
    """utterances: lines that are not malformed; rates: how many have which sample rate (Hz); dropped: rows that
    break training, with the reason."""

    utterances: int
    hours: float
    audio: bool
    rates: dict[int, int]
    results: list[Finding]
    dropped: dict[int, str]

    @property
    def failed(self) -> bool:
        return any(result.level == ERROR for result in self.results)

    def to_json(self) -> dict[str, Any]:
        return {
            "utterances": self.utterances,
            "hours": round(self.hours, 4),
            "audio": self.audio,
            "broken": len(self.dropped),
            "findings": [
                {key: value for key, value in asdict(result).items() if key != "rows"} for result in self.results
            ],
        }


def check(
    manifests: Sequence[Path],
    rules: CheckSettings,
    *,
    audio: bool = True,
    against: Sequence[Path] = (),
    workers: int | None = None,
    watch: Watch = lambda items, total, what: items,
) -> Report:
    """Look at every line of the manifests, taken together as one corpus, and at its audio.

    against: manifests (a test part) that should share nothing with these. workers: threads that decode audio, by
    default one a processor. Raises ManifestError for a manifest that cannot be read, or a malformed line in `against`.
    """
    count = workers or os.cpu_count() or 1
    corpus, others = (Corpus(files=audio or bool(against)) for _ in range(2))

    def stream(paths: Sequence[Path], what: str) -> Iterable[LineInfo]:
        lines = read_line_infos(paths, rules.normalizer)
        total = sum(1 for path in paths for _ in numbered_lines(path))
        return watch(with_sound(lines, count) if audio else lines, total, what)

    for facts in stream(against, "reading --against") if against else ():
        if facts.error:
            raise ManifestError(f"{facts.place}: {facts.error}; check it by itself first")
        others.add(facts)
    checks = [Check(*each, rules) for each in CHECKS]
    facts = None
    for facts in stream(manifests, "checking"):
        for each in checks:
            each.see(facts)
        if facts.line:
            corpus.add(facts)
    if facts is None:
        raise ManifestError(f"{', '.join(map(str, manifests))}: no utterances in it")
    found = [*(each.finish() for each in checks), *compare(corpus, others, rules)]
    results = sorted((each for each in found if each is not None), key=lambda each: each.level != ERROR)
    dropped: dict[int, str] = {}
    for result in results:
        if result.level == ERROR:
            dropped |= {row: result.name for row in result.rows.tolist() if row not in dropped}
    _name_examples(results, manifests)
    return Report(len(corpus.rows), sum(corpus.durations) / 3600, audio, dict(corpus.rates), results, dropped)


def _name_examples(results: list[Finding], manifests: Sequence[Path]) -> None:
    """Put ids, places and texts where the examples have rows, looked up in one more pass where there are any."""
    by_row: dict[int, list[Example]] = defaultdict(list)
    for example in (example for result in results for example in result.examples):
        if isinstance(example.what, int):
            by_row[example.what].append(example)
    for facts in read_line_infos(manifests, "none") if by_row else ():
        for example in by_row.pop(facts.row, ()):
            example.what, example.place, example.text = facts.id, facts.place, facts.text or ""
        if not by_row:
            break


def fix(manifests: Sequence[Path], dropped: dict[int, str], out: Path) -> int:
    """Write the manifests' utterances without the dropped rows to `out`, those with their reasons to OUT.dropped.tsv.

    Returns how many were kept. Audio stays where it is: paths are rewritten for out's folder.
    """
    with written(out.with_suffix(".dropped.tsv")) as file:

        def tell(*cells: str) -> None:
            line = "\t".join(" ".join(cell.split()) for cell in cells) + "\n"
            file.write(line.encode("utf-8", "backslashreplace"))

        def kept() -> Iterator[Utterance]:
            tell("id", "reason", "place")
            for facts in read_line_infos(manifests, "none"):
                if facts.row in dropped:
                    tell(facts.id, dropped[facts.row], facts.place)
                else:
                    others = {key: facts.line[key] for key in facts.line if key not in ("id", "audio", "duration")}
                    yield Utterance(facts.id, Path(facts.audio), facts.duration, other=others)

        return write_manifest(out, kept())
