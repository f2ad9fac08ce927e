"""One audio file -> samples of one channel: by libsndfile, and by ffmpeg where that refuses it or stops before its end.

What a header says is a hint: a file's length is what decoding finds.
"""

from __future__ import annotations

import mmap
import os
import re
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import soundfile

from asr.errors import AudioError, AudioFault
from asr.util.files import require_file
from asr.util.format import printable

# Below this rate there is nothing above 2 kHz left to recognize consonants by; such files are mislabeled.
MIN_SAMPLE_RATE = 4_000
MAX_SAMPLE_RATE = 768_000
BLOCK = 2**22  # samples decoded at once, so that a lying header does not reserve memory that no audio fills
ENDLESS_BYTES = 0x7F00_0000  # writers to a pipe do not know the size and claim this much or more
ENDLESS_FRAMES = 2**33  # 50 hours at 48 kHz: no recording, but a length that is unknown or a lie
# Seconds by which a file may be shorter than it is said to be, whatever its codec: ffprobe counts what only primes the
# decoder of an mp3 (0.09 s at 16 kHz, 0.19 s at 8 kHz).
TOLERANCE_S = 0.25
SAME_S = 0.05  # by so much two decoders may differ on the length of a file
JUNK_BYTES = 64  # behind the audio: less than 50 ms of anything
# Frames of an mp3 that its header may leave out: the first one, which holds that header, and those that encoder and
# decoder need to warm up.
MP3_FRAMES = 4
# kbit/s of a frame of layer III by its header, for MPEG-2 and MPEG-1; 0: not allowed, or not told
MP3_KBITS = (
    (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0),
    (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0),
)
# Files made of named chunks: how name and length are written, and where the first chunk begins.
CHUNKS = {"WAV": ("<4sI", 12), "WAVEX": ("<4sI", 12), "AIFF": (">4sI", 12), "CAF": (">4sq", 8)}
# Files made of a stream, or of several one behind the other: how each begins.
STREAMS = {"OGG": re.compile(rb"OggS\0\x02"), "FLAC": re.compile(rb"fLaC[\0\x80]\0\0\x22")}

Source = str | Path | bytes | BinaryIO


@dataclass(frozen=True)
class AudioInfo:
    """What is in a file. frames counts samples per channel; duration is in seconds."""

    sample_rate: int
    channels: int
    frames: int
    format: str

    @property
    def duration(self) -> float:
        return self.frames / self.sample_rate


@dataclass
class Decoded:
    """A part of a file. samples: (samples,) float32 at the file's rate; info: of the whole file, as far as it could be
    decoded; notes: what was lost on the way."""

    samples: np.ndarray
    info: AudioInfo
    notes: list[str]


def audio_info(path: str | Path) -> AudioInfo:
    """A file's format and length: by its header where the file ends where that says, else by decoding all of it.

    Raises AudioError when it is missing or not audio.
    """
    require_file(path, AudioError)
    name = source_name(path)
    with errors_as_audio_error(name), local_file(path, name) as local:
        try:
            with _open(local) as (file, handle):
                _check_header(file, name, None)
                if _header_is_true(file, handle):
                    return _info(file, file.frames)
        except soundfile.LibsndfileError:
            pass  # a whole decoding tells more
        return decode(local, name).info


def _header_is_true(file: soundfile.SoundFile, handle: FileIO) -> bool:
    """Whether a file ends where its header says: False where only a whole decoding can tell."""
    if file.frames >= ENDLESS_FRAMES or not file.seekable():
        return False
    if file.subtype.startswith("MPEG"):  # to decode its end alone makes mpg123 print complaints
        end = _end_of_mp3(handle) if file.format == "MP3" else None
        if end is None or handle.seek(0, os.SEEK_END) < end - JUNK_BYTES:
            return False
        count, size = _samples_of_mp3(handle)
        if not 0 <= count - file.frames <= MP3_FRAMES * size:
            return False
        handle.seek(end)
    elif file.frames:
        file.seek(file.frames - 1)
        if not len(file.read(1)):
            return False
    return unread_bytes(file.format, handle, True) <= JUNK_BYTES


