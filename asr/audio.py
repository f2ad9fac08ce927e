"""File or bytes -> waveform: decoding, downmixing, resampling. A sample rate is read or given, never guessed."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from asr.errors import AudioError

# Extensions looked for in folders. Reading goes by content, so any other name may be given explicitly.
AUDIO_SUFFIXES = frozenset(
    ".wav .wave .flac .ogg .oga .opus .mp3 .aif .aiff .aifc .au .snd .caf .w64 .rf64 .sph .m4a .aac .mp4 .webm".split()
)
# Below this rate there is nothing above 2 kHz left to recognise consonants by; such files are mislabelled.
LOWEST_SAMPLE_RATE = 4_000
HIGHEST_SAMPLE_RATE = 768_000

Source = str | Path | bytes | BinaryIO


@dataclass(frozen=True)
class Audio:
    """A mono waveform. samples: (samples,) float32, full scale is ±1; notes: what was done to the file, for people."""

    samples: np.ndarray
    sample_rate: int
    notes: tuple[str, ...] = ()

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self.samples) / self.sample_rate


@dataclass(frozen=True)
class AudioInfo:
    """What the header says. frames counts samples per channel; duration is in seconds."""

    sample_rate: int
    channels: int
    frames: int
    format: str

    @property
    def duration(self) -> float:
        return self.frames / self.sample_rate


def audio_info(path: str | Path) -> AudioInfo:
    """Read a file's header. Raises AudioError when it is missing or not audio."""
    try:
        with _open(path) as file:
            return AudioInfo(file.samplerate, file.channels, file.frames, f"{file.format} {file.subtype}")
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{path}: not readable audio ({_reason(error)})") from None


def read_audio(
    source: Source,
    sample_rate: int | None = None,
    *,
    start: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
) -> Audio:
    """Decode a file, bytes or a binary stream to one float32 channel.

    sample_rate: resample to this many Hz (default: keep the file's own rate).
    start, duration: the part to read, in seconds; sample = round(seconds × rate).
    channel: the channel to take, from 0 (default: the mean of all of them).

    Raises AudioError for what is missing, empty, corrupt, cut short or not finite.
    """
    name = _name(source)
    try:
        with _open(source) as file:
            rate, channels = file.samplerate, file.channels
            if not LOWEST_SAMPLE_RATE <= rate <= HIGHEST_SAMPLE_RATE:
                raise AudioError(
                    f"{name}: sample rate {rate} Hz is not one of speech ({LOWEST_SAMPLE_RATE} to {HIGHEST_SAMPLE_RATE} Hz);"
                    " correct the header or resample the file"
                )
            if channel is not None and not 0 <= channel < channels:
                raise AudioError(f"{name}: channel {channel} asked for, but it has {channels} (numbered from 0)")
            samples = _read_frames(file, name, round(start * rate), None if duration is None else round(duration * rate))
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name}: not readable audio ({_reason(error)})") from None
    return _finish(samples, rate, name, sample_rate, channel)


def as_audio(samples: np.ndarray, sample_rate: int, target_rate: int | None = None, name: str = "array") -> Audio:
    """A waveform already in memory, checked like a file: samples is (samples,) or (samples, channels), integer or float.

    Integers are scaled by their type's range. Raises AudioError as `read_audio` does.
    """
    samples = np.asarray(samples)
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and samples.shape[1] > 64):
        raise AudioError(f"{name}: shape {samples.shape} is neither (samples,) nor (samples, channels)")
    if not LOWEST_SAMPLE_RATE <= sample_rate <= HIGHEST_SAMPLE_RATE:
        raise AudioError(f"{name}: sample rate {sample_rate} Hz is not one of speech")
    if np.issubdtype(samples.dtype, np.integer):
        limits = np.iinfo(samples.dtype)
        middle = 0 if limits.min < 0 else (limits.max + 1) / 2  # unsigned PCM is centred on half its range
        samples = (samples.astype(np.float64) - middle) / ((limits.max + 1) if limits.min < 0 else middle)
    elif not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"{name}: samples of type {samples.dtype} are not audio")
    samples = samples.astype(np.float32)
    return _finish(samples.reshape(len(samples), -1), sample_rate, name, target_rate, None)


def resample(samples: np.ndarray, sample_rate: float, target_rate: float) -> np.ndarray:
    """samples: (samples,) float32 at sample_rate -> (round(samples × target/rate),) at target_rate (soxr, high quality)."""
    if sample_rate == target_rate:
        return samples
    return soxr.resample(samples, sample_rate, target_rate, quality="HQ")


