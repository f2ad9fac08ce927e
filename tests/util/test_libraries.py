"""A library that is missing or broken is named, with the command that mends it: real processes, real broken files."""

import os
import shutil
import subprocess
import sys
from ctypes.util import find_library
from pathlib import Path

import pytest
from helpers import ROOT

from asr.errors import AudioError
from asr.util.libraries import FITTING, LOCKED_PAIR, describe_ffmpeg, explain, installed, library_errors

SITE = Path(pytest.__file__).resolve().parents[1]
SAMPLE = ROOT / "data/samples/rms_8k.wav"


def asr(*arguments, first: Path, program=("-m", "asr"), **environment):
    """Run `asr` with the folder `first` before all others that modules are looked for in."""
    return subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": f"{first}{os.pathsep}{ROOT}", **environment},
        cwd=first,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def copy_broken(package: str, folder: Path, pattern: str, version: str | None = None) -> None:
    """A copy of an installed package whose shared libraries are cut short, under another version where one is given."""
    shutil.copytree(SITE / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "tests"))
    found = list((folder / package).rglob(pattern))
    assert found
    for path in found:
        path.write_bytes(path.read_bytes()[:100])
    [metadata] = SITE.glob(f"{package}-*.dist-info")
    text = (metadata / "METADATA").read_text(encoding="utf-8")
    version = version or installed(package)
    target = folder / f"{package}-{version}.dist-info"
    target.mkdir()
    (target / "METADATA").write_text(text.replace(f"\nVersion: {installed(package)}", f"\nVersion: {version}"))


def one_line(done) -> str:
    assert done.returncode == 1, done
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture(scope="module")
def other_torchaudio(tmp_path_factory):
    folder = tmp_path_factory.mktemp("torchaudio")
    copy_broken("torchaudio", folder, "*.so", "2.10.0")
    return folder


def test_a_torchaudio_that_does_not_fit_is_named_by_every_command(other_torchaudio):
    import torch

    fitting = FITTING[".".join(torch.__version__.split(".")[:2])][-1]
    expected = f"torchaudio 2.10.0 does not load beside torch {torch.__version__}: pip install torchaudio=={fitting}"
    for command in (["transcribe", SAMPLE], ["align", SAMPLE, "one"]):
        assert one_line(asr(*command, first=other_torchaudio)) == f"error: {expected}"
    done = asr("info", first=other_torchaudio)
    assert one_line(done) == f"error: {expected}"
    assert "torchaudio       2.10.0, does not load\n" in done.stdout
    assert "\nnumba " in done.stdout
    done = asr(first=other_torchaudio, program=("-c", "import asr\nasr.load()"))
    assert done.stderr.endswith(f"LibraryError: {expected}\n")


def test_debug_shows_where_a_library_failed(other_torchaudio):
    done = asr("--debug", "transcribe", SAMPLE, first=other_torchaudio)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no torch has CUDA, and all builds fit")
def test_a_torch_without_cuda_beside_a_torchaudio_with_it(other_torchaudio):
    # What a CPU build says of itself; the build itself is too large to be brought along.
    program = "import torch\ntorch.version.cuda = torch.version.hip = None\nimport asr\nasr.load()"
    done = asr(first=other_torchaudio, program=("-c", program))
    pair = " ".join(f"{name}=={number}" for name, number in LOCKED_PAIR.items())
    assert "torchaudio 2.10.0 is built for torch with CUDA, torch" in done.stderr
    assert f"is without: pip install --force-reinstall {pair};" in done.stderr


def test_a_damaged_torchaudio_is_installed_again(tmp_path):
    copy_broken("torchaudio", tmp_path, "*.so")
    line = one_line(asr("transcribe", SAMPLE, first=tmp_path))
    assert line.endswith(f"): pip install --force-reinstall --no-deps torchaudio=={installed('torchaudio')}")


