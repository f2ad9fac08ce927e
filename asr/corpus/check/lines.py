"""The checks of single lines, and what they look at: a `LineInfo` a manifest line, with `AudioStats` of its audio.

Thresholds are those of real corpora that train well: LibriSpeech, Common Voice, speechocean762, LJ Speech, Speech
Commands, spoken digits.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from asr.audio import audio_info, read_audio
from asr.audiofile import TOLERANCE_S
from asr.config import Config
from asr.data.manifest import ManifestLine, Utterance, read_lines
from asr.data.subset import read_pronunciations
from asr.errors import AudioError, AudioFault, ManifestError
from asr.lengths import min_frames, output_frames
from asr.text import Tokenizer, normalize, symbols_of
from asr.util.runtime import map_ahead

# Seconds of an utterance that are decoded. A longer one is too long to train on anyway.
MAX_READ_S = 600.0
# Of full scale, ±1: decoders of mp3 and opus round the flat tops of clipped audio a little.
FULL_SCALE = 0.999
# Of full scale. Soft but usable speech reaches 0.01; below 0.0056 (-45 dB) nothing is recorded.
QUIET_PEAK = 0.0056
# Share of samples in flat tops at full scale. 1 ms a second; good recordings have none.
CLIPPED_FRACTION = 0.001
# Of full scale. Cheap microphones reach 0.02; beyond, a converter is broken.
OFFSET = 0.025
# Different unknown symbols named of one utterance.
MAX_SYMBOLS = 5

Problem = tuple[str, str, float]  # the finding's name, what is wrong in words, how bad


@dataclass(frozen=True)
class CheckSettings:
    """By what training judges utterances. tokenizer: of a model; named: whether someone chose these settings; subwords:
    what would spell the words in training, if text.tokens is subwords."""

    config: Config
    tokenizer: Tokenizer | None = None
    named: bool = True
    subwords: Tokenizer | None = None


@dataclass(slots=True)
class AudioStats:
    """An utterance's decoded audio. problems: what is wrong with it; where it cannot be read, the reason alone, and a
    sample rate of 0; file_s: seconds of the whole file; lacking_s: by how many it ends before its line says;
    key: a hash of the samples, 0 where all are the same."""

    problems: list[Problem]
    sample_rate: int = 0
    channels: int = 0
    file_s: float = 0.0
    lacking_s: float = 0.0
    key: int = 0


@dataclass(slots=True)
class LineInfo:
    """A manifest line. row: its number over all manifests checked together; utterance: None where the line is malformed
    and `error` says how; named: whether it has an id of its own; text: normalized; audio: None where it is not read."""

    row: int
    line: ManifestLine
    utterance: Utterance | None = None
    error: str = ""
    named: bool = False
    text: str | None = None
    audio: AudioStats | None = None

    @property
    def id(self) -> str:
        return f"line {self.line.number}" if self.utterance is None else self.utterance.id


def line_problems(info: LineInfo, settings: CheckSettings) -> Iterator[Problem]:
    """What is wrong with a line by itself."""
    utterance, text, audio = info.utterance, info.text, info.audio
    if utterance is None:
        yield "malformed line", info.error, 0
        return
    if text is None:
        yield "missing text", "no text", 0
    elif not text:
        yield "empty text", repr(utterance.text), 0
    else:
        yield from _text_problems(text, utterance.duration - (audio.lacking_s if audio else 0.0), settings)
    if utterance.speaker is None:
        yield "missing speaker", "", 0
    if audio is not None:
        yield from audio.problems
        wanted = settings.config.features.sample_rate
        if settings.named and 0 < audio.sample_rate < wanted:
            yield "low sample rate", f"{audio.sample_rate} Hz, {wanted} Hz wanted", wanted - audio.sample_rate


def _text_problems(text: str, duration: float, settings: CheckSettings) -> Iterator[Problem]:
    """duration: seconds of audio that are there."""
    config, tokenizer = settings.config, settings.tokenizer
    unknown = tokenizer.unknown(text) if tokenizer is not None else []
    if unknown:
        yield "unknown symbol", " ".join(map(repr, list(dict.fromkeys(unknown))[:MAX_SYMBOLS])), len(unknown)
    speller = tokenizer or settings.subwords
    if speller is not None:
        needed = min_frames(speller.symbols(text))
    else:
        needed = min_frames(symbols_of(config.text.tokens, text, read_pronunciations(config).get))
    fastest = 1.0 if config.train.overfit else config.augment.speed[1]
    for name, speed in (("too few frames for CTC", 1.0), ("too few frames at the fastest speed", fastest)):
        samples = int(round(duration, 6) / speed * config.features.sample_rate)
        there = output_frames(samples, config.features, config.model)
        if needed > there:
            yield name, f"{needed} needed, {there} there", needed - there
            break


def read_line_infos(manifests: Sequence[Path], normalizer: str) -> Iterator[LineInfo]:
    """Every line of the manifests, malformed ones too, without audio."""
    folders = {path: Path(os.path.abspath(path.parent)) for path in manifests}
    for row, line in enumerate(line for path in manifests for line in read_lines(path)):
        info = LineInfo(row, line)
        try:
            record = line.parse()
        except ManifestError as error:
            info.error = str(error).removeprefix(f"{line.place}: ")
        else:
            info.utterance = Utterance.from_record(record, folders[line.path])
            info.named = "id" in record
            lang = info.utterance.lang
            info.text = normalize(record["text"], normalizer, lang) if "text" in record else None
        yield info


def with_audio(infos: Iterable[LineInfo], workers: int) -> Iterator[LineInfo]:
    """The same lines in the same order, each with its audio decoded, in threads: decoders release Python's lock."""

    def decode(info: LineInfo) -> LineInfo:
        info.audio = None if info.utterance is None else audio_stats(info.utterance)
        return info

    return map_ahead(decode, infos, workers, ahead=4 * workers)


