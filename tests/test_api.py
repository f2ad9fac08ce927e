"""What Python users meet: the names, their signatures, the examples of the docstrings, an import that costs nothing."""

import doctest
import inspect
import json
import subprocess
import sys

import pytest
from helpers import ROOT

import asr
import asr.transcribe

# Whoever changes these changes other people's programs: say so in the changes of the next release.
API = {
    "AlignedToken": "(text: str, start: float, end: float, score: float) -> None",
    "AlignedWord": "(text: str, start: float, end: float, score: float, tokens: tuple[AlignedToken, ...]) -> None",
    "Alignment": "(words: list[AlignedWord], duration: float, model: str, skipped: tuple[str, ...] = ()) -> None",
    "AsrError": None,
    "Segment": "(start: float, end: float, text: str, words: list[Word]) -> None",
    "Transcriber": "(recognizer: Recognizer, options: DecoderOptions | None = None, folder: Path | None = None)"
    " -> None",
    "Transcript": "(text: str, segments: list[Segment], duration: float, model: str, notes: tuple[str, ...] = ())"
    " -> None",
    "Word": "(text: str, start: float, end: float, confidence: float) -> None",
    "__version__": None,
    "load": "(model: str | Path | None = None, device: str = 'auto', *, lm: str | Path | None = None,"
    " hotwords: Mapping[str, float | None] | Iterable[str] = (), beam: int | None = None,"
    " lm_weight: float | None = None, word_insertion_bonus: float | None = None, unk_score: float | None = None,"
    " closed_vocabulary: bool = False, vocabulary: str | Path | Mapping[str, float] | Iterable[str] | None = None,"
    " rescore: str | Path | None = None, rescore_weight: float | None = None) -> Transcriber",
    "train_model": "(config: str | Path, *overrides: str) -> Path",
}
METHODS = {
    "align": "(self, audio: AudioInput, text: str, sample_rate: int | None = None, skip_unknown: bool = False)"
    " -> Alignment",
    "evaluate": "(self, manifest: str | Path, output_dir: str | Path | None = None,"
    " progress: Callable[[Iterable[Utterance], int], Iterable[Utterance]] | None = None) -> dict[str, Any]",
    "transcribe": "(self, audio: AudioInput | AudioInputs, sample_rate: int | None = None)"
    " -> Transcript | list[Transcript]",
    "transcribe_all": "(self, recordings: Iterable[Job | AudioInput], sample_rate: int | None = None)"
    " -> Iterator[tuple[Job, Transcript | AsrError]]",
}


def signature(function):
    return str(inspect.signature(function)).replace("'", "").replace(" = auto", " = 'auto'")


def test_the_public_names_and_signatures_are_those_of_the_snapshot():
    assert asr.__all__ == sorted(API, key=asr.__all__.index)
    assert set(asr.__all__) == set(API)
    for name, expected in API.items():
        value = getattr(asr, name)
        assert expected is None or signature(value) == expected, name
    public = {name for name, value in vars(asr.Transcriber).items() if inspect.isfunction(value) and name[0] != "_"}
    assert public == set(METHODS)
    for name, expected in METHODS.items():
        assert signature(getattr(asr.Transcriber, name)) == expected, name
    for result in (asr.Alignment, asr.Transcript):
        assert signature(result.to_dict) == "(self) -> dict[str, Any]"
        assert signature(result.to_srt) == "(self) -> str"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        asr.nothing  # noqa: B018


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with the samples and a small config, as the examples expect to be run in."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    config = {
        "data": {"train": "data/samples/samples.jsonl", "dev": "data/samples/samples.jsonl"},
        "features": {"n_mels": 20, "sample_rate": 8000},
        "model": {"layers": 1, "hidden_size": 8},
        "text": {"tokens": "words"},
        "device": "cpu",
    }
    (tmp_path / "mine.yaml").write_text(json.dumps(config))
    monkeypatch.chdir(tmp_path)


EXAMPLES = [
    example for module in (asr, asr.transcribe) for example in doctest.DocTestFinder().find(module) if example.examples
]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_examples_give_what_they_show(desk, example):
    report = []
    doctest.DocTestRunner(verbose=False).run(example, out=report.append)
    assert not report, "".join(report)


def test_every_function_of_the_api_has_an_example():
    names = {example.name for example in EXAMPLES}
    assert names == {
        "asr",
        "asr.load",
        "asr.train_model",
        *(f"asr.transcribe.Transcriber.{name}" for name in ("align", "evaluate", "transcribe", "transcribe_all")),
    }


def test_importing_is_cheap():
    heavy = "('torch', 'numpy', 'soundfile', 'pydantic_core')"
    code = f"import sys, asr; sys.exit(any(module in sys.modules for module in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
