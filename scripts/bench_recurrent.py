"""Bidirectional layers on the CPU: two directions over padded sequences (what asr does) against packed sequences.

    python scripts/bench_recurrent.py [--layers 3] [--width 256] [--batch 16] [--frames 200] [--threads 2]

Trains three layers of each cell both ways in turn, on the same weights and input, and prints the median ratio of the
times over the repetitions, so that a noisy machine disturbs both sides alike.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from bench.train import packed_layers
from torch import Tensor

from asr.features import length_mask
from asr.model.recurrent import RecurrentLayer


def step_s(layers: list[RecurrentLayer], x: Tensor, lengths: Tensor) -> float:
    """Seconds for a forward and a backward pass through all layers."""
    began = time.perf_counter()
    y = x
    for layer in layers:
        y = layer(y, lengths)
    torch.where(length_mask(lengths, y.shape[1]).unsqueeze(-1), y, 0.0).sum().backward()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("layers", 3), ("width", 256), ("batch", 16), ("frames", 200), ("threads", 2), ("repeat", 9)):
        parser.add_argument(f"--{name}", type=int, default=default)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(0)
    lengths = torch.linspace(0.8 * a.frames, a.frames, a.batch).long()
    print("| cell | padded, two directions | packed | ratio |\n| --- | --- | --- | --- |")
    for cell in ("rnn", "lstm", "gru"):
        layers = [RecurrentLayer(cell, 2 * a.width, a.width, bidirectional=True) for _ in range(a.layers)]
        x = torch.randn(a.batch, a.frames, 2 * a.width)
        ours, usual = [], []
        for repetition in range(a.repeat + 2):
            own_s = step_s(layers, x, lengths)
            with packed_layers(layers):
                usual_s = step_s(layers, x, lengths)
            if repetition >= 2:  # the first ones warm up
                ours.append(own_s)
                usual.append(usual_s)
        ratio = statistics.median(b / s for s, b in zip(ours, usual, strict=True))
        medians = " | ".join(f"{1000 * statistics.median(times):.0f} ms" for times in (ours, usual))
        print(f"| {cell} | {medians} | {ratio:.2f} × |")


if __name__ == "__main__":
    main()
