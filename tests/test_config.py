"""Configuration: files, overrides, errors that name the key and the remedy, what may differ when a run resumes."""

from pathlib import Path

import pytest

from asr.config import (
    AUTO,
    RESUMABLE,
    SETTINGS,
    TEXTS,
    Config,
    FeatureConfig,
    ModelConfig,
    differing,
    dump_yaml,
    flatten,
    lenient,
    load_config,
    parse_config,
    unused,
)
from asr.errors import ConfigError


@pytest.fixture
def load(tmp_path):
    """load(text, *overrides) -> the Config of a file with this text."""

    def from_text(text: str, *overrides: str, name: str = "c.yaml") -> Config:
        (tmp_path / name).write_bytes(text.encode())
        return load_config(tmp_path / name, overrides)

    return from_text


def test_file_and_defaults(load):
    config = load("\ufeffmodel: {cell: gru, layers: 2}\ntrain:\n  lr: 1e-3\ndata: {train: a b.jsonl}\n")
    assert (config.model.cell, config.model.layers, config.model.hidden_size) == ("gru", 2, AUTO)
    assert config.train.lr == 1e-3
    assert config.data.train == Path("a b.jsonl")
    assert load("") == Config()
    assert load("# nothing\ntrain:\n  # lr: 3\nmodel:\n", "model.layers=2").model.layers == 2


def test_unknown_keys_name_the_nearest(load):
    for text, problem in [
        ("model: {cel: gru}", r"c\.yaml: unknown key model\.cel; did you mean model\.cell\?"),
        ("modle: {cell: gru}", r"unknown key modle; did you mean model\?"),
        ("lr: 0.1", r"unknown key lr; did you mean train\.lr\?"),
        ("train: {layers: 2}", r"unknown key train\.layers; did you mean model\.layers\?"),
        ("zzzzzz: 1", r"unknown key zzzzzz$"),
        ("model: {cel: gru, laiers: 2}", r"model\.cel; did .*; .*c\.yaml: unknown key model\.laiers; did you mean mod"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            load(text)
    with pytest.raises(ConfigError, match=r"unknown key model\.cel; did you mean model\.cell\?"):
        load("", "model.cel=gru")


def test_wrong_values_name_file_key_and_value(load):
    for override, problem in [
        ("train.lr=fast", r"c\.yaml: train\.lr = 'fast': input should be a valid number"),
        ("train.lr=0", r"train\.lr = 0: input should be greater than 0"),
        ("train.lr=inf", r"train\.lr = inf: input should be a finite number"),
        ("train.lr=nan", r"train\.lr = nan: "),
        ("train.epochs=1.5", r"train\.epochs = 1\.5: "),
        ("model.cell=transformer", r"model\.cell = 'transformer': input should be 'rnn', 'lstm' or 'gru'"),
        ("model.subsampling=3", r"model\.subsampling = 3: "),
        ("model=3", r"c\.yaml: model = 3: "),
        ("model.bidirectional=", r"model\.bidirectional = None: "),
        ("augment.speed=[1, x]", r"augment\.speed\.1 = 'x': "),
        ("augment.speed=[1.1, 0.9]", r"augment\.speed = \[1\.1, 0\.9\]: must be \[low, high\] within 0\.1 to 10"),
        ("compose.trim_db=[-5, 5]", r"compose\.trim_db = \[-5, 5\]: must be \[low, high\] within -200 to 0"),
        ("augment.speed=[0, 1]", r"augment\.speed = "),
        ("compose.pause_s=[-1, 1]", r"compose\.pause_s = "),
        ("features.f_min=8000", r"features\.f_min = 8000\.0: must be below 8000\.0 Hz"),
        ("features.f_max=10", r"features\.f_min = 20\.0: must be below 10\.0 Hz"),
    ]:
        with pytest.raises(ConfigError, match=problem) as caught:
            load("", override)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("train.lr=1e-3", 1e-3),
        ("train.epochs=1e1", 10),
        ("model.bidirectional=true", True),
        ("augment.speed=[9e-1, 1.1]", [0.9, 1.1]),
        ("augment.gain_db=[-6,6]", [-6.0, 6.0]),
        ("train.max_minutes=null", None),
        ("train.max_minutes=", None),
        ("data.held_out_speaker=1089", "1089"),
        ("data.held_out_speaker=null", None),
        ("data.dev=", None),
        ("run=2024-01-01", "2024-01-01"),
        ("run=1e5", "1e5"),
        ("description=WER: 3 # x=[", "WER: 3 # x=["),
        ("description='quoted'", "quoted"),
        ("features.f_max=4000", 4000.0),
    ],
)
def test_overrides(load, override, value):
    config = load("train: {max_minutes: 3}\ndata: {held_out_speaker: theo, dev: d.jsonl}", override)
    assert flatten(config)[override.partition("=")[0]] == value


