"""The first training of one's own: what follows from the corpus, from another model, and what is said beforehand."""

import json

import pytest
import torch
from helpers import ROOT
from helpers.training import assert_equal, weights

from asr.config import AUTO, AUTOMATIC, dump_yaml, flatten, load_config
from asr.data.manifest import Utterance, write_manifest
from asr.errors import TrainError
from asr.model.folder import load_model
from asr.train.dry_run import dry_run
from asr.train.initial import BUILT_IN, adopt, with_init
from asr.train.loop import Outcome
from asr.train.model_folder import read_run_config
from asr.train.run import begin, train
from asr.train.schedule import MIN_EPOCHS, STEPS, STEPS_KNOWN, STEPS_NEW, with_schedule, with_sizes


@pytest.fixture
def plain(corpus, tmp_path):
    """The settings of a user who names the data and nothing else; small, so that a test is short."""

    def load(run, *overrides):
        (tmp_path / "plain.yaml").write_text("features: {sample_rate: 8000, n_mels: 20}\nmodel: {layers: 1}\n")
        given = [f"data.train={corpus['train']}", f"data.dev={corpus['dev']}", f"run={tmp_path / run}", "device=cpu"]
        return load_config(tmp_path / "plain.yaml", [*given, *overrides])

    return load


def manifest(path, texts, seconds):
    write_manifest(path, [Utterance(str(i), path.parent / "a.wav", seconds, text) for i, text in enumerate(texts)])
    return path


# --- what follows from the corpus


@pytest.mark.parametrize(
    ("texts", "seconds", "tokens", "hidden_size"),
    [
        (["lights on", "lights off", "play"] * 10, 2.0, "words", 128),
        (["yes", "no"] * 1000, 2.0, "words", 256),  # more than an hour
        ([f"word{i} said once" for i in range(40)], 2.0, "characters", 128),
        ([f"all {i} differ" for i in "abcdefghijklmnopqrstuvwxyz"], 2.0, "characters", 128),
        ([f"word{i} and word{i} and word{i}" for i in range(200)] * 20, 1.0, "characters", 256),
        ([None, "", "a b", "a b", "a b"], 2.0, "words", 128),
    ],
)
def test_tokens_and_network_follow_the_texts_and_the_hours(plain, tmp_path, texts, seconds, tokens, hidden_size):
    found = with_sizes(plain("run"), manifest(tmp_path / "m.jsonl", texts, seconds))
    assert (found.text.tokens, found.model.hidden_size) == (tokens, hidden_size)
    given = plain("run", "text.tokens=characters", "model.hidden_size=17")
    assert with_sizes(given, tmp_path / "m.jsonl") == given


