"""Corpora as dictionaries {path: content}, sound ones and damaged ones. All damage is drawn from a random.Random."""

import bz2
import contextlib
import gzip
import io
import json
import os
import random
import re
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

Special = Callable[[Path], None]  # makes something that is not a file
Corpus = dict[str, bytes | Special]
RATE = 8000


def sound() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(0).standard_normal(RATE // 10), RATE, format="WAV")
    return file.getvalue()


WAV = sound()
NAMES = ("12-34-0000", "12-34-0001", "56-78-0000", "90-12-0000")
TEXTS = ("one two", "zwei drei, vier", 'a "quoted" word', "ünî ¿çødé? 三")
SOUNDS: Corpus = {f"wav/{name}.wav": WAV for name in NAMES}


def table(delimiter: str) -> bytes:
    rows = [("path", "sentence", "client_id", "start", "end")]
    rows += [(f"wav/{n}.wav", t.replace(",", ""), n[:2], "0.0", "0.1") for n, t in zip(NAMES, TEXTS, strict=True)]
    return "".join(delimiter.join(row) + "\n" for row in rows).encode()


def json_lines(*lines: dict) -> bytes:
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()


def manifest(**keys: str) -> bytes:
    """keys: other names for `audio`."""
    named = zip(NAMES, TEXTS, strict=True)
    lines = ({"id": n, "audio": f"wav/{n}.wav", "duration": 0.1, "text": t, "speaker": n[:2]} for n, t in named)
    return json_lines(
        *({keys.get(key, key): line[key] for key in line} | {"start": 0.0, "channel": 0} for line in lines)
    )


def lhotse() -> Corpus:
    source = {"type": "file", "channels": [0]}
    recordings = [{"id": n, "sources": [source | {"source": f"wav/{n}.wav"}], "duration": 0.1} for n in NAMES]
    supervisions = [
        {"id": n, "recording_id": n, "start": 0.0, "duration": 0.1, "channel": 0, "text": t, "custom": {"a": [1]}}
        for n, t in zip(NAMES, TEXTS, strict=True)
    ]
    lists = {"recordings": recordings, "supervisions": supervisions}
    return SOUNDS | {f"x_{name}.jsonl.gz": gzip.compress(json_lines(*lines), 1) for name, lines in lists.items()}


def kaldi() -> Corpus:
    def lines(values: list[str]) -> bytes:
        return "".join(f"{n} {value}\n" for n, value in zip(NAMES, values, strict=True)).encode()

    return SOUNDS | {
        "wav.scp": lines([f"wav/{n}.wav" for n in NAMES]),
        "text": lines(list(TEXTS)),
        "utt2spk": lines([n[:2] for n in NAMES]),
        "segments": lines([f"{n} 0.00 0.1" for n in NAMES]),
        "reco2file_and_channel": lines([f"{n} A" for n in NAMES]),
    }


def librispeech() -> Corpus:
    corpus: Corpus = {}
    for name, text in zip(NAMES, TEXTS, strict=True):
        speaker, chapter, _ = name.split("-")
        folder = f"LibriSpeech/dev-clean/{speaker}/{chapter}"
        corpus[f"{folder}/{name}.wav"] = WAV
        transcripts = f"{folder}/{speaker}-{chapter}.trans.txt"
        corpus[transcripts] = corpus.get(transcripts, b"") + f"{name} {text.upper()}\n".encode()
    return corpus


def sidecars() -> Corpus:
    texts = zip(NAMES, TEXTS, strict=True)
    return {f"{n[:2]}/{n}.wav": WAV for n in NAMES} | {f"{n[:2]}/{n}.txt": f"{t}\n".encode() for n, t in texts}


def common_voice() -> Corpus:
    clips = {f"cy/clips/{n}.wav": WAV for n in NAMES}
    rows = [("client_id", "path", "sentence", "locale")]
    rows += [(n[:2], f"{n}.mp3", t, "cy") for n, t in zip(NAMES, TEXTS, strict=True)]
    content = "".join("\t".join(row) + "\n" for row in rows).encode()
    return clips | {f"cy/{part}.tsv": content for part in ("train", "dev", "test")}


SOUND: dict[str, Corpus] = {
    "manifest": SOUNDS | {"all.jsonl": manifest()},
    "nemo": SOUNDS | {"all.json": manifest(audio="audio_filepath", start="offset")},
    "lhotse": lhotse(),
    "csv": SOUNDS | {"table.csv": table(",")},
    "tsv": SOUNDS | {"table.tsv": table("\t")},
    "bars": SOUNDS | {"metadata.csv": table("|").partition(b"\n")[2]},
    "common voice": common_voice(),
    "librispeech": librispeech(),
    "kaldi": kaldi(),
    "folder": sidecars(),
}


def make_odd(folder: Path) -> None:
    """What is no file, and what is no name, in a folder of its own for corpora to point at."""
    folder.mkdir()
    pipe(folder / "pipe.wav")
    link("loop.wav")(folder / "loop.wav")
    link("/dev/zero")(folder / "zero.wav")
    (folder / "folder.wav").mkdir()
    (folder / "empty.wav").touch()
    (folder / "two\nlines.wav").write_bytes(WAV)
    (folder / os.fsdecode(b"latin\xe9.wav")).write_bytes(WAV)
    (folder / "..wav").write_bytes(WAV)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def link(target: str) -> Special:
    return lambda path: path.symlink_to(target)


def locked(path: Path) -> None:
    path.write_bytes(WAV)
    path.chmod(0)


SPECIALS: list[Special | None] = [pipe, Path.mkdir, locked, None]  # None: nothing is there
SPECIALS += [link(target) for target in ("loop", ".", "..", "/dev/zero", "/dev/null", "/dev/stdin", "nowhere")]
VALUES = [
    *(b"NaN", b"-1", b"-0.0", b"1e400", b"5e-324", b"1e-300", b"1e9", b"-Infinity", b"1" + b"0" * 400, b"9" * 5000),
    *(b"null", b"true", b"{}", b"[]", b'""', b'"1"', b"[[[]]]", b'{"a":{}}', rb"\ud800", rb"\u0000", b"\\", b"\0"),
    *(
        b"\xff",
        b"\xfe\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xc2\x85",
        b"\xe2\x80\xa8",
        b"\x1b[31m",
        b"\r",
        b"\x1c",
    ),
    *(b"", b" ", b'"', b"'", b"\t", b"|", b",", b";", b"\n", b"\n\n", b"\r\n", b"x" * 70_000, b"x" * 300, b"x/" * 3000),
    *(b"..", b".", b"/", b"~", b"/dev/zero", b"/dev/stdin", b"../outside/precious", b"http://127.0.0.1:1/a.wav"),
    *(b"../odd/" + name for name in b"pipe.wav pipe loop.wav zero.wav folder.wav empty ..wav".split()),
    *(b"../odd/two\\nlines.wav", rb"../odd/latin\udce9.wav", b"../odd/latin\xe9.wav", b"cat /dev/zero |", b"-"),
    *(b"[" * 100_000, b'{"a":' * 100_000, b'"audio"', b'"duration"', b'"offset": 5', b"0", b"1", b"12-34-0000"),
]


KEYS = ("id", "audio", "duration", "start", "text", "speaker", "channel", "lang", "other")
STRINGS = [
    "",
    " ",
    "\0",
    "a\nb",
    "a.w\nv",
    "\x1b[31m",
    "\ud800",
    "a.\udcff",
    "\u2028",
    "\ufeff",
    "nan",
    "1_000",
    "x" * 70_000,
]
STRINGS += ["/", "..", "~", "/dev/zero", "/dev/stdin"]
STRINGS += [f"../odd/{name}" for name in ("pipe.wav", "pipe", "loop.wav", "..wav")]
JSON = [
    "NaN",
    "Infinity",
    "-1",
    "-0.0",
    "0",
    "5e-324",
    "1e-300",
    "1e9",
    "1e308",
    "1e400",
    "9" * 400,
    "9" * 5000,
    "null",
]
JSON += ["true", "[]", "{}", '{"a": null}', "[" * 100_000, *map(json.dumps, STRINGS)]
JSON += ["[" * depth + "]" * depth for depth in range(900, 965, 5)]  # Python reads so many, or just not


def odd_values(number: int) -> Corpus:
    """A sound manifest with one line more, of which one key has an odd value: no two numbers the same."""
    key, value = KEYS[number % len(KEYS)], JSON[number // len(KEYS)]
    line = {"id": "odd", "audio": f"wav/{NAMES[0]}.wav", "duration": 0.1, "text": "one", "speaker": "o", key: "VALUE"}
    odd = json.dumps(line).replace('"VALUE"', value).encode()
    return SOUNDS | {"all.jsonl": manifest() + odd, "all.json": manifest() + odd}


def damage(draw: random.Random, sound: Corpus) -> Corpus:
    """The corpus with one or two of its files damaged, replaced or gone; seldom those of the audio."""
    corpus = dict(sound)
    names = [name for name in corpus if not name.endswith(".wav")]
    for _ in range(draw.choice((1, 1, 2))):
        name = draw.choice(list(corpus) if draw.random() < 0.1 else names)
        content = sound[name]
        if draw.random() < 0.12 or not isinstance(content, bytes):
            special = draw.choice(SPECIALS)
            corpus.pop(name, None)
            if special is not None:
                corpus[name] = special
        elif name.endswith(".gz") and draw.random() < 0.8:
            corpus[name] = gzip.compress(damage_text(draw, gzip.decompress(content)), 1)
        else:
            binary = name.endswith((".wav", ".gz")) or draw.random() < 0.2
            corpus[name] = (damage_bytes if binary else damage_text)(draw, content)
    return corpus


def damage_bytes(draw: random.Random, content: bytes) -> bytes:
    """Bytes changed, removed, inserted, or cut off at the end."""
    changed = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(changed) + 1)
        kind = draw.randrange(4)
        if kind == 0:
            changed[place : place + 1] = draw.randbytes(1)
        elif kind == 1:
            del changed[place : place + draw.randint(1, 8)]
        elif kind == 2:
            changed[place:place] = draw.randbytes(draw.randint(1, 8))
        elif draw.random() < 0.5:
            del changed[place:]
    return bytes(changed)


def damage_text(draw: random.Random, content: bytes) -> bytes:
    """Values, lines, columns and encodings as they are not meant to be."""
    lines = content.splitlines(keepends=True)
    kind = draw.randrange(16)
    if kind < 9:  # odd values in place of words, numbers and paths
        for _ in range(draw.randint(1, 2)):
            words = list(re.finditer(rb'"[^"\n]*"|[\w./-]+|[^\w\n]', content))
            if words:
                word = draw.choice(words)
                content = content[: word.start()] + draw.choice(VALUES) + content[word.end() :]
        return content
    if kind == 9:
        draw.shuffle(lines)
        return b"".join(lines)
    if kind == 10:
        lines.insert(draw.randrange(len(lines) + 1), draw.choice(lines))
        return b"".join(lines)
    if kind == 11:
        return b"".join(lines[: draw.randrange(len(lines))])
    if kind == 12:  # columns gone
        mark = draw.choice([b",", b"\t", b"|", b" ", b'": '])
        return b"\n".join(mark.join(line.rstrip().split(mark)[: draw.randint(1, 3)]) for line in lines)
    if kind == 13:
        text = content.decode()
        return text.encode(draw.choice(["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp037", "utf-7"]), "replace")
    if kind == 14:
        return content.replace(b"\n", draw.choice([b"\r", b"\0", b"\r\n\r\n", b"\x0b", b"", b"\x1e"]))
    return damage_bytes(draw, content)


def write(folder: Path, corpus: Corpus) -> None:
    for name, content in corpus.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content) if isinstance(content, bytes) else content(path)


