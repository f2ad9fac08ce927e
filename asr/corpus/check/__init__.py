"""Will this train? What is wrong with a manifest and its audio, found before you waste training time."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from asr.corpus.check.comparisons import Corpus, compare
from asr.corpus.check.findings import ERROR, ERRORS, WARNINGS, Example, Finding, Report
from asr.corpus.check.lines import CheckSettings, LineInfo, line_problems, read_line_infos, with_audio
from asr.data.manifest import Utterance, read_lines, write_manifest
from asr.errors import ManifestError
from asr.text import without_marks
from asr.util.files import atomic_write
from asr.util.format import some

# Shows progress: (items, how many, of what) -> the items.
Progress = Callable[[Iterable[LineInfo], int, str], Iterable[LineInfo]]


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
    text = settings.config.text
    remedies = {name: remedy.format(normalizer=text.normalizer) for name, remedy in (ERRORS | WARNINGS).items()}
    findings = {name: Finding(name, remedy) for name, remedy in remedies.items()}

    def read(paths: Sequence[Path], what: str) -> Iterable[LineInfo]:
        infos = read_line_infos(paths, text.normalizer)
        total = sum(1 for path in paths for _ in read_lines(path))
        if not total:
            raise ManifestError(f"{some(paths)}: no utterances in it")
        return progress(with_audio(infos, workers or os.cpu_count() or 1) if audio else infos, total, what)

    def well_formed() -> Iterator[LineInfo]:
        for info in read(against, "reading --against") if against else ():
            if info.error:
                raise ManifestError(f"{info.line.place}: {info.error}; check it by itself first")
            yield info

    def judged() -> Iterator[LineInfo]:
        for info in read(manifests, "checking"):
            for name, value, badness in line_problems(info, settings):
                findings[name].add(info.row, value, badness)
            yield info

    files = audio or bool(against)
    others, corpus = Corpus(well_formed(), files), Corpus(judged(), files)
    compare(corpus, others, settings, findings)
    found = [finding for finding in findings.values() if finding.count]
    dropped: dict[int, str] = {}
    for finding in found:
        if finding.level == ERROR:
            dropped |= {row: finding.name for row in finding.rows if row not in dropped}
    _name_examples(found, manifests)
    hours = sum(corpus.lines["duration"].tolist()) / 3600
    return Report(len(corpus.lines), hours, audio, dict(corpus.rates), found, dropped)


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
