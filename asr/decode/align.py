"""When words were said: those of a hypothesis, and those of a given text, by forced alignment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, NamedTuple

import numpy as np

from asr.decode.decoder import Hypothesis, decode_waveforms, log_prob_rows, word_spans, words_of
from asr.decode.results import TimedText, as_dict, srt, vtt
from asr.errors import TextError
from asr.lengths import min_frames
from asr.model.recognizer import Recognizer
from asr.text import ZERO_WIDTH_SPACE, Tokenizer, listed, normalize
from asr.util.format import plural

CHUNK_S = 30.0  # longer audio is computed in chunks
CONTEXT_S = 2.0  # of audio that a chunk sees on each side, beyond its own
CHUNKS = 4  # chunks that are computed together

PAUSE_S = 0.12  # a quiet stretch this long ends a word; the stop inside "eight" is shorter
ONSET_S = 0.25  # a word begins at most this much before the time that its frames give
TAIL_S = 1.0  # a word ends at most this much after its last frame

# Control characters that are no white space, and halves of surrogate pairs: no output format has a place for them.
_UNWRITABLE = re.compile(r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff]")


@dataclass(frozen=True)
class Word(TimedText):
    """A word that was heard. confidence: the calibrated probability, in [0, 1], that it is right."""

    confidence: float


@dataclass(frozen=True)
class AlignedToken(TimedText):
    """A token of the given text. score: its mean probability in its frames, in [0, 1], not calibrated; it is low where
    something else was said."""

    score: float


@dataclass(frozen=True)
class AlignedWord(AlignedToken):
    """A word in its spelling in the text. score: mean probability of its tokens in their frames; tokens: those that
    spell it after normalization."""

    tokens: tuple[AlignedToken, ...]


@dataclass(frozen=True)
class Alignment:
    """The words of a text with their times in one recording. duration is in seconds; skipped: words left out, because
    the model has no tokens for them."""

    words: list[AlignedWord]
    duration: float
    model: str
    skipped: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What JSON output holds, but for the recording's name."""
        return as_dict(self)

    def to_srt(self) -> str:
        """SubRip subtitles."""
        return srt(self.words)

    def to_vtt(self) -> str:
        """WebVTT subtitles."""
        return vtt(self.words)


class TokenSpans(NamedTuple):
    """(tokens,) arrays: a token's first frame, the frame after its last, and its mean probability in them."""

    start_frames: np.ndarray
    end_frames: np.ndarray
    scores: np.ndarray


def align(recognizer: Recognizer, samples: np.ndarray, text: str, skip_unknown: bool = False) -> Alignment:
    """Find every word of a text in (samples,) float32 at the model's rate. Audio may be hours long.

    Words are separated by white space. The model's normalizer is applied to find them, but the result has their
    original spelling; what normalizes to nothing, such as a dash, is not in the result. A word begins the model's
    emission_delay_s before its first frame, or with its sound after a pause, and ends where the next word or a pause
    begins.

    Raises TextError for a text without words, for words that the model has no tokens for (unless skip_unknown) and for
    a text too long for the audio.
    """
    words, unknown = spell(text, recognizer.tokenizer, recognizer.text.normalizer)
    if unknown and not skip_unknown:
        raise TextError(
            f"the model has no tokens for {listed(unknown)}; write the words as they are spoken"
            f" (there is {listed(recognizer.tokenizer.tokens[1:])}), or leave them out (--skip-unknown)"
        )
    if not words:
        raise TextError(
            "no words to align" + (f": the model has no tokens for {listed(unknown)}" if unknown else " in the text")
        )
    space = recognizer.tokenizer.space
    token_ids = [token for _, of_word in words for token in (space, *of_word) if token >= 0]
    if space >= 0:
        del token_ids[0]
    frames, needed = recognizer.output_frames(len(samples)), min_frames(token_ids)
    if needed > frames:
        raise TextError(
            f"the text is too long for the audio: {plural(len(words), 'word')} of at least {needed} frames of"
            f" {1000 * recognizer.frame_s:g} ms ({needed * recognizer.frame_s:.2f} s), there are {frames}"
            f" ({len(samples) / recognizer.sample_rate:.2f} s)"
        )
    log_probs = long_log_probs(recognizer, samples)
    spans = token_spans(log_probs, token_ids, best_path(log_probs, token_ids))
    in_words = np.array(token_ids) != space
    timed = _time_words(recognizer, samples, words, TokenSpans(*(values[in_words] for values in spans)))
    return Alignment(timed, len(samples) / recognizer.sample_rate, recognizer.name, tuple(unknown))


