"""Texts -> a language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.data.download import file_sha256
from asr.errors import ConfigError
from asr.lm.counts import count_ngrams, limit_vocabulary, read_corpus
from asr.lm.kneser_ney import estimate
from asr.lm.model import LanguageModel
from asr.lm.textfile import read_lines
from asr.lm.trie import Level, build
from asr.lm.units import UNITS
from asr.text import NORMALISERS


@dataclass(frozen=True)
class LmConfig:
    """unit: word or character; prune: see asr.lm.kneser_ney.estimate; vocabulary: that many of the most frequent words;
    min_count: only words that occur so often; bits: of each packed probability and backoff weight."""

    order: int = 3
    unit: str = "word"
    normaliser: str = "basic"
    prune: tuple[int, ...] = ()
    vocabulary: int | None = None
    min_count: int = 1
    bits: int = 8

    def __post_init__(self) -> None:
        for name, value, known in (("unit", self.unit, UNITS), ("normaliser", self.normaliser, tuple(NORMALISERS))):
            if value not in known:
                raise ConfigError(f"{name}={value}: there are {', '.join(known)}")
        for name, value, least, most in (
            ("order", self.order, 1, 10),
            ("bits", self.bits, 2, 16),
            ("min_count", self.min_count, 1, None),
            ("vocabulary", self.vocabulary, 1, None),
        ):
            if value is not None and not least <= value <= (most or value):
                raise ConfigError(f"{name}={value}: must be at least {least}" + (f", at most {most}" if most else ""))


def train(
    texts: Sequence[Path], config: LmConfig, heldout: Path | None, say: Callable[[str], None]
) -> tuple[LanguageModel, list[Level]]:
    """Estimate a model; the levels are its n-grams before they are packed, for an ARPA file.

    texts, heldout: files of one sentence a line; the perplexity is measured on the latter.
    Raises TextError, ConfigError.
    """
    corpus = read_corpus(texts, config.unit, config.normaliser, say)
    say(f"{corpus.units:,} {config.unit}s in {corpus.sentences:,} sentences, {len(corpus.words) - 3:,} different ones")
    sources = [{"file": path.name, "sha256": file_sha256(path)} for path in texts]
    record = {"sources": sources, "sentences": corpus.sentences, "units": corpus.units, "prune": config.prune}
    corpus = limit_vocabulary(corpus, config.vocabulary, config.min_count)
    counts = count_ngrams(corpus, config.order)
    levels, discounts = estimate(counts, config.prune)
    for order, (all_of, kept) in enumerate(zip(counts, levels, strict=True), 1):
        say(f"{order}-grams: {len(all_of):,}" + (f", {len(kept):,} kept" if len(kept) < len(all_of) else ""))
    record["discounts"] = discounts
    model = LanguageModel(build(levels, config.bits), corpus.words, config.unit, config.normaliser, record)
    if heldout is not None:
        measured = model.perplexity(line.decode(errors="replace") for line in read_lines(heldout))
        record["perplexity"] = {"file": heldout.name, "sha256": file_sha256(heldout), **vars(measured)}
    return model, levels
