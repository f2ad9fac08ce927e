"""The compiled part of the prefix beam search (Graves 2012; Hannun et al. 2014): arrays in, arrays out.

A prefix is a node of a tree. For every prefix the search keeps the natural logarithm of the probability that the frames
so far say it, summed over all alignments, apart for those that end in a blank and in its last token. What the language
model and the hot words add depends on the prefix alone; it is worked out once, when the prefix is made.
"""

from __future__ import annotations

from math import exp, log1p
from typing import NamedTuple

import numpy as np

from asr.decode.hotwords import HotWords
from asr.decode.lexicon import Lexicon
from asr.jit import inlined, jit
from asr.lm.trie import score

NEVER = -1e30  # stands for ln 0, so that no infinity and no NaN can come up


class Limits(NamedTuple):
    """What a search may look at. best: hypotheses to return."""

    beam: int
    beam_threshold: float
    most_tokens: int
    token_threshold: float
    best: int


class Rules(NamedTuple):
    """What prefixes are worth beside their acoustic score.

    by_word: the language model scores words where they end, at the token `space`; otherwise every token, whose numbers
    in the model are units: (tokens,). closed: prefixes that begin no word of the lexicon are cut.
    unknown_ahead: what a prefix loses as soon as it can become no known word. most_gain: what a token can earn at most,
    the space apart.
    """

    space: int
    by_word: bool
    closed: bool
    scored: bool
    lm_weight: float
    bonus: float
    unknown_penalty: float
    unknown_ahead: float
    most_gain: float
    unknown_unit: int
    end_unit: int
    start: int
    units: np.ndarray
    lexicon: Lexicon
    hot: HotWords


NODE = np.dtype(
    [
        ("bias", np.float64),  # all of the prefix's score that is not acoustic
        ("lm", np.float64),  # ln p of the language model, without its weight
        ("ending_lm", np.float64),  # the same of the word that would end here, NEVER before it is asked
        ("state", np.int64),
        ("ending_state", np.int64),
        ("parent", np.int32),
        ("token", np.int32),
        ("child", np.int32),  # the newest; others are its siblings
        ("sibling", np.int32),
        ("slot", np.int32),  # place in the beam, -1: not there
        ("lexeme", np.int32),
        ("hot", np.int32),
    ],
    align=True,
)


@jit
def log_add(a, b):
    """ln(e^a + e^b)."""
    if a < b:
        a, b = b, a
    return a if b - a < -40.0 else a + log1p(exp(b - a))


@jit
def spell(first, letters, ahead, unknown_ahead, closed, lexeme, token):
    """One more letter: the lexicon's node (-1: no known word begins like this) and the change of the outlook."""
    before = ahead[lexeme] if lexeme >= 0 else unknown_ahead
    if lexeme >= 0:
        low, end = first[lexeme], first[lexeme + 1]
        high = end
        while low < high:
            middle = (low + high) >> 1
            if letters[middle] < token:
                low = middle + 1
            else:
                high = middle
        if low < end and letters[low] == token:
            return low, ahead[low] - before
    return -1, (NEVER if closed else unknown_ahead) - before


@jit
def listen(column, following, given, pending, before, token):
    """One more token for the hot words: their state, and what the prefix earns."""
    state = following[before, column[token]]
    return state, given[state] + pending[state] - pending[before]


@inlined
def query(rules, tables, state, unit):
    """The language model's ln p of a unit after a state, and the state after it."""
    if not rules.scored:
        return 0.0, state
    gain, after = score(tables, state, unit)
    return float(gain), after


@inlined
def end_word(tree, node, closed, rules, tables):
    """The word that ends at a node: ln p, the state after it, and what it adds to the bias."""
    row = tree[node]
    lexeme = row.lexeme
    unit = rules.lexicon.unit[lexeme] if lexeme >= 0 else -1
    if row.ending_lm == NEVER:
        known = unit if unit >= 0 else rules.unknown_unit
        row.ending_lm, row.ending_state = query(rules, tables, row.state, known)
    gain = row.ending_lm
    worth = rules.lm_weight * gain + rules.bonus
    worth -= rules.lexicon.ahead[lexeme] if lexeme >= 0 else rules.unknown_ahead
    if unit < 0:
        worth += NEVER if closed else rules.unknown_penalty
    return gain, row.ending_state, worth


