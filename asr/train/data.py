"""The training and development parts as the loop needs them: tokens, what can be learned, batches of any epoch."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from asr.augment import Augmentation, augmentations
from asr.config import Config
from asr.data.batches import duration_batches
from asr.data.compose import Compositions, draw_compositions
from asr.data.dataset import Batch, EpochDataset, RecordedNoise, WaveformCache, read_utterance
from asr.data.manifest import Manifest, Utterance
from asr.errors import AudioError, ManifestError, TrainError
from asr.evaluate.run import evaluate
from asr.evaluate.score import Scores
from asr.lengths import min_frames, output_frames
from asr.model.folder import find_model
from asr.model.recognizer import Recognizer
from asr.text import SymbolReport, Tokenizer, normalize, symbols_of
from asr.train.distributed import ALONE, Processes
from asr.util.files import file_sha256


@dataclass
class Subset:
    """Rows of a manifest that are used, and what is known of their normalized texts, which stay on disk.

    rows: (utterances,) of the manifest; needed: (utterances,) frames that CTC needs; speakers: (utterances,) numbers,
    equal for the same speaker; symbols: how often each character or word occurs.
    """

    manifest: Manifest
    rows: np.ndarray
    symbols: Counter[str]
    needed: np.ndarray
    speakers: np.ndarray

    @property
    def durations(self) -> np.ndarray:
        return self.manifest.durations[self.rows]

    def __len__(self) -> int:
        return len(self.rows)


def read_subset(path: object, config: Config, key: str) -> Subset:
    """A manifest without the held-out speaker; with train.overfit=N its first N utterances. Raises ManifestError."""
    if path is None:
        raise TrainError(f"{key} is not set: give the manifest's path, {key}=FILE.jsonl")
    if not Path(str(path)).exists():
        raise TrainError(
            f"{path}: {key} is not there; prepare the corpus first (asr data prepare RECIPE, or the recipe's run.sh)"
        )
    rows, speakers, without_text = array("q"), array("i"), array("q")
    texts = TextCounts(config.text.tokens)
    numbers: dict[str | None, int] = {}

    def visit(row: int, line: dict[str, Any]) -> None:
        speaker = str(line["speaker"]) if "speaker" in line else None
        if config.data.held_out_speaker is not None and speaker == config.data.held_out_speaker:
            return
        if config.train.overfit and len(rows) == config.train.overfit:
            return
        if "text" not in line:
            without_text.append(row)
            return
        texts.add(normalize(line["text"], config.text.normalizer))
        rows.append(row)
        speakers.append(numbers.setdefault(speaker, len(numbers)))

    manifest = Manifest(str(path), visit)
    texts.count()
    if without_text:
        raise ManifestError(f"{manifest.path}: utterance {manifest[without_text[0]].id} has no text to learn from")
    if config.data.held_out_speaker is not None and key == "data.train" and len(rows) == len(manifest):
        raise TrainError(
            f"{manifest.path}: no utterance of the held-out speaker '{config.data.held_out_speaker}' in it"
        )
    if not rows:
        raise TrainError(f"{manifest.path}: no utterances to use")
    if not texts.symbols:
        raise TrainError(f"{manifest.path}: every text is empty after normalization ({config.text.normalizer})")
    return Subset(manifest, np.array(rows), texts.symbols, np.array(texts.needed), np.array(speakers))


@dataclass
class TextCounts:
    """What normalized texts amount to: how often each symbol occurs, and the frames that CTC needs for each text.

    Characters are counted many texts at a time, far faster than one by one.
    """

    kind: str
    symbols: Counter[str] = field(default_factory=Counter)
    needed: array[int] = field(default_factory=lambda: array("i"))
    waiting: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        self.waiting.append(text)
        if len(self.waiting) == 1000:
            self.count()

    def count(self) -> None:
        """Take in the texts that still wait."""
        texts, self.waiting = self.waiting, []
        if self.kind != "characters":
            for symbols in (symbols_of(self.kind, text) for text in texts):
                self.symbols.update(symbols)
                self.needed.append(min_frames(symbols))
        elif texts:
            lines = "".join(f"{text}\n" for text in texts)  # no normalized text holds a line's end
            codes = np.frombuffer(lines.encode("utf-32-le", "surrogatepass"), np.uint32)
            in_text = codes != ord("\n")
            repeated = in_text[1:] & (codes[1:] == codes[:-1])
            frames = in_text + np.append(0, repeated)
            ends = np.flatnonzero(~in_text)
            self.needed.extend(np.add.reduceat(frames, np.append(0, ends[:-1])).tolist())
            for code, count in zip(*np.unique(codes[in_text], return_counts=True), strict=True):
                self.symbols[chr(code)] += int(count)


class TrainingData:
    """Batches of any epoch, the same for the same (seed, epoch), and the utterances CTC cannot learn left out."""

    def __init__(
        self, subset: Subset, dev_subset: Subset, recognizer: Recognizer, config: Config, processes: Processes = ALONE
    ) -> None:
        self.subset = subset
        self.dev = DevelopmentData(dev_subset, recognizer.sample_rate, config.data.cache_mb)
        self.processes = processes
        self.config = config
        self.recognizer = recognizer
        self.joining = config.compose.max_recordings > 1 and not config.train.overfit
        self.speed = (1.0, 1.0) if config.train.overfit else config.augment.speed
        self.augmentations = [] if config.train.overfit else self._augmentations(config)
        self.cache = WaveformCache(subset.manifest, recognizer.sample_rate, config.data.cache_mb)
        for symbol in subset.symbols:
            recognizer.tokenizer.encode(symbol)  # or an error that names it
        self.needed = subset.needed
        self.frames = self._output_frames(subset.durations / self.speed[1])
        self.infeasible = np.flatnonzero(self.needed > self.frames)
        if len(self.infeasible) == len(subset) and not self.joining:
            raise TrainError(
                f"{subset.manifest.path}: every utterance has fewer frames than CTC needs for its text;"
                " lower model.subsampling, or check that texts and audio belong together"
            )

    def _augmentations(self, config: Config) -> list[Augmentation]:
        """Raises ManifestError where the manifest of recorded noise has no recordings."""
        manifest = config.augment.noise.manifest
        if manifest is None:
            return augmentations(config.augment)
        recordings = WaveformCache(Manifest(manifest), self.recognizer.sample_rate, config.data.cache_mb)
        return augmentations(config.augment, RecordedNoise(recordings))

    def _output_frames(self, durations: np.ndarray) -> np.ndarray:
        samples = (durations * self.recognizer.sample_rate).astype(np.int64)
        return output_frames(samples, self.recognizer.features.config, self.recognizer.config)

    def compositions(self, epoch: int) -> Compositions:
        """The epoch's utterances, each at its own speed; those that CTC could not learn are left out.

        Raises TrainError when that leaves none.
        """
        subset, durations = self.subset, self.subset.manifest.durations
        rng = np.random.default_rng((self.config.train.seed, epoch))
        if self.joining:
            count = self.config.compose.utterances_per_epoch
            drawn = draw_compositions(subset.rows, subset.speakers, self.config.compose, count, rng, durations)
            compositions = Compositions.joined(drawn)
        else:
            compositions = Compositions.singles(subset.rows)
        compositions = replace(compositions, speeds=rng.uniform(*self.speed, len(compositions)))
        needed = np.zeros(len(subset.manifest), np.int64)
        needed[subset.rows] = subset.needed
        # Between two texts CTC needs one frame more: the space, or the blank if they end and begin alike.
        frames = compositions.total(needed) + compositions.lengths - 1
        kept = compositions.kept(frames <= self._output_frames(compositions.durations(durations)))
        if not kept:
            raise TrainError(
                f"{self.subset.manifest.path}: no utterance of epoch {epoch + 1} has the frames that CTC needs for its"
                " text; lower model.subsampling"
            )
        return kept

    def batches(self, epoch: int, first: int = 0) -> tuple[int, Iterator[Batch]]:
        """The number of batches in the epoch, and those from number `first` on."""
        compositions = self.compositions(epoch)
        durations = compositions.durations(self.subset.manifest.durations)
        rng = np.random.default_rng((self.config.train.seed, epoch, 1))
        groups = duration_batches(durations, self.config.train.batch_seconds, rng)
        if self.config.train.sortagrad and epoch == 0:
            groups.sort(key=lambda group: float(durations[group].max()))
        examples = EpochDataset(
            waveforms=self.cache,
            compositions=compositions,
            tokenizer=self.recognizer.tokenizer,
            normalizer=self.config.text.normalizer,
            compose=self.config.compose,
            augmentations=self.augmentations,
            seed=self.config.train.seed,
            epoch=epoch,
            pin=self.recognizer.device.type == "cuda",
        )
        return len(groups), examples.batches(self.processes.share(groups[first:]), self.config.data.workers)

    @property
    def per_epoch(self) -> int:
        """Utterances of an epoch, before those that CTC could not learn are left out."""
        return self.config.compose.utterances_per_epoch if self.joining else len(self.subset)

    def names(self, epoch: int, indices: Sequence[int]) -> list[str]:
        """The ids of an epoch's utterances, of a batch's `indices`; of joined ones with + between."""
        compositions = self.compositions(epoch)
        return ["+".join(self.subset.manifest[row].id for row in compositions[index].rows) for index in indices]

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What identifies the data: tokens, and a hash of every file that is learned from."""
        files = {"train manifest": self.subset.manifest.path, "dev manifest": self.dev.subset.manifest.path}
        if self.config.train.init is not None:
            files["train.init"] = find_model(self.config.train.init) / "model.safetensors"
        if self.config.augment.noise.manifest is not None:
            files["augment.noise"] = self.config.augment.noise.manifest
        hashes = {name: file_sha256(path) for name, path in files.items()}
        return {"tokens": list(self.recognizer.tokenizer.tokens), **hashes}

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the card of a model says of its training, as far as it is known before it."""
        return {
            "manifest": self.subset.manifest.path.name,
            "manifest_sha256": self.identity["train manifest"],
            "utterances": len(self.subset),
            "hours": round(float(self.subset.durations.sum()) / 3600, 4),
            "device": str(self.recognizer.device),
            "torch": str(torch.__version__),
        }

    @property
    def max_unreadable(self) -> int:
        """So many utterances of an epoch may be missing."""
        return int(self.config.data.max_unreadable * self.per_epoch)

    def validate(self, recognizer: Recognizer) -> Scores:
        return evaluate(recognizer, self.dev).score()

    def describe_infeasible(self, max_named: int = 5) -> str:
        """The utterances left out, for people: count, examples, remedy."""
        spare = self.frames[self.infeasible] - self.needed[self.infeasible]
        worst = self.infeasible[np.argsort(spare, kind="stable")[:max_named]]
        shown = ", ".join(
            f"{self.subset.manifest[int(self.subset.rows[i])].id} ({self.needed[i]} needed, {self.frames[i]} there)"
            for i in worst
        )
        return (
            f"{len(self.infeasible)} of {len(self.subset)} utterances have fewer frames than CTC needs for their text"
            f" at the fastest speed, and are left out then: {shown}; a lower model.subsampling keeps them"
        )


class DevelopmentData:
    """The development part in memory (decoded once, up to data.cache_mb), ready to be scored again and again."""

    def __init__(self, subset: Subset, sample_rate: int, cache_mb: int) -> None:
        self.subset = subset
        self.cache = WaveformCache(subset.manifest, sample_rate, cache_mb)

    def read_all(self) -> None:
        """Raises AudioError for a recording that cannot be read."""
        for _ in self:
            pass

    def __iter__(self) -> Iterator[tuple[Utterance, np.ndarray]]:
        return (self.cache[int(row)] for row in self.subset.rows)


def make_tokenizer(config: Config, train: Subset) -> Tokenizer:
    composed = config.text.tokens == "characters" and config.compose.max_recordings > 1
    spaces = [" "] if composed else []  # between the texts of a composition
    return Tokenizer.build(config.text.tokens, [*train.symbols, *spaces])


def symbol_warnings(tokenizer: Tokenizer, subsets: dict[str, Subset]) -> list[str]:
    """Symbols without a token and numerals, per subset, for people."""
    out: list[str] = []
    for name, subset in subsets.items():
        report = SymbolReport()
        for symbol, count in subset.symbols.items():
            report.add(tokenizer, symbol, count)
        out.extend(f"{name}: {line}" for line in report.lines())
    return out


def feature_statistics(recognizer: Recognizer, subset: Subset, max_utterances: int = 1000) -> None:
    """Set the model's global mean and deviation from up to `max_utterances` training utterances, evenly spread."""
    chosen = subset.rows[np.linspace(0, len(subset) - 1, min(max_utterances, len(subset))).astype(int)]
    total = squares = torch.zeros(recognizer.features.dimension, dtype=torch.float64)
    frames = 0
    failure = None
    for row in chosen:
        try:
            samples = torch.from_numpy(read_utterance(subset.manifest[int(row)], recognizer.sample_rate))
        except AudioError as error:  # counted when it is its turn to be learned
            failure = error
            continue
        raw, lengths = recognizer.features.raw(samples.unsqueeze(0), torch.tensor([len(samples)]))
        values = raw[0, : int(lengths)].double()
        total, squares, frames = total + values.sum(0), squares + values.square().sum(0), frames + len(values)
    if not frames and failure is not None:
        raise failure
    mean = total / frames
    deviation = (squares / frames - mean.square()).clamp_min(0.0).sqrt()
    recognizer.features.set_global(mean.float(), deviation.float())
