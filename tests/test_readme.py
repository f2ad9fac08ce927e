"""Every command and program in the README and in docs/ runs; every page names only commands, options, settings and
files that exist."""

import json
import lzma
import re
import shlex
import shutil
import subprocess
import sys
from itertools import product

import pytest
import torch
import typer
from helpers import ROOT
from typer.testing import CliRunner

from asr.cli.main import app
from asr.config import Config, FeatureConfig, ModelConfig, TextConfig, flatten
from asr.model.folder import save_model
from asr.model.recognizer import Recognizer
from asr.text import Tokenizer

DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/*.md"))]
PAGES = [*DOCS, ROOT / "CHANGELOG.md", ROOT / "data/README.md", *sorted(ROOT.glob("recipes/*/*.md"))]
SCRIPTS = sorted([*ROOT.glob("recipes/*.sh"), *ROOT.glob("recipes/*/*.sh"), *ROOT.glob("recipes/*/*.yaml")])
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SETTING = re.compile(r"(?<![\w./])((?:compose|data|features|text|augment|model|train)\.\w+)(?==)")

UsageError = typer.BadParameter.__base__  # click's, or that of a typer which carries its own click

# Checked by name only: these install, need a download, several processes or another program, or train for minutes. CI
# runs the setup and a recipe, tests/recipes runs all recipes, tests/train runs several processes.
NOT_RUN = (
    "CORPUS=", "RUN=", "asr data download", "asr data prepare", "asr lexicon download", "asr new-recipe", "bash ",
    "pip ", "python -m ", "python scripts/bench ", "python scripts/bench_align.py", "python scripts/bench_g2p.py",
    "python scripts/bench_recurrent.py", "python scripts/bench_speechbrain.py", "python scripts/gpu.py",
    "python scripts/kill_test.py", "python scripts/signal_test.py", "python3 ", "ruff ", "source ", "torchrun ",
)  # fmt: skip


def name_of(path):
    return str(path.relative_to(ROOT))


def blocks(page):
    """(language, text) of every fenced block."""
    return FENCE.findall(page.read_text(encoding="utf-8"))


def commands(language, text):
    """(command, lines that it should print, None: any) of a block; in a console block commands stand behind a $."""
    found = []
    for line in text.splitlines() if language in ("sh", "console") else ():
        if language == "sh":
            found.append((re.sub(r"\s+#.*", "", line), None))
        elif line.startswith("$ "):
            found.append((line.removeprefix("$ "), []))
        else:
            found[-1][1].append(line)
    return found


def shell(page):
    """Every command of a page."""
    return [command for language, text in blocks(page) for command, _ in commands(language, text)]


def parse(command):
    """Let the command line of `asr` parse it without running it. Raises UsageError."""
    words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z]+=.*", word)]
    words = words[words.index("asr") + 1 :]
    group, path = typer.main.get_command(app), ["asr"]
    while hasattr(group, "commands"):
        assert words, f"{command}: which command?"
        assert words[0] in group.commands, f"{command}: there is no {' '.join([*path, words[0]])}"
        group = group.commands[words[0]]
        path.append(words.pop(0))
    group.make_context(" ".join(path), list(words))


# --- what pages name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_exist(page):
    for command in shell(page):
        if re.search(r"(^| |-m )asr ", command):
            parse(command)
        elif found := re.match(r"(?:\S+=\S+ )*(?:bash|python3?) ((?:recipes|scripts)/\S+)(.*)", command):
            check_script(*found.groups())


