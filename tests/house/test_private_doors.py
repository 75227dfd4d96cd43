"""No private doors: a name or a module that starts with an underscore stays in its folder.

Looked at are the package, its benchmarks, its tests and the check for a Mac: what they import, and
what they reach for behind a name that they imported.
"""

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

FOLDERS = ("mobilekd", "benchmarks", "tests", "ios_export")
#: A private name in words, as ``monkeypatch.setattr`` takes it.
DOTTED = re.compile(r"mobilekd(\.\w+)*\._[A-Za-z]\w*(\.\w+)*")


def private(name: str) -> bool:
    """``_name``, but neither ``__name__`` nor ``_`` alone."""
    return name.startswith("_") and name != "_" and not name.endswith("__")


def private_doors(source: str, own: str = "") -> Iterator[str]:
    """What ``source`` takes through a private door of ``mobilekd``; ``own`` is the dotted folder
    that the file lies in, whose doors are its own.
    """
    tree = ast.parse(source)
    bound: dict[str, str] = {}  # names in the file -> what they stand for
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            taken = [(alias, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            taken = [(alias, str(node.module), alias.name) for alias in node.names]
        else:
            continue
        for alias, module, name in taken:
            if module.split(".")[0] != "mobilekd":
                continue
            whole = f"{module}.{name}".rstrip(".")
            bound[alias.asname or alias.name.split(".")[0]] = whole
            folder = whole.rpartition("._")[0]
            if any(map(private, whole.split("."))) and not (own and folder.startswith(own)):
                yield f"line {node.lineno}: {whole}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and private(node.attr) and root(node.value) in bound:
            yield f"line {node.lineno}: {ast.unparse(node)} ({bound[root(node.value)]})"
        elif isinstance(node, ast.Call | ast.Tuple):  # setattr(module, "_name", ...) and its like
            parts = node.args if isinstance(node, ast.Call) else node.elts
            for holder, name in pairwise(parts):
                named = str(name.value) if isinstance(name, ast.Constant) else ""
                if private(named) and root(holder) in bound:
                    yield f"line {node.lineno}: {named} of {ast.unparse(holder)}"
        elif isinstance(node, ast.Constant) and DOTTED.fullmatch(str(node.value)):
            yield f"line {node.lineno}: {node.value}"


def root(node: ast.expr) -> str:
    """``a`` of ``a.b.c``; nothing of any other expression."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def sources(folder: Path) -> list[Path]:
    """Its Python files, without what other tools leave."""
    return [path for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts]


@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_goes_through_a_private_door(name, checkout):
    doors = []
    for path in sources(checkout / name):
        own = path.parent.relative_to(checkout).parts if name == "mobilekd" else ()
        doors += [
            f"{path.relative_to(checkout)}, {door}"
            for door in private_doors(path.read_text(encoding="utf-8"), ".".join(own))
        ]
    assert not doors, "\n".join(doors)


@pytest.mark.parametrize(
    "planted",
    [
        "from mobilekd.graphs.pte import _FLOATS",
        "from mobilekd.graphs._hidden import name",
        "import mobilekd.graphs._hidden",
        "def late():\n    from mobilekd.graphs import _hidden as open_name",
        "from mobilekd.graphs import pte\npte._FLOATS",
        "import mobilekd\nmobilekd.graphs.pte._FLOATS",
        "from mobilekd.graphs.pte import PteFile as File\nFile._hidden",
        "from mobilekd.graphs import pte\nmonkeypatch.setattr(pte, '_FLOATS', ())",
        "from mobilekd.graphs import pte\nwatched = [(pte, '_FLOATS')]",
        "monkeypatch.setattr('mobilekd.graphs.pte._FLOATS', ())",
    ],
)
def test_a_planted_door_is_found(planted):
    assert list(private_doors(planted, "mobilekd.commands"))


@pytest.mark.parametrize(
    "allowed",
    [
        "from mobilekd.commands._shared import name",
        "from mobilekd.graphs import __doc__ as words",
        "from torch.nn.modules.batchnorm import _BatchNorm",
        "from mobilekd.graphs import pte\nself._own = pte.read",
    ],
)
def test_a_door_of_its_own_folder_is_none(allowed):
    assert not list(private_doors(allowed, "mobilekd.commands"))
