"""``pyproject.toml`` declares what is imported, and nothing else."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

#: What ``dev`` declares to be run, not imported, and the file that says so.
RUN = {
    "ruff": "Makefile",
    "mypy": "Makefile",
    "mkdocs": "Makefile",
    "mkdocs-material": "mkdocs.yml",  # its theme
    "codespell": "tests/docs/test_prose.py",
    "pytest-timeout": "pyproject.toml",  # its key "timeout"
    "pytest-xdist": "pyproject.toml",  # its option "-n"
    "onnxscript": "mobilekd/backends/onnx.py",  # torch's exporter loads it
    "coreai-core": "mobilekd/graphs/coreai_file.py",
    "coreai-torch": "mobilekd/backends/coreai.py",
}
CONVERTER = "mobilekd/backends/shared/litert_converter.py"
#: What lives in an environment of its own, by the file that names it with its version.
PEERS = {
    "onnxruntime": "benchmarks/lowering/environments.py",
    "litert_torch": CONVERTER,
    "ai_edge_litert": CONVERTER,
    "ai_edge_quantizer": CONVERTER,
    "torchdistill": "benchmarks/torchdistill/compare.py",
}
providers = cache(packages_distributions)


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(checkout: Path, extra: str = "") -> set[str]:
    """Distributions of the dependencies, or of an extra."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]
    lines = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return {normal(re.match(r"[\w.-]+", line)[0]) for line in lines}


def modules(path: Path) -> Iterator[str]:
    """Every absolute import of a file, in full."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def imported(folder: Path) -> dict[str, Path]:
    """Third-party top-level modules below a folder, each with the first file that imports it."""
    files = sorted(folder.rglob("*.py"))
    own = {path.stem for path in files} | {path.parent.name for path in files} | {"mobilekd"}
    own -= PEERS.keys()  # a folder is called after the peer that it compares with
    return {
        name: path
        for path in reversed(files)
        for name in (module.partition(".")[0] for module in modules(path))
        if name not in sys.stdlib_module_names and name not in own
    }


def distributions(module: str) -> set[str]:
    """Which distributions bring a module; several may share one, as ``google`` does. What is not
    installed, as an extra may not be, is called like its module.
    """
    return {normal(name) for name in providers().get(module, [module])}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("mobilekd", ("", "hdf5", "heic", "coreai", "litert", "onnx", "ray")),
        ("tests", ("", "heic", "dev")),
        ("benchmarks", ("", "dev")),
    ],
)
def test_what_is_imported_is_declared(folder, extras, checkout):
    known = set().union(*(declared(checkout, extra) for extra in extras))
    modules = imported(checkout / folder)
    assert modules
    undeclared = {
        module: path
        for module, path in modules.items()
        if not distributions(module) & known
        and not (folder == "benchmarks" and module in PEERS)
        and path.name != "litert_worker.py"  # a script of the converter's environment
    }
    assert not undeclared


def test_what_is_declared_is_imported(checkout):
    brought = set().union(*map(distributions, imported(checkout / "mobilekd")))
    assert declared(checkout) <= brought
    tested = imported(checkout / "tests").keys() | imported(checkout / "benchmarks").keys()
    assert declared(checkout, "dev") - RUN.keys() <= set().union(*map(distributions, tested))
    for program, file in RUN.items():
        word = program.removeprefix("pytest-")
        assert word in (checkout / file).read_text(), f"{file} does not run {program}"


def test_what_lives_elsewhere_is_named_with_its_version(checkout):
    imports = imported(checkout / "benchmarks")
    for module, file in PEERS.items():
        assert module in imports
        assert module.replace("_", "-") in (checkout / file).read_text()


def test_every_lock_has_a_reason(checkout):
    """What the lock pins is declared, or needed by something that it pins."""
    from importlib.metadata import PackageNotFoundError, requires

    lines = (checkout / "requirements.lock").read_text().splitlines()
    pinned = {normal(line.partition("==")[0]) for line in lines if line and line[0] != "#"}
    needed = declared(checkout) | declared(checkout, "dev") | {"setuptools"}
    for name in pinned:
        try:
            needed |= {normal(re.match(r"[\w.-]+", line)[0]) for line in requires(name) or ()}
        except PackageNotFoundError:  # another platform's
            continue
    assert pinned <= needed
