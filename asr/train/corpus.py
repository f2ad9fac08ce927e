"""The training and development parts as the loop needs them: tokens, what can be learned, batches of any epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from asr.config import AugmentConfig, Config
from asr.data.batches import duration_batches
from asr.data.dataset import Batch, Examples, RecordedNoise, WaveformCache, read_utterance
from asr.data.join import Plan, plan_joins
from asr.data.manifest import Manifest, Utterance
from asr.errors import ManifestError, TrainError
from asr.model.recognizer import Recognizer
from asr.text import SymbolReport, Tokenizer, least_frames, normalise


@dataclass
class Part:
    """Rows of a manifest that are used. texts are normalised."""

    manifest: Manifest
    rows: np.ndarray
    texts: list[str]
    speakers: list[str | None]

    @property
    def durations(self) -> np.ndarray:
        return self.manifest.durations[self.rows]

    def __len__(self) -> int:
        return len(self.rows)


def read_part(path: object, config: Config, key: str) -> Part:
    """A manifest without the held-out speaker; with train.overfit=N its first N utterances. Raises ManifestError."""
    if path is None:
        raise TrainError(f"{key} is not set: give the manifest's path, {key}=FILE.jsonl")
    if not Path(str(path)).exists():
        raise TrainError(
            f"{path}: {key} is not there; prepare the corpus first (asr data prepare RECIPE, or the recipe's run.sh)"
        )
    manifest = Manifest(str(path))
    rows, texts, speakers = [], [], []
    for row, utterance in enumerate(manifest):
        if config.data.heldout is not None and utterance.speaker == config.data.heldout:
            continue
        if utterance.text is None:
            raise ManifestError(f"{manifest.path}: utterance {utterance.id} has no text to learn from")
        rows.append(row)
        texts.append(normalise(utterance.text, config.text.normaliser))
        speakers.append(utterance.speaker)
        if config.train.overfit and len(rows) == config.train.overfit:
            break
    if config.data.heldout is not None and key == "data.train" and len(rows) == len(manifest):
        raise TrainError(f"{manifest.path}: no utterance of the held-out speaker '{config.data.heldout}' in it")
    if not rows:
        raise TrainError(f"{manifest.path}: no utterances to use")
    if not any(texts):
        raise TrainError(f"{manifest.path}: every text is empty after normalisation ({config.text.normaliser})")
    return Part(manifest, np.array(rows), texts, speakers)


class TrainingData:
    """Batches of any epoch, the same for the same (seed, epoch), and the utterances CTC cannot learn left out."""

    def __init__(self, part: Part, recognizer: Recognizer, config: Config) -> None:
        self.part = part
        self.config = config
        self.recognizer = recognizer
        self.joining = config.join.most > 1 and not config.train.overfit
        self.augment: AugmentConfig | None = None if config.train.overfit else config.augment
        fastest = 1.0 if self.augment is None else self.augment.speed[1]
        self.cache = WaveformCache(part.manifest, recognizer.sample_rate, config.data.cache_mb)
        self.noise = None
        if self.augment is not None and self.augment.noise is not None:
            noise = Manifest(self.augment.noise)
            self.noise = RecordedNoise(WaveformCache(noise, recognizer.sample_rate, config.data.cache_mb))
        tokens = [recognizer.tokenizer.encode(text) for text in part.texts]
        self.needed = np.array([least_frames(row) for row in tokens])
        self.frames = np.array([self._output_frames(duration) for duration in part.durations / fastest])
        self.infeasible = np.flatnonzero(self.needed > self.frames)
        if len(self.infeasible) == len(part) and not self.joining:
            raise TrainError(
                f"{part.manifest.path}: every utterance has fewer frames than CTC needs for its text;"
                " lower model.subsampling, or check that texts and audio belong together"
            )

    def _output_frames(self, duration: float) -> int:
        return self.recognizer.output_frames(int(duration * self.recognizer.sample_rate))

    def plans(self, epoch: int) -> list[Plan]:
        """The epoch's utterances, each at its own speed; those that CTC could not learn are left out."""
        rng = np.random.default_rng((self.config.train.seed, epoch))
        if self.joining:
            plans = plan_joins(
                self.part.speakers, self.config.join, self.config.join.per_epoch, rng, self.part.durations
            )
        else:
            plans = [Plan((i,)) for i in range(len(self.part))]
        lowest, highest = (1.0, 1.0) if self.augment is None else self.augment.speed
        speeds = rng.uniform(lowest, highest, len(plans)).tolist()
        durations, kept = self.part.durations, []
        for plan, speed in zip(plans, speeds, strict=True):
            timed = replace(plan, speed=speed)
            # Between two texts CTC needs one frame more: the space, or the blank if they end and begin alike.
            needed = self.needed[list(plan.rows)].sum() + len(plan.rows) - 1
            if needed <= self._output_frames(timed.duration(durations)):
                kept.append(replace(timed, rows=tuple(int(self.part.rows[i]) for i in plan.rows)))
        return kept

    def batches(self, epoch: int, first: int = 0) -> tuple[int, Iterator[Batch]]:
        """The number of batches in the epoch, and those from number `first` on."""
        plans = self.plans(epoch)
        if not plans:
            raise TrainError(
                f"{self.part.manifest.path}: no utterance of epoch {epoch + 1} has the frames that CTC needs for its"
                " text; lower model.subsampling"
            )
        durations = np.array([plan.duration(self.part.manifest.durations) for plan in plans])
        rng = np.random.default_rng((self.config.train.seed, epoch, 1))
        groups = duration_batches(durations, self.config.train.batch_s, rng)
        examples = Examples(
            waveforms=self.cache,
            plans=plans,
            tokenizer=self.recognizer.tokenizer,
            normaliser=self.config.text.normaliser,
            join=self.config.join,
            augment=self.augment,
            noise=self.noise,
            seed=self.config.train.seed,
            epoch=epoch,
        )
        return len(groups), examples.batches(groups[first:], self.config.data.workers)

    def describe_infeasible(self, most: int = 5) -> str:
        """The utterances left out, for people: count, examples, remedy."""
        worst = sorted(self.infeasible, key=lambda i: self.frames[i] - self.needed[i])[:most]
        shown = ", ".join(
            f"{self.part.manifest[int(self.part.rows[i])].id} ({self.needed[i]} needed, {self.frames[i]} there)"
            for i in worst
        )
        return (
            f"{len(self.infeasible)} of {len(self.part)} utterances have fewer frames than CTC needs for their text at"
            f" the fastest speed, and are left out then: {shown}; a lower model.subsampling keeps them"
        )