def _behind_id3(handle: FileIO) -> int:
    """Where the stream of an mp3 begins: behind an ID3v2 tag, whose length has 7 bits a byte."""
    handle.seek(0)
    tag = handle.read(10)
    tagged = tag[:3] == b"ID3" and len(tag) == 10
    return 10 + (tag[6] << 21 | tag[7] << 14 | tag[8] << 7 | tag[9]) if tagged else 0


def _end_of_mp3(handle: FileIO) -> int | None:
    """Where the last frame of an mp3 ends, by what encoders that write to files note in the first one (Xing, Info)."""
    first = _behind_id3(handle)
    handle.seek(first)
    found = re.search(rb"(?:Xing|Info)\0\0\0[\x03\x07\x0b\x0f].{4}(.{4})", handle.read(64), re.DOTALL)
    # It stands 13 to 36 bytes behind the start of the stream, whose bytes it counts.
    return first + max(0, found.start() - 36) + int.from_bytes(found[1], "big") if found else None


def _samples_of_mp3(handle: FileIO) -> tuple[int, int]:
    """How many samples a channel the frames of an mp3 hold, and how many one frame holds, by the headers of all frames
    (ISO 11172-3, 2.4.2.3); 0 where the stream begins with none."""
    handle.seek(_behind_id3(handle))
    content = handle.read()
    at, count, size = 0, 0, 0
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] & 0xE6 == 0xE2:  # layer III
        version, bits = content[at + 1] >> 3 & 3, content[at + 2]  # version: 3 is MPEG-1, 2 is MPEG-2, 0 is MPEG-2.5
        kbits = MP3_KBITS[version == 3][bits >> 4]
        if not kbits or bits >> 2 & 3 == 3 or version == 1:
            break
        rate = (44_100, 48_000, 32_000)[bits >> 2 & 3] >> (3 - version if version else 2)
        size = 1152 if version == 3 else 576
        at += size // 8 * kbits * 1000 // rate + (bits >> 1 & 1)
        count += size
    return count, size


def mono(samples: np.ndarray, channel: int | None, rate: float) -> tuple[np.ndarray, int]:
    """(frames, channels) float32 -> (frames,), one channel or the mean of all; and in how many frames that would be
    next to nothing, as one channel is another turned upside down. There the loudest channel is taken."""
    frames, channels = samples.shape
    if channel is not None or channels == 1:
        return np.ascontiguousarray(samples[:, channel or 0]), 0
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused with its place
        mixed = samples @ np.full(channels, 1 / channels, np.float32)
        edges = np.arange(0, frames, max(1, round(rate)))  # second by second
        each = np.add.reduceat(np.square(samples), edges, axis=0)
        # Channels that have nothing in common mix to 1 / channels of their mean energy; a tenth of that is no accident.
        cancelled = np.add.reduceat(np.square(mixed), edges) < 0.1 / channels * each.mean(axis=1)
    if not cancelled.any():
        return mixed, 0
    loudest = int(each[cancelled].sum(axis=0).argmax())
    there = np.repeat(cancelled, np.diff(edges, append=frames))
    return np.where(there, samples[:, loudest], mixed), int(there.sum())


def mix_notes(channels: int, cancelled: int, frames: int) -> list[str]:
    if channels == 1:
        return []
    if not cancelled:
        return [f"{channels} channels averaged to one"]
    where = "" if cancelled == frames else f" in {cancelled / frames:.0%} of it"
    return [f"its {channels} channels cancel each other{where}: the loudest alone is used there"]


def check_rate(rate: float, name: str) -> None:
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise AudioError(
            f"{name}: sample rate {rate} Hz is not one of speech ({MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz);"
            " correct the header or resample the file"
        )


