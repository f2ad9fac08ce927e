"""What a training run would do and cost, measured on a real batch; writes nothing."""

from __future__ import annotations

import time

from asr.config import Config
from asr.data.batches import duration_batches, padding_fraction
from asr.errors import TrainError
from asr.model.ctc import frames_needed
from asr.train.log import duration_text
from asr.train.optimizer import compute_gradient, make_optimizer
from asr.train.run import TrainingLoss, begin, prepare
from asr.util.format import plural


def dry_run(config: Config) -> list[tuple[str, str]]:
    """Rows of (name, value): tokens, counts, shapes, and the time of a step and of the whole training.

    Raises TrainError if the first batch cannot be read.
    """
    setup = prepare(begin(config))
    config, recognizer, data = setup.config, setup.recognizer, setup.data
    count, batches = data.batches(0)
    batch = next(batches)
    if not batch.indices:
        raise TrainError(batch.unreadable[0])
    batch = batch.to(recognizer.device)
    optimizer = make_optimizer(recognizer, config.train)
    recognizer.train()
    log_probs, lengths = recognizer(batch.waveforms, batch.waveform_lengths)
    spare = lengths - frames_needed(batch.tokens, batch.token_lengths)
    loss, last = TrainingLoss(recognizer, config), config.train.epochs - 1
    losses = []
    for _ in range(3):  # the first step warms up kernels and caches
        began = time.perf_counter()
        pieces = compute_gradient(recognizer, loss, [(0, batch)], last, len(batch.indices))  # as most epochs are
        optimizer.step()
        losses.append(sum(float(piece.total) for piece in pieces) / len(batch.indices))  # waits for the device
        step_s = time.perf_counter() - began
    durations = data.durations(0)
    padding = padding_fraction(durations, duration_batches(durations, config.train.batch_seconds))
    speed = batch.waveforms.numel() / recognizer.sample_rate / step_s
    return [
        ("tokens", " ".join(repr(token) for token in recognizer.tokenizer.tokens[:40])),
        ("parameters", f"{recognizer.parameter_count:,}"),
        (
            "one epoch",
            f"{len(durations)} utterances, {durations.sum() / 3600:.2f} h, {plural(count, 'batch', 'batches')}",
        ),
        ("padding", f"{100 * padding:.1f} %"),
        ("waveforms", f"{tuple(batch.waveforms.shape)} (batch, samples) at {recognizer.sample_rate} Hz"),
        ("log_probs", f"{tuple(log_probs.shape)} (batch, frames, tokens), a frame is {1000 * recognizer.frame_s:g} ms"),
        ("min. spare frames", str(int(spare.min()))),
        ("loss before training", f"{losses[0]:.2f} an utterance"),
        ("one step", f"{1000 * step_s:.0f} ms, {speed:.0f} × real time"),
        (
            f"{config.train.epochs} epochs",
            f"about {duration_text(durations.sum() / speed * config.train.epochs)}, validation not counted",
        ),
    ]
