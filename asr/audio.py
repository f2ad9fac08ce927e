"""File or bytes -> waveform: decoding, downmixing, resampling. A sample rate is read or given, never guessed."""

from __future__ import annotations

import io
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from asr.errors import AudioError, AudioFault
from asr.util.files import require_file, walk
from asr.util.format import printable

# Extensions looked for in folders. Reading goes by content, so any other name may be given explicitly.
AUDIO_SUFFIXES = frozenset(
    {".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc"}
    | {".au", ".snd", ".caf", ".w64", ".rf64", ".sph", ".m4a", ".aac", ".mp4", ".webm"}
    # What only ffmpeg reads, videos included.
    | {".3g2", ".3ga", ".3gp", ".ac3", ".amr", ".ape", ".asf", ".avi", ".awb", ".dts", ".eac3", ".f4v", ".flv", ".gsm"}
    | {".m2ts", ".m4b", ".m4r", ".m4v", ".mka", ".mkv", ".mov", ".mp2", ".mpeg", ".mpg", ".mpga", ".mts", ".ogv"}
    | {".qcp", ".ra", ".rm", ".spx", ".tta", ".voc", ".weba", ".wma", ".wmv", ".wv"}
)
# Below this rate there is nothing above 2 kHz left to recognize consonants by; such files are mislabeled.
MIN_SAMPLE_RATE = 4_000
MAX_SAMPLE_RATE = 768_000
BLOCK = 2**22  # samples decoded at once, so that a lying header does not reserve memory that no audio fills
ENDLESS_BYTES = 0x7F00_0000  # writers to a pipe do not know the size and claim this much or more

Source = str | Path | bytes | BinaryIO


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
    require_file(path, AudioError)
    with _errors_as_audio_error(_name(path)), _open(path) as file:
        return AudioInfo(file.samplerate, file.channels, file.frames, f"{file.format} {file.subtype}")


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
    with _errors_as_audio_error(name), _open(source) as file:
        rate, channels = file.samplerate, file.channels
        _check_rate(rate, name)
        if channel is not None and not 0 <= channel < channels:
            raise AudioError(f"{name}: channel {channel} asked for, but it has {channels} (numbered from 0)")
        samples = _read_part(file, name, start, duration, channel)
    return _finish(samples, rate, name, sample_rate, 1 if channel is not None else channels)


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
    _check_rate(sample_rate, name)
    if np.issubdtype(samples.dtype, np.integer):
        limits = np.iinfo(samples.dtype)
        middle = 0 if limits.min < 0 else (limits.max + 1) / 2  # unsigned PCM is centered on half its range
        samples = (samples.astype(np.float64) - middle) / ((limits.max + 1) if limits.min < 0 else middle)
    elif not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"{name}: samples of type {samples.dtype} are not audio")
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    if len(samples) and 1000 < np.abs(samples).max() < np.inf:
        raise AudioError(f"{name}: floating-point samples are in ±1, these reach {np.abs(samples).max():g}; scale them")
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and refused as such
        samples = samples.astype(np.float32).reshape(-1, channels)
    return _finish(_mono(samples, None), sample_rate, name, target_rate, channels)


def resample(samples: np.ndarray, sample_rate: float, target_rate: float) -> np.ndarray:
    """(samples,) float32 at sample_rate -> (round(samples × target/rate),) at target_rate (soxr, high quality)."""
    if sample_rate == target_rate:
        return samples
    return soxr.resample(samples, sample_rate, target_rate, quality="HQ")


def find_audio(folder: Path) -> list[Path]:
    """All audio files below a folder, by extension, sorted by name. Raises AudioError when there is none."""
    found = sorted(p for p in walk(folder) if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file())
    if not found:
        raise AudioError(f"{folder}: no audio files in this folder (looked for {' '.join(sorted(AUDIO_SUFFIXES))})")
    return found


def is_audio(path: Path) -> bool:
    """A file, by its extension or, where that is another, by what libsndfile makes of its beginning."""
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return True
    try:
        with path.open("rb") as file, soundfile.SoundFile(_Bytes(file.read(2**16))):
            return True
    except (OSError, RuntimeError):  # libsndfile's error is a RuntimeError
        return False


