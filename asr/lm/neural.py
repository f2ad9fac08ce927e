"""A recurrent language model: an RNN, LSTM or GRU that predicts a text subword by subword, so that it knows every word.

    h = cells(embedding of the subwords so far)      p(next subword) = softmax(E W h + b)

E is the embedding, for the output too (Press and Wolf 2017): the softmax over a few thousand subwords is cheap, and so
is what there is to learn. A sentence begins with the state zero and the token BORDER, and ends with BORDER. The
probability of a word is the product over its subwords, as `asr.subwords` spells it.

Its folder holds lm.json (what it is) and model.safetensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.nn.utils.rnn import pad_sequence

from asr import __version__
from asr.data.batches import duration_batches
from asr.errors import ModelError
from asr.lm.model import FORMAT_VERSION, MAX_SAMPLED, NEURAL, Perplexity, join_units, read_about, split_sentences
from asr.model.recurrent import RecurrentLayer
from asr.subwords import MARK, spell
from asr.text import normalize
from asr.util.files import replace_file
from asr.util.runtime import resolve_device
from asr.util.signals import shield_from_signals

BORDER, UNKNOWN = 0, 1  # tokens: the beginning and the end of a sentence; a character that no subword spells
SPECIAL = ("</s>", "<unk>")
BATCH_TOKENS = 8192  # scored at once


@dataclass(frozen=True)
class NetworkConfig:
    """The network. cell: rnn, lstm or gru; embedding_size: of a subword."""

    cell: str = "lstm"
    layers: int = 1
    hidden_size: int = 512
    embedding_size: int = 256


class Network(nn.Module):
    """tokens: how many there are."""

    def __init__(self, config: NetworkConfig, tokens: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, config.embedding_size)
        nn.init.normal_(self.embedding.weight, std=config.embedding_size**-0.5)
        sizes = [config.embedding_size, *[config.hidden_size] * (config.layers - 1)]
        self.layers = nn.ModuleList(RecurrentLayer(config.cell, size, config.hidden_size, False) for size in sizes)
        self.projection = nn.Linear(config.hidden_size, config.embedding_size)
        self.bias = nn.Parameter(torch.zeros(tokens))
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, states: Sequence[Any] | None = None) -> tuple[Tensor, list[Any]]:
        """tokens: (B, T) -> (B, T, E), which `logits` takes, and the states of the layers after the last token."""
        inputs = self.embedding(tokens) * self.embedding.embedding_dim**0.5  # small for the output, of size 1 here
        hidden, after = self.dropout(inputs), []
        for layer, state in zip(self.layers, states or [None] * len(self.layers), strict=True):
            assert isinstance(layer, RecurrentLayer)
            hidden, state = layer.rnn(hidden, state)  # (B, T, H)
            hidden = self.dropout(hidden)
            after.append(state)
        return self.projection(hidden), after

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, E) -> (…, tokens): scores of the next token, before the softmax."""
        return linear(hidden, self.embedding.weight, self.bias)