def test_a_damaged_numba_is_named_where_it_is_needed(tmp_path):
    copy_broken("numba", tmp_path, "*.so")
    assert asr("transcribe", "--model", "digits", SAMPLE, first=tmp_path).returncode == 0
    line = one_line(asr("transcribe", SAMPLE, first=tmp_path))
    assert line.startswith(f"error: numba {installed('numba')} does not load (")
    assert line.endswith(f'): pip install --force-reinstall "numba=={installed("numba")}"')


@pytest.mark.skipif(find_library("sndfile") is not None, reason="the system has a libsndfile of its own")
def test_a_missing_libsndfile_is_named(tmp_path):
    for module in ("soundfile.py", "_soundfile.py"):
        shutil.copy(SITE / module, tmp_path)
    (tmp_path / "_soundfile_data").mkdir()
    (tmp_path / "_soundfile_data/__init__.py").touch()
    line = one_line(asr("transcribe", SAMPLE, first=tmp_path))
    assert line.startswith(f"error: soundfile {installed('soundfile')} does not load (")
    assert f'): pip install --force-reinstall "soundfile=={installed("soundfile")}"' in line


def test_a_missing_package_is_named_with_the_versions_asr_works_with(tmp_path):
    for entry in SITE.iterdir():
        if not entry.name.startswith("soxr"):
            (tmp_path / entry.name).symlink_to(entry)
    line = one_line(asr("transcribe", SAMPLE, first=tmp_path, program=("-S", "-m", "asr")))
    assert line == 'error: soxr is missing: pip install "soxr>=0.5"'


def test_other_errors_are_not_taken_for_a_library(tmp_path):
    errors = (FileNotFoundError("no"), ImportError("cannot import", name="asr.nowhere"), ZeroDivisionError("x"))
    for error in (*errors, ImportError("of the user's own"), ModuleNotFoundError("x", name="py")):
        assert explain(error) is None
    with pytest.raises(AudioError), library_errors():
        raise AudioError("as it is")
    with pytest.raises(ZeroDivisionError), library_errors():
        raise ZeroDivisionError
    for wrong in ("import not_there", "from numpy import nope", "import torch.nope"):  # in code that is not asr's
        with pytest.raises(ImportError), library_errors():
            exec(wrong)
    (tmp_path / "mine.py").write_text("import json\njson.loads('no json')\n")
    done = asr(first=tmp_path, program=("-c", "from asr.util.libraries import *\nwith library_errors(): import mine"))
    assert "JSONDecodeError" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("library", ["torch", "yaml"])
def test_a_file_that_hides_a_library_is_named(tmp_path, library):
    (tmp_path / f"{library}.py").write_text("")
    command = ["train", ROOT / "recipes/yesno/yesno.yaml"] if library == "yaml" else ["transcribe", SAMPLE]
    line = one_line(asr(*command, first=tmp_path))
    assert line == f"error: {tmp_path / library}.py hides the library of that name: rename it"


def test_what_the_command_line_itself_needs_may_be_missing(tmp_path):
    for entry in SITE.iterdir():
        if not entry.name.startswith("typer"):
            (tmp_path / entry.name).symlink_to(entry)
    line = one_line(asr("--help", first=tmp_path, program=("-S", "-m", "asr")))
    assert line.startswith('error: typer is missing: pip install "typer')


def test_ffmpeg_is_described(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_ffmpeg().startswith("none")
    program = tmp_path / "ffmpeg"
    program.write_text("no program")
    program.chmod(0o755)
    assert describe_ffmpeg() == f"{program} does not run: Exec format error"
    program.write_text("#!/bin/sh\necho libavcodec.so.60: cannot open >&2\nexit 127\n")
    assert describe_ffmpeg() == f"{program} does not run: libavcodec.so.60: cannot open"
    program.write_text("#!/bin/sh\necho ffmpeg version 7.1 Copyright\n")
    assert describe_ffmpeg() == f"{program} (7.1)"