def decode(
    path: Path,
    name: str,
    start: float = 0.0,
    duration: float | None = None,
    channel: int | None = None,
    raw_rate: int | None = None,
) -> Decoded:
    """The part asked for, in seconds: by libsndfile, or by ffmpeg where that refuses the file or stops before its end.

    Raises AudioError where neither gets to the end; where nothing but junk can be missing, a note says so.
    """
    part: Decoded | None = None
    problem, claimed_s, mp3, finds_frames = "", 0.0, False, False
    try:
        with _open(path, raw_rate) as (file, handle):
            _check_header(file, name, channel)
            mp3 = file.format == "MP3" or file.subtype.startswith("MPEG")  # its length may be an estimate
            finds_frames = mp3 or file.format in ("FLAC", "OGG")  # behind junk and damage; others go by their headers
            if file.frames < ENDLESS_FRAMES:
                claimed_s = file.frames / file.samplerate
                part, to_end = _read_part(file, start, duration, channel)
                unread = unread_bytes(file.format, handle, start > 0) if to_end else 0
                if unread > JUNK_BYTES:
                    problem = f"by its header it ends at {claimed_s:.3f} s, but {unread} bytes lie behind"
                elif part.info.duration < claimed_s and not mp3:
                    problem = f"cut short or damaged, {part.info.duration:.3f} of {claimed_s:.3f} s could be decoded"
            else:
                problem = "its header does not tell its length"
    except soundfile.LibsndfileError as error:
        part, problem = None, f"not readable audio ({_reason(error)})"
    if part is None or problem:
        try:
            with _decoded_by_ffmpeg(path) as (wav, complaints), _open(wav) as (file, _):
                _check_header(file, name, channel)
                other = _read_part(file, start, duration, channel)[0]
        except AudioError as error:
            hint = "" if Path(name).suffix else "; raw 16-bit samples need --raw and their rate"
            raise AudioError(f"{name}: {problem}; {error}{hint}") from None
        ffmpeg_s = other.info.duration
        no_better = part is not None and ffmpeg_s < part.info.duration + SAME_S
        if part is None or not no_better:
            part = replace(other, info=replace(other.info, format=f"{path.suffix.lstrip('.') or 'audio'} (by ffmpeg)"))
        if (no_better and not finds_frames) or (part.info.duration < claimed_s - SAME_S and not mp3):
            raise AudioError(f"{name}: {problem}; get the file again")
        part.notes.extend([f"{problem}: ffmpeg reads {ffmpeg_s:.3f} s"] if claimed_s else complaints)
    if part.info.duration < claimed_s - SAME_S and mp3:
        part.notes.append(f"it should last {claimed_s:.3f} s, but ends at {part.info.duration:.3f} s; is it cut short?")
    end_s = start + (duration or 0.0)
    if end_s > part.info.duration + TOLERANCE_S:
        raise AudioError(
            f"{name}: asked for {start:.3f} to {end_s:.3f} s, but it ends at {part.info.duration:.3f} s",
            AudioFault.TOO_SHORT,
        )
    return part


