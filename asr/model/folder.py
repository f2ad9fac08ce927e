"""Model folders: found by name, written, read. The built-in models are those in asr/pretrained."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from asr import __version__
from asr.config import FeatureConfig, ModelConfig, TextConfig, lenient
from asr.errors import AsrError, ModelError
from asr.model.recognizer import EMISSION_DELAY_S, Recognizer
from asr.text import Tokenizer
from asr.util.device import set_precision
from asr.util.files import read_record, replace_file

FORMAT_VERSION = 1
BUILT_IN = Path(__file__).parent.parent / "pretrained"
DEFAULT = "digits"


def built_in_models() -> list[str]:
    return sorted(path.parent.name for path in BUILT_IN.glob("*/config.json"))


def find_model(model: str | Path | None = None) -> Path:
    """The model folder meant by a model folder, a run folder or a built-in model's name; None is the default model.

    Raises ModelError when there is no such model.
    """
    if model is None:  # a folder ./digits of the user's must not pass for it
        return BUILT_IN / DEFAULT
    path = Path(model)
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return folder
    if str(model) in built_in_models():
        return BUILT_IN / str(model)
    if (path / "checkpoints").is_dir():
        raise ModelError(f"{model}: this run has not finished; the asr train command that began it goes on")
    lacking = "it holds no config.json" if path.exists() else "there is nothing of that name"
    raise ModelError(
        f"{model}: neither a model folder nor a built-in model ({', '.join(built_in_models())}): {lacking};"
        " asr train makes RUN/model, a folder with config.json and model.safetensors"
    )


def save_model(recognizer: Recognizer, folder: Path, card: str) -> None:
    """Write a model folder: model.safetensors, config.json and the model card."""
    config = {
        "format_version": FORMAT_VERSION,
        "asr_version": __version__,
        "name": recognizer.name,
        "sample_rate": recognizer.sample_rate,
        "features": recognizer.features.config.model_dump(mode="json"),
        "text": recognizer.text.model_dump(mode="json"),
        "blank": 0,
        "tokens": list(recognizer.tokenizer.tokens),
        "encoder": recognizer.config.model_dump(mode="json"),
        "causal": not recognizer.config.bidirectional,
        "subsampling": {
            "factor": recognizer.config.subsampling,
            "feature_frames": f"floor(samples / {recognizer.features.hop}) + 1",
            "output_frames": f"ceil(feature_frames / {recognizer.config.subsampling})",
        },
        "emission_delay_s": recognizer.emission_delay_s,
        "platt_scaling": list(recognizer.platt_scaling),
        "training": recognizer.training_record,
    }
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in recognizer.state_dict().items()}
    # The config goes last: a folder without one is not taken for a model.
    replace_file(folder / "model.safetensors", save(weights, metadata={"format": "pt"}))
    replace_file(folder / "README.md", card)
    replace_file(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def load_model(folder: str | Path, device: torch.device | str = "cpu") -> Recognizer:
    """Read a model folder. No code in it is run. Raises ModelError naming the file at fault."""
    folder = Path(folder)
    path = folder / "config.json"
    raw = read_record(path, FORMAT_VERSION, "not a model folder")
    try:
        text = lenient(TextConfig, raw["text"], str(path))
        recognizer = Recognizer(
            lenient(FeatureConfig, raw["features"], str(path)),
            text,
            lenient(ModelConfig, raw["encoder"], str(path)),
            Tokenizer(text.tokens, tuple(raw["tokens"])),
        )
        slope, offset = map(float, raw.get("platt_scaling", recognizer.platt_scaling))
        recognizer.platt_scaling = slope, offset
        recognizer.emission_delay_s = float(raw.get("emission_delay_s", EMISSION_DELAY_S))
        if not (0 <= recognizer.emission_delay_s <= 10 and 0 <= slope <= 1e3 and abs(offset) <= 1e3):
            raise ModelError(f"emission_delay_s is {recognizer.emission_delay_s}, platt_scaling {slope}, {offset}")
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
