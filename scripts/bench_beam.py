"""The beam search against pyctcdecode and flashlight-text: the same log-probs, ARPA file, weights and beam.

    python scripts/bench_beam.py dump --model runs/letters --lm lm --output bench dev.jsonl
    python scripts/bench_beam.py asr bench
    OTHER/bin/python scripts/bench_beam.py pyctcdecode bench    # an environment with "numpy<2" pyctcdecode kenlm
    OTHER/bin/python scripts/bench_beam.py flashlight bench     # and one with flashlight-text (Python 3.10 to 3.12)
    python scripts/bench_beam.py compare bench

`dump` writes the log-probabilities of a manifest and the language model as an ARPA file. The others decode them on one
core, twice, the first time to warm up, and print CPU seconds, seconds of audio for each, word errors, and write what
they read to bench/NAME.txt. Run them in turn, on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def dump(folder: Path, model: str, lm: Path, manifest: Path) -> None:
    import torch

    from asr.data.manifest import Manifest
    from asr.data.waveforms import read_utterance
    from asr.lm.arpa import write_arpa
    from asr.lm.model import LanguageModel
    from asr.lm.trie import levels_of
    from asr.model.folder import find_model, load_model
    from asr.text import normalize

    recognizer = load_model(find_model(model))
    texts, arrays = [], []
    for utterance in Manifest(manifest):
        samples = torch.from_numpy(read_utterance(utterance, recognizer.sample_rate))
        with torch.inference_mode():
            log_probs, lengths = recognizer(samples.unsqueeze(0), torch.tensor([len(samples)]))
        arrays.append(log_probs[0, : lengths[0]].numpy())
        texts.append(normalize(utterance.text or "", recognizer.text.normalizer))
    save(folder, texts, arrays, list(recognizer.tokenizer.tokens), recognizer.frame_s)
    language = LanguageModel.load(lm)
    write_arpa(folder / "lm.arpa", language.words, levels_of(language.tables))


def save(folder: Path, texts: list[str], arrays: list[np.ndarray], tokens: list[str], frame_s: float) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "log_probs.npz", *arrays)
    about = {"tokens": tokens, "texts": texts, "frame_s": frame_s}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")


def arpa_words(path: Path) -> list[str]:
    words = []
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("\\2-grams"):
                break
            fields = line.split("\t")
            if len(fields) > 1 and fields[1].strip() not in ("<s>", "</s>", "<unk>"):
                words.append(fields[1].strip())
    return words


def use_asr(folder: Path, tokens: list[str], a: argparse.Namespace) -> Callable[[np.ndarray], tuple[str, float]]:
    from asr.decode.beam import BeamSettings, prepare
    from asr.lm.model import LanguageModel
    from asr.text import Tokenizer

    tokenizer = Tokenizer("characters", tuple(tokens))
    settings = BeamSettings(
        beam=a.beam,
        beam_threshold=a.beam_threshold,
        token_threshold=a.token_threshold,
        lm_weight=a.lm_weight,
        word_insertion_bonus=a.word_insertion_bonus,
        unk_score=a.unk_score,
        closed_vocabulary=a.closed_vocabulary,
    )
    search = prepare(tokenizer, "basic", settings, LanguageModel.load(folder / "lm.arpa"))

    def decode(log_probs: np.ndarray) -> tuple[str, float]:
        best = search.n_best(log_probs)[0]
        return tokenizer.decode(best.token_ids), best.total

    return decode


def use_pyctcdecode(
    folder: Path, tokens: list[str], a: argparse.Namespace
) -> Callable[[np.ndarray], tuple[str, float]]:
    from pyctcdecode import build_ctcdecoder

    path = folder / "lm.arpa"
    decoder = build_ctcdecoder(
        ["", *tokens[1:]],
        str(path),
        arpa_words(path),
        alpha=a.lm_weight,
        beta=a.word_insertion_bonus,
        unk_score_offset=a.unk_score / max(a.lm_weight, 1e-9) / math.log(10),  # its offset is weighted, log10
    )

    def decode(log_probs: np.ndarray) -> tuple[str, float]:
        best = decoder.decode_beams(
            log_probs, beam_width=a.beam, beam_prune_logp=-a.beam_threshold, token_min_logp=-a.token_threshold
        )[0]
        return best[0], best[-1]

    return decode


def use_flashlight(folder: Path, tokens: list[str], a: argparse.Namespace) -> Callable[[np.ndarray], tuple[str, float]]:
    from flashlight.lib.text.decoder import (
        CriterionType,
        KenLM,
        LexiconDecoder,
        LexiconDecoderOptions,
        SmearingMode,
        Trie,
    )
    from flashlight.lib.text.dictionary import Dictionary

    path = folder / "lm.arpa"
    words = Dictionary()
    for word in [*arpa_words(path), "<unk>"]:
        words.add_entry(word)
    words.set_default_index(words.get_index("<unk>"))
    lm = KenLM(str(path), words)
    number = {token: i for i, token in enumerate(tokens)}
    trie = Trie(len(tokens), number[" "])
    start = lm.start(False)
    for word in arpa_words(path):
        index = words.get_index(word)
        if all(letter in number for letter in word):
            trie.insert([*(number[letter] for letter in word), number[" "]], index, lm.score(start, index)[1])
    trie.smear(SmearingMode.MAX)
    # Log10 scores, so the weight is larger; it adds the bonus to a word, and knows no words beside the lexicon.
    options = LexiconDecoderOptions(
        beam_size=a.beam,
        beam_size_token=len(tokens),
        beam_threshold=a.beam_threshold,
        lm_weight=a.lm_weight * math.log(10),
        word_score=a.word_insertion_bonus,
        unk_score=-math.inf,
        sil_score=0.0,
        log_add=True,
        criterion_type=CriterionType.CTC,
    )
    decoder = LexiconDecoder(options, trie, lm, number[" "], 0, words.get_index("<unk>"), [], False)

    def decode(log_probs: np.ndarray) -> tuple[str, float]:
        best = decoder.decode(log_probs.ctypes.data, *log_probs.shape)[0]
        return " ".join(words.get_entry(i) for i in best.words if i >= 0), best.score

    return decode


def word_errors(reference: list[str], hypothesis: list[str]) -> int:
    row = list(range(len(hypothesis) + 1))
    for i, word in enumerate(reference, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(hypothesis, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]


def compare(folder: Path, a: argparse.Namespace) -> None:
    import torch

    from asr.lm.model import LanguageModel
    from asr.text import Tokenizer

    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    stored, lm = np.load(folder / "log_probs.npz"), LanguageModel.load(folder / "lm.arpa")
    tokenizer = Tokenizer("characters", tuple(about["tokens"]))

    def exact(log_probs: np.ndarray, text: str) -> float:
        words, tokens = text.split(), torch.tensor([tokenizer.encode(text)], dtype=torch.long)
        lengths = torch.tensor([len(log_probs)]), torch.tensor([tokens.shape[1]])
        frames = torch.from_numpy(log_probs).double().unsqueeze(1)
        acoustic = -float(torch.nn.functional.ctc_loss(frames, tokens, *lengths, reduction="sum"))
        unknown = sum(word not in lm.index for word in words)
        language = a.lm_weight * float(lm.score_sentence(words).sum())
        return acoustic + language + a.word_insertion_bonus * len(words) + a.unk_score * unknown

    ours = None
    for name in ("asr", "pyctcdecode", "flashlight"):
        if not (folder / f"{name}.txt").exists():
            continue
        lines = (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        read = [line.split("\t")[1] for line in lines]
        scores = np.array([exact(stored[f"arr_{i}"], text) for i, text in enumerate(read)])
        errors = np.array([word_errors(t.split(), r.split()) for t, r in zip(about["texts"], read)])  # noqa: B905
        words = np.array([len(text.split()) for text in about["texts"][: len(read)]])
        about_read = f"{name:12} {sum(len(text.split()) for text in read)} words, mean exact score {scores.mean():.3f}"
        if ours is None:
            ours = scores, errors
            print(about_read)
            continue
        drawn = np.random.default_rng(0).integers(0, len(read), (2000, len(read)))
        more = 100 * (errors - ours[1])[drawn].sum(axis=1) / words[drawn].sum(axis=1)
        low, high = np.percentile(more, [2.5, 97.5])
        print(
            f"{about_read}, below ours in {(scores < ours[0] - 1e-3).mean():.1%} of utterances, above in"
            f" {(scores > ours[0] + 1e-3).mean():.1%}; WER minus ours: {low:+.2f} to {high:+.2f} points (95 %, paired)"
        )


def measure(name: str, folder: Path, a: argparse.Namespace) -> None:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    stored = np.load(folder / "log_probs.npz")
    arrays = [np.ascontiguousarray(stored[f"arr_{i}"]) for i in range(len(about["texts"]))][: a.most]
    texts = about["texts"][: a.most]
    decode = {"asr": use_asr, "pyctcdecode": use_pyctcdecode, "flashlight": use_flashlight}[name](
        folder, about["tokens"], a
    )
    decode(arrays[0])
    began = time.process_time()
    read = [decode(log_probs) for log_probs in arrays]
    seconds = time.process_time() - began
    audio = sum(map(len, arrays)) * about["frame_s"]
    errors = sum(word_errors(text.split(), hypothesis.split()) for text, (hypothesis, _) in zip(texts, read))  # noqa: B905
    words = sum(len(text.split()) for text in texts)
    print(
        f"{name:12} {seconds:8.3f} s of CPU, {audio / seconds:8.0f} × real time, WER {100 * errors / words:.2f} %,"
        f" mean score {np.mean([score for _, score in read]):.3f}"
    )
    (folder / f"{name}.txt").write_text("".join(f"{score:.4f}\t{text}\n" for text, score in read), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["dump", "asr", "pyctcdecode", "flashlight", "compare"])
    parser.add_argument("path", type=Path, help="dump: a manifest; otherwise the folder it wrote")
    parser.add_argument("--model", default="digits")
    parser.add_argument("--lm", type=Path)
    parser.add_argument("--output", type=Path, default=Path("bench"))
    parser.add_argument("--beam", type=int, default=32)
    parser.add_argument("--most", type=int, help="only the first utterances")
    parser.add_argument(
        "--closed-vocabulary", action="store_true", help="only the language model's words, as flashlight does"
    )
    for name, default in (("beam-threshold", 16.0), ("token-threshold", 5.0), ("lm-weight", 0.5)):
        parser.add_argument(f"--{name}", type=float, default=default)
    parser.add_argument("--word-insertion-bonus", type=float, default=0.5)
    parser.add_argument("--unk-score", type=float, default=-20.0)
    a = parser.parse_args()
    if a.what == "dump":
        dump(a.output, a.model, a.lm, a.path)
    elif a.what == "compare":
        compare(a.path, a)
    else:
        measure(a.what, a.path, a)


if __name__ == "__main__":
    main()
