"""The data of a training: batches of any epoch, without the utterances that CTC cannot learn."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from asr.augment import Augmentation, augmentations
from asr.config import Config
from asr.data.batches import Batch, duration_batches
from asr.data.compose import Composer
from asr.data.dataset import EpochDataset, Recordings, UtteranceSource
from asr.data.manifest import Manifest
from asr.data.subset import Subset
from asr.data.waveforms import RecordedNoise, WaveformCache
from asr.errors import TextError, TrainError
from asr.lengths import output_frames
from asr.text import Tokenizer, listed

logger = logging.getLogger(__name__)


class TrainingData:
    """Batches of any epoch, the same for the same (seed, epoch).

    share: the slice of each batch that this process takes; pin: see EpochDataset.
    Raises TrainError when no utterance can be learned, TextError for a symbol without a token, ManifestError for a
    noise manifest without recordings.
    """

    def __init__(
        self, subset: Subset, tokenizer: Tokenizer, config: Config, share: slice = slice(None), pin: bool = False
    ) -> None:
        self.subset, self.tokenizer, self.config, self.share, self.pin = subset, tokenizer, config, share, pin
        self.composed = config.compose.max_recordings > 1
        self.source: UtteranceSource = Composer(subset, config.compose) if self.composed else Recordings(subset)
        self.augmentations = make_augmentations(config)
        self.cache = WaveformCache(subset.manifest, config.features.sample_rate, config.data.cache_mb)
        if missing := [symbol for symbol in subset.symbols if symbol not in tokenizer]:
            raise TextError(f"{subset.manifest.path}: no token for {listed(missing)}")
        self.frames = self._output_frames(subset.durations / config.augment.speed[1])
        self.infeasible = np.flatnonzero(subset.needed > self.frames)
        if len(self.infeasible) == len(subset) and not self.composed:
            raise TrainError(
                f"{subset.manifest.path}: every utterance has fewer frames than CTC needs for its text;"
                " lower model.subsampling, or check that texts and audio belong together"
            )
        if len(self.infeasible) and not self.composed:
            logger.warning(self.describe_infeasible())

    def _output_frames(self, durations: np.ndarray) -> np.ndarray:
        samples = (durations * self.config.features.sample_rate).astype(np.int64)
        return output_frames(samples, self.config.features, self.config.model)

    def epoch(self, number: int) -> tuple[EpochDataset, np.ndarray]:
        """The utterances of an epoch, and the numbers of those that CTC can learn at the speed they have in it.

        Raises TrainError when there are none.
        """
        rng = np.random.default_rng((self.config.train.seed, number))
        utterances = self.source.draw(rng)
        dataset = EpochDataset(
            waveforms=self.cache,
            utterances=utterances,
            speeds=rng.uniform(*self.config.augment.speed, len(utterances)),
            tokenizer=self.tokenizer,
            normalizer=self.config.text.normalizer,
            augmentations=self.augmentations,
            seed=self.config.train.seed,
            epoch=number,
            pin=self.pin,
        )
        learnable = np.flatnonzero(utterances.needed <= self._output_frames(dataset.durations))
        if not len(learnable):
            raise TrainError(
                f"{self.subset.manifest.path}: no utterance of epoch {number + 1} has the frames that CTC needs for its"
                " text; lower model.subsampling"
            )
        return dataset, learnable

    def durations(self, epoch: int) -> np.ndarray:
        """(utterances,) seconds of those that CTC can learn in an epoch, at their speeds."""
        dataset, learnable = self.epoch(epoch)
        return dataset.durations[learnable]

    def batches(self, epoch: int, first: int = 0) -> tuple[int, Iterator[Batch]]:
        """The number of batches in the epoch, and its batches from number `first` on, this process's share of each."""
        dataset, learnable = self.epoch(epoch)
        durations = dataset.durations[learnable]
        rng = np.random.default_rng((self.config.train.seed, epoch, 1))
        groups = duration_batches(durations, self.config.train.batch_seconds, rng)
        if self.config.train.sortagrad and epoch == 0:
            groups.sort(key=lambda group: float(durations[group].max()))
        shares = [learnable[group[self.share]].tolist() for group in groups[first:]]
        return len(groups), dataset.batches(shares, self.config.data.workers)

    def names(self, epoch: int, indices: Sequence[int]) -> list[str]:
        """The ids of a batch's utterances, given its `indices`; of a composed one its recordings' ids, joined by +."""
        utterances = self.epoch(epoch)[0].utterances
        return ["+".join(self.subset.manifest[row].id for row in utterances.rows(index)) for index in indices]

    @property
    def max_unreadable(self) -> int:
        """How many utterances of an epoch may be missing."""
        return int(self.config.data.max_unreadable * len(self.source))

    def describe_infeasible(self, max_named: int = 5) -> str:
        """The utterances left out, for people: count, examples, remedy."""
        needed = self.subset.needed
        spare = self.frames[self.infeasible] - needed[self.infeasible]
        worst = self.infeasible[np.argsort(spare, kind="stable")[:max_named]]
        shown = ", ".join(
            f"{self.subset.manifest[int(self.subset.rows[i])].id} ({needed[i]} needed, {self.frames[i]} there)"
            for i in worst
        )
        return (
            f"{len(self.infeasible)} of {len(self.subset)} utterances have fewer frames than CTC needs for their text"
            f" at the fastest speed; training leaves them out where they are that fast: {shown}; a lower"
            " model.subsampling keeps them"
        )


def make_augmentations(config: Config) -> list[Augmentation]:
    """The augmentations of waveforms. Raises ManifestError for a noise manifest without recordings."""
    manifest, recorded = config.augment.noise.manifest, None
    if manifest is not None:
        recorded = RecordedNoise(WaveformCache(Manifest(manifest), config.features.sample_rate, config.data.cache_mb))
    return augmentations(config.augment, recorded)
