"""All checks over manifests: one pass, a report, and a manifest without what breaks training."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from asr.corpus.check.comparisons import Corpus, compare
from asr.corpus.check.lines import CheckSettings, LineInfo, read_line_infos, with_audio
from asr.corpus.check.rules import ERROR, LINE_CHECKS, Example, Finding
from asr.data.manifest import Utterance, read_lines, write_manifest
from asr.errors import ManifestError
from asr.text import without_marks
from asr.util.files import atomic_write
from asr.util.format import some

# Shows progress: (items, how many, of what) -> the items.
Progress = Callable[[Iterable[LineInfo], int, str], Iterable[LineInfo]]


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


def check(
    manifests: Sequence[Path],
    settings: CheckSettings,
    *,
    audio: bool = True,
    against: Sequence[Path] = (),
    workers: int | None = None,
    progress: Progress = lambda items, total, what: items,
) -> Report:
    """Look at every line of the manifests, taken together as one corpus, and at its audio.

    against: manifests (a test part) that should share nothing with these. workers: threads that decode audio, by
    default one a processor. Raises ManifestError for a manifest that cannot be read or is empty, or a malformed line in
    `against`.
    """
    count = workers or os.cpu_count() or 1
    corpus, others = (Corpus(files=audio or bool(against)) for _ in range(2))

    def read(paths: Sequence[Path], what: str) -> Iterable[LineInfo]:
        infos = read_line_infos(paths, settings.normalizer)
        total = sum(1 for path in paths for _ in read_lines(path))
        if not total:
            raise ManifestError(f"{some(paths)}: no utterances in it")
        return progress(with_audio(infos, count) if audio else infos, total, what)

    for info in read(against, "reading --against") if against else ():
        if info.error:
            raise ManifestError(f"{info.line.place}: {info.error}; check it by itself first")
        others.add(info)
    checks = [
        (Finding(name, level, remedy.format(settings=settings)), test) for name, level, remedy, test in LINE_CHECKS
    ]
    for info in read(manifests, "checking"):
        for finding, test in checks:
            if value := test(info, settings):
                finding.add(info.row, value[1], value[0])
        corpus.add(info)
    findings = [*(finding for finding, _ in checks), *compare(corpus, others, settings)]
    findings = sorted((each for each in findings if each.count), key=lambda each: each.level != ERROR)
    dropped: dict[int, str] = {}
    for finding in findings:
        if finding.level == ERROR:
            dropped |= {row: finding.name for row in finding.rows if row not in dropped}
    _name_examples(findings, manifests)
    return Report(len(corpus.rows), sum(corpus.durations) / 3600, audio, dict(corpus.rates), findings, dropped)


def _name_examples(findings: list[Finding], manifests: Sequence[Path]) -> None:
    """Put ids, places and texts where the examples have rows, looked up in one more pass where there are any."""
    by_row: dict[int, list[Example]] = defaultdict(list)
    for example in (example for finding in findings for example in finding.examples):
        if isinstance(example.what, int):
            by_row[example.what].append(example)
    for info in read_line_infos(manifests, "none") if by_row else ():
        for example in by_row.pop(info.row, ()):
            example.what, example.place, example.text = info.id, info.line.place, info.text or ""
        if not by_row:
            break


def fix(manifests: Sequence[Path], dropped: dict[int, str], out: Path, drop_marks: bool = False) -> int:
    """Write the manifests' utterances without the dropped rows to `out`, those with their reasons to OUT.dropped.tsv.
    drop_marks: see asr.text.without_marks; an utterance of nothing else is dropped.

    Returns how many were kept. Audio stays where it is: paths are rewritten for out's folder.
    """
    with atomic_write(out.with_suffix(".dropped.tsv")) as file:

        def tell(*cells: str) -> None:
            line = "\t".join(" ".join(cell.split()) for cell in cells) + "\n"
            file.write(line.encode("utf-8", "backslashreplace"))

        def kept() -> Iterator[Utterance]:
            tell("id", "reason", "place")
            for info in read_line_infos(manifests, "none"):
                if info.row in dropped:
                    tell(info.id, dropped[info.row], info.line.place)
                elif info.utterance is not None and drop_marks and info.utterance.text:
                    if text := without_marks(info.utterance.text):
                        yield replace(info.utterance, text=text)
                    else:
                        tell(info.id, "nothing but marks", info.line.place)
                elif info.utterance is not None:
                    yield info.utterance

        return write_manifest(out, kept())