def spell(text: str, tokenizer: Tokenizer, normalizer: str) -> tuple[list[tuple[str, list[int]]], list[str]]:
    """The words of a text in their original spelling, each with its token ids; and the words without tokens."""
    words, unknown = [], []
    for word in _UNWRITABLE.sub("", text.replace(ZERO_WIDTH_SPACE, " ")).split():
        spoken = normalize(word, normalizer)
        if tokenizer.unknown(spoken):
            unknown.append(word)
        elif spoken:
            words.append((word, tokenizer.encode(spoken)))
    return words, unknown


def long_log_probs(recognizer: Recognizer, samples: np.ndarray) -> np.ndarray:
    """(samples,) float32 of any length -> (T, V) float32 on one grid: frame i is centered on i × frame_s.

    Computed in chunks with context on both sides; no state goes from one to the next.
    """
    step = recognizer.features.hop * recognizer.config.subsampling
    chunk, context = round(CHUNK_S / recognizer.frame_s), round(CONTEXT_S / recognizer.frame_s)
    log_probs = np.empty((recognizer.output_frames(len(samples)), len(recognizer.tokenizer)), np.float32)
    starts = range(0, len(log_probs), chunk)
    for group in (starts[i : i + CHUNKS] for i in range(0, len(starts), CHUNKS)):
        begins = [max(0, start - context) for start in group]
        pieces = [samples[a * step : (b + chunk + context) * step] for a, b in zip(begins, group, strict=True)]
        computed = decode_waveforms(recognizer, pieces, log_prob_rows)
        for begin, start, rows in zip(begins, group, computed, strict=True):
            log_probs[start : start + chunk] = rows[start - begin :][:chunk]
    return log_probs


def best_path(log_probs: np.ndarray, tokens: Sequence[int]) -> np.ndarray:
    """The likeliest way to say `tokens`: (T, V) -> (frames,) positions in `tokens`, -1 for the blank.

    CTC's Viterbi path (Graves et al. 2006), exact, in float64. A state says how many tokens have begun, and whether
    the frame is in the last of them or in the blank after it. Only every √frames-th row of scores is kept; on the way
    back, the rows between are computed again, and only for the tokens that the path can reach between two kept rows.
    Memory is O(√frames × tokens), 250 MB for an hour of speech, where a table of back pointers would take gigabytes.

    Raises TextError where no path has a probability above zero, as when there are fewer frames than `min_frames`.
    """
    frames, count = len(log_probs), len(tokens)
    labels = np.array([0, *tokens])
    # From token to token without a blank between: not if they are equal. skip[i] leads to token i + 1.
    skip = np.where(labels[1:] == labels[:-1], -np.inf, 0.0)
    before, after = np.full((2, 2, count + 1), -np.inf)
    before[0, 0] = 0.0
    stride, kept = isqrt(frames) + 1, []
    for t in range(frames):
        if t % stride == 0:
            kept.append(before.copy())
        # With fewer tokens begun the rest could not be said in time; more cannot have begun.
        band = slice(max(0, count - (frames - t)), min(count, t + 1) + 1)
        _advance(before[:, band], after[:, band], log_probs[t], labels[band], skip[band.start : band.stop - 1])
        before, after = after, before
    if not np.isfinite(before[:, count].max()):
        raise TextError(f"no path of {frames} frames says these {count} tokens")
    path = np.empty(frames, np.int64)
    begun, saying = count, bool(before[1, count] >= before[0, count])
    for first in range((len(kept) - 1) * stride, -1, -stride):
        end = min(first + stride, frames)
        window = slice(max(0, begun - (end - first)), begun + 1)
        rows = [kept.pop()[:, window]]
        for t in range(first, end - 1):
            rows.append(np.full_like(rows[-1], -np.inf))
            _advance(rows[-2], rows[-1], log_probs[t], labels[window], skip[window.start : window.stop - 1])
        for t in range(end - 1, first - 1, -1):
            path[t] = begun - 1 if saying else -1
            blank, token = rows.pop()
            i = begun - window.start
            if not saying:
                saying = token[i] > blank[i]
            elif i > 0:
                stay, fresh, follow = token[i], blank[i - 1], token[i - 1] + skip[begun - 1]
                if max(fresh, follow) > stay:
                    begun, saying = begun - 1, bool(follow > fresh)
    return path


