"""The checks. A new one is a test of `Facts` and a line in `make_checks`; thresholds are those of real corpora that
train well: LibriSpeech, Common Voice, speechocean762, LJ Speech, Speech Commands, spoken digits."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator

from asr.data.check.facts import EMPTY, MISSING, NOT_FINITE, SHORT, UNREADABLE, Facts, Rules
from asr.data.check.kinds import (
    ERROR,
    WARNING,
    Check,
    Each,
    Longer,
    Outliers,
    Repeats,
    Shared,
    SharedAudio,
    Tally,
    Value,
)

# Of full scale. Soft but usable speech reaches 0.01; below 0.0056 (-45 dB) are recordings of nothing.
QUIET_PEAK = 0.0056
# Share of samples in flat tops at full scale. 1 ms a second; good recordings have none.
CLIPPED_SHARE = 0.001
# Of full scale. Cheap microphones reach 0.02; beyond, a converter is broken.
OFFSET = 0.025
# Seconds. Below, no word; above, memory: LibriSpeech's longest has 35.2 s.
DURATION_S = (0.1, 40.0)
# Deviations of log duration, shorter and longer: titles are short on purpose, one recording among words is a mistake.
DURATION_DEVIATIONS = (float("inf"), 7.0)
# Characters a second. The slowest and fastest speech in any script; one word in a second of silence has 3.
CHARACTERS_PER_S = (0.3, 40.0)
# Deviations of its logarithm, slower and faster. Pauses slow speech down, nothing makes it twice as fast.
PACE_DEVIATIONS = (8.0, 4.5)
# A symbol is rare that makes up less than this share of the characters and is seen less often than this.
RARE_SHARE, RARE_TIMES = 1e-4, 100
# With more symbols than this (Chinese, Korean) most are rare, and meant.
ALPHABET = 300
# A script that holds less than this share of the letters is not the corpus's own.
SCRIPT_SHARE = 5e-3
# Different unknown symbols named of one utterance.
SYMBOLS_SHOWN = 5
# Times that a sentence may occur in a corpus whose sentences mostly differ: several people read the same list.
SENTENCE_TIMES = 20


def make_checks(rules: Rules, audio: bool, against: bool) -> list[Check]:
    """The checks in the order in which they are reported."""
    checks: list[Check] = [
        Each("malformed line", ERROR, "correct the line, or write the manifest again", malformed),
        Each("missing text", ERROR, "add the text; training cannot use an utterance without", missing_text),
        Each("empty text", ERROR, f"nothing is left of it after text.normaliser={rules.normaliser}", empty_text),
        Each(
            "too few frames for CTC",
            ERROR,
            "a lower model.subsampling keeps them; or the text is not theirs",
            frames(rules),
        ),
        Each(
            "too few frames at the fastest speed",
            WARNING,
            "training leaves them out when they are made so fast; a lower augment.speed keeps them",
            frames_at_the_fastest(rules),
        ),
        Repeats("duplicate id", ERROR, "give each utterance an id of its own", id_key),
    ]
    if rules.tokenizer is not None:
        checks.append(Each("unknown symbol", ERROR, "spell it with the model's tokens", unknown(rules)))
    if audio:
        checks += [
            Each(MISSING, ERROR, "audio is relative to the manifest's folder; get the files again", fault(MISSING)),
            Each(UNREADABLE, ERROR, "get the file again, or convert it to flac or wav", fault(UNREADABLE)),
            Each(SHORT, ERROR, "correct start and duration, or get the file again", fault(SHORT)),
            Each(EMPTY, ERROR, "leave it out", fault(EMPTY)),
            Each(NOT_FINITE, ERROR, "write the file again from its source", fault(NOT_FINITE)),
        ]
    if against:
        checks += [
            SharedAudio("audio shared with --against", ERROR, "leave it out of one: the test is not honest", sound_key),
            Shared("id shared with --against", ERROR, "leave it out of one, or rename it if it is another", id_key),
            SharedSpeakers(),
            Shared("sentence shared with --against", WARNING, "the model may know it by heart", sentence_key, True),
        ]
    checks += [
        Tally("digits in text", "spell numbers out as they are spoken", "digit", digits, _most),
        Tally(
            "rare symbol", "correct or replace it: a model cannot learn it", "symbol", symbols, rare_symbols(rules.kind)
        ),
        Outliers("odd duration", "cut it, or correct it", "s", duration, DURATION_S, DURATION_DEVIATIONS),
        Outliers("odd pace", "hear whether it says its text", "characters/s", pace, CHARACTERS_PER_S, PACE_DEVIATIONS),
        Repeats("sentence repeated", WARNING, "keep fewer of them", sentence_key, True, least=SENTENCE_TIMES + 1),
        Each("missing speaker", WARNING, "without, parts cannot be kept apart by speaker", missing_speaker),
    ]
    if audio:
        checks += [
            Repeats("duplicate audio", WARNING, "keep one of each: sometimes their texts differ", sound_key),
            Longer("audio longer than its line says", WARNING, "correct duration: words may be cut away", file_key),
            Tally("sample rates differ", "all are converted; is any mislabelled?", "rate", rate, _mixed),
            Tally(
                "several channels", "they are averaged, unless the line names a channel", "layout", channels, _stereo
            ),
            Each("near silence", WARNING, "hear whether anything is said", quiet),
            Each("clipping", WARNING, "record at a lower level, or get the original", clipped),
            Each("offset", WARNING, "filter it out below 20 Hz, or mend the recorder", offset),
        ]
        if rules.named:
            low = Each("low sample rate", WARNING, "set features.sample_rate to what most files have", slow_rate(rules))
            checks.append(low)
    return checks


def malformed(facts: Facts) -> Value | None:
    return (0, facts.error) if facts.error else None


def missing_text(facts: Facts) -> Value | None:
    return (0, "no text") if facts.line and facts.text is None else None


def empty_text(facts: Facts) -> Value | None:
    return (0, repr(facts.line["text"])) if facts.text == "" else None


def frames(rules: Rules) -> Callable[[Facts], Value | None]:
    def test(facts: Facts) -> Value | None:
        return _lacking(rules, facts, 1.0) if facts.text else None

    return test


def frames_at_the_fastest(rules: Rules) -> Callable[[Facts], Value | None]:
    def test(facts: Facts) -> Value | None:
        if not facts.text or rules.fastest <= 1.0 or _lacking(rules, facts, 1.0):
            return None
        return _lacking(rules, facts, rules.fastest)

    return test


def _lacking(rules: Rules, facts: Facts, speed: float) -> Value | None:
    needed, there = rules.needed_frames(facts.text or ""), rules.frames(facts.heard_s, speed)
    return (needed - there, f"{needed} needed, {there} there") if needed > there else None


def unknown(rules: Rules) -> Callable[[Facts], Value | None]:
    def test(facts: Facts) -> Value | None:
        symbols = rules.tokenizer.unknown(facts.text) if rules.tokenizer is not None and facts.text else ()
        different = list(dict.fromkeys(symbols))
        return (len(symbols), " ".join(map(repr, different[:SYMBOLS_SHOWN]))) if symbols else None

    return test


def fault(name: str) -> Callable[[Facts], Value | None]:
    def test(facts: Facts) -> Value | None:
        return (0, facts.sound.detail) if facts.sound is not None and facts.sound.fault == name else None

    return test


def quiet(facts: Facts) -> Value | None:
    sound = facts.sound
    if sound is None or sound.fault or sound.peak >= QUIET_PEAK:
        return None
    return -sound.peak, f"peak {sound.peak:.4f}"


def clipped(facts: Facts) -> Value | None:
    sound = facts.sound
    if sound is None or sound.clipped < CLIPPED_SHARE:
        return None
    return sound.clipped, f"{100 * sound.clipped:.2f} %"


def offset(facts: Facts) -> Value | None:
    sound = facts.sound
    if sound is None or abs(sound.mean) < OFFSET:
        return None
    return abs(sound.mean), f"mean {sound.mean:+.3f}"


def slow_rate(rules: Rules) -> Callable[[Facts], Value | None]:
    def test(facts: Facts) -> Value | None:
        sound, wanted = facts.sound, rules.features.sample_rate
        if sound is None or not 0 < sound.sample_rate < wanted:
            return None
        return wanted - sound.sample_rate, f"{sound.sample_rate} Hz, {wanted} Hz wanted"

    return test


def missing_speaker(facts: Facts) -> Value | None:
    return (0, "") if facts.line and "speaker" not in facts.line else None


def duration(facts: Facts) -> float | None:
    return facts.duration if facts.line else None


def pace(facts: Facts) -> float | None:
    return len(facts.text) / max(facts.duration, 1e-3) if facts.text else None


def rate(facts: Facts) -> Iterator[str]:
    if facts.sound is not None and not facts.sound.fault:
        yield f"{facts.sound.sample_rate} Hz"


def channels(facts: Facts) -> Iterator[str]:
    if facts.sound is not None and not facts.sound.fault and "channel" not in facts.line:
        yield "mono" if facts.sound.channels == 1 else f"{facts.sound.channels} channels"


def symbols(facts: Facts) -> str:
    return facts.text or ""


def digits(facts: Facts) -> list[str]:
    return re.findall(r"\d", facts.text or "")


def id_key(facts: Facts) -> int | None:
    return hash(facts.id) if "id" in facts.line else None


def sentence_key(facts: Facts) -> int | None:
    return hash(facts.text) if facts.text else None


def sound_key(facts: Facts) -> int | None:
    return facts.sound.key or None if facts.sound is not None else None


def file_key(facts: Facts) -> int | None:
    return hash(facts.audio) if facts.line else None


def rare_symbols(kind: str) -> Callable[[Counter[str]], list[tuple[str, int]]]:
    """Characters that make a tokenizer odd: seen too seldom to be learned, or letters of another script."""

    def odd(counts: Counter[str]) -> list[tuple[str, int]]:
        letters: Counter[str] = Counter()
        for symbol, count in counts.items():
            letters[script(symbol)] += count
        all_letters = letters.total() - letters[""]
        own = {name for name, count in letters.items() if count >= SCRIPT_SHARE * all_letters} | {""}
        learned = kind == "characters" and len(counts) <= ALPHABET
        enough = min(RARE_SHARE * counts.total(), RARE_TIMES) if learned else 0
        found = {
            f"{symbol!r} {unicodedata.name(symbol, '')}": count
            for symbol, count in counts.items()
            if not symbol.isdigit() and (count < enough or script(symbol) not in own)
        }
        return _most(Counter(found))[::-1]

    return odd


class SharedSpeakers(Tally):
    """Speakers whom other manifests have too."""

    def __init__(self) -> None:
        remedy = "keep speakers apart, or the test tells how well the model knows these"
        super().__init__("speaker shared with --against", remedy, "speaker", speaker, self.shared)
        self.others: set[str] = set()

    def see_other(self, facts: Facts) -> None:
        self.others.update(speaker(facts))

    def shared(self, counts: Counter[str]) -> list[tuple[str, int]]:
        return [(name, count) for name, count in _most(counts) if name in self.others]


def speaker(facts: Facts) -> Iterator[str]:
    if "speaker" in facts.line:
        yield str(facts.line["speaker"])


def script(symbol: str) -> str:
    """LATIN, CYRILLIC, CJK …: the first word of a letter's name in Unicode; "" for what is no letter."""
    first = re.split(r"[ -]", unicodedata.name(symbol, "UNNAMED"))[0] if symbol.isalpha() else ""
    return "CJK" if first == "IDEOGRAPHIC" else first


def _most(counts: Counter) -> list[tuple[str, int]]:
    return [(str(thing), count) for thing, count in counts.most_common()]


def _mixed(counts: Counter) -> list[tuple[str, int]]:
    return _most(counts) if len(counts) > 1 else []


def _stereo(counts: Counter) -> list[tuple[str, int]]:
    return _most(counts) if set(counts) - {"mono"} else []