def archive(draw: random.Random, outside: Path) -> bytes:
    """A tar archive, compressed or not, of some members that have no place in one; perhaps damaged besides."""
    file = io.BytesIO()
    form = draw.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for _ in range(draw.randint(1, 4)):
            add_member(draw, tar, outside)
    content = bytearray(file.getvalue())
    if draw.random() < 0.5:
        for _ in range(draw.randint(1, 3)):
            damage_header(draw, content)
    packed = bytes(content)
    for pack in draw.choice([(), (), (gzip.compress,), (bz2.compress,), (gzip.compress, gzip.compress)]):
        packed = pack(packed, 1)
    return damage_bytes(draw, packed) if draw.random() < 0.2 else packed


def add_member(draw: random.Random, tar: tarfile.TarFile, outside: Path) -> None:
    kinds = [tarfile.REGTYPE] * 9 + [tarfile.SYMTYPE] * 3 + [tarfile.LNKTYPE] * 2 + [tarfile.DIRTYPE] * 3
    kinds += [tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE, b"Z", b"\0"]
    up = f"../{outside.name}/precious"
    names = [
        "a",
        "b",
        "a/b",
        "b/a",
        "a/b/c",
        "A",
        "./a",
        "a//b",
        "wav/x.wav",
        "x" * 120,
        "n\nl",
        "latin\udce9",
        "d" * 240,
    ]
    targets = [*names, ".", "..", "../..", "../../a", "b/..", "b/../.."]
    targets += [up, f"../{up}", "a/../" + up, str(outside), "/"]
    if draw.random() < 0.1:
        names = [f"../{outside.name}/new", f"{outside}/new", "a/../../new", "", ".", "..", "/", "a/../b"]
    member = tarfile.TarInfo(draw.choice(names))
    member.type = draw.choice(kinds)
    member.mode = draw.choice([0o644, 0, 0o7777])
    content = b"x" * draw.choice([0, 1, 511, 512, 513, 3000]) if member.type in (tarfile.REGTYPE, b"\0") else b""
    member.size = len(content)
    if member.type in (tarfile.SYMTYPE, tarfile.LNKTYPE):
        member.linkname = draw.choice(targets)
    if draw.random() < 0.15:
        keys = ["size", "path", "linkpath", "mtime", "uid", "GNU.sparse.size", "GNU.sparse.realsize", "GNU.sparse.map"]
        keys += ["GNU.sparse.major", "GNU.sparse.name", "hdrcharset", "comment"]
        values = ["-1", "-1024", "nan", "9" * 40, "", "0,5,1", "-5,-5", up, str(outside), "BINARY", "\n", "x" * 2000]
        member.pax_headers = {draw.choice(keys): draw.choice(values)}
    with contextlib.suppress(ValueError):  # this form of archive cannot hold such a member
        tar.addfile(member, io.BytesIO(content))


def damage_header(draw: random.Random, content: bytearray) -> None:
    """One field of one header, as a rule with a checksum that fits."""
    starts = [n for n in range(0, len(content) - 512, 512) if content[n + 257 : n + 262] == b"ustar"]
    if not starts:
        return
    start = draw.choice(starts)
    if draw.random() < 0.5:  # the size: in octal, or from the highest bit on in base 256
        sizes = [(-512).to_bytes(12, "big", signed=True), (-1024).to_bytes(12, "big", signed=True)]
        sizes += [b"\x80" + (2**60).to_bytes(11, "big"), b"77777777777\0", b"-0000001000\0", bytes(12), b"x" * 12]
        content[start + 124 : start + 136] = draw.choice(sizes)
    elif draw.random() < 0.6:
        content[start + 156] = draw.choice(b"0123456789xgLKSXDNMVZ\0\xff")
    else:
        content[start + draw.randrange(512)] = draw.randrange(256)
    if draw.random() < 0.9:
        content[start + 148 : start + 156] = b" " * 8
        content[start + 148 : start + 156] = b"%06o\0 " % sum(content[start : start + 512])
