"""Audio of any length -> text, segments and words: cut, batched, decoded, stitched."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, cast, overload

import numpy as np
from torch import Tensor

from asr.audio import AUDIO_SUFFIXES, Audio, Source, as_audio, find_audio, read_audio
from asr.data.manifest import Manifest, Utterance, is_manifest, read_lines
from asr.decode.align import Alignment, Word, align, timed_words
from asr.decode.decoder import Hypothesis, decode_waveforms, with_confidence, words_of
from asr.decode.options import DecoderOptions
from asr.decode.results import as_dict, srt, vtt
from asr.errors import AsrError, AudioError, ManifestError
from asr.evaluate.run import evaluate_manifest, make_record, write_evaluation
from asr.evaluate.score import diagnose
from asr.model.folder import find_model, load_model
from asr.model.recognizer import Recognizer
from asr.segmentation import cut_at_pauses
from asr.util.files import safe_name
from asr.util.runtime import no_garbage_collection

logger = logging.getLogger(__name__)

AudioInput = Source | np.ndarray | Tensor | list[float]
AudioInputs = list[str] | list[Path] | list[bytes] | list[np.ndarray] | list[Tensor]

QUEUE_S = 240.0  # seconds of audio read before they are decoded together


@dataclass(frozen=True)
class Segment:
    """A stretch of audio decoded on its own; start and end in seconds."""

    start: float
    end: float
    text: str
    words: list[Word]


@dataclass(frozen=True)
class Transcript:
    """What was said in one recording. duration is in seconds; notes say what was done to the audio."""

    text: str
    segments: list[Segment]
    duration: float
    model: str
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> list[Word]:
        return [word for segment in self.segments for word in segment.words]

    def to_dict(self) -> dict[str, Any]:
        """What JSON output holds, but for the recording's name."""
        return as_dict(self)

    def to_srt(self) -> str:
        """SubRip subtitles."""
        return srt(self.words)

    def to_vtt(self) -> str:
        """WebVTT subtitles."""
        return vtt(self.words)


@dataclass(frozen=True)
class Job:
    """One recording to be transcribed: a file (or a part of it), bytes, or audio in memory.

    output: where its result is written, relative to the output folder and without an ending; raw_rate: the file has no
    header, see `asr.audio.read_audio`.
    """

    name: str
    source: Source | Audio
    output: Path = Path("recording")
    start: float = 0.0
    duration: float | None = None
    channel: int | None = None
    raw_rate: int | None = None

    @classmethod
    def of(cls, source: str | Utterance, raw_rate: int | None = None) -> Job:
        """A manifest's utterance, a file, or stdin ("-")."""
        if source == "-":
            return cls("stdin", sys.stdin.buffer, Path("stdin"), raw_rate=raw_rate)
        if isinstance(source, str):
            return cls(source, source, safe_name(Path(source).stem), raw_rate=raw_rate)
        return cls(source.id, source.audio, safe_name(source.id), source.start, source.duration, source.channel)

    def read(self, sample_rate: int) -> Audio:
        if isinstance(self.source, Audio):
            return self.source
        return read_audio(
            self.source,
            sample_rate,
            start=self.start,
            duration=self.duration,
            channel=self.channel,
            raw_rate=self.raw_rate,
            name=None if isinstance(self.source, (str, Path)) else self.name,
        )


def find_jobs(inputs: Iterable[str], raw_rate: int | None = None) -> tuple[list[Job], list[AsrError]]:
    """What is meant by names of files, folders and manifests, in order; and what is wrong with those that name nothing,
    with files of a folder and with lines of a manifest.

    "-" is stdin. raw_rate: files have no headers, see `asr.audio.read_audio`.
    """
    jobs: list[Job] = []
    errors: list[AsrError] = []
    for name in inputs:
        try:
            if os.path.isdir(name):
                found = find_audio(Path(name), errors.append)
                jobs.extend(Job(str(path), path, _without_ending(path.relative_to(name))) for path in found)
            elif is_manifest(name):
                jobs.extend(map(Job.of, _read_manifest(name, errors)))
            else:
                jobs.append(Job.of(name, raw_rate))
        except AsrError as error:
            errors.append(error)
    if not jobs and not errors:
        errors.append(AudioError(f"{' '.join(inputs)}: nothing to transcribe"))
    return jobs, errors


def _without_ending(path: Path) -> Path:
    """2026.05.01 is a name without one, and of ..wav nothing would be left."""
    return path.with_suffix("") if path.suffix.lower() in AUDIO_SUFFIXES and path.stem != "." else path


