"""Training, decoding, storing, aligning, fine-tuning with subwords as tokens, on made-up tone words in real files."""

import json
from operator import eq

import pytest
from helpers.training import epochs, settings

import asr
from asr.cli.data import check_settings
from asr.data.manifest import Manifest, Utterance, write_manifest
from asr.data.subset import read_subset
from asr.errors import ModelError, TextError
from asr.lm.estimate import LmConfig
from asr.lm.estimate import train as train_lm
from asr.model.folder import load_model
from asr.train.initial import learn_subwords
from asr.train.loop import Outcome
from asr.train.model_folder import make_model
from asr.train.run import prepare, train

SUBWORDS = ("text.tokens=subwords", "text.subwords=16")


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory):
    run = tmp_path_factory.mktemp("run")
    config = settings(corpus, run, *SUBWORDS, "train.epochs=40", "train.lr=1e-2", "train.validate_every=10")
    assert train(config) is Outcome.FINISHED
    return run


def with_texts(corpus, name, texts):
    """A manifest of the corpus's first recordings that says other texts."""
    path = corpus["folder"] / f"{name}.jsonl"
    first = [Manifest(corpus["train"])[i] for i in range(len(texts))]
    write_manifest(path, [Utterance(u.id, u.audio, u.duration, text) for u, text in zip(first, texts, strict=True)])
    return path


def test_a_model_of_subwords_is_trained_stored_and_used(corpus, run, tmp_path):
    assert epochs(run) == list(range(1, 41))
    recognizer = load_model(run / "model")
    assert recognizer.tokenizer.kind == "subwords"
    assert recognizer.tokenizer.tokens[:10] == ("<blank>", *"dghilmow", "▁")
    assert len(recognizer.tokenizer) == 16 == recognizer.text.subwords
    assert json.loads((run / "model" / "config.json").read_text())["text"]["tokens"] == "subwords"
    model = asr.load(run)
    utterance = Manifest(corpus["dev"])[0]
    found = model.transcribe(utterance.audio)
    assert found.text == utterance.text
    assert [word.text for word in found.words] == utterance.text.split()
    assert all(0 <= word.start < word.end <= utterance.duration + 0.01 for word in found.words)
    assert model.evaluate(corpus["dev"])["wer"] <= 0.1
    aligned = model.align(utterance.audio, utterance.text)
    assert [word.text for word in aligned.words] == utterance.text.split()
    for word, heard in zip(aligned.words, found.words, strict=True):
        assert [token.text for token in word.tokens] == recognizer.tokenizer.symbols(word.text)
        assert (word.start, word.end) == pytest.approx((heard.start, heard.end), abs=0.1)
    with pytest.raises(TextError, match="no tokens for 'xylophone'"):
        model.align(utterance.audio, "low xylophone")
    again = make_model(run / "checkpoints" / "best.pt", tmp_path / "again")
    assert again.tokenizer == recognizer.tokenizer == load_model(tmp_path / "again").tokenizer


def test_a_model_of_subwords_is_searched_with_words(corpus, run, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("".join(f"{utterance.text}\n" for utterance in Manifest(corpus["train"])))
    train_lm([texts], LmConfig(order=2))[0].save(tmp_path / "words")
    train_lm([texts], LmConfig(order=2, unit="character"))[0].save(tmp_path / "characters")
    utterance = Manifest(corpus["dev"])[0]
    model = asr.load(run, lm=tmp_path / "words", closed_vocabulary=True, hotwords={"low high": 0.5})
    assert model.transcribe(utterance.audio).text == utterance.text
    assert asr.load(run, hotwords={"hill": 0.1}).transcribe(utterance.audio).text == utterance.text
    with pytest.raises(ModelError, match="tokens are subwords, the language model's units characters: use"):
        asr.load(run, lm=tmp_path / "characters")


def test_a_fine_tuned_model_keeps_its_subwords_and_gets_new_characters(corpus, run, tmp_path, said):
    known = load_model(run / "model").tokenizer.tokens
    texts = ["low zero high", "lowest mid", "low", "mid high"]
    other = {**corpus, "train": with_texts(corpus, "other", texts)}

    def tokens_of(*overrides):
        config = settings(other, tmp_path / "fine", f"train.init={run}", "train.epochs=1", *overrides)
        made = prepare(asr.train.run.begin(config))
        return made.recognizer.tokenizer.tokens

    assert tokens_of("text.tokens=subwords") == (*known, "e", "r", "s", "t", "z")
    assert any("new subwords in its output layer: 'e', 'r', 's', 't', 'z'" in line for line in said)
    assert tokens_of("text.tokens=subwords", "text.subwords=20")[:10] == ("<blank>", *"deghilmor")
    assert tokens_of("text.tokens=characters")[:4] == ("<blank>", " ", "d", "e")


def test_a_small_corpus_makes_few_subwords_and_says_so(corpus, tmp_path, said):
    made = prepare(settings(corpus, tmp_path / "few", "text.tokens=subwords", "train.epochs=1"))
    assert {"▁low", "▁mid", "▁high"} < set(made.recognizer.tokenizer.tokens)
    assert f"text.subwords=300: the training texts make {len(made.recognizer.tokenizer)}" in "\n".join(said)
    assert set(made.data.subset.symbols) == {"▁low", "▁mid", "▁high"}


def test_frames_are_counted_in_subwords_also_of_composed_utterances(corpus, tmp_path):
    composed = ["compose.max_recordings=3", "compose.utterances_per_epoch=5"]
    config = settings(corpus, tmp_path / "composed", *SUBWORDS, *composed, "train.epochs=1")
    made = prepare(config)
    tokenizer, subset = made.recognizer.tokenizer, made.data.subset
    for row, needed in zip(subset.rows, subset.needed, strict=True):
        token_ids = tokenizer.encode(subset.manifest[row].text)
        assert needed == len(token_ids) + sum(map(eq, token_ids, token_ids[1:]))
    dataset, _ = made.data.epoch(0)
    for number in range(5):
        rows = dataset.utterances.rows(number)
        assert tokenizer.decode(dataset.tokens(number)) == " ".join(subset.manifest[row].text for row in rows)
    made = prepare(settings(corpus, tmp_path / "crf", *SUBWORDS, "train.epochs=9", "train.loss=ctc_crf"))
    assert made.recognizer.token_ngrams.shape == (16, 16, 16)


def test_symbols_of_the_development_part_are_characters_and_checks_count_subwords(corpus, tmp_path, said):
    other = {**corpus, "dev": with_texts(corpus, "dev", ["low zebra"])}
    config = settings(other, tmp_path / "other", *SUBWORDS, "train.epochs=1")
    prepare(config)
    assert any("dev: symbols without a token: 'z' × 1, 'e' × 1, 'b' × 1" in line for line in said)
    checked = check_settings(corpus["folder"] / "tones.yaml", None, [*SUBWORDS], other["train"])
    subwords = learn_subwords(config, other["train"])
    assert checked.subwords == subwords
    needed = read_subset(other["train"], config, "data.train", subwords.spellings_of).needed
    assert max(needed) < max(len(utterance.text) for utterance in Manifest(other["train"]))