def _advance(before: np.ndarray, after: np.ndarray, row: np.ndarray, labels: np.ndarray, skip: np.ndarray) -> None:
    """One frame: before, after: (2, n) scores in a blank and in a token by the number of tokens begun; labels: (n,) the
    last token begun, skip: (n - 1,)."""
    np.maximum(before[0], before[1], out=after[0])
    after[0] += row[0]
    token = np.add(before[1, :-1], skip)
    np.maximum(token, before[0, :-1], out=token)
    np.maximum(token, before[1, 1:], out=token)
    np.add(token, row.astype(np.float64)[labels[1:]], out=after[1, 1:])


def token_spans(log_probs: np.ndarray, tokens: Sequence[int], path: np.ndarray) -> TokenSpans:
    """Where a path of `best_path` through log_probs, (T, V), says each token, and how surely."""
    spoken = np.flatnonzero(path >= 0)
    _, begins, counts = np.unique(path[spoken], return_index=True, return_counts=True)
    probabilities = np.exp(log_probs[spoken, np.array(tokens, int)[path[spoken]]].astype(np.float64))
    return TokenSpans(spoken[begins], spoken[begins] + counts, np.add.reduceat(probabilities, begins) / counts)


def _time_words(
    recognizer: Recognizer, samples: np.ndarray, words: Sequence[tuple[str, list[int]]], spans: TokenSpans
) -> list[AlignedWord]:
    """Words and their token ids, and the frames of these tokens without spaces -> words with times in seconds."""
    names = recognizer.tokenizer.tokens
    symbols = [[names[token] for token in token_ids if names[token] != " "] for _, token_ids in words]
    edges = np.cumsum([0, *map(len, symbols)])
    starts, lasts = seconds_of(recognizer, spans.start_frames, spans.end_frames)
    starts[edges[:-1]], ends = word_edges(samples, recognizer.sample_rate, starts[edges[:-1]], lasts[edges[1:] - 1])
    out = []
    for (word, _), spelled, a, b, end in zip(words, symbols, edges[:-1], edges[1:], ends, strict=True):
        bounds, scores = [*starts[a:b].tolist(), end], spans.scores[a:b]
        parts = zip(spelled, bounds[:-1], bounds[1:], scores.tolist(), strict=True)
        mean = float(np.average(scores, weights=(spans.end_frames - spans.start_frames)[a:b]))
        out.append(AlignedWord(word, bounds[0], end, mean, tuple(AlignedToken(*part) for part in parts)))
    return out