def audio_stats(utterance: Utterance) -> AudioStats:
    """Read an utterance's audio at its own rate. Faults are returned, not raised."""
    path, start = utterance.audio, utterance.start

    def unusable(fault: AudioFault, detail: str) -> AudioStats:
        return AudioStats([(fault.value, detail, 0)])

    if not os.path.exists(path):  # nor is a link to nothing a file
        return unusable(AudioFault.MISSING, str(path))
    try:
        info = audio_info(path)
        if info.frames == 0:
            return unusable(AudioFault.EMPTY, str(path))
        lacking_s = start + utterance.duration - info.duration
        if lacking_s > TOLERANCE_S:
            return unusable(AudioFault.TOO_SHORT, f"ends at {info.duration:.3f} s, {lacking_s:.3f} s too early")
        duration = min(utterance.duration, MAX_READ_S)
        audio = read_audio(path, start=start, duration=duration, channel=utterance.channel)
    except AudioError as error:
        return unusable(error.fault, str(error).removeprefix(f"{path}: "))
    lacking_s = duration - audio.duration
    if lacking_s > TOLERANCE_S:
        return unusable(AudioFault.TOO_SHORT, f"ends at {start + audio.duration:.3f} s, {lacking_s:.3f} s too early")
    differ = audio.samples.min() < audio.samples.max()
    digest = blake2b(audio.samples.tobytes(), digest_size=8).digest()
    key = int.from_bytes(digest, "little", signed=True) if differ else 0
    problems = list(_sample_problems(audio.samples))
    return AudioStats(problems, info.sample_rate, info.channels, info.duration, max(lacking_s, 0.0), key)


def _sample_problems(samples: np.ndarray) -> Iterator[Problem]:
    """samples: (samples,) float32."""
    peak, mean = float(max(samples.max(), -samples.min())), float(samples.mean())
    if peak <= QUIET_PEAK:
        yield "near silence", f"peak {peak:.4f}", -peak
    if peak >= FULL_SCALE:
        full = np.abs(samples) >= FULL_SCALE
        runs = full[2:] & full[1:-1] & full[:-2]  # of three or more: a flat top
        clipped = float(np.count_nonzero(runs)) / len(samples)
        if clipped >= CLIPPED_FRACTION:
            yield "clipping", f"{100 * clipped:.2f} %", clipped
    if abs(mean) >= OFFSET:
        yield "offset", f"mean {mean:+.3f}", abs(mean)