def find_audio(folder: Path) -> list[Path]:
    """All audio files below a folder, by extension, sorted by name. Raises AudioError when there is none."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file())
    if not found:
        raise AudioError(f"{folder}: no audio files in this folder (looked for {_list(sorted(AUDIO_SUFFIXES))})")
    return found


def write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write (samples,) float32 as 16-bit PCM; what is beyond full scale is clipped, as a converter would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(samples, -1.0, 1.0), sample_rate, subtype="PCM_16", format="WAV")


def _finish(samples: np.ndarray, rate: int, name: str, target_rate: int | None, channel: int | None) -> Audio:
    """(frames, channels) of any rate -> checked mono Audio at the target rate."""
    if len(samples) == 0:
        raise AudioError(f"{name}: holds no samples")
    notes = []
    if not np.isfinite(samples).all():
        first = int(np.flatnonzero(~np.isfinite(samples).all(axis=1))[0])
        raise AudioError(f"{name}: sample {first} (at {first / rate:.3f} s) is NaN or infinite; write the file again")
    if channel is not None:
        mono = samples[:, channel]
    elif samples.shape[1] == 1:
        mono = samples[:, 0]
    else:
        mono = samples.mean(axis=1)
        notes.append(f"{samples.shape[1]} channels averaged to one")
    mono = np.ascontiguousarray(mono, dtype=np.float32)
    if target_rate is not None and target_rate != rate:
        mono = resample(mono, rate, target_rate)
        notes.append(f"resampled from {rate} to {target_rate} Hz")
        rate = target_rate
        if len(mono) == 0:
            raise AudioError(f"{name}: too short to resample")
    return Audio(mono, rate, tuple(notes))


def _read_frames(file: soundfile.SoundFile, name: str, first: int, count: int | None) -> np.ndarray:
    """(frames, channels) float32 from frame `first`. A file that ends before its header says is an error."""
    if first < 0 or (count is not None and count < 0):
        raise AudioError(f"{name}: start and duration must not be negative")
    expected = file.frames - first if count is None else count
    if first > 0 or count is not None:
        # One frame of grace: durations are written rounded.
        if first + expected > file.frames + max(1, file.samplerate // 100):
            raise AudioError(
                f"{name}: asked for {first / file.samplerate:.3f} to {(first + expected) / file.samplerate:.3f} s,"
                f" but it ends at {file.frames / file.samplerate:.3f} s"
            )
        expected = max(0, min(expected, file.frames - first))
        file.seek(first)
    if expected > 2**33:  # 8 G frames, 50 hours at 48 kHz: a lying header, not a recording
        raise AudioError(f"{name}: its header claims {expected} frames; the file is damaged")
    samples = file.read(expected, dtype="float32", always_2d=True)
    if len(samples) < expected and file.format != "MP3":  # an mp3 header only estimates its length
        raise AudioError(
            f"{name}: cut short or damaged, {len(samples)} of {expected} frames could be decoded; get the file again"
        )
    return samples


def _open(source: Source) -> soundfile.SoundFile:
    if isinstance(source, bytes):
        if not source:
            raise AudioError("the audio data is empty (0 bytes)")
        return soundfile.SoundFile(io.BytesIO(source))
    if not isinstance(source, (str, Path)):
        return soundfile.SoundFile(source)
    path = Path(source)
    try:
        if path.is_dir():
            raise AudioError(f"{path}: is a folder, not an audio file")
        if path.stat().st_size == 0:
            raise AudioError(f"{path}: the file is empty (0 bytes)")
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        raise AudioError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    try:
        return soundfile.SoundFile(path)
    except soundfile.LibsndfileError as error:
        decoded = _decode_with_ffmpeg(path)
        if decoded is None:
            hint = "" if shutil.which("ffmpeg") else "; formats beyond libsndfile's (m4a, webm …) need ffmpeg on the PATH"
            raise AudioError(f"{path}: not readable audio ({_reason(error)}{hint})") from None
        return soundfile.SoundFile(io.BytesIO(decoded))


def _decode_with_ffmpeg(path: Path) -> bytes | None:
    """The file as wav bytes, through an ffmpeg on the PATH; None where that cannot be done."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return None
    # Only local files: a playlist must not make ffmpeg open network addresses.
    command = [ffmpeg, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]
    done = subprocess.run([*command, "-vn", "-f", "wav", "-c:a", "pcm_s16le", "-"], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 and done.stdout else None


def _name(source: Source) -> str:
    return str(source) if isinstance(source, (str, Path)) else "audio data"


def _reason(error: soundfile.LibsndfileError) -> str:
    return error.error_string.strip().rstrip(".").lower() or "unknown error"


def _list(words: Iterable[str]) -> str:
    return " ".join(words)
