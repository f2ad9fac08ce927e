"""A whole training step of asr against SpeechBrain's: the same waveforms, batches, size of network and threads.

    pip install -c requirements.lock -e .[bench]
    python scripts/bench_speechbrain.py [--minutes 2] [--repeat 5] [--threads 2]

Both train on audio in memory on the CPU: features, SpecAugment, forward, CTC, backward, clipping, AdamW; three
bidirectional LSTM layers of 256. Ours is the step of `asr train`. Theirs is `Brain.fit_batch` with the parts that their
CTC recipes name: Fbank, InputNormalization (each utterance by itself, as ours), SpectrogramDrop, ctc_loss, and
the networks that a user of theirs may have:

    padded   convolutions as ours, their LSTM over whole padded batches: its backward direction begins in the padding,
             so what an utterance gives depends on its batch
    packed   the same, lengths given to their LSTM, which packs then and stays within each utterance, as ours does
    crdnn    their CRDNN with the same LSTM layers and time pooled by 4; 32 channels make it as large as ours. It takes
             no lengths: padding as in the first
    recipe   the same with the 128 and 256 channels of its defaults and recipes, three times as large: only on demand,
             --networks recipe, since it takes a minute for half a minute of audio

All take turns, and a ratio is the median of the ratios within turns, so that a busy machine slows all alike. On one
that is very busy, the ratios of CPU seconds with --threads 1 are steadier.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import time
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import speechbrain as sb
import torch
from bench.corpus import RATE, write_corpus
from bench.record import Epoch, Say, machine, median_ratio, write_record
from bench.train import BATCH_S, SIZES, Setup, bare_epoch, prepared
from speechbrain.augment.augmenter import Augmenter
from speechbrain.augment.freq_domain import SpectrogramDrop
from speechbrain.lobes.features import Fbank
from speechbrain.lobes.models.CRDNN import CRDNN
from speechbrain.nnet.activations import Softmax
from speechbrain.nnet.CNN import Conv1d
from speechbrain.nnet.linear import Linear
from speechbrain.nnet.losses import ctc_loss
from speechbrain.nnet.RNN import LSTM
from speechbrain.processing.features import InputNormalization
from torch import Tensor, nn

from asr import __version__
from asr.config import AugmentConfig, TrainConfig
from asr.data.batches import Batch
from asr.model.ctc import BLANK_INDEX
from asr.model.recognizer import KERNEL

FORMAT = "asr-bench-speechbrain-1"
OURS = "asr"
NETWORKS = ("padded", "packed", "crdnn", "recipe")


class Network(nn.Module):
    """The shape of our encoder in their modules: convolutions that subsample time by 4, then LSTM layers."""

    def __init__(self, mels: int, layers: int, width: int, dropout: float, packed: bool) -> None:
        super().__init__()
        self.packed = packed
        self.first = Conv1d(width, KERNEL, in_channels=mels, stride=2)
        self.second = Conv1d(2 * width, KERNEL, in_channels=width, stride=2)
        self.dropout = nn.Dropout(dropout)
        self.lstm = LSTM(width, input_size=2 * width, num_layers=layers, bidirectional=True, dropout=dropout)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        x = self.dropout(nn.functional.gelu(self.second(nn.functional.gelu(self.first(features)))))
        return self.lstm(x, lengths=lengths if self.packed else None)[0]


class WithoutLengths(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        return self.network(features)


class CTCBrain(sb.Brain):
    """Their class of a training, in the order of steps of their CTC recipes. A batch is one of ours."""

    def compute_forward(self, batch: Batch, stage: sb.Stage) -> tuple[Tensor, Tensor]:
        lengths = batch.waveform_lengths / batch.waveforms.shape[1]
        features = self.modules.normalize(self.hparams.compute_features(batch.waveforms), lengths)
        features, lengths = self.hparams.fea_augment(features, lengths)
        return self.hparams.log_softmax(self.modules.output(self.modules.model(features, lengths))), lengths

    def compute_objectives(self, predictions: tuple[Tensor, Tensor], batch: Batch, stage: sb.Stage) -> Tensor:
        log_probs, lengths = predictions
        token_lengths = batch.token_lengths / batch.tokens.shape[1]
        return ctc_loss(log_probs, batch.tokens, lengths, token_lengths, BLANK_INDEX)


def make_network(name: str, mels: int, layers: int, width: int, dropout: float) -> nn.Module:
    """(batch, frames, mels) and relative lengths -> (batch, fewer frames, 2 width)."""
    if name in ("padded", "packed"):
        return Network(mels, layers, width, dropout, packed=name == "packed")
    crdnn = CRDNN(
        input_size=mels,
        dropout=dropout,
        cnn_channels=[32, 32] if name == "crdnn" else [128, 256],
        time_pooling=True,
        time_pooling_size=4,
        rnn_class=LSTM,
        rnn_layers=layers,
        rnn_neurons=width,
        dnn_neurons=2 * width,
    )
    return WithoutLengths(crdnn)


def make_brain(network: nn.Module, outputs: int, tokens: int, mels: int, train: TrainConfig) -> CTCBrain:
    masks = AugmentConfig()
    drops = [
        SpectrogramDrop(0, length + 1, drop_count_low=2, drop_count_high=2, replace="zeros", dim=dim)
        for dim, length in ((1, masks.time_mask_frames), (2, masks.frequency_mask_bins))
    ]
    modules = {
        "normalize": InputNormalization(norm_type="sentence"),
        "model": network,
        "output": Linear(tokens, input_size=outputs),
    }
    hparams = {
        "compute_features": Fbank(sample_rate=RATE, n_mels=mels),
        "fea_augment": Augmenter(min_augmentations=2, max_augmentations=2, augmentations=drops),
        "log_softmax": Softmax(apply_log=True),
    }
    optimizer = partial(torch.optim.AdamW, lr=train.lr, betas=train.betas, weight_decay=train.weight_decay)
    brain = CTCBrain(modules, optimizer, hparams, {"device": "cpu", "max_grad_norm": train.max_grad_norm})
    brain.on_fit_start()
    brain.modules.train()
    return brain


def brain_epoch(brain: CTCBrain, batches: Sequence[Batch]) -> float:
    began = time.perf_counter()
    for batch in batches:
        brain.fit_batch(batch)
    return time.perf_counter() - began


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


class Times(NamedTuple):
    seconds: list[float]
    cpu_s: list[float]


def take_turns(epochs: dict[str, Epoch], repeat: int, say: Say) -> dict[str, Times]:
    """The time of each way in every repetition, after one to warm up; every second one goes backwards."""
    for epoch in epochs.values():
        epoch()
    times = {way: Times([], []) for way in epochs}
    for repetition in range(repeat):
        for way, epoch in list(epochs.items())[:: -1 if repetition % 2 else 1]:
            began = time.process_time()
            times[way].seconds.append(epoch())
            times[way].cpu_s.append(time.process_time() - began)
        latest = ", ".join(f"{way} {seconds[-1]:.2f} s" for way, (seconds, _) in times.items())
        say(f"turn {repetition + 1} of {repeat}: {latest}")
    return times


def bench(networks: Sequence[str], minutes: float, repeat: int, threads: int, say: Say) -> dict[str, Any]:
    torch.set_num_threads(threads)
    size = SIZES["cpu"]
    setup = Setup("cpu", ("lstm",), minutes, workers=0, repeat=repeat, threads=threads)
    with TemporaryDirectory() as folder:
        audio_s = write_corpus(Path(folder), 60 * minutes)
        made = prepared("cache", "lstm", setup, Path(folder))
        batches = list(made.data.batches(0)[1])
    recognizer, config = made.recognizer, made.config
    mels, tokens = config.features.n_mels, len(recognizer.tokenizer)
    counts = {OURS: parameters(recognizer)}
    epochs: dict[str, Epoch] = {OURS: partial(bare_epoch, recognizer, config, batches)}
    for name in networks:
        network = make_network(name, mels, size["layers"], size["hidden_size"], config.model.dropout)
        brain = make_brain(network, 2 * size["hidden_size"], tokens, mels, config.train)
        counts[name] = parameters(brain.modules)
        epochs[name] = partial(brain_epoch, brain, batches)
    times = take_turns(epochs, repeat, say)

    padded_s = sum(batch.waveforms.numel() for batch in batches) / RATE
    record: dict[str, Any] = {"format": FORMAT, "asr_version": __version__, "speechbrain": version("speechbrain")}
    record |= {"machine": machine(), "device": "cpu", "threads": threads, "repeat": repeat, **size, "cell": "lstm"}
    record |= {"batch_s": BATCH_S["cpu"], "batches": len(batches), "audio_s": round(audio_s, 2)}
    record |= {"padding_fraction": round(1 - audio_s / padded_s, 4), "ways": {}}
    for way, (seconds, cpu_s) in times.items():
        record["ways"][way] = {
            "parameters": counts[way],
            "audio_per_s": round(audio_s / statistics.median(seconds), 1),
            "asr_over_this": median_ratio(seconds, times[OURS].seconds),
            "asr_over_this_cpu": median_ratio(cpu_s, times[OURS].cpu_s),
            "seconds": [round(value, 4) for value in seconds],
            "cpu_s": [round(value, 4) for value in cpu_s],
        }
    return record


def print_table(record: dict[str, Any]) -> None:
    size = f"{record['layers']} × {record['hidden_size']}"
    print(f"{size} bidirectional {record['cell']}, CPU, {record['threads']} threads,")
    print(f"{record['audio_s']:.0f} s of audio, {100 * record['padding_fraction']:.1f} % padding,")
    print(f"SpeechBrain {record['speechbrain']}, torch {record['machine']['versions']['torch']}\n")
    print("| step | parameters | audio s / s | asr over this | of CPU time |\n| --- | ---: | ---: | ---: | ---: |")
    for way, row in record["ways"].items():
        name = way if way == OURS else f"SpeechBrain, {way}"
        ratios = f"{row['asr_over_this']:.2f} × | {row['asr_over_this_cpu']:.2f} ×"
        print(f"| {name} | {row['parameters']:,} | {row['audio_per_s']:.1f} | {ratios} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--networks", nargs="+", choices=NETWORKS, default=NETWORKS[:3], help="default: the first three"
    )
    parser.add_argument("--minutes", type=float, default=2.0, help="of made-up audio (default 2)")
    parser.add_argument("--repeat", type=int, default=5, help="turns (default 5)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="for all (default: one a core)")
    parser.add_argument("--output", type=Path, help="also write all figures here (JSON)")
    a = parser.parse_args()
    logging.getLogger("speechbrain").setLevel(logging.ERROR)
    record = bench(a.networks, a.minutes, a.repeat, a.threads, lambda line: print(line, flush=True))
    print_table(record)
    if a.output is not None:
        write_record(a.output, record)


if __name__ == "__main__":
    main()
