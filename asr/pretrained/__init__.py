"""The built-in models, one folder each, small, with a model card; and where a model that somebody names is."""

from __future__ import annotations

from pathlib import Path

from asr.errors import ModelError

HERE = Path(__file__).parent


def names() -> list[str]:
    return sorted(path.parent.name for path in HERE.glob("*/config.json"))


def find_model(model: str | Path) -> Path:
    """The model folder meant by a model folder, a run folder or a built-in model's name."""
    path = Path(model)
    for folder in (path, path / "model"):
        if (folder / "config.json").is_file():
            return folder
    if str(model) in names():
        return HERE / str(model)
    if (path / "checkpoints").is_dir():
        raise ModelError(f"{model}: this run has not finished; the asr train command that began it goes on")
    lacking = "it holds no config.json" if path.exists() else "there is nothing of that name"
    raise ModelError(
        f"{model}: neither a model folder nor a built-in model ({', '.join(names())}): {lacking};"
        " asr train makes RUN/model, a folder with config.json and model.safetensors"
    )
