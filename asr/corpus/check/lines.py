"""What the checks look at: one `LineInfo` a manifest line, and the `AudioStats` of its audio."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np

from asr.audio import AudioInfo, audio_info, read_audio
from asr.audiofile import TOLERANCE_S
from asr.config import Config, FeatureConfig, ModelConfig
from asr.data.manifest import ManifestLine, Utterance, read_lines
from asr.errors import AudioError, AudioFault, ManifestError
from asr.lengths import min_frames, output_frames
from asr.text import Tokenizer, normalize
from asr.util.runtime import map_ahead

# Seconds of an utterance that are decoded. A longer one is too long to train on anyway.
MAX_READ_S = 600.0
# Of full scale, ±1: decoders of mp3 and opus round the flat tops of clipped audio a little.
FULL_SCALE = 0.999


@dataclass(frozen=True)
class CheckSettings:
    """The settings by which training judges utterances.

    fastest: the highest factor of speed perturbation; named: whether someone chose these settings.
    """

    features: FeatureConfig
    model: ModelConfig
    normalizer: str
    kind: str
    fastest: float = 1.0
    tokenizer: Tokenizer | None = None
    named: bool = True

    @classmethod
    def of_config(cls, config: Config, named: bool = True) -> CheckSettings:
        fastest = 1.0 if config.train.overfit else config.augment.speed[1]
        return cls(
            config.features, config.model, config.text.normalizer, config.text.tokens, fastest=fastest, named=named
        )

    def needed_frames(self, text: str) -> int:
        """Frames that CTC needs for a normalized text."""
        if self.tokenizer is not None and not self.tokenizer.unknown(text):
            return min_frames(self.tokenizer.encode(text))
        return min_frames(text.split() if self.kind == "words" else text)

    def frames(self, duration: float, speed: float) -> int:
        """Output frames of so many seconds, spoken so much faster."""
        return output_frames(int(duration / speed * self.features.sample_rate), self.features, self.model)


@dataclass(slots=True)
class AudioStats:
    """An utterance's decoded audio. fault: what is wrong with it, and detail about that; else
    file_s: seconds of the whole file; lacking_s: by how many it ends before its line says; peak: the largest of
    |samples|; mean: their mean, of full scale 1; clipped: share of samples in runs of three or more at full scale;
    key: a hash of the samples, 0 where all are the same."""

    fault: AudioFault | None = None
    detail: str = ""
    sample_rate: int = 0
    channels: int = 0
    file_s: float = 0.0
    lacking_s: float = 0.0
    peak: float = 0.0
    mean: float = 0.0
    clipped: float = 0.0
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
            info.text = normalize(record["text"], normalizer) if "text" in record else None
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
    if not os.path.exists(path):  # nor is a link to nothing a file
        return AudioStats(AudioFault.MISSING, str(path))
    try:
        info = audio_info(path)
        if info.frames == 0:
            return AudioStats(AudioFault.EMPTY, str(path))
        lacking = start + utterance.duration - info.duration
        if lacking > TOLERANCE_S:
            return AudioStats(AudioFault.TOO_SHORT, f"ends at {info.duration:.3f} s, {lacking:.3f} s too early")
        duration = min(utterance.duration, MAX_READ_S)
        audio = read_audio(path, start=start, duration=duration, channel=utterance.channel)
    except AudioError as error:
        return AudioStats(error.fault, str(error).removeprefix(f"{path}: "))
    lacking = duration - audio.duration
    if lacking > TOLERANCE_S:
        return AudioStats(AudioFault.TOO_SHORT, f"ends at {start + audio.duration:.3f} s, {lacking:.3f} s too early")
    return _measure(audio.samples, info, max(lacking, 0.0))


def _measure(samples: np.ndarray, info: AudioInfo, lacking_s: float) -> AudioStats:
    """(samples,) float32 -> AudioStats."""
    low, high = float(samples.min()), float(samples.max())
    peak = max(high, -low)
    clipped = 0.0
    if peak >= FULL_SCALE:
        full = np.abs(samples) >= FULL_SCALE
        inner = full[2:] & full[1:-1] & full[:-2]
        clipped = float(np.count_nonzero(inner)) / len(samples)
    digest = blake2b(samples.tobytes(), digest_size=8).digest()
    key = int.from_bytes(digest, "little", signed=True) if low < high else 0
    mean = float(samples.mean())
    return AudioStats(None, "", info.sample_rate, info.channels, info.duration, lacking_s, peak, mean, clipped, key)
