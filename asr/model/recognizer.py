"""A whole recogniser (features, encoder, head, tokens) and the folder it is stored in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from asr.config import FeatureConfig, ModelConfig, TextConfig, lenient
from asr.device import set_precision
from asr.errors import AsrError, ModelError
from asr.features import FeatureExtractor
from asr.folders import write_whole
from asr.frames import output_frames
from asr.model.ctc import CTCHead
from asr.model.encoder import Encoder
from asr.text import Tokenizer
from asr.version import __version__

if TYPE_CHECKING:
    from asr.augment import SpecAugment

FORMAT_VERSION = 1
LEAD_S = 0.08  # of a model whose own has not been measured


class Recognizer(nn.Module):
    """Waveforms -> log-probabilities of tokens. Everything decoding needs is here and in the model folder.

    lead_s: from where a word begins to the centre of its first frame, as scripts/bench_align.py measures it.
    confidence_map: slope and offset that take the log odds of a word's probability to those of its being right.
    """

    def __init__(self, features: FeatureConfig, text: TextConfig, model: ModelConfig, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.config = model
        self.text = text
        self.tokenizer = tokenizer
        self.name = "unnamed"
        self.training_record: dict[str, Any] = {}
        self.lead_s = LEAD_S
        self.confidence_map = (1.0, 0.0)
        self.features = FeatureExtractor(features)
        self.encoder = Encoder(model, self.features.dimension)
        self.head = CTCHead(self.encoder.outputs, len(tokenizer))

    @property
    def sample_rate(self) -> int:
        return self.features.config.sample_rate

    @property
    def frame_s(self) -> float:
        """Seconds from one output frame to the next. Frame i is centred on i × frame_s."""
        return self.features.hop * self.config.subsampling / self.sample_rate

    @property
    def device(self) -> torch.device:
        return self.head.projection.weight.device

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.parameters())

    def output_frames(self, samples: int) -> int:
        """Frames of log_probs for a waveform of that many samples."""
        return output_frames(samples, self.features.config, self.config)

    def set_precision(self, precision: str) -> None:
        """Precision of the recurrent layers on CUDA: fp32, tf32 (auto) or bf16."""
        for layer in self.encoder.layers:
            layer.precision = precision

    def forward(
        self, waveforms: Tensor, lengths: Tensor, spec_augment: SpecAugment | None = None
    ) -> tuple[Tensor, Tensor]:
        """waveforms: (batch, samples) in ±1, lengths: (batch,) -> log_probs (batch, frames, vocabulary), their lengths.

        Frames of log_probs past an utterance's length are arbitrary.
        """
        with torch.no_grad():
            if spec_augment is None:
                features, feature_lengths = self.features(waveforms, lengths)
            else:
                batch, mels = len(waveforms), self.features.config.mels
                warps, responses = spec_augment.warps(batch), spec_augment.responses(batch, mels)
                features, feature_lengths = self.features(waveforms, lengths, warps, responses)
                features = spec_augment(features, feature_lengths)
        encoded, encoded_lengths = self.encoder(features, feature_lengths)
        return self.head(encoded), encoded_lengths

    def save(self, folder: Path, card: str) -> None:
        """Write a model folder: model.safetensors, config.json and the model card."""
        config = {
            "format_version": FORMAT_VERSION,
            "asr_version": __version__,
            "name": self.name,
            "sample_rate": self.sample_rate,
            "features": self.features.config.model_dump(mode="json"),
            "text": self.text.model_dump(mode="json"),
            "blank": 0,
            "tokens": list(self.tokenizer.tokens),
            "encoder": self.config.model_dump(mode="json"),
            "causal": not self.config.bidirectional,
            "subsampling": {
                "factor": self.config.subsampling,
                "feature_frames": f"floor(samples / {self.features.hop}) + 1",
                "output_frames": f"ceil(feature_frames / {self.config.subsampling})",
            },
            "lead_s": self.lead_s,
            "confidence_map": list(self.confidence_map),
            "training": self.training_record,
        }
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in self.state_dict().items()}
        # The config goes last: a folder without one is not taken for a model.
        write_whole(folder / "model.safetensors", save(weights, metadata={"format": "pt"}))
        write_whole(folder / "README.md", card)
        write_whole(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")

    @classmethod
    def load(cls, folder: str | Path, device: torch.device | str = "cpu") -> Recognizer:
        """Read a model folder. No code in it is run. Raises ModelError naming the file at fault."""
        folder = Path(folder)
        path = folder / "config.json"
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ModelError(f"{folder}: not a model folder (no config.json)") from None
        except (OSError, ValueError, RecursionError) as error:
            raise ModelError(f"{path}: unreadable: {error}") from None
        version = raw.get("format_version") if isinstance(raw, dict) else None
        if version != FORMAT_VERSION:
            raise ModelError(
                f"{path}: format_version is {version!r}, this asr {__version__} reads {FORMAT_VERSION};"
                " a newer asr may be needed"
            )
        try:
            text = lenient(TextConfig, raw["text"], str(path))
            recognizer = cls(
                lenient(FeatureConfig, raw["features"], str(path)),
                text,
                lenient(ModelConfig, raw["encoder"], str(path)),
                Tokenizer(text.tokens, tuple(raw["tokens"])),
            )
            slope, offset = map(float, raw.get("confidence_map", recognizer.confidence_map))
            recognizer.confidence_map = slope, offset
            recognizer.lead_s = float(raw.get("lead_s", LEAD_S))
            if not (0 <= recognizer.lead_s <= 10 and 0 <= slope <= 1e3 and abs(offset) <= 1e3):
                raise ModelError(f"lead_s is {recognizer.lead_s}, confidence_map {slope}, {offset}")
        except (AsrError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ModelError(f"{path}: damaged: {error if isinstance(error, AsrError) else repr(error)}") from None
        recognizer.name = str(raw.get("name", folder.name))
        recognizer.training_record = raw.get("training") or {}
        weights = folder / "model.safetensors"
        try:
            recognizer.load_state_dict(load_file(weights))
        except (OSError, SafetensorError, RuntimeError) as error:
            first = str(error).strip().splitlines()
            raise ModelError(f"{weights}: does not fit config.json or is damaged: {' '.join(first[:2])}") from None
        if torch.device(device).type == "cuda":
            set_precision("auto")
        return recognizer.to(device).eval()
