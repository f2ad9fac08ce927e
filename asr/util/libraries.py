"""The libraries underneath, and what to do about one that is missing or does not load."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires, version

from asr.errors import AsrError, LibraryError

# What `asr info` looks at: all that have a compiled part.
LIBRARIES = ("numpy", "torch", "torchaudio", "soundfile", "soxr", "safetensors", "scipy", "numba")
OTHERS = ("jiwer", "librosa", "tensorboard")
PACKAGES = {"yaml": "PyYAML"}  # where package and module have different names
LOCKED_PAIR = {"torch": "2.11.0", "torchaudio": "2.11.0"}  # that of requirements.lock
# torch release -> the torchaudio releases whose compiled part loads beside it. Measured, as their metadata does not
# tell: 2.11.0 beside torch 2.11.0 to 2.14.1, 2.11.1 beside 2.13.0 to 2.15.0.
FITTING = {
    "2.11": ("2.11.0",),
    "2.12": ("2.11.0",),
    "2.13": ("2.11.0", "2.11.1"),
    "2.14": ("2.11.0", "2.11.1"),
    "2.15": ("2.11.1",),
}


def installed(library: str) -> str | None:
    """The version of an installed library, None where there is none."""
    try:
        return version(PACKAGES.get(library, library))
    except PackageNotFoundError:
        return None


def describe_libraries() -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Import every library. Returns rows of name and state, and of those that fail the line that says what to do."""
    rows, failing = [], {}
    for library in LIBRARIES:
        state = installed(library) or "missing"
        try:
            importlib.import_module(library)
        except Exception as error:
            failing[library] = explain(error) or f"{library} does not load ({first_line(error)})"
            state += ", does not load" if installed(library) else ""
        rows.append((library, state))
    return rows + [(library, installed(library) or "none") for library in OTHERS], failing


def describe_ffmpeg() -> str:
    """Where ffmpeg is and its version, or why there is none that runs."""
    program = shutil.which("ffmpeg")
    if program is None:
        return "none (needed only for formats beyond libsndfile's)"
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        return f"{program} does not run: {error.strerror}"
    if done.returncode:
        return f"{program} does not run: {' '.join(done.stderr.split())[:200]}"
    return f"{program} ({' '.join(done.stdout.split()[2:3])})"


@contextmanager
def library_errors() -> Iterator[None]:
    """A library that turns out to be missing or not to load in this block raises LibraryError: what to do, in a line.
    Every other error passes unchanged."""
    try:
        yield
    except AsrError:
        raise
    except Exception as error:
        line = explain(error)
        if line is None:
            raise
        raise LibraryError(line) from error


def explain(error: Exception) -> str | None:
    """What to do about a library that failed while it was imported; None for an error of any other kind."""
    if isinstance(error, ModuleNotFoundError) and error.name and not installed(error.name.partition(".")[0]):
        name = error.name.partition(".")[0]
        return None if name in ("asr", *sys.stdlib_module_names) else f"{name} is missing: {install(name)}"
    library = being_imported(error)
    if library is None:
        return None
    if library == "torchaudio" and "torch" in sys.modules:
        return explain_pair(error)
    remedy = f'pip install --force-reinstall "{library}=={installed(library)}"'
    if library == "soundfile" and not isinstance(
        error, ImportError
    ):  # its wheel carries libsndfile, its source does not
        remedy += " brings libsndfile along; so does your system's package manager"
    return f"{library} {installed(library)} does not load ({first_line(error)}): {remedy}"


def explain_pair(error: Exception) -> str:
    """What to do about a torchaudio that does not load beside a torch that does."""
    import torch

    beside, audio = torch.__version__, installed("torchaudio") or "?"
    both = "pip install --force-reinstall " + " ".join(f"{name}=={number}" for name, number in LOCKED_PAIR.items())
    cpu_only = torch.version.cuda is None and torch.version.hip is None and sys.platform == "linux"
    if cpu_only and "+cpu" not in audio:
        return (
            f"torchaudio {audio} is built for torch with CUDA, torch {beside} is without: {both};"
            " or take both of them from PyTorch's CPU index"
        )
    fitting = FITTING.get(".".join(beside.split(".")[:2]), ())
    if not fitting:
        return f"torchaudio {audio} does not load beside torch {beside}: {both}"
    if audio.partition("+")[0] not in fitting:
        return f"torchaudio {audio} does not load beside torch {beside}: pip install torchaudio=={fitting[-1]}"
    again = f"pip install --force-reinstall --no-deps torchaudio=={audio}"
    return f"torchaudio {audio} does not load beside torch {beside} ({first_line(error)}): {again}"


def being_imported(error: BaseException) -> str | None:
    """The library whose import raised the error: the outermost one of which a module was being executed."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name = str(frame.f_globals.get("__name__")).partition(".")[0]
        if frame.f_code.co_name == "<module>" and installed(name) and name != "asr":
            return name
    # "cannot import name … from torch": the frame is that of the module which wanted it.
    name = str(getattr(error, "name", None) or "").partition(".")[0]
    return name if isinstance(error, ImportError) and name != "asr" and installed(name) else None


def install(library: str) -> str:
    """The command that installs a library in a version that asr works with."""
    package = PACKAGES.get(library, library)
    if library in LOCKED_PAIR:
        return "pip install " + " ".join(f"{name}=={number}" for name, number in LOCKED_PAIR.items())
    declared = (line.partition(";")[0].strip() for line in requires("asr") or [])
    return f'pip install "{next((line for line in declared if line.startswith(package)), package)}"'


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
