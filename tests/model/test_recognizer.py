"""Model folders: whole, self-describing, and refused with a clear word when they are not."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from asr.config import FeatureConfig, ModelConfig, TextConfig
from asr.errors import ModelError
from asr.model.folder import load_model, save_model
from asr.model.recognizer import EMISSION_DELAY_S, Recognizer
from asr.text import Tokenizer
from asr.util.runtime import set_precision

NEWER = ("emission_delay_s", "platt_scaling")  # keys that older folders lack


@pytest.fixture
def recognizer():
    torch.manual_seed(10)
    made = Recognizer(
        FeatureConfig(sample_rate=8000, n_mels=20, normalize="global"),
        TextConfig(),
        ModelConfig(cell="gru", layers=2, hidden_size=8),
        Tokenizer("characters", ("<blank>", " ", "é", "字")),
    )
    torch.nn.init.normal_(made.head.projection.weight)
    made.features.set_global(torch.randn(20), torch.rand(20) + 0.5)
    made.training_record = {"description": "made up", "seed": 3}
    return made.eval()


def drop_weights(folder, name):
    path = folder / "model.safetensors"
    save_file({other: tensor for other, tensor in load_file(path).items() if other != name}, path)


def change(folder, **values):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_saved_and_loaded_is_the_same_function(recognizer, tmp_path):
    recognizer.emission_delay_s, recognizer.platt_scaling = 0.116, (0.5, -1.25)
    save_model(recognizer, tmp_path)
    loaded = load_model(tmp_path)
    x, lengths = torch.randn(2, 4000), torch.tensor([4000, 2500])
    for a, b in zip(recognizer(x, lengths), loaded(x, lengths), strict=True):
        assert torch.equal(a, b)
    assert loaded.tokenizer == recognizer.tokenizer
    assert loaded.training_record == recognizer.training_record
    assert (loaded.emission_delay_s, loaded.platt_scaling) == (0.116, (0.5, -1.25))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["README.md", "config.json", "model.safetensors"]


def test_config_describes_the_model(recognizer, tmp_path):
    save_model(recognizer, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["format_version"] == 1
    assert config["blank"] == 0
    assert config["tokens"] == ["<blank>", " ", "é", "字"]
    assert config["sample_rate"] == 8000
    assert config["encoder"]["cell"] == "gru"
    assert config["causal"] is False
    assert config["subsampling"]["output_frames"] == "ceil(feature_frames / 4)"


def test_unknown_keys_are_ignored_unknown_versions_refused(recognizer, tmp_path):
    save_model(recognizer, tmp_path)
    change(tmp_path, new_key=1)
    raw = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({k: v for k, v in raw.items() if k not in NEWER}))
    assert load_model(tmp_path).platt_scaling == (1.0, 0.0)
    assert load_model(tmp_path).emission_delay_s == EMISSION_DELAY_S
    change(tmp_path, features=raw["features"] | {"new": 1})
    load_model(tmp_path)
    change(tmp_path, format_version=2)
    with pytest.raises(ModelError, match="format_version is 2, this asr"):
        load_model(tmp_path)


@pytest.mark.parametrize("weights", ["fp16", "int8"])
def test_weights_stored_small_are_used_as_what_they_stand_for(recognizer, tmp_path, weights):
    with torch.no_grad():
        recognizer.head.projection.weight[1] = 0.0  # a row without a largest value
    before = {name: tensor.clone() for name, tensor in recognizer.state_dict().items()}
    recognizer.weights = weights
    save_model(recognizer, tmp_path / "one")
    assert json.loads((tmp_path / "one/config.json").read_text())["weights"] == weights
    loaded = load_model(tmp_path / "one")
    stored = load_file(tmp_path / "one/model.safetensors")
    after = loaded.state_dict()
    assert before.keys() == after.keys()
    for name, tensor in after.items():
        assert tensor.dtype == torch.float32
        if weights == "fp16":
            assert torch.equal(tensor, before[name].half().float())
        elif tensor.dim() == 1:
            assert torch.equal(tensor, before[name])
        else:
            assert stored[name].dtype == torch.int8
            step = stored[f"{name}.int8_scales"].view(-1, *[1] * (tensor.dim() - 1))
            assert torch.equal(tensor, stored[name].float() * step)
            assert ((tensor - before[name]).abs() <= step * 0.5001).all()
            assert not torch.equal(tensor, before[name])
    save_model(loaded, tmp_path / "two")
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()


def test_weights_that_fp16_cannot_hold_are_refused(recognizer, tmp_path):
    recognizer.weights = "fp16"
    with torch.no_grad():
        recognizer.head.projection.bias[0] = 1e6
    with pytest.raises(ModelError, match="above 65504"):
        save_model(recognizer, tmp_path)
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: (f / "config.json").unlink(), "not a model folder"),
        (lambda f: (f / "config.json").write_text("{"), "unreadable"),
        (lambda f: (f / "config.json").write_text("[]"), "format_version is None"),
        (lambda f: change(f, tokens=["a"]), "token 0 must be <blank>"),
        (lambda f: change(f, tokens=["<blank>", " "]), "does not fit"),
        (lambda f: change(f, encoder={"cell": "elman"}), "encoder|cell"),
        (lambda f: change(f, encoder=None), "damaged"),
        (lambda f: change(f, emission_delay_s=float("nan")), "emission_delay_s is nan"),
        (lambda f: change(f, emission_delay_s=None), "damaged"),
        (lambda f: change(f, emission_delay_s=10**400), "damaged"),
        (lambda f: change(f, platt_scaling=[1.0]), "damaged"),
        (lambda f: change(f, platt_scaling=[-1.0, 0.0]), "platt_scaling -1"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors"),
        (lambda f: drop_weights(f, "head.projection.weight"), "does not fit"),
        (lambda f: (f / "model.safetensors").write_bytes(b"\x80\x04pickle"), "damaged"),
        (lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]), "damaged"),
    ],
)
def test_damaged_folder_is_one_line(recognizer, tmp_path, damage, says):
    recognizer.weights = "int8"
    save_model(recognizer, tmp_path)
    damage(tmp_path)
    with pytest.raises(ModelError, match=says) as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda_a_loaded_model_computes_as_in_training(untrained, tmp_path):
    save_model(untrained, tmp_path / "model")
    set_precision("fp32")
    load_model(tmp_path / "model", "cuda")
    assert torch.backends.cudnn.rnn.fp32_precision == "tf32"
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"
