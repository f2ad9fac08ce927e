"""Training, decoding, storing and aligning with phones as tokens, on made-up tone words in real files."""

import json
from pathlib import Path

import pytest
import torch
from helpers.training import epochs, settings, write_corpus

import asr
from asr.data.manifest import Manifest
from asr.errors import TextError, TrainError
from asr.lexicon.g2p import train as train_g2p
from asr.lexicon.pronunciations import Pronunciations
from asr.lm.estimate import LmConfig
from asr.lm.estimate import train as train_lm
from asr.model.folder import load_model
from asr.train.loop import Outcome
from asr.train.model_folder import make_model, read_run_config
from asr.train.run import begin, prepare, train

LEXICON = "high HH AY\nhi HH AY\nlow L OW\nlow(2) L AH\nmid M IH D\n"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "lexicon.txt").write_text(LEXICON)
    train, dev = write_corpus(folder, 24, 1), write_corpus(folder, 6, 2)
    texts = folder / "texts.txt"
    texts.write_text("".join(f"{utterance.text}\n" for utterance in Manifest(train)))
    train_lm([texts], LmConfig(order=2))[0].save(folder / "lm")
    return {"train": train, "dev": dev, "folder": folder}


def of_phones(corpus, run, *overrides, lm=True):
    folder = corpus["folder"]
    given = ["text.tokens=phones", f"data.lexicon={folder / 'lexicon.txt'}", *overrides]
    return settings(corpus, run, *given, *([f"data.lm={folder / 'lm'}"] if lm else []))


def test_a_model_of_phones_is_trained_validated_with_words_stored_and_used(corpus, tmp_path):
    run = tmp_path / "run"
    config = of_phones(corpus, run, "train.epochs=40", "train.lr=1e-2", "train.validate_every=10")
    assert train(config) is Outcome.FINISHED
    assert epochs(run) == list(range(1, 41))
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["dev_wer"] <= 0.1  # of words, not of phones
    recognizer = load_model(run / "model")
    assert recognizer.tokenizer.kind == "phones"
    assert recognizer.tokenizer.tokens == ("<blank>", " ", "AY", "D", "HH", "IH", "L", "M", "OW")
    assert recognizer.tokenizer.pronunciations["low"] == [("L", "OW"), ("L", "AH")]
    model = asr.load(run)
    utterance = Manifest(corpus["dev"])[0]
    found = model.transcribe(utterance.audio)
    assert found.text == utterance.text
    assert [word.text for word in found.words] == utterance.text.split()
    assert model.evaluate(corpus["dev"])["wer"] <= 0.1
    sounds = asr.load(run, lm="none")
    assert sounds.transcribe(utterance.audio).text == recognizer.tokenizer.pronounce(utterance.text)
    of_phones_alone = sounds.evaluate(corpus["dev"])
    assert of_phones_alone["cer"] <= 0.1
    assert of_phones_alone["homophones"] is None
    aligned = model.align(utterance.audio, utterance.text)
    assert [word.text for word in aligned.words] == utterance.text.split()
    assert "-".join(token.text for token in aligned.words[0].tokens) == sounds.transcribe(utterance.audio).words[0].text
    with pytest.raises(TextError, match="'lowmid'"):
        model.align(utterance.audio, "low lowmid")
    with pytest.raises(TextError, match="hot word 'lowmid': the model has no pronunciation for it"):
        asr.load(run, hotwords=["lowmid"])
    words = Pronunciations.load(corpus["folder"] / "lexicon.txt").words
    train_g2p({word: phones[:1] for word, phones in words.items()}).save(run / "model" / "g2p")
    guessing = asr.load(run, hotwords={"lowmid": 1.0})
    assert guessing.recognizer.tokenizer.symbols("lowmid") == ["L", "OW", "M", "IH", "D"]
    assert [word.text for word in guessing.align(utterance.audio, "lowmid").words] == ["lowmid"]
    wrong = asr.load(run, hotwords={"hi": 4.0})
    assert wrong.transcribe(utterance.audio).text == utterance.text.replace("high", "hi")
    record = wrong.evaluate(corpus["dev"])
    said = sum(utterance.text.split().count("high") for utterance in Manifest(corpus["dev"]))
    assert said - 1 <= record["homophones"] <= record["substitutions"]
    assert record["per"] < 0.1 < record["wer"]