def test_every_text_is_taken_as_it_was_typed():
    paths = {"run", "data.train", "data.dev", "data.lexicon", "data.lm", "data.g2p", "augment.noise.manifest"}
    assert {"device", "description", "license", "data.held_out_speaker", "train.init", *paths} == TEXTS


def test_every_setting_explains_itself():
    assert SETTINGS.keys() == flatten(Config()).keys()
    assert all(field.description for field in SETTINGS.values())


def test_the_last_override_counts_and_sections_may_be_given_whole(load):
    config = load("model: {cell: rnn, layers: 5}", "model.cell=lstm", "model={cell: gru}", "model.hidden_size=8")
    assert (config.model.cell, config.model.layers, config.model.hidden_size) == ("gru", 3, 8)


def test_overrides_that_are_none(load):
    for override, problem in [
        ("model.cell", "'model.cell' is not key=value, as in model.cell=gru"),
        ("=gru", "'=gru' is not key=value"),
        ("train.lr=[1", r"train\.lr: '\[1' is not a YAML value"),
        ("train.max_minutes=2024-13-45", "is not a YAML value"),
        ("run.x=1", "run.x: 'run' is a value, not a section"),
        ("train.lr.x=1", r"train\.lr = \{'x': 1\}"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            load("run: runs/x", override)


def test_files_that_are_no_config(load, tmp_path):
    for text, problem in [
        ("model: [", r"c\.yaml: not YAML: "),
        ("model: *x", "not YAML: found undefined alias"),
        ("[1, 2]", "must hold keys and values, holds list"),
        ("run", "must hold keys and values, holds str"),
        ("run: 2024-13-45", "not YAML: month"),
        ("[" * 5000, "not YAML: "),
        ("1: 2", "keys should be strings"),
    ]:
        with pytest.raises(ConfigError, match=problem) as caught:
            load(text)
        assert "\n" not in str(caught.value)
    (tmp_path / "latin.yaml").write_bytes(b"description: caf\xe9")
    for name, problem in [("latin.yaml", "not YAML"), ("none.yaml", "No such file"), (".", "Is a directory")]:
        with pytest.raises(ConfigError, match=problem):
            load_config(tmp_path / name)


def test_a_config_may_start_from_another(load):
    load("model: {cell: gru, layers: 2}\ntrain:\n", name="base.yaml")
    config = load("base: base.yaml\nmodel: {layers: 4}\ntrain: {epochs: 3}", "model.hidden_size=8")
    assert (config.model.cell, config.model.layers, config.model.hidden_size, config.train.epochs) == ("gru", 4, 8, 3)
    load("base: c.yaml", name="circle.yaml")
    for base, problem in [
        ("c.yaml", r"c\.yaml: base = 'c\.yaml': must name another config"),
        ("circle.yaml", r"circle\.yaml: base = 'c\.yaml': must name another config"),
        ("[1]", r"base = \[1\]: must name"),
        ("missing.yaml", r"missing\.yaml: No such file"),
    ]:
        with pytest.raises(ConfigError, match=problem):
            load(f"base: {base}")


def test_a_causal_model_cannot_normalize_by_utterance(load):
    with pytest.raises(ConfigError, match=r"c\.yaml: model\.bidirectional=false .* set features\.normalize=global"):
        load("model: {bidirectional: false}")
    assert not load("model: {bidirectional: false}\nfeatures: {normalize: global}").model.bidirectional


def test_what_may_differ_when_a_run_resumes():
    keys = flatten(Config())
    assert set(RESUMABLE) <= set(keys)
    old = Config()
    new = parse_config(
        {"run": "x", "device": "cpu", "data": {"workers": 3}, "train": {"max_minutes": 1}, "description": "d"}, "new"
    )
    assert differing(old, new) == []
    new = parse_config({"model": {"cell": "gru"}, "augment": {"speed": [0.9, 1.1]}, "train": {"log_every": 1}}, "new")
    assert differing(old, new) == ["augment.speed was [1.0, 1.0], is [0.9, 1.1]", "model.cell was lstm, is gru"]


def test_written_yaml_reads_back_the_same(load):
    config = load(
        "run: läufe/ü\ndescription: 'yes: \"no\"'\ndata: {held_out_speaker: '007', train: a/b.jsonl}",
        "train.lr=1e-05", "train.max_minutes=0.5", "augment.speed=[0.9,1.1]", "features.f_max=3800", "model.cell=rnn",
    )  # fmt: skip
    assert load(dump_yaml(config), name="again.yaml") == config
    assert load(dump_yaml(Config()), name="again.yaml") == Config()


def test_a_stored_section_may_hold_unknown_keys_but_no_wrong_values():
    stored = {"cell": "gru", "layers": 2, "invented_later": [1, 2]}
    assert lenient(ModelConfig, stored, "config.json") == ModelConfig(cell="gru", layers=2)
    with pytest.raises(ConfigError, match=r"config\.json: n_mels = 'many': "):
        lenient(FeatureConfig, {"n_mels": "many", "new": 1}, "config.json")
    with pytest.raises(ConfigError, match=r"config\.json: must hold keys and values, holds list"):
        lenient(FeatureConfig, [], "config.json")


def test_a_config_cannot_be_changed_after_it_was_read():
    with pytest.raises(ValueError, match="frozen"):
        Config().train.lr = 1.0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["compose.noise_prob=0.5"], ["compose.noise_prob: not used, as compose.max_recordings is 1"]),
        (["compose.noise_prob=0.5", "compose.max_recordings=2"], []),
        (
            ["compose.trim_db=[-40,-10]", "compose.max_recordings=2"],
            ["compose.trim_db: not used, as compose.trim_prob is 0"],
        ),
        (["augment.noise.snr_db=[0,5]"], ["augment.noise.snr_db: not used, as augment.noise.prob is 0"]),
        (["augment.noise.manifest=noise.jsonl", "augment.noise.prob=0.1"], []),
        (
            ["augment.time_mask.max_frames=9"],
            ["augment.time_mask.max_frames: not used, as augment.time_mask.count is 0"],
        ),
        (["data.lm=lm"], ["data.lm: not used, as text.tokens is auto, not phones"]),
        (["text.subwords=99"], ["text.subwords: not used, as text.tokens is auto, not subwords"]),
        (["text.subwords=99", "text.tokens=subwords"], []),
        (["data.lm=lm", "text.tokens=phones"], []),
        (["features.n_mfcc=13"], ["features.n_mfcc: not used, as features.kind is logmel"]),
        (["train.ctc_epochs=1"], ["train.ctc_epochs: not used, as train.loss is ctc"]),
        (["train.crf_order=2"], ["train.crf_order: not used, as train.loss is ctc"]),
        (["train.crf_order=2", "train.ctc_epochs=1", "train.loss=ctc_crf"], []),
        (
            ["train.loss=ctc_crf", "train.epochs=4"],
            ["train.loss=ctc_crf: not used, as all 4 epochs are plain CTC (train.ctc_epochs)"],
        ),
        (["train.loss=ctc_crf", "train.epochs=5"], []),
        ([], []),
    ],
)
def test_settings_without_effect_are_told(tmp_path, given, says):
    (tmp_path / "a.yaml").write_text("{}")
    assert list(unused(load_config(tmp_path / "a.yaml", given))) == says
