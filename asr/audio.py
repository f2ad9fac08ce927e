"""File or bytes -> waveform: decoding, downmixing, resampling. A sample rate is read or given, never guessed."""

from __future__ import annotations

import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from asr.audiofile import AudioInfo as AudioInfo
from asr.audiofile import (
    Source,
    check_rate,
    decode,
    errors_as_audio_error,
    local_file,
    mix_notes,
    mono,
    source_name,
)
from asr.audiofile import audio_info as audio_info
from asr.errors import AudioError, AudioFault
from asr.util.files import walk
from asr.util.format import plural, printable, some

logger = logging.getLogger(__name__)

# Extensions looked for in folders. Reading goes by content, so any other name may be given explicitly.
AUDIO_SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"}
    | {".au", ".snd", ".caf", ".w64", ".rf64", ".sph", ".m4a", ".aac", ".mp4", ".webm"}
    # What only ffmpeg reads, videos included.
    | {".3g2", ".3ga", ".3gp", ".ac3", ".amr", ".ape", ".asf", ".avi", ".awb", ".dts", ".eac3", ".f4v", ".flv", ".gsm"}
    | {".m2ts", ".m4b", ".m4r", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mpeg", ".mpg", ".mpga", ".mts", ".ogv"}
    | {".qcp", ".ra", ".rm", ".spx", ".tta", ".voc", ".weba", ".wma", ".wmv", ".wv"}
)


@dataclass(frozen=True)
class Audio:
    """A mono waveform. samples: (samples,) float32, full scale is ±1; notes: what was lost on the way, for people."""

    samples: np.ndarray
    sample_rate: int
    notes: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate


def read_audio(
    source: Source,
    sample_rate: int | None = None,
    *,
    start: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
    raw_rate: int | None = None,
    name: str | None = None,
) -> Audio:
    """Decode a file, bytes or a binary stream to one float32 channel.

    sample_rate: resample to this many Hz (default: keep the file's own rate).
    start, duration: the part to read, in seconds; sample = round(seconds × rate). It may end TOLERANCE_S too late.
    channel: the channel to take, from 0 (default: the mean of all of them; where they cancel each other, the loudest).
    raw_rate: there is no header; these are 16-bit samples, little-endian, of one channel at this rate.
    name: what errors call it (default: its path).

    Raises AudioError for what is missing, empty, corrupt, cut short or not finite.
    """
    name = name or source_name(source)
    for value in (start, 0.0 if duration is None else duration):
        if not 0 <= value <= 1e9:
            raise AudioError(f"{name}: start and duration are seconds from 0 on, not {value}")
    with errors_as_audio_error(name), local_file(source, name) as path:
        part = decode(path, name, start, duration, channel, raw_rate)
    return _finish(part.samples, part.info.sample_rate, name, sample_rate, part.notes)


def as_audio(samples: np.ndarray, sample_rate: int, target_rate: int | None = None, name: str = "array") -> Audio:
    """A waveform already in memory, checked like a file, integer or float: (samples,), or with channels, where the
    longer side counts the samples.

    Integers are scaled by their type's range. Raises AudioError as `read_audio` does.
    """
    samples = np.asarray(samples)
    if samples.ndim == 2 and (0 < samples.shape[0] < samples.shape[1] or samples.shape[1] == 0):
        samples = samples.T
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and not 1 <= samples.shape[1] <= 64):
        raise AudioError(
            f"{name}: shape {samples.shape} is neither (samples,) nor (samples, channels) nor (channels, samples)"
        )
    check_rate(sample_rate, name)
    if np.issubdtype(samples.dtype, np.integer):
        limits = np.iinfo(samples.dtype)
        if limits.bits == 64 and limits.min < 0 and samples.any() and np.abs(samples.astype(np.float64)).max() <= 2**31:
            raise AudioError(  # what Python makes of whole numbers: by its range, speech would be silence
                f"{name}: {samples.dtype} samples reach {np.abs(samples).max()} of {limits.max}, which is silence;"
                " convert them to the type that they were, such as int16"
            )
        middle = 0 if limits.min < 0 else (limits.max + 1) / 2  # unsigned PCM is centered on half its range
        samples = (samples.astype(np.float64) - middle) / ((limits.max + 1) if limits.min < 0 else middle)
    elif not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"{name}: samples of type {samples.dtype} are not audio")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if len(samples) and 1000 < np.abs(samples).max() < np.inf:
        raise AudioError(f"{name}: floating-point samples are in ±1, these reach {np.abs(samples).max():g}; scale them")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such
        samples = np.ascontiguousarray(samples, np.float32).reshape(-1, channels)
    mixed, cancelled = mono(samples, None, sample_rate)
    return _finish(mixed, sample_rate, name, target_rate, mix_notes(channels, cancelled, len(mixed)))