def timed_words(recognizer: Recognizer, hypothesis: Hypothesis, samples: np.ndarray, start_s: float) -> list[Word]:
    """The words of a hypothesis of (samples,) float32 that begin start_s into a recording.

    As in an alignment: a word begins emission_delay_s before its first frame, or with its sound after a pause, and ends
    where the next word or a pause begins.
    """
    spans = word_spans(hypothesis.token_ids, recognizer.tokenizer)
    if not spans:
        return []
    start_frames = np.array([hypothesis.start_frames[first] for first, _ in spans])
    end_frames = np.array([hypothesis.end_frames[end - 1] for _, end in spans])
    edges = seconds_of(recognizer, start_frames, end_frames)
    starts, ends = word_edges(samples, recognizer.sample_rate, *edges)
    texts = words_of(hypothesis, recognizer.tokenizer)
    # The segment's end, computed as in the caller: start_s + end may exceed it by a rounding error.
    over_s = (round(start_s * recognizer.sample_rate) + len(samples)) / recognizer.sample_rate
    rows = zip(texts, starts.tolist(), ends, hypothesis.confidence, strict=True)
    return [
        Word(text, min(start_s + start, over_s), min(start_s + end, over_s), confidence)
        for text, start, end, confidence in rows
    ]


def seconds_of(recognizer: Recognizer, first: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) first frames, and frames after the last, of tokens or words -> seconds where they begin and where they end.

    They begin emission_delay_s before their first frame, but not before the last frame of the previous one ends.
    """
    lasts = (end - 0.5) * recognizer.frame_s
    return np.maximum(first * recognizer.frame_s - recognizer.emission_delay_s, np.append(0.0, lasts[:-1])), lasts


def word_edges(
    samples: np.ndarray, sample_rate: int, starts: np.ndarray, lasts: np.ndarray
) -> tuple[np.ndarray, list[float]]:
    """Correct the times of words by the loudness. starts, lasts: (words,) seconds where words begin according to their
    frames, and where their last frames end. Returns their starts, (words,), and their ends, in seconds.

    CTC tokens are short peaks that cover only a fraction of a word. So a word is extended to the nearest pause. A pause
    is PAUSE_S in which the level stays below the mean, in dB, of the word's loudest moment and the recording's
    background. Where no pause is near, a word begins where its frames say and lasts until the next one.
    """
    cell = sample_rate // 100
    cell_s = cell / sample_rate
    cells = samples[: len(samples) // cell * cell].reshape(-1, cell)
    levels = 10.0 * np.log10(np.einsum("ij,ij->i", cells, cells, dtype=np.float64) / cell + 1e-10)
    floor = np.percentile(levels, 5) if len(levels) else 0.0
    earliest = np.maximum(np.append(0.0, lasts[:-1]), starts - ONSET_S - PAUSE_S)
    latest = np.minimum(lasts + TAIL_S, np.append(starts[1:], len(samples) / sample_rate))

    def pauses(begin_s: float, end_s: float, threshold: float) -> list[tuple[float, float]]:
        first, end = int(begin_s / cell_s), int(end_s / cell_s)
        loud = first + np.flatnonzero(levels[first:end] >= threshold)
        places = np.concatenate([[first - 1], loud, [max(first, end)]])
        long = np.flatnonzero(np.diff(places) > PAUSE_S / cell_s)
        return [((places[i] + 1) * cell_s, places[i + 1] * cell_s) for i in long.tolist()]

    new_starts, ends = starts.copy(), latest.tolist()
    for i, (start, last, end) in enumerate(zip(starts.tolist(), lasts.tolist(), ends, strict=True)):
        loudest = levels[int(start / cell_s) : int(end / cell_s)].max(initial=-100.0)
        threshold = (loudest + max(floor, loudest - 60.0)) / 2
        if found := pauses(earliest[i], start, threshold):
            new_starts[i] = min(start, found[-1][1])
        if found := pauses(last, end, threshold):
            ends[i] = min(max(last, found[0][0]), end)
    # A word without a pause behind it lasts until the next one, which may have moved to an earlier place.
    return new_starts, np.minimum(ends, np.append(new_starts[1:], np.inf)).tolist()
