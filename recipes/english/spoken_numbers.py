"""Write lines of spoken numbers: digit strings, amounts, times and dates, which books hold too few of.

    python recipes/english/spoken_numbers.py data/english/numbers.txt [--lines 30000] [--seed 1]

A language model that has also read them hears a telephone number as one. They are drawn at random: no text is copied.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable
from pathlib import Path

from asr.util.files import replace_file

ONES = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen""".split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
ORDINALS = """first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth
fifteenth sixteenth seventeenth eighteenth nineteenth twentieth""".split()
ORDINALS += [f"twenty {ordinal}" for ordinal in ORDINALS[:9]] + ["thirtieth", "thirty first"]
MONTHS = "january february march april may june july august september october november december".split()
UNITS = """years months weeks days hours minutes seconds miles feet inches pounds dollars cents metres kilometers
degrees percent people times pages""".split()
BEFORE = ("my number is", "the number is", "call me on", "the code is", "number", "room", "page", "it is", "he said")


def cardinal(number: int, draw: random.Random) -> str:
    """0 to 999,999 as it is said; "and" after the hundreds, or not."""
    if number < 20:
        return ONES[number]
    if number < 100:
        return " ".join([TENS[number // 10 - 2], *([ONES[number % 10]] if number % 10 else [])])
    size, name = (100, "hundred") if number < 1_000 else (1_000, "thousand")
    said = [cardinal(number // size, draw), name]
    if rest := number % size:
        said += ["and"] if rest < 100 and draw.random() < 0.6 else []
        said.append(cardinal(rest, draw))
    return " ".join(said)


def digits(draw: random.Random) -> str:
    """A telephone number, a code: digit by digit, "oh" or "zero", sometimes "double"."""
    zero = draw.choice(("zero", "zero", "oh"))
    said: list[str] = []
    for _ in range(draw.randint(2, 11)):
        digit = draw.randrange(10)
        said += ["double"] if draw.random() < 0.03 else []
        said.append(ONES[digit] if digit else zero)
    return " ".join(said)


def amount(draw: random.Random) -> str:
    return f"{cardinal(int(10 ** draw.uniform(0.3, 5)), draw)} {draw.choice(UNITS)}"


def time(draw: random.Random) -> str:
    hour, minute = ONES[draw.randint(1, 12)], draw.randint(1, 59)
    minutes = f"{'' if minute > 9 else 'oh '}{cardinal(minute, draw)}"
    quarters = (f"half past {hour}", f"a quarter to {hour}", f"a quarter past {hour}")
    said = draw.choice((*quarters, f"{hour} o'clock", f"{hour} {minutes}"))
    return f"{draw.choice(('at', 'about', 'before', 'until'))} {said}"


def date(draw: random.Random) -> str:
    day = draw.randint(1, 31)
    ordinal = ORDINALS[day - 1]
    year = f"{cardinal(draw.randint(17, 20), draw)} {cardinal(draw.randint(10, 99), draw)}"
    month = draw.choice(MONTHS)
    said = draw.choice((f"the {ordinal} of {month}", f"{month} the {ordinal}", f"{month} {ordinal}"))
    return f"{said} {year}" if draw.random() < 0.5 else said


def line(draw: random.Random) -> str:
    form: Callable[[random.Random], str] = draw.choice((digits, digits, digits, amount, time, date))
    said = form(draw)
    return f"{draw.choice(BEFORE)} {said}" if form is digits and draw.random() < 0.3 else said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--lines", type=int, default=30_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    replace_file(arguments.output, "".join(f"{line(draw)}\n" for _ in range(arguments.lines)))


if __name__ == "__main__":
    main()
