"""Expectation maximization and the best alignment, against going through all alignments one by one."""

import math
import random
from collections import Counter
from itertools import product

import pytest

from asr.lexicon.alignment import align


def all_alignments(word, phones):
    for counts in product(range(3), repeat=len(word)):
        if sum(counts) == len(phones):
            ends = [sum(counts[: n + 1]) for n in range(len(counts))]
            yield [(a, phones[end - n : end]) for a, n, end in zip(word, counts, ends, strict=True)]


def weights_by_enumeration(entries, passes):
    weights = Counter({graphone: 1.0 for each in entries for path in all_alignments(*each) for graphone in path})
    for _ in range(passes):
        counts = Counter()
        for each in entries:
            paths = list(all_alignments(*each))
            values = [math.prod(weights[graphone] for graphone in path) for path in paths]
            for path, value in zip(paths, values, strict=True):
                for graphone in path:
                    counts[graphone] += value / sum(values)
        weights = Counter({graphone: count / counts.total() for graphone, count in counts.items()})
    return weights


@pytest.mark.parametrize("passes", [0, 1, 4])
def test_equal_to_enumeration(passes):
    draw = random.Random(passes)
    entries = [
        ("".join(draw.choices("abc", k=draw.randint(1, 5))), tuple(draw.choices("XYZ", k=draw.randint(1, 5))))
        for _ in range(60)
    ]
    weights = weights_by_enumeration(entries, passes)
    for entry, found in zip(entries, align(entries, passes), strict=True):
        values = [math.prod(weights[graphone] for graphone in path) for path in all_alignments(*entry)]
        if values:
            assert "".join(letter for letter, _ in found) == entry[0]
            assert sum((phones for _, phones in found), ()) == entry[1]
            assert math.prod(weights[graphone] for graphone in found) == pytest.approx(max(values))
        else:
            assert found == []


def test_sense():
    words = {"back": "B AE K", "tax": "T AE K S", "cab": "K AE B", "cat": "K AE T", "ax": "AE K S", "tick": "T IH K"}
    aligned = dict(zip(words, align([(word, tuple(each.split())) for word, each in words.items()]), strict=True))
    assert aligned["tax"] == [("t", ("T",)), ("a", ("AE",)), ("x", ("K", "S"))]
    assert [len(phones) for _, phones in aligned["back"]] in ([1, 1, 1, 0], [1, 1, 0, 1])


def test_more_phones_than_letters_can_make():
    assert align([("w", ("D", "AH", "B")), ("a", ("EY",))])[0] == []