def _check_header(file: soundfile.SoundFile, name: str, channel: int | None) -> None:
    rate, channels = file.samplerate, file.channels
    check_rate(rate, name)
    if channel is not None and not 0 <= channel < channels:
        raise AudioError(f"{name}: channel {channel} asked for, but it has {channels} (numbered from 0)")
    # Bytes that a header promises, of audio or (w64) of all, and bytes that the file holds: libsndfile makes do with
    # those, and only its log tells.
    found = re.search(r"^ *(?:data|SSND|Data Size|riff) *: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    claimed, held = (int(found[1]), int(found[2])) if found else (0, 0)
    if 0 < held < 0.99 * claimed and claimed < ENDLESS_BYTES:  # some writers are wrong by a few bytes
        raise AudioError(
            f"{name}: cut short, {held} of the {claimed} bytes of audio that its header promises; get the file again"
        )


def _read_part(
    file: soundfile.SoundFile, start: float, duration: float | None, channel: int | None
) -> tuple[Decoded, bool]:
    """The part, as far as it is there, and whether that goes to the end of the file."""
    rate, frames, channels = file.samplerate, file.frames, file.channels
    first = min(round(start * rate), frames)
    end = frames if duration is None else min(round(start * rate) + round(duration * rate), frames)
    skip = 0
    if first and file.seekable():
        file.seek(first)
    elif first:  # GSM in wav only plays from the beginning
        first, skip = 0, first
    blocks, count, cancelled = [], 0, 0
    while count < end - first:
        limit = max(1, BLOCK // channels)
        block = file.read(min(limit, end - first - count), dtype="float32", always_2d=True)
        if len(block) == 0:
            break
        mixed, silent = mono(block, channel, rate)
        blocks.append(mixed)
        count += len(block)
        cancelled += silent
    to_end = first + count < end or end == frames
    # Nearly always there is one block: no copy.
    samples = (blocks[0] if len(blocks) == 1 else np.concatenate([*blocks, np.empty(0, np.float32)]))[skip:]
    notes = [] if channel is not None else mix_notes(channels, cancelled, count)
    return Decoded(samples, _info(file, first + count if to_end else frames), notes), to_end


def unread_bytes(form: str, handle: FileIO, sought: bool) -> int:
    """Bytes at the end of a file that may be audio, and that its decoder, which is done, has not read. Tags, chunks and
    zeros are none.

    form: as libsndfile calls it; handle: the file, where the decoder left it; sought: it jumped there.
    """
    position, size = handle.tell(), handle.seek(0, os.SEEK_END)
    if form in CHUNKS:
        position = max(position, _end_of_chunks(handle, size, *CHUNKS[form]))
    elif form in STREAMS:  # a decoder reads some kB into the next one, and may jump into any
        begin = 1 if sought else max(1, position - 2**14)
        with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if another := STREAMS[form].search(content, begin):
                position = another.start()
    if not JUNK_BYTES < size - position < 2**24:  # none, or more than any tag
        return max(0, size - position)
    handle.seek(position)
    rest = handle.read()
    if rest[-128:-125] == b"TAG":  # ID3v1
        rest = rest[:-128]
    if rest[-32:-24] == b"APETAGEX":
        length = int.from_bytes(rest[-20:-16], "little")
        rest = rest[: max(0, len(rest) - length - 32)]
    return len(rest.strip(b"\0"))


def _end_of_chunks(handle: FileIO, size: int, layout: str, place: int) -> int:
    """Where the last well-formed chunk of a RIFF, AIFF or CAF file ends. The first begins at `place`."""
    width = struct.calcsize(layout)
    while place + width <= size:
        handle.seek(place)
        kind, length = struct.unpack(layout, handle.read(width))
        after = place + width + length
        if kind in (b"data", b"SSND") and not 0 <= length <= size - place:
            return place  # its size is not known: how far the decoder got must tell
        if kind in (b"RIFF", b"FORM") or after > size or not (kind.isascii() and kind.decode().isprintable()):
            return place
        # An odd length is followed by a zero, but not every writer knows.
        handle.seek(after)
        place = after + (length % 2 if layout != CHUNKS["CAF"][0] and handle.read(1) == b"\0" else 0)
    return place


@contextmanager
def local_file(source: Source, name: str) -> Iterator[Path]:
    """The path of a file to read. Bytes, streams and pipes go to a temporary one: decoders look around in it."""
    stream: Any = source
    if isinstance(source, (str, Path)):
        path = Path(source)
        try:
            if path.is_dir():
                raise AudioError(f"{name}: is a folder, not an audio file")
            if path.stat().st_size == 0 and not path.is_fifo():
                raise AudioError(f"{name}: is empty (0 bytes)")
            stream = path.open("rb")
        except (OSError, ValueError) as error:
            fault = AudioFault.UNREADABLE if os.path.exists(path) else AudioFault.MISSING
            raise AudioError(f"{name}: {getattr(error, 'strerror', None) or error}", fault) from None
        if not path.is_fifo():  # <(command) in a shell
            stream.close()
            yield path
            return
    elif not isinstance(stream, (bytes, bytearray, memoryview)) and not hasattr(stream, "read"):
        raise AudioError(f"{name}: a {type(source).__name__} is no path, no bytes and no binary stream")
    descriptor, copy = tempfile.mkstemp(prefix="asr-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            if isinstance(stream, (bytes, bytearray, memoryview)):
                file.write(stream)
            else:
                shutil.copyfileobj(stream, file, 2**20)
        if os.path.getsize(copy) == 0:
            raise AudioError(f"{name}: is empty (0 bytes)")
        yield Path(copy)
    finally:
        os.unlink(copy)


@contextmanager
def _open(path: Path, raw_rate: int | None = None) -> Iterator[tuple[soundfile.SoundFile, FileIO]]:
    """The file for libsndfile, and the handle that it reads through: it tells how far that got."""
    raw: dict[str, Any] = {}
    if raw_rate is not None:
        raw = {"format": "RAW", "subtype": "PCM_16", "endian": "LITTLE", "samplerate": raw_rate, "channels": 1}
    with (
        path.open("rb", buffering=0) as handle,
        # By descriptor, where that is portable: given a name, libsndfile takes any .vox or .gsm to be speech at 8 kHz.
        soundfile.SoundFile(handle.fileno() if os.name == "posix" else handle, closefd=False, **raw) as file,
    ):
        yield file, handle


def _info(file: soundfile.SoundFile, frames: int) -> AudioInfo:
    return AudioInfo(file.samplerate, file.channels, frames, f"{file.format} {file.subtype}")


@contextmanager
def errors_as_audio_error(name: str) -> Iterator[None]:
    """Whatever libsndfile and its wrapper make of bad content becomes one line that names the file."""
    try:
        yield
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{name}: not readable audio ({_reason(error)})") from None
    except MemoryError:
        raise AudioError(f"{name}: does not fit into memory; it is damaged, or to be cut into parts") from None
    except (OSError, RuntimeError, TypeError, ValueError, OverflowError, AssertionError, AttributeError) as error:
        raise AudioError(f"{name}: not readable audio ({' '.join(str(error).split())})") from None


@contextmanager
def _decoded_by_ffmpeg(path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A temporary file with what an ffmpeg on the PATH decodes, and what it complains of. Raises AudioError, without
    the file's name."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise AudioError("to read it, put an ffmpeg on the PATH, or convert it to wav or flac")
    with tempfile.TemporaryDirectory(prefix="asr-") as folder:
        wav = Path(folder, "decoded.w64")  # unlike wav, it has no limit of 4 GB
        # Only local files: a playlist must not make ffmpeg open network addresses.
        command = [ffmpeg, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", *_wav_options(path)]
        command += ["-i", f"file:{path}", "-vn", "-c:a", "pcm_s16le", str(wav)]
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except OSError as error:
            raise AudioError(f"{ffmpeg} does not run: {error.strerror}") from None
        said = done.stderr.decode(errors="replace").replace(f"file:{path}: ", "")
        lines = [printable(re.sub(r"^\[.*?\] ", "", line).strip()) for line in said.splitlines() if line.strip()]
        if done.returncode or not wav.exists():
            raise AudioError(f"ffmpeg: {lines[-1] if lines else 'no audio in it'}")
        yield wav, [f"ffmpeg: {line}" for line in lines[:1]]


def _wav_options(path: Path) -> list[str]:
    """Where a wav holds more than its header says, ffmpeg is told to read on."""
    with path.open("rb", buffering=0) as handle:
        start, size = handle.read(12), handle.seek(0, os.SEEK_END)
        wav = start[:4] == b"RIFF" and start[8:] == b"WAVE"
        more = wav and size - _end_of_chunks(handle, size, *CHUNKS["WAV"]) > JUNK_BYTES
    return ["-ignore_length", "1"] if more or start[:4] == b"RF64" else []


def _reason(error: soundfile.LibsndfileError) -> str:
    text = error.error_string.strip().rstrip(".").lower()
    # The file was opened before: for damaged mp3 libsndfile reports an error that means something else.
    return "damaged" if not text or "does not exist" in text else text


def source_name(source: Source) -> str:
    if not isinstance(source, (str, Path)):
        return "audio data"
    return printable(source)  # an error is one line
