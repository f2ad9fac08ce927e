"""Texts -> a language model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asr.errors import ConfigError
from asr.lm.counts import count_ngrams, limit_vocabulary, read_corpus
from asr.lm.kneser_ney import estimate
from asr.lm.model import LanguageModel
from asr.lm.textfile import read_lines
from asr.lm.trie import Level, build
from asr.lm.units import SPECIAL, UNITS
from asr.text import NORMALIZERS
from asr.util.files import file_sha256
from asr.util.format import plural


@dataclass(frozen=True)
class LmConfig:
    """unit: word or character; prune: see asr.lm.kneser_ney.estimate; vocabulary: that many of the most frequent words;
    min_count: only words that occur so often; bits: of each packed probability and backoff weight."""

    order: int = 3
    unit: str = "word"
    normalizer: str = "basic"
    prune: tuple[int, ...] = ()
    vocabulary: int | None = None
    min_count: int = 1
    bits: int = 8

    def __post_init__(self) -> None:
        for name, known in (("unit", UNITS), ("normalizer", NORMALIZERS)):
            if getattr(self, name) not in known:
                raise ConfigError(f"{name}={getattr(self, name)}: there are {', '.join(known)}")
        for name, least, most in (("order", 1, 10), ("bits", 2, 16), ("min_count", 1, 10**9), ("vocabulary", 1, 10**9)):
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                raise ConfigError(f"{name}={value}: expected {least} to {most:,}")


def train(
    texts: Sequence[Path], config: LmConfig, heldout: Path | None, say: Callable[[str], None]
) -> tuple[LanguageModel, list[Level]]:
    """Estimate a model; the levels are its n-grams before they are packed, for an ARPA file.

    texts, heldout: files of one sentence a line; the perplexity is measured on the latter.
    Raises TextError, ConfigError.
    """
    corpus = read_corpus(texts, config.unit, config.normalizer, say)
    different = len(corpus.words) - len(SPECIAL)
    say(f"{plural(corpus.units, config.unit)} in {plural(corpus.sentences, 'sentence')}, {different:,} different")
    sources = [{"file": path.name, "sha256": file_sha256(path)} for path in texts]
    record = {"sources": sources, "sentences": corpus.sentences, "units": corpus.units, "prune": config.prune}
    corpus = limit_vocabulary(corpus, config.vocabulary, config.min_count)
    counts = count_ngrams(corpus, config.order)
    levels, discounts = estimate(counts, config.prune)
    for order, (all_of, kept) in enumerate(zip(counts, levels, strict=True), 1):
        say(f"{order}-grams: {len(all_of):,}" + (f", {len(kept):,} kept" if len(kept) < len(all_of) else ""))
    record["discounts"] = discounts
    model = LanguageModel(build(levels, config.bits), corpus.words, config.unit, config.normalizer, record)
    if heldout is not None:
        measured = model.perplexity(line.decode(errors="replace") for line in read_lines(heldout))
        record["perplexity"] = {"file": heldout.name, "sha256": file_sha256(heldout), **vars(measured)}
    return model, levels
