"""The `asr` that scripts find on the PATH."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.preloaded import preloaded_asr


@pytest.fixture(autouse=True)
def asr_on_the_path(monkeypatch) -> None:
    """This interpreter's."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)


@pytest.fixture(scope="session")
def preloaded(tmp_path_factory) -> Iterator[Path]:
    with preloaded_asr(tmp_path_factory.mktemp("preloaded")) as folder:
        yield folder


@pytest.fixture
def quick_asr(request, asr_on_the_path, monkeypatch) -> None:
    """One that imports torch once for all commands. test_yesno's first run and a corpus that is added do without."""
    if os.name == "posix":
        monkeypatch.setenv("PATH", str(request.getfixturevalue("preloaded")), prepend=os.pathsep)
