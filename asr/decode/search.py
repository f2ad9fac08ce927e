"""The compiled part of the prefix beam search (Graves 2012; Hannun et al. 2014): arrays in, arrays out.

For every prefix the search keeps the natural logarithm of the probability that the frames so far say it, summed over
all alignments, separately for those that end in a blank and those that end in its last token.
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple

import numpy as np

from asr.decode.prefixes import (
    NEVER,
    NODE,
    SearchSettings,
    entries_at,
    extend,
    find_child,
    finish,
    listen,
    log_add,
    take_child,
)
from asr.util.jit import inlined, njit_no_refcount

UNASKED = inf


class Beam(NamedTuple):
    """The prefixes in the beam. A prefix keeps its slot as long as it is there.

    tree: (1 + frames × beam,) NODE, all prefixes that were ever in it.

    order: (beam,) the slots, those in use first. Per slot: node, the prefix's node in the tree; blank, last and either,
    ln p of its alignments that end in a blank, in its last token, in any; worth: (beam, tokens) its score with one more
    token, without the acoustic part, UNASKED until the language model has been asked; bound: an upper bound of that;
    merged: (beam, tokens) whether it is in the beam with one more token as well; kept: whether it stays in the beam.
    """

    tree: np.ndarray
    order: np.ndarray
    node: np.ndarray
    blank: np.ndarray
    last: np.ndarray
    either: np.ndarray
    worth: np.ndarray
    bound: np.ndarray
    merged: np.ndarray
    kept: np.ndarray


class Candidates(NamedTuple):
    """For the next beam: the slot a prefix comes from, the token it adds (-1: none), the entry of the lexicon that this
    token ends, its scores as in Beam, and rank, the score that decides. tokens: (tokens,) those tried in a frame;
    chosen: candidates, the best first; fresh: (beam,) nodes of those that are new."""

    origin: np.ndarray
    added: np.ndarray
    entry: np.ndarray
    blank: np.ndarray
    last: np.ndarray
    either: np.ndarray
    rank: np.ndarray
    tokens: np.ndarray
    chosen: np.ndarray
    fresh: np.ndarray


class Futures(NamedTuple):
    """A hash table by what the rest of a search depends on: last token, node of the lexicon, states of the language
    model and the hot words. slot: of the likeliest prefix with these; frame: when it was put here; place: (beam,) where
    in the table the prefix of a slot belongs."""

    slot: np.ndarray
    frame: np.ndarray
    place: np.ndarray


class Ends(NamedTuple):
    """The texts that a beam holds at the end: the prefix each is, by its place in the beam, the entry of the lexicon
    that ends there, ln p of the language model, and the score that decides."""

    origin: np.ndarray
    entry: np.ndarray
    language: np.ndarray
    total: np.ndarray


@njit_no_refcount
def largest(values: np.ndarray, chosen: np.ndarray, count: int, k: int) -> None:
    """Move the indices of the k largest values to the front of chosen[:count] (Hoare's selection).

    count, k: int64, as all numbers for functions that are not inlined: each kind of integer is compiled for itself.
    """
    low, high = 0, count - 1
    while low < high:
        pivot = values[chosen[(low + high) // 2]]
        i, j = low, high
        while i <= j:
            while values[chosen[i]] > pivot:
                i += 1
            while values[chosen[j]] < pivot:
                j -= 1
            if i <= j:
                chosen[i], chosen[j] = chosen[j], chosen[i]
                i += 1
                j -= 1
        if k - 1 <= j:
            high = j
        elif k - 1 >= i:
            low = i
        else:
            break


@inlined
def likely_tokens(frame: np.ndarray, rules: SearchSettings, chosen: np.ndarray) -> int:
    """Tokens worth trying in one frame, the blank apart: how many there are in `chosen`."""
    best = frame[0]
    for token in range(1, len(frame)):
        best = max(best, frame[token])
    threshold = best - rules.token_threshold
    count = 0
    for token in range(1, len(frame)):
        if frame[token] >= threshold:
            chosen[count] = token
            count += 1
    if count > rules.max_tokens:
        largest(frame, chosen, np.int64(count), rules.max_tokens)
        count = rules.max_tokens
    return count


@inlined
def look_ahead(worth: np.ndarray, row: Any, rules: SearchSettings) -> float:
    """Fill Beam.worth of a prefix: (tokens,). Returns Beam.bound."""
    if not rules.by_word:
        worth[:] = UNASKED
        return row.bias + rules.max_gain
    words, hot, lexeme = rules.lexicon, rules.hot, row.lexeme
    # A word that ends, or is found to be unknown, gives back what its lookahead gave.
    bias = row.bias - (words.ahead[lexeme] if lexeme >= 0 else rules.unknown_ahead)
    bound = bias + rules.max_gain
    bias += rules.token_score
    worth[:] = bias + (NEVER if rules.closed_vocabulary else rules.unknown_ahead)
    if lexeme >= 0:
        for child in range(words.first[lexeme], words.first[lexeme + 1]):
            worth[words.token[child]] = bias + words.ahead[child]
    if len(hot.emitted) > 1:
        for token in range(1, len(worth)):
            worth[token] += listen(hot, row.hot, token)[1]
    for token in rules.borders:
        worth[token] = UNASKED
    return bound


@inlined
def stay(frame: np.ndarray, beam: Beam, active: int, candidates: Candidates) -> tuple[float, float]:
    """The prefixes in the beam as candidates for the next one: the best and the lowest rank. Marks who is merged."""
    best, lowest = NEVER, -NEVER
    for i in range(active):
        s = beam.order[i]
        row = beam.tree[beam.node[s]]
        blank, last = beam.either[s] + frame[0], NEVER
        if row.parent >= 0:
            parent = beam.tree[row.parent]
            last = beam.last[s] + frame[row.token]
            if parent.slot >= 0:
                beam.merged[parent.slot, row.token] = True
                begun = beam.blank[parent.slot] if parent.token == row.token else beam.either[parent.slot]
                last = log_add(last, begun + frame[row.token])
        either = log_add(blank, last)
        candidates.origin[i], candidates.added[i] = s, -1
        candidates.blank[i], candidates.last[i], candidates.either[i] = blank, last, either
        candidates.rank[i] = either + row.bias
        best, lowest = max(best, candidates.rank[i]), min(lowest, candidates.rank[i])
    return best, lowest


@inlined
def grow(
    frame: np.ndarray,
    beam: Beam,
    active: int,
    candidates: Candidates,
    best: float,
    lowest: float,
    rules: SearchSettings,
) -> tuple[int, float]:
    """The prefixes in the beam and each of the tokens as candidates, after those of `stay`: how many, the best rank."""
    count = active
    tokens = candidates.tokens[: likely_tokens(frame, rules, candidates.tokens)]
    threshold = max(best - rules.beam_threshold, lowest if active == len(beam.order) else NEVER)
    for i in range(active):
        s = beam.order[i]
        node = beam.node[s]
        repeated = beam.tree[node].token
        for token in tokens:
            acoustic = (beam.blank[s] if token == repeated else beam.either[s]) + frame[token]
            if acoustic + beam.worth[s, token] < threshold:
                continue
            first, entries = entries_at(rules, beam.tree[node].lexeme) if rules.is_border[token] else (-1, 1)
            for entry in range(first, first + entries):
                rank = acoustic + beam.worth[s, token]
                if rank < threshold or (beam.merged[s, token] and entries == 1):
                    continue
                if rank == UNASKED:
                    if acoustic + beam.bound[s] < threshold:
                        continue
                    worth = extend(beam.tree, node, token, entry, rules)[0]
                    rank = acoustic + worth
                    if entries == 1:
                        beam.worth[s, token] = worth
                    if rank < threshold:
                        continue
                    if beam.merged[s, token]:
                        child = find_child(beam.tree, np.int64(node), np.int64(token), np.int64(entry))
                        if child >= 0 and beam.tree[child].slot >= 0:
                            continue
                best = max(best, rank)
                threshold = max(threshold, best - rules.beam_threshold)
                candidates.origin[count], candidates.added[count], candidates.rank[count] = s, token, rank
                candidates.entry[count], candidates.last[count] = entry, acoustic
                count += 1
    return count, best


@inlined
def select(candidates: Candidates, count: int, threshold: float, size: int) -> int:
    """The best of those that reach `threshold`, at most `size`, to the front of `chosen`: how many there are."""
    kept = 0
    for c in range(count):
        if candidates.rank[c] >= threshold:
            candidates.chosen[kept] = c
            kept += 1
    if kept > size:
        largest(candidates.rank, candidates.chosen, np.int64(kept), np.int64(size))
        return size
    return kept


@inlined
def renew(used: int, beam: Beam, active: int, candidates: Candidates, kept: int, rules: SearchSettings) -> int:
    """Put as many of the chosen candidates as are kept into the beam: the number of nodes then used."""
    tree, chosen = beam.tree, candidates.chosen[:kept]
    for i in range(active):
        row = tree[beam.node[beam.order[i]]]
        if row.parent >= 0 and tree[row.parent].slot >= 0:
            beam.merged[tree[row.parent].slot, row.token] = False
    begun = 0
    for c in chosen:
        s = candidates.origin[c]
        if candidates.added[c] < 0:
            beam.kept[s] = True
            beam.blank[s], beam.last[s], beam.either[s] = candidates.blank[c], candidates.last[c], candidates.either[c]
        else:
            node, used = take_child(tree, used, beam.node[s], candidates.added[c], candidates.entry[c], rules)
            candidates.fresh[begun], chosen[begun] = node, c
            begun += 1
    staying = 0
    for i in range(active):
        s = beam.order[i]
        if beam.kept[s]:
            beam.order[i], beam.order[staying] = beam.order[staying], s
            beam.kept[s] = False
            staying += 1
        else:
            tree[beam.node[s]].slot = -1
    for i in range(begun):
        s, node, acoustic = beam.order[staying + i], candidates.fresh[i], candidates.last[chosen[i]]
        tree[node].slot, beam.node[s] = s, node
        beam.blank[s], beam.last[s], beam.either[s] = NEVER, acoustic, acoustic
        beam.bound[s] = look_ahead(beam.worth[s], tree[node], rules)
    return used


@inlined
def find_future(frame: int, beam: Beam, s: int, futures: Futures) -> int:
    """The place in `futures` of what the prefix in slot s can become; a free one, if it is not there yet."""
    row = beam.tree[beam.node[s]]
    key = ((row.state * 1_000_003 + row.lexeme) * 1_000_003 + row.hot) * 1_000_003 + row.token
    mask = len(futures.slot) - 1
    place = (key ^ (key >> 29)) & mask
    while futures.frame[place] == frame:
        other = beam.tree[beam.node[futures.slot[place]]]
        alike = other.state == row.state and other.lexeme == row.lexeme and other.hot == row.hot
        if alike and other.token == row.token:
            break
        place = (place + 1) & mask
    return place


@inlined
def begins_with(tree: np.ndarray, longer: int, node: int) -> bool:
    """Whether a node is the beginning of another one, that was made later."""
    while longer > node:
        longer = tree[longer].parent
    return longer == node


@inlined
def recombine(frame: int, beam: Beam, active: int, futures: Futures) -> int:
    """Of the prefixes that can become the same, which differ in words that no longer count for the language model or in
    the spelling of an unknown word, keep the likeliest. Returns how many are left in the beam.

    Its own beginnings and what begins with it stay, as "five" and "five five": the longer one is new, and gets more of
    the probability with every frame.
    """
    for i in range(active):
        s = beam.order[i]
        place = find_future(frame, beam, s, futures)
        futures.place[s] = place
        if futures.frame[place] == frame:
            o = futures.slot[place]
            lead = beam.either[s] + beam.tree[beam.node[s]].bias - beam.either[o] - beam.tree[beam.node[o]].bias
            if lead <= 0.0:
                continue
        futures.slot[place], futures.frame[place] = s, frame
    staying = 0
    for i in range(active):
        s = beam.order[i]
        best = futures.slot[futures.place[s]]
        if begins_with(beam.tree, max(beam.node[s], beam.node[best]), min(beam.node[s], beam.node[best])):
            beam.order[i], beam.order[staying] = beam.order[staying], s
            staying += 1
        else:
            beam.tree[beam.node[s]].slot = -1
    return staying


@njit_no_refcount
def walk(log_probs: np.ndarray, beam: Beam, candidates: Candidates, futures: Futures, rules: SearchSettings) -> int:
    """Through all frames, from the one prefix that is in the beam: the number of prefixes then there."""
    used, active = 1, 1
    for number, frame in enumerate(log_probs):
        best, lowest = stay(frame, beam, active, candidates)
        count, best = grow(frame, beam, active, candidates, best, lowest, rules)
        kept = select(candidates, count, best - rules.beam_threshold, rules.beam)
        used = renew(used, beam, active, candidates, kept, rules)
        full = kept == rules.beam
        active = recombine(number, beam, kept, futures) if full and rules.scored else kept
    return active


@njit_no_refcount
def find_ends(
    tree: np.ndarray,
    node: np.ndarray,
    acoustic: np.ndarray,
    closed_vocabulary: bool,
    rules: SearchSettings,
    ends: Ends,
) -> int:
    """The prefixes of a beam as texts, one for each word that may end there: how many."""
    count = 0
    for i, n in enumerate(node):
        first, entries = entries_at(rules, tree[n].lexeme)
        for entry in range(first, first + entries):
            bias, ends.language[count] = finish(tree, n, entry, closed_vocabulary, rules)
            ends.origin[count], ends.entry[count], ends.total[count] = i, entry, acoustic[i] + bias
            count += 1
    return count


@njit_no_refcount
def trace(tree: np.ndarray, node: int, last: int, tokens: np.ndarray, entries: np.ndarray) -> int:
    """The tokens of a prefix and the entries whose last tokens they are, last ones first: how many. last: the one that
    ends with the prefix."""
    count, n, entry = 0, node, last
    while n > 0:
        tokens[count], entries[count] = tree[n].token, entry
        count += 1
        n, entry = tree[n].parent, tree[n].entry
    return count


def begin(beam: Beam, rules: SearchSettings) -> None:
    """Put the empty prefix into the beam."""
    root = beam.tree[:1]
    root[:] = 0
    for name in ("ending_entry", "parent", "token", "child", "sibling", "entry"):
        root[name] = -1
    root["bias"], root["ending_lm"] = rules.hot.potential[rules.hot.start], NEVER
    root["state"], root["hot"] = rules.start, rules.hot.start
    beam.node[0], beam.blank[0], beam.last[0], beam.either[0] = 0, 0.0, NEVER, 0.0
    beam.worth[0] = beam.bound[0] = UNASKED


def search(
    log_probs: np.ndarray, best: int, rules: SearchSettings
) -> list[tuple[np.ndarray, np.ndarray, tuple[float, float, float]]]:
    """log_probs: (frames, tokens) finite float32, token 0 the blank.

    Returns the best hypotheses, best first, at least one: its tokens; for each of them the entry of the lexicon whose
    last token it is (-1: none, or an unknown word's); and its scores, acoustic, of the language model without its
    weight, in all.
    """
    # Arrays are made here and not in compiled code, which takes long to compile what numpy has ready.
    (frames, vocabulary), size = log_probs.shape, rules.beam
    most = max(1, int(np.diff(rules.lexicon.entry).max()))  # words that sound alike
    room = size * (vocabulary + len(rules.borders) * (most - 1))  # each may end where a token ends a word
    tree = np.empty(1 + frames * size, NODE)
    beam = Beam(
        tree=tree,
        order=np.arange(size),
        node=np.empty(size, np.int32),
        blank=np.empty(size),
        last=np.empty(size),
        either=np.empty(size),
        worth=np.empty((size, vocabulary)),
        bound=np.empty(size),
        merged=np.zeros((size, vocabulary), np.bool_),
        kept=np.zeros(size, np.bool_),
    )
    candidates = Candidates(
        origin=np.empty(room, np.int32),
        added=np.empty(room, np.int32),
        entry=np.empty(room, np.int32),
        blank=np.empty(size),
        last=np.empty(room),
        either=np.empty(size),
        rank=np.empty(room),
        tokens=np.empty(vocabulary, np.int32),
        chosen=np.empty(room, np.int32),
        fresh=np.empty(size, np.int32),
    )
    places = 1 << (4 * size - 1).bit_length()
    futures = Futures(slot=np.empty(places, np.int32), frame=np.full(places, -1), place=np.empty(size, np.int64))
    begin(beam, rules)
    alive = beam.order[: walk(log_probs, beam, candidates, futures, rules)]
    node, acoustic = beam.node[alive], beam.either[alive]
    room = len(alive) * most
    ends = Ends(np.empty(room, np.int64), np.empty(room, np.int32), np.empty(room), np.empty(room))
    for closed_vocabulary in (rules.closed_vocabulary, False):  # where no whole word of it ends, any may end
        total = ends.total[: find_ends(tree, node, acoustic, closed_vocabulary, rules, ends)]
        if total.max() > NEVER / 2:
            break
    order = np.argsort(-total, kind="stable")[: min(best, int((total > NEVER / 2).sum()))]
    tokens, entries = np.empty((2, frames), np.int32)
    found = []
    for c in order:
        length = trace(tree, node[ends.origin[c]], ends.entry[c], tokens, entries)
        scores = (float(acoustic[ends.origin[c]]), float(ends.language[c]), float(total[c]))
        found.append((tokens[:length][::-1].copy(), entries[:length][::-1].copy(), scores))
    return found