def resample(samples: np.ndarray, sample_rate: float, target_rate: float) -> np.ndarray:
    """(samples,) float32 at sample_rate -> (round(samples × target/rate),) at target_rate (soxr, high quality)."""
    if sample_rate == target_rate:
        return samples
    return soxr.resample(samples, sample_rate, target_rate, quality="HQ")


def find_audio(folder: Path, failed: Callable[[AudioError], None], beside: Collection[str] = ()) -> list[Path]:
    """The audio files below a folder, sorted by name. What cannot be read is handed to `failed`; how many files of
    other kinds are left out is logged, but for those that belong there, of the suffixes `beside`.

    Raises AudioError when there is nothing else.
    """
    found: list[Path] = []
    others: Counter[str] = Counter()
    failures = 0

    def fail(path: str | Path, why: str, fault: AudioFault = AudioFault.UNREADABLE) -> None:
        nonlocal failures
        failures += 1
        failed(AudioError(f"{printable(path)}: {why}", fault))

    for path in sorted(walk(folder, failed=lambda error: fail(error.filename, error.strerror or str(error)))):
        if path.name.startswith(".") and path.suffix.lower() not in AUDIO_SUFFIXES:
            continue
        try:
            if not stat.S_ISREG(path.stat().st_mode):
                fail(path, "is a pipe or a device, not a file; left out")
            elif is_audio(path):
                found.append(path)
            elif path.suffix.lower() not in beside:
                others[path.suffix.lower() or "without extension"] += 1
        except OSError as error:
            link = f"a link to {os.readlink(path)}: " if path.is_symlink() else ""
            fail(path, f"{printable(link)}{error.strerror}", AudioFault.MISSING)
    left_out = some((f"{count:,} {printable(kind)}" for kind, count in others.most_common()), 10)
    if not found and not failures:
        raise AudioError(f"{folder}: no audio files in this folder" + (f", only {left_out}" if left_out else ""))
    if left_out:
        logger.info(f"{folder}: {plural(others.total(), 'file')} left out, which may not be audio: {left_out}")
    return found


def is_audio(path: Path) -> bool:
    """A file, by its extension or, where that is another, by what libsndfile makes of its beginning."""
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return True
    try:
        with soundfile.SoundFile(path):
            return True
    except (OSError, RuntimeError):  # libsndfile's error is a RuntimeError
        return False


def write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write (samples,) float32 as 16-bit PCM; what is beyond full scale is clipped, as a converter would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(samples, -1.0, 1.0), sample_rate, subtype="PCM_16", format="WAV")


def _finish(mono: np.ndarray, rate: int, name: str, target_rate: int | None, notes: list[str]) -> Audio:
    """(samples,) of any rate -> checked Audio at the target rate."""
    if len(mono) == 0:
        raise AudioError(f"{name}: holds no samples", AudioFault.EMPTY)
    if not np.isfinite(mono).all():
        first = int(np.flatnonzero(~np.isfinite(mono))[0])
        raise AudioError(
            f"{name}: sample {first} (at {first / rate:.3f} s) is NaN or infinite; write the file again",
            AudioFault.NOT_FINITE,
        )
    if target_rate is not None and target_rate != rate:
        mono = resample(mono, rate, target_rate)
        rate = target_rate
        if len(mono) == 0:
            raise AudioError(f"{name}: too short to resample", AudioFault.EMPTY)
    return Audio(mono, rate, tuple(notes))
