"""All checks over manifests: one pass, a report, and a manifest without what breaks training."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from asr.data.check.checks import SharedSpeakers, make_checks
from asr.data.check.facts import Facts, Rules, read_facts, with_sound
from asr.data.check.kinds import ERROR, Finding, Shared
from asr.data.files import require_file
from asr.data.manifest import Utterance, write_manifest
from asr.errors import ManifestError

# What is shown while it takes long: (items, how many, of what) -> the items.
Watch = Callable[[Iterable[Facts], int, str], Iterable[Facts]]


@dataclass(frozen=True)
class Example:
    """One of the worst. what: an utterance's id or a name; place: "FILE, line N" where there is one."""

    what: str
    value: str
    place: str = ""
    text: str = ""


@dataclass(frozen=True)
class Result:
    """A finding with its examples named."""

    name: str
    level: str
    count: int
    unit: str
    remedy: str
    examples: list[Example]


@dataclass(frozen=True)
class Report:
    """utterances: lines that are not malformed; dropped: rows that break training, with the reason."""

    utterances: int
    hours: float
    audio: bool
    results: list[Result]
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
            "findings": [asdict(result) for result in self.results],
        }


def check(
    manifests: Sequence[Path],
    rules: Rules,
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
    checks = make_checks(rules, audio, bool(against))
    count = workers or os.cpu_count() or 1

    def stream(paths: Sequence[Path], what: str) -> Iterable[Facts]:
        lines = read_facts(paths, rules.normaliser)
        return watch(with_sound(lines, count) if audio else lines, count_lines(paths), what)

    shared = [each for each in checks if isinstance(each, (Shared, SharedSpeakers))]
    for facts in stream(against, "reading --against") if against else ():
        if facts.error:
            raise ManifestError(f"{facts.manifest}, line {facts.number}: {facts.error}; check it by itself first")
        for each in shared:
            each.see_other(facts)
    lines, utterances, seconds = 0, 0, 0.0
    for facts in stream(manifests, "checking"):
        lines += 1
        if facts.line:
            utterances += 1
            seconds += facts.duration
        for each in checks:
            each.see(facts)
    if not lines:
        raise ManifestError(f"{', '.join(map(str, manifests))}: no utterances in it")
    found = [finding for each in checks if (finding := each.finish()) is not None]
    dropped: dict[int, str] = {}
    for finding in found:
        if finding.level == ERROR:
            dropped |= {row: finding.name for row in finding.rows if row not in dropped}
    return Report(utterances, seconds / 3600, audio, named(found, manifests), dropped)


def count_lines(manifests: Sequence[Path]) -> int:
    """Lines of the files, roughly what `read_facts` yields. Raises ManifestError for one that cannot be read."""
    count = 0
    for path in manifests:
        require_file(path, ManifestError)
        try:
            with open(path, "rb") as file:
                count += sum(1 for _ in file)
        except (OSError, ValueError) as error:
            raise ManifestError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return count


def named(findings: list[Finding], manifests: Sequence[Path]) -> list[Result]:
    """The findings with their examples' ids, places and texts, looked up in one more pass where there are any."""
    wanted = {row for finding in findings for row, _ in finding.examples if isinstance(row, int)}
    places: dict[int, tuple[str, str, str]] = {}
    for facts in read_facts(manifests, "none") if wanted else ():
        if facts.row in wanted:
            places[facts.row] = facts.id, f"{facts.manifest}, line {facts.number}", facts.text or ""
            if len(places) == len(wanted):
                break
    results = []
    for finding in findings:
        examples = []
        for what, value in finding.examples:
            id, place, text = places.get(what, ("", "", "")) if isinstance(what, int) else (what, "", "")
            examples.append(Example(id, value, place, text))
        results.append(Result(finding.name, finding.level, finding.count, finding.unit, finding.remedy, examples))
    return results


def fix(manifests: Sequence[Path], dropped: dict[int, str], out: Path) -> int:
    """Write the manifests' utterances without the dropped rows to `out`, those with their reasons to OUT.dropped.tsv.

    Returns how many were kept. Audio stays where it is: paths are rewritten for out's folder.
    """
    left_out = out.with_suffix(".dropped.tsv")
    part = left_out.with_name(left_out.name + ".part")

    def kept() -> Iterator[Utterance]:
        with part.open("w", encoding="utf-8", errors="backslashreplace") as file:
            file.write("id\treason\tplace\n")
            for facts in read_facts(manifests, "none"):
                if facts.row in dropped:
                    place = f"{facts.manifest}, line {facts.number}"
                    file.write("\t".join(map(_cell, (facts.id, dropped[facts.row], place))) + "\n")
                else:
                    others = {key: facts.line[key] for key in facts.line if key not in ("id", "audio", "duration")}
                    yield Utterance(facts.id, Path(facts.audio), facts.duration, other=others)

    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        count = write_manifest(out, kept())
        part.replace(left_out)
    finally:
        part.unlink(missing_ok=True)
    return count


def _cell(value: str) -> str:
    return " ".join(value.split())