class DevelopmentData:
    """The development part in memory (decoded once, up to data.cache_mb), ready to be scored again and again."""

    def __init__(self, part: Part, sample_rate: int, cache_mb: int) -> None:
        self.part = part
        self.cache = WaveformCache(part.manifest, sample_rate, cache_mb)

    def __iter__(self) -> Iterator[tuple[Utterance, np.ndarray]]:
        return (self.cache[int(row)] for row in self.part.rows)


def make_tokenizer(config: Config, train: Part) -> Tokenizer:
    joined = [" "] if config.text.tokens == "characters" and config.join.most > 1 else []  # joining adds spaces
    return Tokenizer.build(config.text.tokens, [*train.texts, *joined])


def symbol_warnings(tokenizer: Tokenizer, parts: dict[str, Part]) -> list[str]:
    """Symbols without a token and numerals, per part, for people."""
    out = []
    for name, part in parts.items():
        report = SymbolReport()
        for text in part.texts:
            report.add(tokenizer, text)
        out.extend(f"{name}: {line}" for line in report.lines())
    return out


def feature_statistics(recognizer: Recognizer, part: Part, most: int = 1000) -> None:
    """Set the model's global mean and deviation from up to `most` training utterances, evenly spread."""
    chosen = part.rows[np.linspace(0, len(part) - 1, min(most, len(part))).astype(int)]
    total = squares = torch.zeros(recognizer.features.dimension, dtype=torch.float64)
    frames = 0
    for row in chosen:
        samples = torch.from_numpy(read_utterance(part.manifest[int(row)], recognizer.sample_rate))
        raw, lengths = recognizer.features.raw(samples.unsqueeze(0), torch.tensor([len(samples)]))
        values = raw[0, : int(lengths)].double()
        total, squares, frames = total + values.sum(0), squares + values.square().sum(0), frames + len(values)
    mean = total / frames
    deviation = (squares / frames - mean.square()).clamp_min(0.0).sqrt()
    recognizer.features.set_global(mean.float(), deviation.float())
