"""A user's own functions in a recipe: ``my_losses.py:my_loss`` or ``package.module:function``.

Whoever reads a recipe finds the source beside it, and keeps it in the recipe itself, with what it
imports from beside it. So a changed body is another recipe, and a run or an artifact can be opened
where the file is not. A package that is installed is kept as the source of the module named, and is
imported there as usual.
"""

import ast
import builtins
import importlib.util
import linecache
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.abc import InspectLoader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePosixPath
from types import CodeType, ModuleType
from typing import Any

from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json
from mobilekd.support.words import choices

#: What stands before a colon where a library is asked for a network.
LIBRARIES = frozenset({"timm", "torchvision"})

#: Characters of source that a recipe keeps; more is a library, not an own function.
MOST = 1_000_000

_SPELLING = re.compile(
    r"(?P<place>.*\.py|[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<function>[^\W\d]\w*)", re.DOTALL
)


def is_own(name: str) -> bool:
    """Whether a recipe's name is a file or module and a function in it."""
    match = _SPELLING.fullmatch(name)
    return match is not None and match["place"] not in LIBRARIES


def gather(
    name: str, folders: Sequence[Path], kept: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """The name as a recipe keeps it (the file without its folder), and source text by file.

    ``folders`` are looked through in order. What is in none of them is taken from ``kept``, the
    source that the recipe has already.
    """
    place, _, function = name.rpartition(":")
    if place.endswith(".py"):
        path = Path(place).expanduser()
        found = next((each for folder in folders if (each := folder / path).is_file()), None)
        if found is not None:
            return f"{path.name}:{function}", _closure(found.parent, path.name)
        if path.name in kept:
            return f"{path.name}:{function}", dict(kept)
        looked = ", ".join(dict.fromkeys(str(folder) for folder in folders))
        raise UserError(
            f"{name}: no file {place} beside the recipe or in the working folder ({looked}); put"
            " it there, or write its whole path"
        )
    for folder in folders:
        for key in _files_of(place):
            if (folder / key).is_file():
                return name, _closure(folder, key)
    if kept:
        return name, dict(kept)
    return name, {place: _installed(name, place)}


def own_function(name: str, code: Mapping[str, str]) -> Callable[..., Any]:
    """The function that ``name`` stands for, from the source kept in ``code``; runs that source."""
    place, _, function = name.rpartition(":")
    module = _module(name, place, code)
    found = getattr(module, function, None)
    if not callable(found):
        own = [
            key
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__
        ]
        raise UserError(
            f"{name}: {place} has no function {function}; {choices(function, sorted(own))}"
        )
    return found


def source_of(name: str) -> str:
    """Where an own function comes from, for a list: its file or module."""
    return name.rpartition(":")[0]


def _files_of(module: str) -> tuple[str, str]:
    path = module.replace(".", "/")
    return f"{path}.py", f"{path}/__init__.py"


def _installed(name: str, place: str) -> str:
    """The source of a module that Python itself finds."""
    try:
        spec = importlib.util.find_spec(place)
    except (ImportError, ValueError):
        spec = None
    if spec is None:
        raise UserError(
            f"{name}: no module {place} beside the recipe or among the installed packages; write"
            " file.py:function, or install its package"
        )
    loader = spec.loader
    source = loader.get_source(place) if isinstance(loader, InspectLoader) else None
    return source or ""


def _closure(root: Path, first: str) -> dict[str, str]:
    """Source by path below ``root``: of the file ``first``, and of what it imports from there."""
    code: dict[str, str] = {}
    waiting = [first]
    while waiting:
        key = waiting.pop()
        if key in code:
            continue
        path = root / key
        try:
            code[key] = path.read_text(encoding="utf-8-sig")
            tree = ast.parse(code[key], str(path))
        except SyntaxError as error:
            raise UserError(
                f"{path}, line {error.lineno}: not valid Python ({error.msg}); mend that line"
            ) from None
        except (OSError, ValueError) as error:
            raise UserError(f"{path}: not readable Python ({error}); save it as UTF-8") from None
        if sum(map(len, code.values())) > MOST:
            raise UserError(
                f"{root / first}: it imports more than {MOST:,} characters of source from"
                f" {root}; move the function into a file of its own"
            )
        waiting += [found for found in _imports(tree, key) if (root / found).is_file()]
    return code


def _imports(tree: ast.AST, key: str) -> Iterator[str]:
    """Files that a file's imports may mean, below its root; those of Python and of this program
    are never meant.
    """
    package = PurePosixPath(key).parent.parts
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join([*above, *([node.module] if node.module else [])])
            names = [base, *(f"{base}.{alias.name}".strip(".") for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] in sys.stdlib_module_names or parts[0] in ("", "mobilekd"):
                continue
            for end in range(1, len(parts) + 1):
                yield from _files_of(".".join(parts[:end]))


def _module(name: str, place: str, code: Mapping[str, str]) -> ModuleType:
    if not place.endswith(".py") and not any(key in code for key in _files_of(place)):
        dotted = place
    else:
        finder = _finder(sha256_json(dict(code))[:16], tuple(sorted(code.items())))
        dotted = f"{finder.root}.{place.removesuffix('.py')}"
    try:
        return importlib.import_module(dotted)
    except (Exception, SystemExit) as error:  # a script's arguments end the program, too
        reason = str(error).partition("\n")[0] or "no reason given"
        if dotted == place:
            remedy = f"install the package that {place} belongs to"
        else:
            remedy = "mend it, or install what it imports"
        raise UserError(
            f"{name}: {place} cannot be loaded ({type(error).__name__}: {reason}"
            f"{_line_of(error)}); {remedy}"
        ) from None


def _line_of(error: BaseException) -> str:
    """The last line of the kept source that an error went through."""
    line, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__name__", "").startswith(PREFIX):
            line = f", line {trace.tb_lineno}"
        trace = trace.tb_next
    return line


PREFIX = "mobilekd_own_"


class _Finder(MetaPathFinder, InspectLoader):
    """Imports kept source under a name of its own, so that two versions of a file can be loaded.

    Its modules see each other by the names that they use: ``import helpers`` finds the kept file,
    else whatever Python finds.
    """

    def __init__(self, root: str, code: Mapping[str, str]) -> None:
        self.root, self.code = root, dict(code)

    def find_spec(
        self, fullname: str, path: Any = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a kept module, or of a folder of such."""
        if fullname != self.root and not fullname.startswith(f"{self.root}."):
            return None
        if self._key(fullname) is None and not self._is_folder(fullname):
            return None
        spec = ModuleSpec(
            fullname, self, origin=self._shown(fullname), is_package=self.is_package(fullname)
        )
        spec.has_location = False
        return spec

    def is_package(self, fullname: str) -> bool:
        """A folder, or the root of all."""
        key = self._key(fullname)
        return key is None or key.endswith("/__init__.py")

    def get_source(self, fullname: str) -> str:
        """The kept text; a folder has none."""
        key = self._key(fullname)
        return self.code[key] if key else ""

    def get_code(self, fullname: str) -> CodeType:
        """Compiled under a name that errors show, with lines that debuggers can quote."""
        source, shown = self.get_source(fullname), self._shown(fullname)
        linecache.cache[shown] = (len(source), None, source.splitlines(keepends=True), shown)
        return compile(source, shown, "exec", dont_inherit=True)

    def exec_module(self, module: ModuleType) -> None:
        """Run the text with an ``import`` that knows its neighbours."""
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": self._import}
        exec(self.get_code(module.__name__), module.__dict__)

    def _import(
        self,
        name: str,
        globals: Any = None,
        locals: Any = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        full = f"{self.root}.{name}"
        top = f"{self.root}.{name.partition('.')[0]}"
        if level or not (self._key(top) or self._is_folder(top)):
            return builtins.__import__(name, globals, locals, fromlist or (), level)
        module = importlib.import_module(full)
        if not fromlist:
            return importlib.import_module(top)
        for item in fromlist:
            if self._key(f"{full}.{item}") or self._is_folder(f"{full}.{item}"):
                importlib.import_module(f"{full}.{item}")
        return module

    def _key(self, fullname: str) -> str | None:
        below = fullname.removeprefix(self.root).lstrip(".")
        return next((key for key in _files_of(below) if below and key in self.code), None)

    def _is_folder(self, fullname: str) -> bool:
        below = fullname.removeprefix(self.root).lstrip(".").replace(".", "/")
        return not below or any(key.startswith(f"{below}/") for key in self.code)

    def _shown(self, fullname: str) -> str:
        return f"<{self._key(fullname) or fullname} of the recipe>"


@cache
def _finder(digest: str, code: tuple[tuple[str, str], ...]) -> _Finder:
    finder = _Finder(f"{PREFIX}{digest}", dict(code))
    sys.meta_path.append(finder)
    return finder
