"""Subwords: byte-pair encoding (Sennrich et al. 2016) of words, learned from how often each word occurs."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from heapq import heapify, heappop, heappush
from operator import add

MARK = "▁"  # begins the first piece of every word, as sentencepiece writes it
MIN_COUNT = 2  # of a piece in the texts it is learned from


def spell(word: str, rank: Mapping[str, int]) -> tuple[str, ...]:
    """A word as pieces. rank: that of each piece. A character without a rank stands for itself, and so does a word that
    holds the mark, as no pieces spell it."""
    return (MARK + word,) if MARK in word else tuple(join([MARK, *word], rank))


def join(pieces: list[str], rank: Mapping[str, int]) -> list[str]:
    """Join neighbors as long as that gives pieces with a rank: of these always the one of the lowest rank, wherever it
    can be made, from left to right."""
    while known := [piece for piece in map(add, pieces, pieces[1:]) if piece in rank]:
        best = min(known, key=rank.__getitem__)
        joined = pieces[:1]
        for piece in pieces[1:]:
            if joined[-1] + piece == best:
                joined[-1] = best
            else:
                joined.append(piece)
        pieces = joined
    return pieces


def learn(words: Mapping[str, int], size: int, barred: str) -> list[str]:
    """At most `size` pieces that spell words, given with their counts; more if there are more characters.

    First come all characters, sorted, then step by step what neighbors join to most often, where all words are spelled
    with the pieces so far; of what is equally frequent the first in the order of Unicode. It ends early when nothing is
    left that occurs twice. barred: is made no piece.
    """
    known = {word: count for word, count in words.items() if MARK not in word}
    pieces = sorted({MARK}.union(*known))
    rank = {piece: place for place, piece in enumerate(pieces)}
    spelled, times = [[MARK, *word] for word in known], list(known.values())
    counts: Counter[str] = Counter()
    places: dict[str, set[int]] = defaultdict(set)  # the words where neighbors join to this, or did
    for place, parts in enumerate(spelled):
        for piece in map(add, parts, parts[1:]):
            counts[piece] += times[place]
            places[piece].add(place)
    queue = [(-count, piece) for piece, count in counts.items()]
    heapify(queue)
    while queue and len(pieces) < size:
        count, best = heappop(queue)
        if -count != counts[best] or best == barred:  # it has changed since, and is in the queue once more
            continue
        if -count < MIN_COUNT:
            break
        rank[best] = len(pieces)
        pieces.append(best)
        changed = set()
        for place in places.pop(best):
            before, after = spelled[place], join(spelled[place], rank)
            for piece in map(add, before, before[1:]):
                counts[piece] -= times[place]
                changed.add(piece)
            for piece in map(add, after, after[1:]):
                counts[piece] += times[place]
                places[piece].add(place)
                changed.add(piece)
            spelled[place] = after
        for piece in changed:
            if counts[piece] > 0:
                heappush(queue, (-counts[piece], piece))
    return pieces