@inlined
def extend(tree, node, token, rules, tables):
    """A prefix and one more token: its bias (below NEVER / 2 if it is forbidden), ln p, state, lexeme and hot state."""
    row = tree[node]
    bias, lm, state, lexeme = row.bias, row.lm, row.state, row.lexeme
    if not rules.by_word:
        gain, state = query(rules, tables, state, rules.units[token])
        lm += gain
        bias += rules.lm_weight * gain + rules.bonus
    elif token != rules.space:
        words = rules.lexicon
        lexeme, gain = spell(words.first, words.token, words.ahead, rules.unknown_ahead, rules.closed, lexeme, token)
        bias += gain
    elif lexeme != 0:
        gain, state, worth = end_word(tree, node, rules.closed, rules, tables)
        lm += gain
        bias += worth
        lexeme = 0
    words = rules.hot
    hot, gain = listen(words.column, words.following, words.given, words.pending, row.hot, token)
    return bias + gain, lm, state, lexeme, hot


@jit
def finish(tree, node, closed, rules, tables):
    """A prefix at the end of the utterance: its bias (below NEVER / 2 if it may not end there) and ln p."""
    row = tree[node]
    bias, lm, state, hot = row.bias, row.lm, row.state, row.hot
    if rules.by_word and row.lexeme != 0:
        gain, state, worth = end_word(tree, node, closed, rules, tables)
        lm += gain
        bias += worth
    gain, _ = query(rules, tables, state, rules.end_unit)
    bias += rules.lm_weight * gain - rules.hot.pending[hot]
    if rules.hot.space >= 0:
        bias += rules.hot.given[rules.hot.following[hot, rules.hot.column[rules.hot.space]]]
    return bias, lm + gain


@inlined
def take_child(tree, used, node, token, rules, tables):
    """The node of a prefix and one more token, made if there is none, and the number of nodes then used."""
    found = tree[node].child
    while found >= 0 and tree[found].token != token:
        found = tree[found].sibling
    if found >= 0:
        return found, used
    new = tree[used]
    new.parent, new.token, new.child, new.sibling = node, token, -1, tree[node].child
    tree[node].child = used
    new.bias, new.lm, new.state, new.lexeme, new.hot = extend(tree, node, token, rules, tables)
    new.ending_lm, new.slot = NEVER, -1
    return used, used + 1


@jit
def largest(values, chosen, count, most):
    """Move the indices of the `most` largest values to the front of chosen[:count] (Hoare's selection)."""
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
        if most - 1 <= j:
            high = j
        elif most - 1 >= i:
            low = i
        else:
            break


@inlined
def likely_tokens(frame, limits, chosen):
    """Tokens worth trying in one frame, the blank apart: how many there are in `chosen`."""
    least = frame.max() - limits.token_threshold
    count = 0
    for token in range(1, len(frame)):
        if frame[token] >= least:
            chosen[count] = token
            count += 1
    if count > limits.most_tokens:
        largest(frame, chosen, count, limits.most_tokens)
        count = limits.most_tokens
    return count


