"""Every command and program in the README runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
FENCED = r"```(?:python|yaml)\n(.*?)```"
PROGRAM = r"```python\n(.*?)```"
BLOCKS = re.findall(r"(?:\n    [^\n]+)+", re.sub(FENCED, "", README, flags=re.DOTALL))
COMMANDS = [line.split("#")[0].strip() for block in BLOCKS for line in block.strip("\n").splitlines()]
COMMANDS = [line for line in COMMANDS if not line.startswith("{")]  # the manifest line
NEED_A_MODEL = ("asr lm ", "--lm", "asr compare")  # of English; tests/lm, tests/decode and tests/evaluate run them
COMMANDS = [line for line in COMMANDS if not any(part in line for part in NEED_A_MODEL)]
# These install the whole environment or train for minutes: CI runs setup and a recipe, tests/recipes runs all.
LONG = ("python3 scripts/setup.py", "bash recipes/", "RUN=", "CORPUS=", "asr data prepare", "asr train", "torchrun")


def run(command, folder=ROOT, **options):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        **options,
    )


def test_the_readme_has_commands_of_every_kind():
    assert sum(command.startswith("python3 scripts/setup.py") for command in COMMANDS) == 2
    assert sum(command.startswith("asr ") for command in COMMANDS) >= 3
    assert sum("bash recipes/" in command for command in COMMANDS) >= 2


@pytest.mark.parametrize("command", [c for c in COMMANDS if not c.startswith(LONG)])
def test_command(command):
    done = run(command, shell=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith(LONG)])
def test_long_command_names_a_script_that_is_there(command):
    words = command.removeprefix("torchrun --nproc-per-node=4 -m ").split()
    words = [word for word in words if "=" not in word]
    assert (ROOT / words[1]).is_file() or words[:3] == ["asr", "data", "prepare"] or (ROOT / words[2]).is_file()


def test_setup_explains_itself():
    done = run([sys.executable, "scripts/setup.py", "--help"])
    assert done.returncode == 0
    assert "--test" in done.stdout


# A recipe's prepare.py is run as one by tests/recipes/test_new_recipe.py.
@pytest.mark.parametrize("program", [p for p in re.findall(PROGRAM, README, re.DOTALL) if "ARCHIVES" not in p])
def test_program(program):
    done = run([sys.executable, "-c", program])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_config_trains(tmp_path):
    """The config for one's own data, with a manifest beside it."""
    [config] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(config)
    (tmp_path / "data" / "mine").mkdir(parents=True)
    for name in ("train", "dev"):
        lines = (
            (ROOT / "data/samples/samples.jsonl").read_text().replace('"audio": "', f'"audio": "{ROOT}/data/samples/')
        )
        (tmp_path / "data" / "mine" / f"{name}.jsonl").write_text(lines)
    done = run([sys.executable, "-m", "asr", "train", "mine.yaml", "--dry-run"], folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 utterances" in done.stdout


def test_linked_files_exist():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