@dataclass
class NeuralLanguageModel:
    """tokens: SPECIAL, then subwords in the order in which they were learned; normalizer: what the text went through;
    record: where the model comes from; tuned: see asr.decode.rescore."""

    network: Network
    config: NetworkConfig
    tokens: list[str]
    normalizer: str
    record: dict[str, Any] = field(default_factory=dict)
    tuned: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> NeuralLanguageModel:
        """Read a folder; no code in it is run. Raises ModelError naming the file at fault."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder, target = Path(folder), resolve_device(device)
        about = read_about(folder)
        if about.get("kind") != NEURAL:
            raise ModelError(f"{folder}: an n-gram model, not a neural one; asr lm train --neural makes one")
        path = folder / "model.safetensors"
        try:
            config, tokens = NetworkConfig(**about["network"]), list(map(str, about["tokens"]))
            network = Network(config, len(tokens))
            network.load_state_dict(load_file(path))
            normalizer, record, tuned = str(about["normalizer"]), dict(about["record"]), dict(about["tuned"])
            if not 0 <= tuned.get("rescore_weight", 0) <= 1:
                raise ValueError(f"rescore_weight is {tuned['rescore_weight']}")
        except (OSError, SafetensorError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"{path}: does not fit lm.json or is damaged: {first_line(error)}") from None
        return cls(network.to(target).eval(), config, tokens, normalizer, record, tuned)

    def save(self, folder: str | Path) -> None:
        """Write the folder: lm.json comes last."""
        from safetensors.torch import save

        folder = Path(folder)
        about = {
            "format_version": FORMAT_VERSION,
            "asr_version": __version__,
            "kind": NEURAL,
            "normalizer": self.normalizer,
            "network": asdict(self.config),
            "record": self.record,
            "tuned": self.tuned,
            "tokens": self.tokens,
        }
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.network.state_dict().items()}
        replace_file(folder / "model.safetensors", save(weights))
        replace_file(folder / "lm.json", json.dumps(about, indent=1, ensure_ascii=False) + "\n")

    @property
    def device(self) -> torch.device:
        return self.network.bias.device

    @cached_property
    def rank(self) -> dict[str, int]:
        """See `rank_of`."""
        return rank_of(self.tokens)

    def encode(self, word: str) -> list[int]:
        """A word's tokens."""
        return encode(word, self.rank)

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of tokens."""
        return "".join(self.tokens[token] for token in tokens).replace(MARK, " ").strip()

    def score_tokens(self, sentences: Sequence[Sequence[int]]) -> list[np.ndarray]:
        """ln p of each token of each sentence and of its end: (tokens + 1,) float64. Computed in batches."""
        shield_from_signals()
        scores: dict[int, np.ndarray] = {}
        lengths = np.array([len(sentence) + 1 for sentence in sentences], np.float64)
        for batch in duration_batches(lengths, BATCH_TOKENS):
            rows = [torch.tensor([BORDER, *sentences[i], BORDER]) for i in batch]
            padded = pad_sequence(rows, batch_first=True).to(self.device)  # (B, T + 1)
            inside = pad_sequence([torch.ones(len(row) - 1, dtype=torch.bool) for row in rows], True).to(self.device)
            with torch.inference_mode():
                hidden, _ = self.network(padded[:, :-1])
                log_probs = self.network.logits(hidden[inside]).log_softmax(-1)  # (all tokens, tokens)
                found = log_probs.gather(-1, padded[:, 1:][inside].unsqueeze(-1)).squeeze(-1).cpu().double().numpy()
            scores.update(zip(batch, np.split(found, lengths[batch].cumsum().astype(int)[:-1]), strict=True))
        return [scores[i] for i in range(len(sentences))]

    def score_sentences(self, sentences: Iterable[Sequence[str]]) -> np.ndarray:
        """(sentences,) float64: ln p of each, given as its words, with its end."""
        tokens = [list(chain.from_iterable(map(self.encode, words))) for words in sentences]
        return np.array([scores.sum() for scores in self.score_tokens(tokens)])

    def perplexity(self, texts: Iterable[str]) -> Perplexity:
        """The perplexity of a word, as that of an n-gram model: over the words and the ends of sentences, after the
        model's normalizer; empty ones are left out. Unknown are words with a character that the text lacked."""
        sentences = chain.from_iterable(map(split_sentences, texts))
        each = [units for sentence in sentences if (units := join_units(sentence, "word", self.normalizer))]
        if not each:
            return Perplexity(math.nan, math.nan, 0, 0, 0)
        words = [list(map(self.encode, units)) for units in each]
        tokens = [list(chain.from_iterable(sentence)) for sentence in words]
        log_probs = np.concatenate(self.score_tokens(tokens))
        sizes = [len(word) for sentence in words for word in (*sentence, [BORDER])]
        known = np.array([UNKNOWN not in word for sentence in words for word in (*sentence, [BORDER])])
        of_words = np.add.reduceat(log_probs, np.cumsum([0, *sizes[:-1]]))
        everything, known_only = safe_exp(-of_words.mean()), safe_exp(-of_words[known].mean())
        return Perplexity(everything, known_only, len(known) - len(each), int((~known).sum()), len(each))

    def sample(self, count: int, prompt: str = "", temperature: float = 1.0, seed: int = 0) -> list[str]:
        """Sentences drawn at random that begin with a prompt, its last word perhaps continued. temperature: below 1
        likely subwords are drawn more often than their probability says, above 1 more rarely."""
        shield_from_signals()
        random = torch.Generator().manual_seed(seed)
        begun = [token for word in normalize(prompt, self.normalizer).split() for token in self.encode(word)]
        drawn = torch.tensor([[BORDER, *begun]] * count, device=self.device)  # (B, T)
        last, states = drawn, None
        with torch.inference_mode():
            while drawn.shape[1] <= MAX_SAMPLED and (last is drawn or not (drawn[:, 1:] == BORDER).any(1).all()):
                hidden, states = self.network(last, states)
                logits = self.network.logits(hidden[:, -1]).double().cpu() / temperature
                logits[:, UNKNOWN] = -math.inf
                last = torch.multinomial(logits.softmax(-1), 1, generator=random).to(self.device)
                drawn = torch.cat([drawn, last], 1)
        return [self.decode(row[: [*row, BORDER].index(BORDER)]) for row in drawn[:, 1:].tolist()]


def safe_exp(value: float) -> float:
    """e^value, infinite where that is too large for a float."""
    return math.exp(value) if value < 709 else math.inf


def first_line(error: Exception) -> str:
    """Of what an error says, or its kind where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def rank_of(tokens: Sequence[str]) -> dict[str, int]:
    """Subword -> its number among the tokens, which is also the order in which letters are joined to subwords."""
    return {token: number for number, token in enumerate(tokens) if number >= len(SPECIAL)}


def encode(word: str, rank: Mapping[str, int]) -> list[int]:
    """A word's tokens."""
    if word == SPECIAL[UNKNOWN]:
        return [UNKNOWN]
    return [rank.get(part, UNKNOWN) for part in spell(word, rank)]
