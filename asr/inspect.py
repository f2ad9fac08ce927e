"""A picture of what a model heard and what it made of it: waveform, features, token probabilities and words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from asr.audio import Audio
from asr.errors import AudioError
from asr.model.recognizer import Recognizer
from asr.transcribe import Transcriber, Transcript
from asr.util.files import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_SECONDS = 60.0  # more would be unreadable
FULL_SCALE = 0.999
SHOWN_TOKENS = 12  # curves with a name; the others are too rare to be told apart


@dataclass(frozen=True)
class Inspection:
    """audio: mono, at the model's rate; features: (F, C); log_probs: (T, V)."""

    audio: Audio
    features: np.ndarray
    log_probs: np.ndarray
    transcript: Transcript

    def rows(self) -> list[tuple[str, str]]:
        """(name, value) rows to print. Levels are relative to full scale."""
        peak = float(np.abs(self.audio.samples).max())
        level = float(np.sqrt(np.mean(np.square(self.audio.samples, dtype=np.float64))))
        clipped = float(np.mean(np.abs(self.audio.samples) >= FULL_SCALE))
        blanks = float(np.mean(self.log_probs.argmax(-1) == 0))
        return [
            ("duration", f"{self.audio.duration:.2f} s"),
            (
                "level",
                f"{format_level(level)} (peak {format_level(peak)}, {100 * clipped:.2g} % of samples at full scale)",
            ),
            ("features", f"{self.features.shape[0]} frames × {self.features.shape[1]}"),
            ("output", f"{self.log_probs.shape[0]} frames × {self.log_probs.shape[1]} tokens, {blanks:.0%} blank"),
            ("text", self.transcript.text or "(nothing)"),
        ]


def inspect(transcriber: Transcriber, audio: Audio) -> Inspection:
    """Run the model on audio at the model's rate, and keep its features and log-probabilities.

    Raises AudioError for more than MAX_SECONDS.
    """
    if audio.duration > MAX_SECONDS:
        raise AudioError(
            f"{audio.duration:.0f} s are too much for one picture; choose up to {MAX_SECONDS:.0f} s of them"
            " with --start and --duration"
        )
    recognizer = transcriber.recognizer
    samples = torch.from_numpy(audio.samples)[None].to(recognizer.device)
    lengths = torch.tensor([len(audio.samples)], device=recognizer.device)
    with torch.inference_mode():
        features, frames = recognizer.features(samples, lengths)
        log_probs, output_frames = recognizer(samples, lengths)
    return Inspection(
        audio,
        features[0, : frames[0]].float().cpu().numpy(),
        log_probs[0, : output_frames[0]].float().cpu().numpy(),
        transcriber.transcribe(audio.samples, audio.sample_rate),
    )


def draw(inspection: Inspection, recognizer: Recognizer, path: Path) -> None:
    """Write the picture as PNG: waveform with words, features, probability of each token over time."""
    import librosa.display  # five seconds when it is first loaded: only where a picture is drawn
    from matplotlib.figure import Figure

    config, audio = recognizer.features.config, inspection.audio
    figure = Figure(figsize=(min(max(8.0, 1.4 * audio.duration), 40.0), 7.5), layout="constrained")
    sound, spectrogram, probabilities = figure.subplots(3, 1, sharex=True, height_ratios=(1, 2, 1.3))
    times = np.arange(len(audio.samples)) / audio.sample_rate
    sound.plot(times, audio.samples, linewidth=0.4, color="#45617f")
    sound.set(ylabel="amplitude", ylim=(-1, 1))
    for word in inspection.transcript.words:
        sound.axvspan(word.start, word.end, color="#d9660f", alpha=0.12)
        label = f"{word.text}\n{word.confidence:.2f}"
        sound.annotate(label, ((word.start + word.end) / 2, 0.97), ha="center", va="top", fontsize=9)
    mel = config.kind == "logmel"
    low, high = np.percentile(inspection.features, [1, 100])
    librosa.display.specshow(
        inspection.features.T,
        sr=config.sample_rate,
        hop_length=recognizer.features.hop,
        x_axis="s",
        y_axis="mel" if mel else None,
        fmin=config.f_min,
        fmax=config.f_max or config.sample_rate / 2,
        htk=True,
        ax=spectrogram,
        cmap="magma",
        vmin=low,
        vmax=max(high, low + 1.0),  # or the rounding errors of digital silence would look like sound
    )
    spectrogram.set(ylabel="Hz" if mel else "coefficient", xlabel="")
    draw_probabilities(probabilities, inspection, recognizer)
    probabilities.set(xlim=(0, audio.duration), xlabel="seconds")
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)


def draw_probabilities(axes: Axes, inspection: Inspection, recognizer: Recognizer) -> None:
    """A curve a token: those that are likeliest in some frame have a color and a name, blank is gray."""
    probs = np.exp(inspection.log_probs)  # (T, V)
    times = np.arange(len(probs)) * recognizer.frame_s
    axes.fill_between(times, probs[:, 0], color="#999", alpha=0.25, linewidth=0, label="blank")
    best = probs.argmax(-1)
    tokens, counts = np.unique(best[best != 0], return_counts=True)
    for token in tokens[np.argsort(-counts, kind="stable")][:SHOWN_TOKENS]:
        name = recognizer.tokenizer.tokens[token]
        axes.plot(times, probs[:, token], linewidth=1.2, label="space" if name == " " else name)
    axes.set(ylabel="probability", ylim=(0, 1.02))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False)


def format_level(value: float) -> str:
    """0.5 -> "-6.0 dB"."""
    return f"{20 * np.log10(value):.1f} dB" if value > 0 else "digital silence"
