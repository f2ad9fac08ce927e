"""The libraries that asr needs, and what to do about one that is missing or does not load."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, requires, version

from asr.errors import AsrError, LibraryError

# What `asr info` imports: libraries that every command needs, and those with a compiled part.
LIBRARIES = ("numpy", "torch", "torchaudio", "soundfile", "soxr", "safetensors", "scipy", "numba", "jiwer")
OTHERS = ("librosa", "tensorboard")
PACKAGES = {"yaml": "PyYAML"}  # where package and module have different names
LOCKED_PAIR = {"torch": "2.11.0", "torchaudio": "2.11.0"}  # that of requirements.lock
# torch release -> the torchaudio releases whose compiled part loads beside it. Measured by
# scripts/pairs.py, as their metadata does not tell: torch 2.11.0, 2.12.0, 2.12.1, 2.13.0, 2.14.0, 2.14.1 and 2.15.0.
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
        return version(PACKAGES.get(library, library)) if library else None
    except PackageNotFoundError:
        return None


def describe_libraries() -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Import every library. Returns rows of name and state, and of those that fail the line that says what to do."""
    rows, failing = [], {}
    for library in LIBRARIES:
        state = installed(library) or "unknown version"
        try:
            importlib.import_module(library)
        except Exception as error:
            failing[library] = explain(error) or f"{library} does not load ({first_line(error)})"
            state = f"{state}, does not load" if installed(library) else "missing"
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
    """Turn the error of a library that is missing or does not load into a LibraryError that says what to do.

    Every other error passes unchanged.
    """
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
    """What to do about a library that failed while it was imported; None for an error of any other kind.

    Modules that the user's own code fails to import are of that other kind: their traceback tells more.
    """
    if isinstance(error, (ImportError, AttributeError)) and (file := hiding_file()):
        return f"{file} hides the library of that name: rename it"
    missing = str(getattr(error, "name", None) or "").partition(".")[0]
    absent = isinstance(error, ModuleNotFoundError) and not installed(missing)
    if absent and raised_in(error) == "asr" and declared(missing):
        return f"{missing} is missing: {install(missing)}"
    library = being_imported(error)
    if library is None:
        return None
    if library == "torchaudio" and "torch" in sys.modules:
        return explain_pair(error)
    package = PACKAGES.get(library, library)
    number = (installed(library) or "").partition("+")[0]  # +cpu and the like are not on the package index
    remedy = f'pip install --force-reinstall "{package}=={number}"'
    if library == "soundfile" and "library not found" in str(error):
        remedy += " brings libsndfile along; so does your system's package manager"
    return f"{library} {installed(library)} does not load ({first_line(error)}): {remedy}"


def hiding_file() -> str | None:
    """A file of the user's own that shadows a library: it was imported because its folder comes first in sys.path."""
    first = {os.path.realpath(folder) for folder in (os.getcwd(), sys.path[0])}
    for library in (*LIBRARIES, *PACKAGES):
        file = getattr(sys.modules.get(library), "__file__", None)
        if file and installed(library) and os.path.dirname(os.path.realpath(file)) in first:
            return str(file)
    return None


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
    """The library whose import raised the error: the outermost one of which a module was being executed, or from which
    asr imports a name that it lacks."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        name = str(frame.f_globals.get("__name__")).partition(".")[0]
        if frame.f_code.co_name == "<module>" and name != "asr" and installed(name):
            return name
    wanted = str(getattr(error, "name", None) or "").partition(".")[0] if isinstance(error, ImportError) else ""
    return wanted if raised_in(error) == "asr" != wanted and installed(wanted) else None


def raised_in(error: BaseException) -> str:
    """The package whose code raised the error."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__")).partition(".")[0] if frames else ""


def declared(library: str) -> str | None:
    """What asr asks for of a library, "soxr>=0.5"; None where it does not ask for it."""
    try:
        lines = requires("asr") or []
    except PackageNotFoundError:  # a clone that was not installed
        return PACKAGES.get(library, library) if library in (*LIBRARIES, *OTHERS, *PACKAGES) else None
    package = PACKAGES.get(library, library).lower().replace("_", "-")
    for line in (line.partition(";")[0].strip() for line in lines):
        if (name := re.match(r"[\w.-]+", line)) and name[0].lower().replace("_", "-") == package:
            return line
    return None


def install(library: str) -> str:
    """The command that installs a library in a version that asr works with."""
    if library in LOCKED_PAIR:
        return "pip install " + " ".join(f"{name}=={number}" for name, number in LOCKED_PAIR.items())
    return f'pip install "{declared(library)}"'


def first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