def _read_manifest(path: str, errors: list[AsrError]) -> Iterator[Utterance]:
    """The utterances. Lines that are none go to errors, of a file without any that is one only the first."""
    good = False
    bad: list[AsrError] = []
    for line in read_lines(path):
        try:
            yield Utterance.from_record(line.parse(), line.path.parent)
            good = True
        except ManifestError as error:
            bad.append(error)
    errors.extend(bad if good else bad[:1])


class Transcriber:
    """A recognizer with everything around it. Made by `asr.load`.

    folder: where the recognizer was loaded from; options: how it decodes.
    """

    def __init__(
        self, recognizer: Recognizer, options: DecoderOptions | None = None, folder: Path | None = None
    ) -> None:
        self.recognizer = recognizer
        self.options = options or DecoderOptions()
        self.folder = folder
        self.decoder = self.options.decoder(recognizer)

    @classmethod
    def load(
        cls, model: str | Path | None = None, device: str = "auto", options: DecoderOptions | None = None
    ) -> Transcriber:
        """See `asr.load`."""
        folder = find_model(model)
        with no_garbage_collection():  # a lexicon has hundreds of thousands of objects, none of them garbage
            recognizer = load_model(folder, device)
            if recognizer.g2p is not None:
                from asr.lexicon.g2p import Guesser

                recognizer.tokenizer = replace(recognizer.tokenizer, guess=Guesser(recognizer.g2p))
            return cls(recognizer, (options or DecoderOptions()).for_model(folder), folder)

    @property
    def sample_rate(self) -> int:
        return self.recognizer.sample_rate

    @overload
    def transcribe(self, audio: AudioInputs, sample_rate: int | None = None) -> list[Transcript]: ...
    @overload
    def transcribe(self, audio: AudioInput, sample_rate: int | None = None) -> Transcript: ...
    def transcribe(
        self, audio: AudioInput | AudioInputs, sample_rate: int | None = None
    ) -> Transcript | list[Transcript]:
        """audio: a path, a file's bytes, a binary stream, or an array or tensor with its rate: (samples,), or with
        channels, of which the mean is taken: (samples, channels) or, as torchaudio has it, (channels, samples).

        >>> import asr
        >>> model = asr.load("digits")
        >>> model.transcribe("data/samples/heart_16k.flac").text
        'four one five nine two six five'

        A list of them is computed as a batch and gives a list. Raises AudioError for audio that cannot be read;
        `transcribe_all` goes on with the rest.
        """
        several = isinstance(audio, list) and not (audio and isinstance(audio[0], (int, float, np.number)))
        results = []
        for _, result in self.transcribe_all(cast(Iterable[AudioInput], audio if several else [audio]), sample_rate):
            if isinstance(result, AsrError):
                raise result
            results.append(result)
        return results if several else results[0]

    def align(
        self, audio: AudioInput, text: str, sample_rate: int | None = None, skip_unknown: bool = False
    ) -> Alignment:
        """Find when each word of a text was said. audio: as for `transcribe`, of any length.

        >>> import asr
        >>> words = asr.load("digits").align("data/samples/heart_16k.flac", "four one five nine two six five").words
        >>> f"{words[0].text} ends at {words[0].end:.1f} s, score {words[0].score:.1f}"
        'four ends at 0.6 s, score 1.0'

        Raises AudioError for audio that cannot be read; TextError for a text without words, for one too long for the
        audio and, unless skip_unknown leaves them out, for words that the model has no tokens for.
        """
        read = self._job(audio, sample_rate).read(self.sample_rate)
        return align(self.recognizer, read.samples, text, skip_unknown)

    def evaluate(
        self,
        manifest: str | Path,
        output_dir: str | Path | None = None,
        progress: Callable[[Iterable[Utterance], int], Iterable[Utterance]] | None = None,
    ) -> dict[str, Any]:
        """Word error rate on a manifest, a list of recordings with their texts: the record that `wer.json` holds.
        Rates are fractions.

        output_dir: write wer.json, ref.trn and hyp.trn here. progress: passes on the utterances, of which there are so
        many, and may show how far they are. A recording that cannot be read is logged and not scored.

        >>> import asr
        >>> record = asr.load("digits").evaluate("data/samples/samples.jsonl")
        >>> record["words"], record["failed"]
        (27, 0)

        Raises ManifestError for a manifest that is damaged or lacks texts.
        """
        listed = Manifest(manifest)
        utterances = None if progress is None else progress(listed, len(listed))
        evaluation = evaluate_manifest(self.recognizer, listed, utterances, self.decoder)
        for failure in evaluation.failed:
            logger.error(failure)
        scores = evaluation.score()
        if advice := diagnose(scores):
            if self.options.lm is not None:
                advice += "; or the language model outweighs the audio: lower lm_weight, raise word_insertion_bonus"
            logger.warning(advice)
        record = make_record(evaluation, scores, self.recognizer, self.folder, listed.path, self.options.record())
        if output_dir is not None:
            write_evaluation(Path(output_dir), evaluation, record)
        return record

    def _job(self, audio: Job | AudioInput, sample_rate: int | None) -> Job:
        if isinstance(audio, Job):
            return audio
        if isinstance(audio, Tensor):
            audio = audio.detach().cpu()
            audio = (audio.float() if audio.is_floating_point() else audio).numpy()  # numpy has no bfloat16
        elif isinstance(audio, list):
            audio = np.asarray(audio)
        if isinstance(audio, np.ndarray):
            if sample_rate is None:
                raise AudioError("an array has no sample rate of its own: pass sample_rate=")
            return Job("array", as_audio(audio, sample_rate, self.sample_rate))
        return Job(str(audio) if isinstance(audio, (str, Path)) else "audio data", audio)

    def transcribe_all(
        self, recordings: Iterable[Job | AudioInput], sample_rate: int | None = None
    ) -> Iterator[tuple[Job, Transcript | AsrError]]:
        """Transcribe many recordings, batched, results in their order, each with its name. A bad one gives its error
        and the rest goes on. recordings: as for `transcribe`, mixed as you like.

        >>> import asr
        >>> for job, result in asr.load("digits").transcribe_all(["data/samples/rms_8k.wav", "missing.wav"]):
        ...     print(job.name, "failed" if isinstance(result, asr.AsrError) else result.text)
        data/samples/rms_8k.wav zero eight zero zero three two one
        missing.wav failed
        """
        if isinstance(recordings, (str, Path, bytes, bytearray, memoryview)) or (
            hasattr(recordings, "read") or getattr(recordings, "ndim", 0) == 1
        ):  # whose parts are no recordings
            recordings = [cast(AudioInput, recordings)]
        read: list[tuple[Job, Audio | AsrError]] = []
        seconds = 0.0
        for recording in recordings:
            job = recording if isinstance(recording, Job) else Job("array", b"")
            try:
                job = self._job(recording, sample_rate)
                audio = job.read(self.sample_rate)
                seconds += audio.duration
                read.append((job, audio))
            except AsrError as error:
                read.append((job, error))
            if seconds >= QUEUE_S or len(read) >= 256:
                yield from self._decode(read)
                read, seconds = [], 0.0
        yield from self._decode(read)

    def _decode(self, read: Sequence[tuple[Job, Audio | AsrError]]) -> Iterator[tuple[Job, Transcript | AsrError]]:
        """The segments of all recordings together; then those of each become its transcript."""
        audios = [audio for _, audio in read if isinstance(audio, Audio)]
        bounds = [cut_at_pauses(audio.samples, self.sample_rate) for audio in audios]
        pieces = [audio.samples[a:b] for audio, pairs in zip(audios, bounds, strict=True) for a, b in pairs]
        hypotheses = iter(decode_waveforms(self.recognizer, pieces, with_confidence(self.decoder, self.recognizer)))
        cuts = iter(bounds)
        for job, audio in read:
            yield job, self._stitch(audio, next(cuts), hypotheses) if isinstance(audio, Audio) else audio

    def _stitch(self, audio: Audio, bounds: Sequence[tuple[int, int]], hypotheses: Iterator[Hypothesis]) -> Transcript:
        segments = []
        for (first, end), hypothesis in zip(bounds, islice(hypotheses, len(bounds)), strict=True):
            start_s, end_s = first / self.sample_rate, end / self.sample_rate
            spoken = timed_words(self.recognizer, hypothesis, audio.samples[first:end], start_s)
            said = " ".join(words_of(hypothesis, self.recognizer.tokenizer))
            segments.append(Segment(start_s, end_s, said, spoken))
        text = " ".join(segment.text for segment in segments if segment.text)
        return Transcript(text, segments, audio.duration, self.recognizer.name, audio.notes)
