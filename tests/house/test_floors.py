"""The house: every folder has one floor, imports point down only, files of a folder form no circle,
and every folder says what it is for.
"""

import ast
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import mobilekd

PACKAGE = Path(mobilekd.__file__).parent

#: The floors, from the ground up. ``docs/architecture.md`` prints this table.
FLOORS = (
    ("support",),
    ("formats",),
    ("data", "students", "losses", "metrics", "graphs", "android"),
    ("teachers", "runners", "figures", "backends"),
    ("training", "inference", "page", "sweeps"),
    ("lowering",),
    ("designing",),
    ("commands",),
    ("cli",),
)
FLOOR = {folder: floor for floor, folders in enumerate(FLOORS) for folder in folders}

#: Folders that hold data, and sources that travel in the wheel; no code imports them.
DATA = {"recipes", "reference", "android_demo", "ios_export"}

#: The commands that run other commands. Everything else meets in folders on disk.
CONDUCTORS = {f"mobilekd.commands.{name}" for name in ("compare", "demo", "design", "sweep")}


def module_name(path: Path, package: Path = PACKAGE) -> str:
    """``mobilekd.data.split`` for ``mobilekd/data/split.py``."""
    parts = path.relative_to(package.parent).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


@cache
def modules(package: Path = PACKAGE) -> dict[str, Path]:
    """Every module of the package by its dotted name, without what merely travels with it."""
    files = (path for path in package.rglob("*.py") if "__pycache__" not in path.parts)
    found = {module_name(path, package): path for path in files}
    return {name: path for name, path in found.items() if folder(name) not in DATA - {"recipes"}}


def folder(module: str) -> str:
    """The folder of ``mobilekd`` that a module belongs to; empty for the package itself."""
    return [*module.split("."), ""][1]


def imported(path: Path, known: Iterable[str]) -> set[str]:
    """Modules among ``known`` that a file imports, inside functions and for type checking too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names.add(whole if whole in known else str(node.module))
    return names & set(known)


@cache
def arrows(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Who imports whom. The package's own door imports every command by design, so it is left
    out.
    """
    known = modules(package)
    return {
        name: imported(path, known) - {name, package.name}
        for name, path in known.items()
        if name != package.name
    }


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle of imports, or none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_lies_loose():
    loose = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert not loose
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"__pycache__"}
    assert folders <= set(FLOOR) | DATA


@pytest.mark.parametrize("name", sorted(modules()))
def test_imports_point_down(name):
    here = folder(name)
    if not here or here not in FLOOR:
        return
    for there in {folder(target) for target in arrows()[name]} - {here, ""}:
        assert FLOOR[there] < FLOOR[here], f"{name} imports {there}"


def test_no_circle():
    assert not circle(arrows())


def test_only_conductors_run_other_commands():
    graph = {name: found for name, found in arrows().items() if folder(name) == "commands"}
    callers = {
        name
        for name, found in graph.items()
        if name != "mobilekd.commands" and any(folder(target) == "commands" for target in found)
    }
    assert callers <= CONDUCTORS


def test_a_planted_circle_is_found(tmp_path):
    room = tmp_path / "mobilekd" / "metrics"
    room.mkdir(parents=True)
    (room / "__init__.py").write_text('"""Metrics."""\n')
    (room / "one.py").write_text("def late():\n    from mobilekd.metrics.two import two\n")
    (room / "two.py").write_text("from mobilekd.metrics import one\n")
    found = circle(arrows(tmp_path / "mobilekd"))
    assert {"mobilekd.metrics.one", "mobilekd.metrics.two"} <= set(found)


def test_a_planted_upward_import_is_found(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("def late():\n    from mobilekd.commands.export import export\n")
    (target,) = imported(planted, modules())
    assert FLOOR[folder(target)] > FLOOR["metrics"]


@pytest.mark.parametrize("name", sorted(FLOOR))
def test_a_folder_says_what_may_be_added_and_what_it_never_imports(name):
    text = ast.get_docstring(ast.parse((PACKAGE / name / "__init__.py").read_text("utf-8"))) or ""
    assert len(text.split("\n\n")) >= 2, f"{name}: one paragraph says what it is, another the rule"


def test_the_door_and_the_ground_floors_load_no_torch():
    names = ["mobilekd", "mobilekd.cli"]
    names += sorted(name for name in modules() if folder(name) in ("support", "formats"))
    program = f"import sys, {', '.join(names)}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_every_command_is_a_function_of_its_own_file():
    files = {path.stem for path in (PACKAGE / "commands").glob("*.py")} - {"__init__"}
    assert files == set(mobilekd.__all__)
    for name in files:
        function = getattr(mobilekd, name)
        assert callable(function)
        assert (function.__module__, function.__name__) == (f"mobilekd.commands.{name}", name)


def test_naming_a_command_loads_only_its_own_module():
    program = (
        "import sys, mobilekd; before = {name for name in sys.modules if 'mobilekd.commands' in"
        " name}; from mobilekd import devices; print(len(before), callable(devices))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.split() == ["0", "True"], done.stderr