def write_wav(path: Path, samples: np.ndarray, sample_rate: int) -> None:
    """Write (samples,) float32 as 16-bit PCM; what is beyond full scale is clipped, as a converter would."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(samples, -1.0, 1.0), sample_rate, subtype="PCM_16", format="WAV")


def _finish(mono: np.ndarray, rate: int, name: str, target_rate: int | None, channels: int) -> Audio:
    """(samples,) of any rate, made of so many channels -> checked Audio at the target rate."""
    if len(mono) == 0:
        raise AudioError(f"{name}: holds no samples", AudioFault.EMPTY)
    if not np.isfinite(mono).all():
        first = int(np.flatnonzero(~np.isfinite(mono))[0])
        raise AudioError(
            f"{name}: sample {first} (at {first / rate:.3f} s) is NaN or infinite; write the file again",
            AudioFault.NOT_FINITE,
        )
    notes = []
    if channels > 1:
        notes.append(f"{channels} channels averaged to one")
    if target_rate is not None and target_rate != rate:
        mono = resample(mono, rate, target_rate)
        rate = target_rate
        if len(mono) == 0:
            raise AudioError(f"{name}: too short to resample", AudioFault.EMPTY)
    return Audio(mono, rate, tuple(notes))


def _mono(samples: np.ndarray, channel: int | None) -> np.ndarray:
    """(frames, channels) float32 -> (frames,): one channel, or the mean of all."""
    if channel is not None or samples.shape[1] == 1:
        return np.ascontiguousarray(samples[:, channel or 0])
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused with its place
        return samples.mean(axis=1)


def _check_rate(rate: float, name: str) -> None:
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{name}: sample rate {rate} Hz is not one of speech ({MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz);"
            " correct the header or resample the file"
        )


def _read_part(
    file: soundfile.SoundFile, name: str, start: float, duration: float | None, channel: int | None
) -> np.ndarray:
    """(samples,) float32, the part asked for in seconds. A file that ends before its header says is an error."""
    for value in (start, 0.0 if duration is None else duration):
        if not 0 <= value <= 1e9:
            raise AudioError(f"{name}: start and duration are seconds from 0 on, not {value}")
    rate, frames = file.samplerate, file.frames
    claimed, held = _claimed_bytes(file)
    if 0 < held < 0.99 * claimed and claimed < ENDLESS_BYTES:  # some writers are wrong by a few bytes
        raise AudioError(
            f"{name}: cut short, {held} of the {claimed} bytes of audio that its header promises; get the file again"
        )
    first = round(start * rate)
    end = max(first, frames) if duration is None else first + round(duration * rate)
    if end > frames + rate // 100:  # 10 ms of grace: durations are written rounded
        raise AudioError(
            f"{name}: asked for {first / rate:.3f} to {end / rate:.3f} s, but it ends at {frames / rate:.3f} s",
            AudioFault.TOO_SHORT,
        )
    end = min(end, frames)
    first = min(first, end)
    if end > 2**33:  # 8 G frames, 50 hours at 48 kHz: a lying header, not a recording
        raise AudioError(f"{name}: its header claims {frames} frames; the file is damaged")
    skip = 0
    if first and file.seekable():
        file.seek(first)
    elif first:  # GSM in wav only plays from the beginning
        first, skip = 0, first
    blocks, count = [], 0
    while count < end - first:
        limit = max(1, BLOCK // file.channels)
        block = file.read(min(limit, end - first - count), dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        blocks.append(_mono(block, channel))
        count += len(block)
    if count < end - first and file.format != "MP3":  # an mp3 header only estimates its length
        raise AudioError(
            f"{name}: cut short or damaged, {count} of {end - first} frames could be decoded; get the file again"
        )
    if len(blocks) == 1:  # nearly always: no copy
        return blocks[0][skip:]
    return np.concatenate(blocks)[skip:] if blocks else np.empty(0, np.float32)


def _claimed_bytes(file: soundfile.SoundFile) -> tuple[int, int]:
    """Bytes of audio that a wav or aiff header promises, and bytes that the file holds: libsndfile makes do with those,
    and only its log tells."""
    found = re.search(r"^ ?(?:data|SSND) : (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _open(source: Source) -> soundfile.SoundFile:
    if not isinstance(source, (str, Path)):
        data = source if isinstance(source, (bytes, bytearray, memoryview)) else source.read()
        if not data:
            raise AudioError("the audio data is empty (0 bytes)")
        return soundfile.SoundFile(_Bytes(data))
    path, name = Path(source), _name(source)
    try:
        if path.is_dir():
            raise AudioError(f"{name}: is a folder, not an audio file")
        if path.is_fifo():  # <(command) in a shell
            return _open(path.read_bytes())
        if path.stat().st_size == 0:
            raise AudioError(f"{name}: the file is empty (0 bytes)")
        with path.open("rb"):
            pass
    except (OSError, ValueError) as error:
        fault = AudioFault.UNREADABLE if os.path.exists(path) else AudioFault.MISSING
        raise AudioError(f"{name}: {getattr(error, 'strerror', None) or error}", fault) from None
    try:
        # By descriptor, where that is portable: given a name, libsndfile takes any .vox or .gsm to be speech at 8 kHz.
        return soundfile.SoundFile(os.open(path, os.O_RDONLY) if os.name == "posix" else path)
    except soundfile.LibsndfileError as error:
        try:
            return soundfile.SoundFile(_Bytes(_decode_with_ffmpeg(path)))
        except AudioError as second:
            raise AudioError(f"{name}: not readable audio ({_reason(error)}; {second})") from None


class _Bytes(io.BytesIO):
    """A file in memory. Damaged headers send libsndfile before its beginning: as on disk, the position then stays."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


@contextmanager
def _errors_as_audio_error(name: str) -> Iterator[None]:
    """Whatever libsndfile and its wrapper make of bad content becomes one line that names the file."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name}: not readable audio ({_reason(error)})") from None
    except MemoryError:
        raise AudioError(f"{name}: does not fit into memory; it is damaged, or to be cut into parts") from None
    except (OSError, RuntimeError, TypeError, ValueError, OverflowError, AssertionError, AttributeError) as error:
        raise AudioError(f"{name}: not readable audio ({' '.join(str(error).split())})") from None


def _decode_with_ffmpeg(path: Path) -> bytes:
    """The file as wav bytes, through an ffmpeg on the PATH. Raises AudioError, without the file's name."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise AudioError("formats beyond libsndfile's (m4a, webm …) need an ffmpeg")
    # Only local files: a playlist must not make ffmpeg open network addresses.
    command = [ffmpeg, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", f"file:{path}"]
    command += ["-vn", "-f", "wav", "-c:a", "pcm_s16le", "-"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError as error:
        raise AudioError(f"{ffmpeg} does not run: {error.strerror}") from None
    if done.returncode or not done.stdout:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise AudioError(f"ffmpeg: {lines[-1].strip() if lines else 'no audio in it'}")
    return done.stdout


def _name(source: Source) -> str:
    if not isinstance(source, (str, Path)):
        return "audio data"
    return printable(source)  # an error is one line


def _reason(error: soundfile.LibsndfileError) -> str:
    text = error.error_string.strip().rstrip(".").lower()
    # The file was opened before: for damaged mp3 libsndfile reports an error that means something else.
    return "damaged" if not text or "does not exist" in text else text