def test_what_a_training_of_phones_needs(corpus, tmp_path):
    with pytest.raises(TrainError, match=r"text.tokens=phones needs data.lexicon=FILE"):
        train(settings(corpus, tmp_path / "a", "text.tokens=phones"))
    with pytest.raises(TrainError, match=r"gone.txt: no such file \(data.lexicon\); asr lexicon make writes one"):
        train(of_phones(corpus, tmp_path / "b", f"data.lexicon={tmp_path / 'gone.txt'}"))
    short = tmp_path / "short.txt"
    short.write_text("low L OW\n")
    with pytest.raises(TrainError, match=r"short.txt: no pronunciation of '\w+', .*asr lexicon make"):
        train(of_phones(corpus, tmp_path / "c", f"data.lexicon={short}"))


def test_fine_tuning_goes_on_with_the_loss_and_guesses_new_words(corpus, tmp_path, said):
    """The n-gram is that of the model as long as there is less to learn from than it had."""
    first, fine = tmp_path / "first", tmp_path / "fine"
    words = Pronunciations.load(corpus["folder"] / "lexicon.txt").words
    train_g2p({word: phones[:1] for word, phones in words.items()}).save(tmp_path / "g2p")
    crf = ["train.loss=ctc_crf", "train.ctc_epochs=1", "train.epochs=2", f"data.g2p={tmp_path / 'g2p'}"]
    train(of_phones(corpus, first, *crf))
    its = load_model(first / "model").token_ngrams
    lines = Path(corpus["train"]).read_text().splitlines(keepends=True)
    few = corpus["folder"] / "few.jsonl"
    few.write_text("".join(lines[:3]).replace("low", "lowmid", 1))
    more = {**corpus, "train": few}
    started = [f"train.init={first}", "text.tokens=phones", "train.epochs=1", "train.lr=1e-4"]
    assert train(settings(more, fine, *started)) is Outcome.FINISHED
    assert any("1 word that" in line and "lowmid (L OW M IH D);" in line for line in said)
    config = read_run_config(fine)
    assert (config.train.loss, config.train.ctc_epochs) == ("ctc_crf", 0)
    for recognizer in (
        load_model(fine / "model"),
        make_model(fine / "checkpoints" / "last.pt", tmp_path / "made"),
        load_model(tmp_path / "made"),
    ):
        assert torch.equal(recognizer.token_ngrams, its)
        assert recognizer.tokenizer.pronunciations["lowmid"] == [("L", "OW", "M", "IH", "D")]
    assert prepare(begin(settings(more, tmp_path / "ctc", *started, "train.loss=ctc"))).recognizer.token_ngrams is None
    every = settings(
        {**corpus, "train": corpus["dev"]}, tmp_path / "every", *started, f"data.lm={corpus['folder'] / 'lm'}"
    )
    again = [f"train.init={fine}", "train.ctc_epochs=1", *started[1:]]  # with more than the second had, not the first
    config = begin(settings(corpus, tmp_path / "again", *again, "train.crf_order=3"))
    assert (config.train.loss, config.train.ctc_epochs) == ("ctc_crf", 1)
    assert torch.equal(prepare(config).recognizer.token_ngrams, its)
    assert (
        prepare(begin(settings(corpus, tmp_path / "b", *again, "train.crf_order=2"))).recognizer.token_ngrams.dim() == 2
    )
    about = first / "model" / "config.json"
    about.write_text(about.read_text().replace('"ngram_hours"', '"ngram_hours": 0, "of"'))
    assert not torch.equal(prepare(begin(every)).recognizer.token_ngrams, its)