def check_script(path, rest):
    """A script exists and knows the options: they stand in its text, or are the names of a function's parameters."""
    if path.startswith("recipes/meetings/"):
        return  # tests/recipes/test_new_recipe.py makes this one and runs it
    script = ROOT / path
    assert script.exists(), path
    sources = [script] if script.is_file() else [*script.glob("*.py")]
    source = "".join(source.read_text(encoding="utf-8") for source in sources)
    for option in re.findall(r"--([\w-]+)", rest):
        assert re.search(rf'"--{option}"|\b{option.replace("-", "_")}: ', source), f"{path} has no --{option}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_in_sentences_exist(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for command in re.findall(r"`(asr [^`]+)`", text):
        words = command.split()[1:]
        group = typer.main.get_command(app)
        while hasattr(group, "commands") and words and words[0] not in ("COMMAND", "--help"):
            assert words[0] in group.commands, command
            group = group.commands[words.pop(0)]
        known = {name for parameter in group.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for word in words:
            assert not word.startswith("--") or word.partition("=")[0] in known | {"--help"}, command


def test_an_unknown_command_or_option_is_found():
    parse("RUN=x asr data split a.jsonl --dev 0.2")
    with pytest.raises(AssertionError, match="there is no asr data divide"):
        parse("asr data divide a.jsonl")
    with pytest.raises(UsageError):
        parse("asr data split a.jsonl --validation 0.2")


@pytest.mark.parametrize("page", [*PAGES, *SCRIPTS], ids=name_of)
def test_settings_exist(page):
    known = flatten(Config())
    text = page.read_text(encoding="utf-8")
    named = {*SETTING.findall(text)}
    if page.suffix == ".md":  # also without a value, in backticks; train.tsv is a file
        named |= set(re.findall(r"`((?:compose|features|augment|train)\.(?!jsonl|tsv)[a-z_]+)[`:]", text))
    assert named <= set(known), sorted(named - set(known))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)]+))?\)", text):
        linked = (page.parent / target).resolve() if target else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)", linked.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, f"{target}#{anchor}"


@pytest.mark.parametrize("page", sorted(ROOT.glob("docs/*.md")), ids=name_of)
def test_the_readme_leads_to_every_page(page):
    assert f"(docs/{page.name}" in (ROOT / "README.md").read_text(encoding="utf-8")


# --- what pages do


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder as a clone of the repository is, with small stand-ins for what the pages expect to have been made."""
    for name in ("data/sentences", "data/samples", "data/whisper", "recipes"):
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "scripts").symlink_to(ROOT / "scripts", target_is_directory=True)
    lines = [json.loads(line) for line in (ROOT / "data/samples/samples.jsonl").read_text().splitlines()]
    for line in lines:
        line["audio"] = str(tmp_path / "data" / "samples" / line["audio"])
    for corpus, part in product(("mini_librispeech", "yesno"), ("train", "dev", "test")):
        manifest = tmp_path / "data" / corpus / f"{part}.jsonl"
        manifest.parent.mkdir(exist_ok=True)
        manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "musan" / "noise").mkdir(parents=True)
    shutil.copy(ROOT / "data/samples/rms_8k.wav", tmp_path / "musan" / "noise")
    texts = [line["text"] for line in lines]
    with lzma.open(tmp_path / "books.txt.xz", "wt") as file:
        file.write("\n".join([*texts, "the rest is silence", "so it goes"] * 5))
    (tmp_path / "commands.txt").write_text("turn on the oven\nnow\t3\n")
    (tmp_path / "data" / "cmudict").mkdir()
    words = sorted({*"abcdefghijklmnopqrstuvwxyz", *(word for text in texts for word in text.split())})
    with (tmp_path / "data" / "cmudict" / "cmudict-en-us.dict").open("w") as file:
        file.writelines(f"{word} {' '.join(word.upper())}\n" for word in words)
    torch.manual_seed(0)
    recognizer = Recognizer(
        FeatureConfig(sample_rate=8000, n_mels=10),
        TextConfig(),
        ModelConfig(layers=1, hidden_size=8),
        Tokenizer.build("characters", sorted(set("".join(texts)))),
    )
    recognizer.name = "mini_librispeech"
    for name in ("letters", "mini_librispeech"):
        save_model(recognizer.eval(), tmp_path / "runs" / name / "model")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command):
    """What a command prints. A training gets one epoch and few units, or is only planned where that is not enough."""
    words = shlex.split(command)
    if words[0] != "asr":
        words[0] = sys.executable
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        return done.stdout
    if words[1] == "train":
        words += ["train.epochs=1", "device=cpu"]
        words += ["--dry-run"] if "train.overfit" in command else []
        words += [] if "fine.yaml" in words else ["model.hidden_size=8"]  # which must match the model it starts from
    done = CliRunner().invoke(app, words[1:])
    assert done.exit_code == 0, f"{command}\n{done.stderr}\n{done.exception!r}"
    return done.stdout


def matches(printed, expected):
    """Whether lines are as they were expected, … being any lines, whatever space is at their ends."""
    pattern = "\n".join(".*" if line.strip() == "…" else re.escape(line.rstrip()) for line in expected)
    return re.fullmatch(pattern, "\n".join(line.rstrip() for line in printed.splitlines()), re.DOTALL)


RUN_PAGES = [page for page in DOCS if any(not command.startswith(NOT_RUN) for command in shell(page))]


@pytest.mark.parametrize("page", RUN_PAGES, ids=name_of)
def test_a_page_runs_from_top_to_bottom(page, clone):
    for language, text in blocks(page):
        if language == "yaml":
            (clone / re.match(r"# (\S+\.yaml)\n", text)[1]).write_text(text)
        elif language == "python" and "ARCHIVES" not in text:  # tests/recipes/test_new_recipe.py runs that one
            exec(compile(text, str(page), "exec"), {})
        for command, expected in commands(language, text):
            if not command.startswith(NOT_RUN):
                printed = run(command)
                assert expected is None or matches(printed, expected), f"{command}\n{printed}"


def test_the_readme_has_commands_of_every_kind():
    found = shell(ROOT / "README.md")
    assert sum(command.startswith("python3 scripts/setup.py") for command in found) == 2
    assert sum(command.startswith("asr ") for command in found) >= 3
    assert any(command.startswith("bash recipes/") for command in found)


def test_language_models_are_run_not_only_named():
    found = [command for page in RUN_PAGES for command in shell(page) if not command.startswith(NOT_RUN)]
    for part in ("asr lm train", "asr lm tune", "asr lm convert", "--lm ", "asr compare", "--hotword", "--vocabulary"):
        assert any(part in command for command in found), part


def test_setup_explains_itself():
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/setup.py"), "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "--test" in done.stdout


def test_every_page_names_its_commands_in_fences():
    """Nothing looks at an indented block."""
    for page in PAGES:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        assert not re.search(r"^    (?:asr|bash|python3?|pip|[A-Z]+=\S+) ", text, re.MULTILINE), page
