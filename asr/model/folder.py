"""Model folders: found by name, written with their card, read. The built-in models are those in asr/pretrained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asr import __version__
from asr.config import FeatureConfig, ModelConfig, TextConfig, lenient
from asr.errors import AsrError, ModelError
from asr.lexicon.pronunciations import Pronunciations
from asr.text import Tokenizer
from asr.util.files import read_record, replace_file
from asr.util.format import percent
from asr.util.runtime import resolve_device, set_precision

if TYPE_CHECKING:  # torch takes seconds to load; that there is no such model is known before
    from torch import Tensor

    from asr.model.recognizer import Recognizer

FORMAT_VERSION = 1
BUILT_IN = Path(__file__).parent.parent / "pretrained"
DEFAULT = "english"
LEXICON, LM, G2P = "lexicon.txt", "lm", "g2p"  # of a model of phones
_SCALES = ".int8_scales"  # behind the name of a matrix


def built_in_models() -> list[str]:
    return sorted(path.parent.name for path in BUILT_IN.glob("*/config.json"))


def find_model(model: str | Path | None = None) -> Path:
    """The model folder meant by a model folder, a run folder or a built-in model's name; None is the default model.

    Raises ModelError when there is no such model.
    """
    if model is None:  # so that a folder ./english is not mistaken for it
        return BUILT_IN / DEFAULT
    path = Path(model)
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return folder
    if str(model) in built_in_models():
        return BUILT_IN / str(model)
    if (path / "checkpoints").is_dir():
        kept = [path / "checkpoints" / name for name in ("best.pt", "last.pt")]
        checkpoint = next((file for file in kept if file.is_file()), None)
        use = f"; to use what it has learned so far: asr make-model {checkpoint} FOLDER" if checkpoint else ""
        raise ModelError(f"{model}: this run has not finished training; repeat its asr train command to continue{use}")
    lacking = "it holds no config.json" if path.exists() else "there is nothing of that name"
    raise ModelError(
        f"{model}: neither a model folder nor a built-in model ({', '.join(built_in_models())}): {lacking};"
        " asr train makes RUN/model, a folder with config.json and model.safetensors"
    )


def refuse_model_in(folder: Path) -> None:
    """Raise ModelError when a folder that is to be written holds a model already."""
    if (folder / "config.json").exists():
        raise ModelError(f"{folder}: holds a model already; choose another folder or delete it")


def save_model(recognizer: Recognizer, folder: Path) -> None:
    """Write a model folder: model.safetensors, config.json and the model card; for tokens of phones also lexicon.txt
    and, if the recognizer has them, the folders lm and g2p."""
    from safetensors.torch import save

    config = {
        "format_version": FORMAT_VERSION,
        "asr_version": __version__,
        "name": recognizer.name,
        "sample_rate": recognizer.sample_rate,
        "features": recognizer.features.config.model_dump(mode="json"),
        "text": recognizer.text.model_dump(mode="json") | {"tokens": recognizer.tokenizer.kind},
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
        "weights": recognizer.weights,
        "training": recognizer.training_record,
    }
    if recognizer.tokenizer.kind == "phones":
        Pronunciations({**recognizer.tokenizer.pronunciations}).save(folder / LEXICON)
    for kept, name in ((recognizer.lm, LM), (recognizer.g2p, G2P)):
        if kept is not None and kept.resolve() != (folder / name).resolve():
            shutil.copytree(kept, folder / name, dirs_exist_ok=True)
    # The config goes last: a folder without one does not count as a model.
    replace_file(folder / "model.safetensors", save(packed_weights(recognizer), metadata={"format": "pt"}))
    replace_file(folder / "README.md", model_card(recognizer))
    replace_file(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")


def load_model(folder: str | Path, device: str = "cpu") -> Recognizer:
    """Read a model folder; device: as for `asr.load`. No code in the folder is run.

    Raises ModelError naming the file at fault, ConfigError for a device that this machine lacks.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from asr.model.recognizer import EMISSION_DELAY_S, Recognizer

    folder, target = Path(folder), resolve_device(device)
    path = folder / "config.json"
    raw = read_record(path, FORMAT_VERSION, "not a model folder")
    try:
        text = lenient(TextConfig, raw["text"], str(path))
        lexicon = folder / LEXICON
        pronunciations = Pronunciations.load(lexicon, "none", True).words if text.tokens == "phones" else {}
        recognizer = Recognizer(
            lenient(FeatureConfig, raw["features"], str(path)),
            text,
            lenient(ModelConfig, raw["encoder"], str(path)),
            Tokenizer(text.tokens, tuple(raw["tokens"]), pronunciations),
            untrained=False,
        )
        recognizer.lm, recognizer.g2p = (
            folder / name if (folder / name / "lm.json").is_file() else None for name in (LM, G2P)
        )
        slope, offset = map(float, raw.get("platt_scaling", recognizer.platt_scaling))
        recognizer.platt_scaling = slope, offset
        recognizer.emission_delay_s = float(raw.get("emission_delay_s", EMISSION_DELAY_S))
        if not (0 <= recognizer.emission_delay_s <= 10 and 0 <= slope <= 1e3 and abs(offset) <= 1e3):
            raise ModelError(f"emission_delay_s is {recognizer.emission_delay_s}, platt_scaling {slope}, {offset}")
    except (AsrError, KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ModelError(f"{path}: damaged: {error if isinstance(error, AsrError) else repr(error)}") from None
    recognizer.name = str(raw.get("name", folder.name))
    recognizer.weights = str(raw.get("weights", recognizer.weights))
    recognizer.training_record = raw.get("training") or {}
    weights = folder / "model.safetensors"
    try:
        recognizer.load_state_dict(unpacked_weights(load_file(weights)), assign=True)
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        first = str(error).strip().splitlines()
        raise ModelError(f"{weights}: does not fit config.json or is damaged: {' '.join(first[:2])}") from None
    if target.type == "cuda":
        set_precision("auto")
    return recognizer.to(target).eval()


def packed_weights(recognizer: Recognizer) -> dict[str, Tensor]:
    """Its parameters as recognizer.weights says. int8: matrices only, each row or output channel divided by its scale,
    which maps its largest value to 127; the scales are stored beside them. Its n-grams are bf16 then: their
    probabilities need that range.

    Raises ModelError for parameters that fp16 cannot hold.
    """
    states = {name: tensor.detach().cpu().contiguous() for name, tensor in recognizer.state_dict().items()}
    ngrams = states.pop("token_ngrams", None)
    if recognizer.weights == "fp16":
        states = {name: tensor.half() for name, tensor in states.items()}
        if not all(tensor.isfinite().all() for tensor in states.values()):
            raise ModelError("some weights are above 65504, the highest number of fp16: use int8 or fp32")
    if recognizer.weights == "int8":
        for name, matrix in [(name, tensor) for name, tensor in states.items() if tensor.dim() > 1]:
            scales = matrix.abs().flatten(1).amax(1).clamp_min(1e-30) / 127
            states[name] = (matrix / _by_row(scales, matrix)).round().char()
            states[name + _SCALES] = scales
    if ngrams is not None:
        states["token_ngrams"] = ngrams if recognizer.weights == "fp32" else ngrams.bfloat16()
    return states


def unpacked_weights(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The fp32 parameters of what `packed_weights` made."""
    scales = {name: tensor for name, tensor in stored.items() if name.endswith(_SCALES)}
    states = {name: tensor.float() for name, tensor in stored.items() if name not in scales}
    for name, each in scales.items():
        matrix = states[name.removesuffix(_SCALES)]
        matrix *= _by_row(each, matrix)
    return states


def _by_row(scales: Tensor, matrix: Tensor) -> Tensor:
    return scales.view(-1, *[1] * (matrix.dim() - 1))


def describe_weights(record: dict[str, Any]) -> str:
    """Which epochs the weights are from. record: a model's training record."""
    if record.get("averaged"):
        return f"average of epochs {', '.join(map(str, record['averaged']))}"
    return f"chosen on it: epoch {record.get('best_epoch')}"


def model_card(recognizer: Recognizer) -> str:
    """Markdown: what the model understands, its license, how it was made, how well it does, how to use it."""
    record = recognizer.training_record
    model = recognizer.config
    direction = "bidirectional" if model.bidirectional else "unidirectional"
    layers = f"{model.layers} {direction} {model.cell} layers of {model.hidden_size}"
    start = f"; it started from {record['init']}: {record['init_license']}" if record.get("init") else ""
    lines = [
        f"# {recognizer.name}",
        "",
        record.get("description") or "A speech recognizer made with asr.",
        "",
        "| | |",
        "| --- | --- |",
        f"| encoder | {layers}, time ÷ {model.subsampling} |",
        f"| parameters | {recognizer.parameter_count:,}, stored as {recognizer.weights} |",
        f"| audio | {recognizer.sample_rate} Hz (other rates are converted) |",
        f"| tokens | {len(recognizer.tokenizer)} {recognizer.tokenizer.kind}, blank included |",
        f"| normalizer | {recognizer.text.normalizer} |",
        f"| trained on | {record.get('utterances')} utterances, {record.get('hours')} h |",
        f"| training | {record.get('epochs')} epochs, {record.get('minutes')} min on {record.get('device')},"
        f" seed {record.get('seed')} |",
        f"| development WER | {percent(record.get('dev_wer'))} ({describe_weights(record)}) |",
        f"| license | {record.get('license') or 'not stated'}{start} |",
        "",
    ]
    results = record.get("results") or []
    if results:
        lines += ["## Measured", "", "| test set | WER | 95 % interval | utterances |", "| --- | --- | --- | --- |"]
        for result in results:
            if result["wer"] is None:  # a test set without words: errors are false alarms
                rate, interval = f"{result['insertions']} words in {result['audio_s'] / 60:.0f} min", "–"
            else:
                low, high = result["wer_ci95"]
                rate = percent(result["wer"])
                interval = f"{percent(low)} to {percent(high)} ({result['ci_method']}, by {result['ci_unit']})"
            lines.append(f"| {result['set']} | {rate} | {interval} | {result['utterances']} |")
        lines.append("")
    if record.get("confusions"):
        taken = ", ".join(f"{said} → {heard} ({times} times)" for said, heard, times in record["confusions"])
        lines += [f"Words most often taken for others in the first of them: {taken}.", ""]
    if record.get("limits"):
        lines += ["## Where it fails", "", *[f"- {limit}" for limit in record["limits"]], ""]
    lines += ["## Use", "", "    asr transcribe --model THIS_FOLDER recording.wav", ""]
    if record.get("reproduce"):
        lines += ["## Make it again", "", f"    {record['reproduce']}", ""]
    return "\n".join(lines)
