"""Every option that a message names is one that the reader can give: it exists in the command whose
file says it, and where rooms below say it, in some command that leads there.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import mobilekd
from mobilekd.cli import commands

PACKAGE = Path(mobilekd.__file__).parent
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")

#: Options of other programs: adb's am, glibc's loader, ray start, and pip.
FOREIGN = {"--es", "--library-path", "--head", "--no-deps"}
OF_THEIR_OWN = {"__pycache__", "cli", "ios_export", "android_demo", "file_process.py"}
FOREIGN_CALLS = ("xcode-select --install",)


def options_of(command: str) -> set[str]:
    parser = commands().parsers[command]
    return {option for action in parser._actions for option in action.option_strings}


ALL = {command: options_of(command) for command in commands().parsers}
_NAMES = "|".join(ALL)
#: ``mobilekd export``, or ``export``, ``export with`` and ``export FILE`` before an option.
COMMAND = re.compile(rf"mobilekd ({_NAMES})\b|(?<![\w-])({_NAMES})(?: with| [A-Z]+)? (?=--)")


@cache
def imports() -> dict[Path, set[Path]]:
    """What each file of the package imports, lazily too; a package that loads its files by name
    imports them all. The package's own door and the command line lead everywhere, so they do not
    count.
    """
    files = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    place = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in files
    }
    doors = {name for name in place if name == "mobilekd" or name.startswith("mobilekd.cli")}
    found: dict[Path, set[Path]] = {}
    for path, text in files.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                names |= {one.name for one in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                names |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
        found[path] = {place[name] for name in names & place.keys() - doors}
        if path.name == "__init__.py" and path.parent != PACKAGE and "import_module(" in text:
            found[path] |= set(path.parent.glob("*.py"))
    return found


@cache
def leading_to(path: Path) -> frozenset[str]:
    """The commands that can come to a file's code; all where none does."""
    found = set()
    for command in ALL:
        seen: set[Path] = set()
        waiting = [PACKAGE / "commands" / f"{command}.py"]
        while waiting:
            one = waiting.pop()
            if one not in seen and one.is_file():
                seen.add(one)
                waiting += imports()[one]
        if path in seen:
            found.add(command)
    return frozenset(found or ALL)


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Line and text of every string of more than one word, parts of f-strings joined; docstrings
    and arguments of programs are no messages.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                inner.add(id(first.value))
        if isinstance(node, ast.JoinedStr):
            inner |= {id(part) for part in node.values}
    for node in ast.walk(tree):
        if id(node) in inner:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "X" for part in node.values)
            text = "".join(map(str, parts))
        else:
            continue
        if " " in text.strip() and not set("{<") & set(text):  # no style sheets, no drawings
            yield node.lineno, text


def unknown_options(path: Path, text: str) -> list[str]:
    """Options in one message that its command does not have."""
    for call in FOREIGN_CALLS:
        text = text.replace(call, "")
    named = ["".join(words) for words in COMMAND.findall(text)]
    if path.parent.name == "commands" and path.stem in ALL:
        named.append(path.stem)
    known = set().union(*(ALL[command] for command in named or leading_to(path)))
    return sorted(set(OPTION.findall(text)) - known - FOREIGN)


def messages() -> list[tuple[Path, int, str]]:
    return [
        (path, line, text)
        for path in sorted(PACKAGE.rglob("*.py"))
        # the command line makes the options; what travels and a runner have options of their own
        if not OF_THEIR_OWN & set(path.parts)
        for line, text in sentences(path)
        if OPTION.search(text)
    ]


def test_every_option_in_a_message_exists_where_it_is_said():
    said = messages()
    assert len(said) > 20
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}: {', '.join(options)} in {text[:80]!r}"
        for path, line, text in said
        if (options := unknown_options(path, text))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("commands/export.py", "give it with --root", ["--root"]),
        ("commands/evaluate.py", "give it with --root", []),
        ("data/folder.py", "give it with --rooot", ["--rooot"]),
        ("data/folder.py", "give it with --aar", ["--aar"]),
        ("android/runtime.py", "give it with --aar", []),
        ("android/runtime.py", "give it with --grid", ["--grid"]),
        ("data/folder.py", "mobilekd distill X --root", ["--root"]),
    ],
)
def test_a_planted_option_is_found(file: str, text: str, wrong: list[str]):
    assert unknown_options(PACKAGE / file, text) == wrong