@pytest.mark.parametrize("batches", [1, 2, 17, 60, 10_000])
def test_epochs_are_as_many_as_make_the_steps(plain, batches):
    found = with_schedule(plain("run"), batches).train
    assert found.epochs == max(MIN_EPOCHS, -(-STEPS // batches))
    assert found.epochs * batches >= STEPS
    assert 1 <= found.validate_every <= found.epochs / 20
    for known, steps in ((True, STEPS_KNOWN), (False, STEPS_NEW)):  # its words, or others
        started = with_schedule(plain("run", "train.init=digits"), batches, known).train
        assert steps <= started.epochs * batches < steps + batches
    given = with_schedule(plain("run", "train.epochs=7"), batches).train
    assert (given.epochs, given.validate_every, given.threads) == (7, 1, AUTO)
    assert with_schedule(plain("run", "model.hidden_size=128"), batches).train.threads == 1
    accumulated = with_schedule(plain("run", "train.grad_accum_steps=4"), batches).train
    steps = accumulated.epochs * -(-batches // 4)
    assert steps >= STEPS
    assert accumulated.epochs == MIN_EPOCHS or steps < STEPS + -(-batches // 4)


def test_what_was_found_is_said_stored_and_kept_when_a_run_goes_on(corpus, plain, tmp_path, said):
    stop = ["model.hidden_size=auto", "train.max_epochs=2", "model.layers=1"]
    assert train(plain("run", *stop)) is Outcome.ENOUGH_EPOCHS
    [line] = [line for line in said if line.startswith("auto: ")]
    stored = flatten(read_run_config(tmp_path / "run"))
    assert line.startswith("auto: " + " ".join(f"{key}={stored[key]}" for key in AUTOMATIC))
    assert "auto" not in [stored[key] for key in AUTOMATIC]
    assert train(plain("run", *stop, "train.max_epochs=3")) is Outcome.ENOUGH_EPOCHS
    named = [f"{key}={stored[key]}" for key in AUTOMATIC]  # the same by hand, in one go
    assert train(plain("named", *stop, "train.max_epochs=3", *named)) is Outcome.ENOUGH_EPOCHS
    assert_equal(weights(tmp_path / "run"), weights(tmp_path / "named"))
    with pytest.raises(TrainError, match=rf"train\.epochs was {stored['train.epochs']}, is 7"):
        train(plain("run", *stop, "train.epochs=7"))


RECIPES = [path for path in sorted(ROOT.glob("recipes/*/*.yaml")) if path.stem != "custom"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_leave_nothing_open_that_changes_what_is_learned(path):
    settings = flatten(load_config(path))
    harmless = {"train.validate_every", "train.threads"}  # 1 and all, where train.epochs is set
    assert {key for key in AUTOMATIC if settings[key] == "auto"} <= harmless


# --- a small corpus and the built-in model


@pytest.fixture
def template(tmp_path):
    """The config of recipes/custom, untouched but for paths and what a test adds."""

    def load(train, dev=None, *overrides):
        given = [f"data.train={train}", f"data.dev={dev or train}", f"run={tmp_path / 'run'}", "device=cpu"]
        return load_config(ROOT / "recipes" / "custom" / "custom.yaml", [*given, *overrides])

    return load


SPOKEN = ["red blue", "blue green", "green red"] * 10


@pytest.mark.parametrize(
    ("texts", "seconds", "overrides", "chosen"),
    [
        (SPOKEN, 2.0, [], True),
        (SPOKEN, 2.0, ["features.sample_rate=8000", "model.dropout=0.3", "text.tokens=words"], True),
        (SPOKEN * 100, 2.0, [], False),  # more than an hour
        ([f"word{i} said once" for i in range(40)], 2.0, [], False),
        (SPOKEN, 2.0, ["text.tokens=characters"], False),
        (SPOKEN, 2.0, ["features.sample_rate=16000"], False),
        (SPOKEN, 2.0, ["model.cell=gru"], False),
        (SPOKEN, 2.0, ["model.hidden_size=128"], False),
        (SPOKEN, 2.0, ["train.init=null"], False),
    ],
)
def test_a_small_corpus_of_few_words_starts_from_the_built_in_model(
    template, tmp_path, said, texts, seconds, overrides, chosen
):
    given = template(manifest(tmp_path / "m.jsonl", texts, seconds), None, *overrides)
    found = begin(given)
    if chosen:
        assert {key: getattr(found.train, key) for key in BUILT_IN} == BUILT_IN
        assert (found.features.sample_rate, found.model.hidden_size, found.text.tokens) == (8000, 112, "words")
        assert any(line.startswith("auto: train.init=digits") and "CC BY-SA" in line for line in said)
        assert found.augment == given.augment
    else:
        assert found == given.updated(train={"init": None})
        contradicted = any(key in str(overrides) for key in ("sample_rate", "cell", "hidden_size"))
        assert any(line.startswith("auto: train.init=null, as train.init=digits does") for line in said) == contradicted


def test_what_the_config_sets_of_learning_rate_and_frozen_layers_stays(template, tmp_path):
    spoken = manifest(tmp_path / "m.jsonl", SPOKEN, 2.0)
    found = begin(template(spoken, None, "train.lr=1e-4", "train.freeze=[]")).train
    assert (found.init, found.lr, found.freeze) == ("digits", 1e-4, ())


def test_a_large_corpus_has_what_it_had_before_there_was_a_choice(template, tmp_path):
    large = template(manifest(tmp_path / "m.jsonl", SPOKEN * 100, 2.0))
    found = flatten(with_sizes(begin(large), large.data.train))
    expected = {"features.sample_rate": 16000, "model.cell": "lstm", "model.layers": 3, "model.hidden_size": 256}
    expected |= {"train.init": None, "train.freeze": [], "train.lr": "auto", "train.ema_decay": 0.99}
    assert {key: found[key] for key in expected} == expected


def test_a_run_goes_on_as_it_began_whatever_the_manifest_has_become(template, tmp_path):
    spoken = manifest(tmp_path / "m.jsonl", SPOKEN, 2.0)
    (tmp_path / "run").mkdir()
    for init in (None, "digits"):
        begun = begin(template(spoken, None, f"train.init={init or ''}"))
        (tmp_path / "run" / "config.yaml").write_text(dump_yaml(begun))
        assert with_init(template(tmp_path / "gone.jsonl"), tmp_path / "gone.jsonl").train.init == init


def test_training_with_the_template_says_where_it_started_and_resumes(corpus, template, tmp_path, said):
    two_epochs = corpus["train"], corpus["dev"], "train.epochs=2"
    assert train(template(*two_epochs, "train.max_epochs=1")) is Outcome.ENOUGH_EPOCHS
    assert any(line.startswith("starting from digits; new output layer for these words: 'high'") for line in said)
    assert train(template(*two_epochs)) is Outcome.FINISHED
    assert train(template(*two_epochs)) is Outcome.ALREADY_FINISHED
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert "| license | not stated; it started from digits: CC BY-SA 4.0" in card
    before, after = load_model(ROOT / "asr" / "pretrained" / "digits"), load_model(tmp_path / "run" / "model")
    for name, tensor in before.state_dict().items():
        frozen = name.startswith(("encoder.subsampling.", "encoder.layers.0."))
        if name.startswith("encoder."):
            assert torch.equal(tensor, after.state_dict()[name]) == frozen, name


# --- what is said before


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["train.epochs=40", "train.batch_seconds=60"], "40 steps (40 epochs of 1 batch) are too few"),
        (["train.epochs=10"], f"are too few to learn from, some {STEPS:,} are enough: leave out train.epochs"),
        (["train.init=FIRST", "train.epochs=1", "train.batch_seconds=60"], "1 step (1 epoch of 1 batch)"),
        (["train.epochs=auto"], None),
        (["train.epochs=1", "train.overfit=3"], None),
    ],
)
def test_too_few_steps_are_said_before(plain, tmp_path, said, overrides, expected):
    small = ["model.hidden_size=8", "text.tokens=words"]
    if "train.init=FIRST" in overrides:
        train(plain("first", *small, "train.epochs=1"))
        overrides = [f"train.init={tmp_path / 'first'}", *overrides[1:]]
        said.clear()
    dry_run(plain("run", *small, *overrides))
    found = [line for line in said if "are too few" in line]
    assert len(found) == (expected is not None)
    assert expected is None or expected in found[0]


def test_too_few_utterances_are_said_before(plain, tmp_path, corpus, said):
    lines = [json.loads(line) for line in corpus["train"].read_text().splitlines()[:2]]
    for line in lines:
        line["audio"] = str(corpus["train"].parent / line["audio"])
    (tmp_path / "two.jsonl").write_text("\n".join(map(json.dumps, lines)))
    dry_run(plain("run", f"data.train={tmp_path / 'two.jsonl'}", "model.hidden_size=8"))
    assert any("2 training utterances: enough to try the commands" in line for line in said)


# --- what follows from another model


def test_a_training_takes_features_network_and_text_from_the_model_it_starts_from(tmp_path):
    (tmp_path / "fine.yaml").write_text("train: {init: digits}\nmodel: {dropout: 0.4, hidden_size: auto}\n")
    config = adopt(load_config(tmp_path / "fine.yaml"))
    digits = load_model(ROOT / "asr" / "pretrained" / "digits")
    assert config.features == digits.features.config
    assert config.model == digits.config.model_copy(update={"dropout": 0.4})
    assert config.text == digits.text
    contradictory = ["features.sample_rate=16000", "model.cell=gru", "text.tokens=characters"]
    other = load_config(tmp_path / "fine.yaml", contradictory)
    with pytest.raises(TrainError) as error:
        adopt(other)
    assert str(error.value) == (
        "train.init=digits does not fit: features.sample_rate is 16000, there 8000; model.cell is gru, there lstm;"
        " leave these settings out"
    )
    assert adopt(load_config(tmp_path / "fine.yaml", ["text.tokens=characters"])).text.tokens == "characters"


def test_a_setting_of_zero_or_false_is_one_that_was_made(tmp_path):
    """Not one that is left to be found out, which the model of train.init would decide."""
    (tmp_path / "fine.yaml").write_text("train: {init: digits}\n")
    assert adopt(load_config(tmp_path / "fine.yaml", ["model.dropout=0"])).model.dropout == 0
    assert begin(load_config(tmp_path / "fine.yaml", ["train.overfit=2"])).model.dropout == 0
    with pytest.raises(
        TrainError, match=r"features\.f_min is 0\.0, there \d+\.0; model\.layer_norm is False, there True"
    ):
        adopt(load_config(tmp_path / "fine.yaml", ["features.f_min=0", "model.layer_norm=false"]))


@pytest.mark.parametrize(
    ("texts", "line", "kept"),
    [
        ("low high mid", "which knows these words", {"low", "high", "mid"}),
        ("low", "which knows these words", {"low", "high", "mid"}),  # what the new texts lack is not forgotten
        ("low high up", "new words in its output layer: 'up'", {"low", "high"}),
        ("up down", "new output layer for these words: 'down', 'up'", set()),
    ],
)
def test_the_output_layer_keeps_what_both_know(corpus, plain, tmp_path, said, texts, line, kept):
    small = ["model.hidden_size=8", "text.tokens=words", "train.epochs=1"]
    train(plain("first", *small))
    words = texts.split()
    lines = [json.loads(line) for line in corpus["train"].read_text().splitlines()]
    for number, record in enumerate(lines):
        record |= {"audio": str(corpus["train"].parent / record["audio"]), "text": words[number % len(words)]}
    (tmp_path / "other.jsonl").write_text("\n".join(map(json.dumps, lines)))
    start = [f"train.init={tmp_path / 'first'}", f"data.train={tmp_path / 'other.jsonl'}", "train.epochs=1"]
    train(plain("second", *start, "train.lr=1e-12"))
    assert any(said_line.startswith(f"starting from {tmp_path / 'first'}") and line in said_line for said_line in said)
    first, second = (load_model(tmp_path / run / "model") for run in ("first", "second"))
    for word in {"<blank>", *kept} if kept else ():
        rows = [model.head.projection.weight[model.tokenizer.tokens.index(word)] for model in (first, second)]
        assert torch.allclose(*rows, atol=1e-8), word
    assert set(second.tokenizer.tokens) == {"<blank>", *words, *(kept if set(words) <= kept else ())}


def test_a_finished_run_names_how_to_go_on(plain, tmp_path):
    small = ["model.hidden_size=8", "text.tokens=words"]
    train(plain("run", *small, "train.epochs=1"))
    way = rf"go on from what it has learned: train\.init={tmp_path / 'run'} run=DIR"
    for more in ("train.epochs=2", "train.lr=0.1", "model.hidden_size=9"):
        with pytest.raises(TrainError, match=way):
            train(plain("run", *small, "train.epochs=1", more))
