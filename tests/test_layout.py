"""asr/ reads in the order the data flows: no module imports one above it, and none imports itself by a detour."""

import ast
import sys
from collections import Counter

import pytest
from helpers import ROOT

# From the ground up. A package or module may import those of its own line, and of the lines before it.
FLOORS = (
    ("asr.errors", "asr.util", "asr"),
    ("asr.subwords", "asr.audiofile", "asr.audio", "asr.text", "asr.config"),
    ("asr.lexicon.pronunciations",),
    ("asr.lengths", "asr.augment", "asr.data", "asr.segmentation"),
    ("asr.features",),
    ("asr.model",),
    ("asr.lm",),
    ("asr.lexicon",),
    ("asr.decode",),
    ("asr.evaluate",),
    ("asr.corpus", "asr.train", "asr.transcribe", "asr.writers"),
    ("asr.inspect",),
    ("asr.cli",),
    ("asr.__main__",),
)
# What `asr` names for Python users, inside functions and where types are checked.
LAZY = {
    ("asr", f"asr.{name}")
    for name in ("config", "decode.align", "decode.options", "decode.vocabulary", "train.run", "transcribe")
}


def modules():
    for path in (ROOT / "asr").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        yield name.removesuffix(".__init__"), ast.parse(path.read_text(encoding="utf-8"))


MODULES = dict(modules())


def imports(name):
    """Modules of asr that a module imports, wherever in it."""
    found = set()
    for node in ast.walk(MODULES[name]):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in MODULES else node.module)
    return {module for module in found if module in MODULES} - {name}


def floor(module):
    places = [
        (len(part), number)
        for number, parts in enumerate(FLOORS)
        for part in parts
        if module == part or (part != "asr" and module.startswith(f"{part}."))
    ]
    assert places, f"{module} is on no floor"
    return max(places)[1]


@pytest.mark.parametrize("name", MODULES)
def test_no_import_goes_up(name):
    for module in imports(name):
        if (name, module) not in LAZY:
            assert floor(module) <= floor(name), f"{name} imports {module}"


def test_no_circles():
    done, path = set(), []

    def visit(name):
        assert name not in path, " -> ".join([*path, name])
        if name not in done:
            path.append(name)
            for module in imports(name):
                if (name, module) not in LAZY:
                    visit(module)
            path.pop()
            done.add(name)

    for name in MODULES:
        visit(name)


def test_no_file_name_stands_three_times():
    names = Counter(path.name for path in (ROOT / "asr").rglob("*.py"))
    assert [name for name, count in names.items() if count > 2 and name != "__init__.py"] == []


def test_no_script_hides_a_module_of_python_from_its_neighbours():
    """A script's own folder comes first among those that modules are imported from."""
    scripts = [path for name in ("recipes", "scripts", "tests/helpers") for path in (ROOT / name).rglob("*.py")]
    assert len(scripts) > 20
    assert [path for path in scripts if path.stem in sys.stdlib_module_names] == []
