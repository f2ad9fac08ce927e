"""What lossy files cost: a model's error rates on a manifest as it is, and with its audio put through MP3.

    python scripts/bench_compression.py --model runs/mini_librispeech data/mini_librispeech/dev.jsonl

Levels are libsndfile's, 0 to 1: the higher, the smaller the file. The last line has no lossy coding, but nothing above
5.4 kHz, which MP3 leaves out at low rates.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile

from asr.data.manifest import Manifest, Utterance
from asr.data.waveforms import read_utterance
from asr.evaluate.run import evaluate
from asr.model.folder import find_model, load_model

LEVELS = (0.7, 0.9, 0.99)
CUT_HZ = 5400

Change = Callable[[np.ndarray, int], tuple[np.ndarray, int]]  # samples, rate -> samples, bytes


def through_mp3(level: float) -> Change:
    def change(samples: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
        file = io.BytesIO()
        soundfile.write(file, samples, rate, format="MP3", subtype="MPEG_LAYER_III", compression_level=level)
        size = file.tell()
        file.seek(0)
        return soundfile.read(file, len(samples), dtype="float32", fill_value=0.0)[0], size

    return change


def as_it_is(samples: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    return samples, 0


def cut(samples: np.ndarray, rate: int) -> tuple[np.ndarray, int]:
    spectrum = np.fft.rfft(samples)
    spectrum[int(len(samples) * CUT_HZ / rate) :] = 0
    return np.fft.irfft(spectrum, len(samples)).astype(np.float32), 0


def changed(manifest: Manifest, rate: int, change: Change, sizes: list[int]) -> Iterator[tuple[Utterance, np.ndarray]]:
    for utterance in manifest:
        samples, size = change(read_utterance(utterance, rate), rate)
        sizes.append(size)
        yield utterance, samples


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--model", required=True)
    arguments = parser.parse_args()
    recognizer, manifest = load_model(find_model(arguments.model)), Manifest(arguments.manifest)
    ways: dict[str, Change] = {
        "as it is": as_it_is,
        **{f"MP3, level {level:g}": through_mp3(level) for level in LEVELS},
    }
    print("| audio | kbit/s | WER | CER |\n| --- | --- | --- | --- |")
    for name, change in (ways | {f"below {CUT_HZ} Hz": cut}).items():
        sizes: list[int] = []
        scores = evaluate(recognizer, changed(manifest, recognizer.sample_rate, change, sizes)).score()
        if scores.wer is None or scores.cer is None:
            raise SystemExit(f"{arguments.manifest}: no words to compare with")
        rate = f"{sum(sizes) * 8 / manifest.durations.sum() / 1000:.1f}" if sum(sizes) else "–"
        print(f"| {name} | {rate} | {100 * scores.wer:.2f} % | {100 * scores.cer:.2f} % |", flush=True)


if __name__ == "__main__":
    main()