@jit
def search(log_probs, tree, limits, rules, tables):
    """log_probs: (frames, tokens) finite float32, token 0 the blank; tree: (1 + frames × beam,) NODE, room.

    Returns tokens and ends of the best hypotheses, best first (hypothesis i is tokens[ends[i - 1] : ends[i]]), and
    their scores: (hypotheses, 3), acoustic, of the language model without its weight, in all.
    """
    frames, vocabulary = log_probs.shape
    beam = limits.beam
    root, used = tree[0], 1
    root.parent, root.token, root.child, root.sibling, root.slot = -1, -1, -1, -1, 0
    root.lexeme, root.hot, root.state = 0, rules.hot.start, rules.start
    root.bias, root.lm, root.ending_lm = rules.hot.pending[rules.hot.start], 0.0, NEVER
    # Per prefix in the beam: its node, and scores of its alignments that end in a blank, in its last token, in either.
    node, blank, last, either = np.zeros(beam, np.int32), np.empty(beam), np.empty(beam), np.empty(beam)
    old, active = np.empty(beam, np.int32), 1
    blank[0], last[0], either[0] = 0.0, NEVER, 0.0
    # Per candidate for the next beam: the prefix it comes from, the token it adds (-1: none), its scores.
    room = beam * vocabulary
    origin, added, chosen = np.empty(room, np.int32), np.empty(room, np.int32), np.empty(room, np.int32)
    ranks, in_blank, in_token = np.empty(room), np.empty(room), np.empty(room)
    merged = np.zeros((beam, vocabulary), np.bool_)  # extensions that are prefixes in the beam
    tokens = np.empty(vocabulary, np.int32)
    # In local variables, for what is asked for every letter of every prefix: tuples of arrays are slow to look into.
    first, letters, ahead = rules.lexicon.first, rules.lexicon.token, rules.lexicon.ahead
    column, following, given, pending = rules.hot.column, rules.hot.following, rules.hot.given, rules.hot.pending
    unknown_ahead, closed, most_gain = rules.unknown_ahead, rules.closed, rules.most_gain
    for t in range(frames):
        frame = log_probs[t]
        count = likely_tokens(frame, limits, tokens)
        best, lowest = NEVER, -NEVER
        for i in range(active):
            n = node[i]
            token = tree[n].token
            in_blank[i], in_token[i] = either[i] + frame[0], NEVER
            if n > 0:
                in_token[i] = last[i] + frame[token]
                p = tree[tree[n].parent].slot
                if p >= 0:
                    merged[p, token] = True
                    begun = blank[p] if tree[node[p]].token == token else either[p]
                    in_token[i] = log_add(in_token[i], begun + frame[token])
            origin[i], added[i] = i, -1
            ranks[i] = log_add(in_blank[i], in_token[i]) + tree[n].bias
            best, lowest = max(best, ranks[i]), min(lowest, ranks[i])
        candidates = active
        least = max(best - limits.beam_threshold, lowest if active == beam else NEVER)
        for i in range(active):
            n = node[i]
            repeated, here, lexeme, hot = tree[n].token, tree[n].bias, tree[n].lexeme, tree[n].hot
            for k in range(count):
                token = tokens[k]
                if merged[i, token]:
                    continue
                acoustic = (blank[i] if token == repeated else either[i]) + frame[token]
                letter = token != rules.space
                if letter and acoustic + here + most_gain < least:
                    continue  # while a word that ends gives back what its outlook took
                if letter and rules.by_word:
                    _, gain = spell(first, letters, ahead, unknown_ahead, closed, lexeme, token)
                    _, more = listen(column, following, given, pending, hot, token)
                    rank = acoustic + here + gain + more
                else:
                    rank = acoustic + extend(tree, n, token, rules, tables)[0]
                if rank >= least:
                    best = max(best, rank)
                    least = max(least, best - limits.beam_threshold)
                    origin[candidates], added[candidates], ranks[candidates] = i, token, rank
                    in_blank[candidates], in_token[candidates] = NEVER, acoustic
                    candidates += 1
        kept = 0
        for c in range(candidates):
            if ranks[c] >= best - limits.beam_threshold:
                chosen[kept] = c
                kept += 1
        if kept > beam:
            largest(ranks, chosen, kept, beam)
            kept = beam
        for i in range(active):
            p = tree[node[i]].parent
            if p >= 0 and tree[p].slot >= 0:
                merged[tree[p].slot, tree[node[i]].token] = False
        old[:active] = node[:active]
        for i in range(active):
            tree[old[i]].slot = -1
        for i in range(kept):
            c = chosen[i]
            n = old[origin[c]]
            if added[c] >= 0:
                n, used = take_child(tree, used, n, added[c], rules, tables)
            node[i], blank[i], last[i] = n, in_blank[c], in_token[c]
            either[i] = log_add(in_blank[c], in_token[c])
            tree[n].slot = i
        active = kept
    return best_prefixes(tree, node[:active], either[:active], limits.best, rules, tables)


@jit
def best_prefixes(tree, node, acoustic, most, rules, tables):
    """The end of a search: see there. Where no prefix ends in a whole word of a closed vocabulary, any may end."""
    count = len(node)
    totals, language = np.empty(count), np.empty(count)
    for closed in (rules.closed, False):
        for i in range(count):
            bias, language[i] = finish(tree, node[i], closed, rules, tables)
            totals[i] = acoustic[i] + bias
        if totals.max() > NEVER / 2:
            break
    order = np.argsort(-totals, kind="mergesort")[: min(most, (totals > NEVER / 2).sum())]
    scores, ends = np.empty((len(order), 3)), np.empty(len(order), np.int64)
    total = 0
    for i, c in enumerate(order):
        n = node[c]
        while n > 0:
            total += 1
            n = tree[n].parent
        ends[i] = total
        scores[i, 0], scores[i, 1], scores[i, 2] = acoustic[c], language[c], totals[c]
    tokens = np.empty(total, np.int32)
    for i, c in enumerate(order):
        n, place = node[c], ends[i]
        while n > 0:
            place -= 1
            tokens[place] = tree[n].token
            n = tree[n].parent
    return tokens, ends, scores
