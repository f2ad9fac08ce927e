"""The prefixes of a beam search as a tree, and the part of their score that is not acoustic: compiled code.

What the language model and the hot words add depends on the prefix alone; it is computed once, when the prefix is made.
"""

from __future__ import annotations

from math import exp, log1p
from typing import NamedTuple

import numpy as np

from asr.decode.lexicon import HotWords, Lexicon
from asr.lm.trie import END_ID, UNKNOWN_ID, Tables, score
from asr.util.jit import inlined, njit_no_refcount

NEVER = -1e30  # stands for ln 0, so that no infinity and no NaN can arise


class SearchSettings(NamedTuple):
    """The settings, weights and models of a search, for compiled code.

    beam, beam_threshold, max_tokens, token_threshold: see asr.decode.beam.BeamSettings. tables: the language model.

    borders: the tokens that end a word: `space` (-1: there is none), and those that begin another word themselves;
    is_border: (tokens,) which ones these are. by_word: the language model scores words where they end; otherwise every
    token, whose numbers in the model are units: (tokens,). closed_vocabulary: prefixes that begin no word of the
    lexicon are cut. unknown_ahead: added to a prefix as soon as it can become no known word. token_score: added for
    every token of a word; a known word gets it back, in advance and when it ends. max_gain: the most that the language
    model, the bonus and the hot words can add with one token.
    """

    beam: int
    beam_threshold: float
    max_tokens: int
    token_threshold: float
    space: int
    borders: np.ndarray
    is_border: np.ndarray
    by_word: bool
    closed_vocabulary: bool
    scored: bool
    lm_weight: float
    bonus: float
    unk_score: float
    unknown_ahead: float
    token_score: float
    max_gain: float
    start: int
    units: np.ndarray
    lexicon: Lexicon
    hot: HotWords
    tables: Tables


NODE = np.dtype(
    [
        ("bias", np.float64),  # all of the prefix's score that is not acoustic
        ("lm", np.float64),  # ln p of the language model, without its weight
        ("ending_lm", np.float64),  # the same of a word that would end here, NEVER before it is asked
        ("state", np.int64),
        ("ending_state", np.int64),
        ("ending_entry", np.int32),  # that word
        ("parent", np.int32),
        ("token", np.int32),
        ("child", np.int32),  # the newest; others are its siblings
        ("sibling", np.int32),
        ("slot", np.int32),  # place in the beam, -1: not there
        ("lexeme", np.int32),
        ("entry", np.int32),  # of the lexicon: the word that ended with this token, -1: none, or an unknown one
        ("hot", np.int32),
    ],
    align=True,
)


@njit_no_refcount
def log_add(a: float, b: float) -> float:
    """ln(e^a + e^b)."""
    if a < b:
        a, b = b, a
    return a if b - a < -40.0 else a + log1p(exp(b - a))


@inlined
def spell(rules: SearchSettings, lexeme: int, letter: int) -> tuple[int, float]:
    """One more letter: the lexicon's node (-1: no known word begins like this) and the change of the lookahead."""
    words = rules.lexicon
    before = words.ahead[lexeme] if lexeme >= 0 else rules.unknown_ahead
    if lexeme >= 0:
        low, end = words.first[lexeme], words.first[lexeme + 1]
        high = end
        while low < high:
            middle = (low + high) >> 1
            if words.token[middle] < letter:
                low = middle + 1
            else:
                high = middle
        if low < end and words.token[low] == letter:
            return low, words.ahead[low] - before
    return -1, (NEVER if rules.closed_vocabulary else rules.unknown_ahead) - before


@inlined
def listen(hot: HotWords, before: int, token: int) -> tuple[int, float]:
    """One more token for the hot words: their state, and what the prefix earns."""
    state = hot.following[before, hot.column[token]]
    return state, hot.emitted[state] + hot.potential[state] - hot.potential[before]


@inlined
def query(rules: SearchSettings, state: int, unit: int) -> tuple[float, int]:
    """The language model's ln p of a unit after a state, and the state after it."""
    if not rules.scored:
        return 0.0, state
    gain, after = score(rules.tables, np.int64(state), np.int64(unit))
    return float(gain), after


