"""Audio files cut, joined, remuxed and patched at random, each read by asr and compared with what ffmpeg decodes of it.

    python scripts/fuzz_audio.py 3000 [--seed 0] [--keep broken]

Needs an ffmpeg on the PATH. A file that asr reads without an error or a note must not be shorter than ffmpeg's decoding
by more than 50 ms (72 ms at 8 kHz, a frame of mp3); nothing but AudioError may be raised; what an import would write as
its duration can be read. Prints how many files were read, with notes, refused, and every one that breaks a rule; exit
status 1 if there is one. --keep copies those into a folder.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import soundfile

from asr.audio import audio_info, read_audio
from asr.errors import AudioError

SHORTER_S = 0.05
MP3_FRAME = 577  # samples: of a frame that is cut in two at the end, ffmpeg makes sound and mpg123 does not
# Ending, and how ffmpeg writes it: into a file, so that it can go back and complete the header, and into a pipe.
ENCODINGS = [
    ("wav", "-c:a pcm_s16le -f wav"),
    ("wav", "-c:a pcm_u8 -f wav"),
    ("wav", "-c:a pcm_f32le -f wav"),
    ("wav", "-c:a pcm_mulaw -f wav"),
    ("wav", "-c:a adpcm_ima_wav -f wav"),
    ("wav", "-c:a libmp3lame -f wav"),
    ("wav", "-c:a pcm_s16le -rf64 always -f wav"),
    ("w64", "-c:a pcm_s16le -f w64"),
    ("aiff", "-c:a pcm_s16be -f aiff"),
    ("au", "-c:a pcm_s16be -f au"),
    ("caf", "-c:a pcm_s16be -f caf"),
    ("flac", "-c:a flac -f flac"),
    ("ogg", "-c:a flac -f ogg"),
    ("ogg", "-c:a libvorbis -f ogg"),
    ("opus", "-c:a libopus -f opus"),
    ("mp3", "-c:a libmp3lame -q:a 5 -f mp3"),
    ("mp3", "-c:a libmp3lame -b:a 48k -write_xing 0 -f mp3"),
    ("mp3", "-c:a libmp3lame -b:a 48k -write_id3v1 1 -metadata title=x -f mp3"),
    ("aac", "-c:a aac -f adts"),
    ("m4a", "-c:a aac -f ipod"),
    ("mp4", "-c:a aac -movflags frag_keyframe+empty_moov -f mp4"),
    ("webm", "-c:a libopus -f webm"),
    ("mka", "-c:a pcm_s16le -f matroska"),
]
CONTAINERS = [
    "wav",
    "w64",
    "aiff",
    "au",
    "caf",
    "flac",
    "ogg",
    "mp3",
    "adts",
    "ipod",
    "mov",
    "matroska",
    "webm",
    "mpegts",
]


def ffmpeg(*arguments: str | Path) -> bytes:
    """What ffmpeg writes to its standard output; nothing where it fails."""
    return subprocess.run(["ffmpeg", "-nostdin", "-v", "quiet", "-y", *arguments], capture_output=True).stdout


def make_sources(folder: Path, rng: random.Random) -> list[Path]:
    """Healthy files of every encoding, of one second or two, to a file and to a pipe."""
    sources = []
    for number, (ending, how) in enumerate(ENCODINGS):
        rate, channels = rng.choice([8000, 16_000, 44_100]), rng.choice([1, 1, 2])
        if "opus" in how and rate == 44_100:
            rate = 48_000
        noise = np.random.default_rng(number).standard_normal((int(rate * rng.uniform(0.8, 2.0)), channels))
        wav = folder / "source.wav"
        soundfile.write(wav, 0.2 * noise * np.linspace(1.0, 0.01, len(noise))[:, None], rate)
        path = folder / f"{number}.{ending}"
        ffmpeg("-i", wav, *how.split(), path)
        piped = folder / f"{number}.piped.{ending}"
        piped.write_bytes(ffmpeg("-i", wav, *how.split(), "-"))
        sources += [each for each in (path, piped) if each.exists() and each.stat().st_size]
    return sources


def patch_header(content: bytearray, rng: random.Random) -> None:
    """One to three numbers in the first bytes become others: sizes, counts, rates, flags."""
    for _ in range(rng.randint(1, 3)):
        place = rng.randrange(4, min(len(content) - 8, rng.choice([48, 100, 400])))
        width = rng.choice([1, 2, 4, 4, 8])
        value = rng.choice(
            [0, 1, rng.randrange(256), 4000, len(content) // 3, 2 ** (8 * width) - 1, 2 ** (8 * width - 1)]
        )
        order = rng.choice(["little", "big"])
        content[place : place + width] = (value % 2 ** (8 * width)).to_bytes(width, order)  # type: ignore[arg-type]


def patch_size(content: bytearray, rng: random.Random) -> None:
    """The size of the audio, where a format has one, becomes another."""
    for name, width, order in [(b"data", 4, "little"), (b"SSND", 4, "big"), (b".snd", 4, "big"), (b"Xing", 4, "big")]:
        place = content.find(name)
        if place >= 0:
            value = rng.choice([0, 1, 2, rng.randrange(len(content)), 2**31 - 1, 2**32 - 1, rng.randrange(2**32)])
            content[place + 4 : place + 4 + width] = value.to_bytes(width, order)  # type: ignore[arg-type]
            return
    patch_header(content, rng)


def damaged(sources: list[Path], folder: Path, rng: random.Random) -> tuple[str, bytes]:
    """What was done, and the bytes of a file."""
    path = rng.choice(sources)
    content = bytearray(path.read_bytes())
    what = rng.choice(
        ["as it is", "cut", "joined", "joined", "remuxed", "header", "size", "size", "junk", "hole", "mixed"]
    )
    if what == "cut":
        del content[rng.randrange(1, len(content)) :]
    elif what == "joined":
        between = rng.choice([b"", b"", bytes(rng.randrange(3000)), rng.randbytes(rng.randrange(1, 3000))])
        same = [other for other in sources if other.suffix == path.suffix]
        content += between + rng.choice(same).read_bytes()
    elif what == "remuxed":
        target = rng.choice(CONTAINERS)
        content = bytearray(ffmpeg("-i", path, "-c", "copy", "-f", target, "-") or content)
        what = f"remuxed to {target}"
    elif what == "header":
        patch_header(content, rng)
    elif what == "size":
        patch_size(content, rng)
    elif what == "junk":
        junk = [bytes(3000), rng.randbytes(rng.randrange(1, 5000)), b"TAG" + bytes(125), b"LIST\x08\0\0\0INFOabcd"]
        content = content + rng.choice(junk) if rng.random() < 0.7 else bytearray(rng.choice(junk)) + content
    elif what == "hole":
        place = rng.randrange(len(content))
        del content[place : place + rng.randrange(1, 2000)]
    elif what == "mixed":
        patch_size(content, rng)
        content += rng.choice(sources).read_bytes()
    return f"{path.name}, {what}", bytes(content)


def ffmpeg_seconds(path: Path) -> float:
    """Seconds that ffmpeg decodes of a file, counted at 16 kHz."""
    return len(ffmpeg("-i", path, "-vn", "-f", "s16le", "-ac", "1", "-ar", "16000", "-")) / 32_000


def judge(path: Path) -> tuple[str, str]:
    """What became of a file: "read", "read with a note" or "refused"; and which rule that breaks, if any."""
    try:
        audio = read_audio(path)
    except AudioError as error:
        return "refused", "" if str(error).isprintable() else f"message of several lines: {error!r}"
    shorter = ffmpeg_seconds(path) - audio.duration
    notes = [note for note in audio.notes if "averaged to one" not in note]
    if shorter > max(SHORTER_S, MP3_FRAME / audio.sample_rate) and not notes:
        return "read", f"{shorter:.3f} s shorter than ffmpeg's {audio.duration + shorter:.3f} s, and nothing said"
    try:
        read_audio(path, duration=audio_info(path).duration)
    except AudioError as error:
        return "read", f"its length, as an import writes it, cannot be read: {error}"
    return "read with a note" if notes else "read", ""


def fuzz(count: int, seed: int, keep: Path | None = None) -> tuple[Counter[str], list[str]]:
    """How many of the files met which end, and those that break a rule."""
    rng = random.Random(seed)
    ends: Counter[str] = Counter()
    broken = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = make_sources(folder, rng)
        for number in range(count):
            what, content = damaged(sources, folder, rng)
            path = folder / "fuzzed.bin"
            path.write_bytes(content)
            try:
                end, rule = judge(path)
            except Exception as error:  # whatever it is, that is the finding
                end, rule = "raised", f"{type(error).__name__}: {error}"
            ends[end] += 1
            if rule:
                broken.append(f"{number}: {what}: {rule}")
                print(broken[-1], flush=True)
                if keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, keep / f"{number}.bin")
    return ends, broken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path)
    args = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        sys.exit("needs an ffmpeg on the PATH to compare with")
    ends, broken = fuzz(args.count, args.seed, args.keep)
    print(", ".join(f"{end}: {count}" for end, count in ends.most_common()) + f"; rules broken: {len(broken)}")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
