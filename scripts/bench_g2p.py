"""Compare the G2P model with espeak-ng: word and phone error rate on words of CMUdict that the model never saw.

    python scripts/bench_g2p.py data/cmudict/cmudict-en-us.dict

espeak-ng must be on PATH (apt install espeak-ng). It has its own phones: ESPEAK maps them to CMUdict's. Where a phone
may be two of CMUdict, the one stands here that gave fewer errors on words that are not tested. The last column counts
AH and IH as one phone, and AA and AO too: there dictionaries differ by convention, and espeak-ng follows another one.
"""

from __future__ import annotations

import argparse
import subprocess
import time
from pathlib import Path

from asr.lexicon.g2p import measure, split, train
from asr.lexicon.pronunciations import Pronunciations

ESPEAK = {
    "0": "AA", "3": "ER", "3:": "ER", "@": "AH", "@-": "AH", "@5": "AH", "@L": "AH L", "a": "AE", "aa": "AE",
    "a#": "AH", "A:": "AA", "A@": "AA R", "aI": "AY", "aI3": "AY ER", "aI@": "AY AH", "aU": "AW", "E": "EH",
    "e@": "EH R", "eI": "EY", "i": "IY", "i:": "IY", "i@": "IY AH", "i@3": "IH R", "I": "IH", "I2": "IH", "I#": "IH",
    "l": "L", "O:": "AO", "O2": "AO", "O@": "AO R", "o@": "AO R", "OI": "OY", "oU": "OW", "U": "UH", "u:": "UW",
    "U@": "UH R", "V": "AH", "b": "B", "d": "D", "D": "DH", "dZ": "JH", "f": "F", "g": "G", "h": "HH", "j": "Y",
    "k": "K", "m": "M", "n": "N", "n-": "AH N", "N": "NG", "p": "P", "r": "R", "r-": "R", "s": "S", "S": "SH",
    "t": "T", "t#": "T", "t2": "T", "tS": "CH", "T": "TH", "v": "V", "w": "W", "x": "K", "z": "Z", "Z": "ZH",
    "?": "T", ";": "",
}  # fmt: skip
ALIKE = {"IH": "AH", "AO": "AA"}


def espeak(words: list[str]) -> list[tuple[str, ...]]:
    """espeak-ng's pronunciations in phones of CMUdict."""
    command = ["espeak-ng", "-q", "-v", "en-us", "-x", "--sep= "]
    done = subprocess.run(command, input="\n".join(words) + "\n", capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(words), f"{len(lines)} lines for {len(words)} words"
    return [phones_of(line) for line in lines]


def phones_of(line: str) -> tuple[str, ...]:
    found: list[str] = []
    for symbol in line.translate(str.maketrans("", "", "',%=")).split():
        phones = ESPEAK.get(symbol, symbol).split()
        if phones == ["R"] and found and found[-1] in ("R", "ER"):  # espeak-ng writes the r of "arora" twice
            continue
        found += phones
    return tuple(found)


def merged(phones: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(ALIKE.get(phone, phone) for phone in phones)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dictionary", type=Path)
    parser.add_argument("--heldout", type=int, default=5000, help="words to measure on")
    parser.add_argument("--seed", type=int, default=0, help="of the words held out")
    options = parser.parse_args()
    known = Pronunciations.load(options.dictionary).words
    heldout = split(known, options.heldout, options.seed)
    words = sorted(heldout)
    train({"warm": [("W", "AO", "R", "M")]}).pronounce("warm")  # compiles
    started = time.process_time()
    model = train({word: each for word, each in known.items() if word not in heldout})
    trained = time.process_time()
    ours = [model.pronounce(word)[0][0] for word in words]
    done = time.process_time()
    each = 1e3 * (done - trained) / len(words)
    print(f"training {trained - started:.1f} s, then {each:.1f} ms a word (CPU time, already compiled)")
    right = [known[word] for word in words]
    print(f"{len(words):,} words    wrong words   phone errors   wrong words, AH = IH, AA = AO")
    for name, guesses in (("G2P", ours), ("espeak-ng", espeak(words))):
        exact = measure(zip(guesses, right, strict=True))
        loose = measure((merged(guess), list(map(merged, each))) for guess, each in zip(guesses, right, strict=True))
        print(f"{name:14}{100 * exact.wer:9.2f} %{100 * exact.per:13.2f} %{100 * loose.wer:13.2f} %")


if __name__ == "__main__":
    main()