@inlined
def entries_at(rules: SearchSettings, lexeme: int) -> tuple[int, int]:
    """The words that may end at a node of the lexicon: the first entry and the number of entries. Where no known word
    ends, there is one entry, -1."""
    first, count = -1, 1
    if rules.by_word and lexeme > 0 and rules.lexicon.entry[lexeme] < rules.lexicon.entry[lexeme + 1]:
        first, count = rules.lexicon.entry[lexeme], rules.lexicon.entry[lexeme + 1] - rules.lexicon.entry[lexeme]
    return first, count


@inlined
def end_word(
    tree: np.ndarray, node: int, entry: int, closed_vocabulary: bool, rules: SearchSettings
) -> tuple[float, int, float]:
    """The word of an entry ends at a node: ln p, the state after it, and what it adds to the bias."""
    row = tree[node]
    lexeme = row.lexeme
    if row.ending_lm == NEVER or row.ending_entry != entry:
        known = rules.lexicon.unit[entry] if entry >= 0 else UNKNOWN_ID
        row.ending_lm, row.ending_state = query(rules, row.state, known)
        row.ending_entry = entry
    gain = row.ending_lm
    worth = rules.lm_weight * gain + rules.bonus
    worth -= rules.lexicon.ahead[lexeme] if lexeme >= 0 else rules.unknown_ahead
    if entry >= 0:
        worth += rules.lexicon.gain[entry]
    else:
        worth += NEVER if closed_vocabulary else rules.unk_score
    return gain, row.ending_state, worth


@inlined
def extend(
    tree: np.ndarray, node: int, token: int, entry: int, rules: SearchSettings
) -> tuple[float, float, int, int, int]:
    """A prefix and one more token: its bias (below NEVER / 2 if it is forbidden), ln p, state, lexeme and hot state.

    entry: the word that the token ends, where it ends one.
    """
    row = tree[node]
    bias, lm, state, lexeme = row.bias, row.lm, row.state, row.lexeme
    if not rules.by_word:
        gain, state = query(rules, state, rules.units[token])
        lm += gain
        bias += rules.lm_weight * gain + rules.bonus
    else:
        if rules.is_border[token] and lexeme != 0:
            gain, state, worth = end_word(tree, node, entry, rules.closed_vocabulary, rules)
            lm += gain
            bias += worth
            lexeme = 0
        if token != rules.space:
            lexeme, gain = spell(rules, lexeme, token)
            bias += gain + rules.token_score
            if rules.is_border[token]:
                bias += rules.hot.ended[row.hot]
    hot, gain = listen(rules.hot, row.hot, token)
    return bias + gain, lm, state, lexeme, hot


@inlined
def finish(
    tree: np.ndarray, node: int, entry: int, closed_vocabulary: bool, rules: SearchSettings
) -> tuple[float, float]:
    """A prefix at the end of the utterance: its bias (below NEVER / 2 if it may not end there) and ln p.

    entry: the word that ends there, if one does.
    """
    row = tree[node]
    bias, lm, state, hot = row.bias, row.lm, row.state, row.hot
    if rules.by_word and row.lexeme != 0:
        gain, state, worth = end_word(tree, node, entry, closed_vocabulary, rules)
        lm += gain
        bias += worth
    gain, _ = query(rules, state, END_ID)
    bias += rules.lm_weight * gain - rules.hot.potential[hot]
    bias += rules.hot.ended[hot]
    return bias, lm + gain


@njit_no_refcount
def find_child(tree: np.ndarray, node: int, token: int, entry: int) -> int:
    """The node of a prefix and one more token, -1 if there is none."""
    found = tree[node].child
    while found >= 0 and (tree[found].token != token or tree[found].entry != entry):
        found = tree[found].sibling
    return found


@inlined
def take_child(
    tree: np.ndarray, used: int, node: int, token: int, entry: int, rules: SearchSettings
) -> tuple[int, int]:
    """The node of a prefix and one more token, made if there is none, and the number of nodes then used."""
    found = find_child(tree, np.int64(node), np.int64(token), np.int64(entry))
    if found >= 0:
        return found, used
    new = tree[used]
    new.parent, new.token, new.entry, new.child, new.sibling = node, token, entry, -1, tree[node].child
    tree[node].child = used
    new.bias, new.lm, new.state, new.lexeme, new.hot = extend(tree, node, token, entry, rules)
    new.ending_lm, new.ending_entry, new.slot = NEVER, -1, -1
    return used, used + 1
