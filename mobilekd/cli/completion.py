"""Shell completion of words that only the machine knows: recipes, runs, artifacts, a recipe's keys.

``argcomplete`` (github.com/kislyuk/argcomplete) asks the grammar; this file says what stands where
a name is asked for, by the argument's ``metavar``.
"""

import argparse
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mobilekd.cli.meant import BACKENDS, PRECISIONS
from mobilekd.cli.parser import Commands

#: The shell's hook sets it while it asks.
ASKED = "_ARGCOMPLETE"


def complete(commands: Commands) -> None:
    """Answer the shell that asks what may come next, and end; return where none asks."""
    if ASKED not in os.environ:
        return
    import argcomplete

    for parser in commands.parsers.values():
        for action in parser._actions:
            if action.metavar in CHOICES:
                action.completer = CHOICES[action.metavar]  # type: ignore[attr-defined]
    argcomplete.autocomplete(commands.root, always_complete_options="long")


def hook(shell: str) -> str:
    """What a shell has to run once, so that it asks."""
    import argcomplete

    text: str = argcomplete.shellcode(["mobilekd"], shell=shell)
    return text


def _recipes(**_: Any) -> list[str]:
    from mobilekd.formats.recipe_file import shipped

    return [*shipped(), *map(str, Path().glob("*.toml"))]


def _runs(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    from mobilekd.formats.runs import references

    runs = Path(getattr(parsed_args, "runs", None) or "runs")
    shipped = [f"reference:{name}" for name in references()]
    return [*(str(path.parent) for path in runs.glob("*/run.json")), *shipped]


def _artifacts(**_: Any) -> list[str]:
    return [str(path.parent) for path in Path("artifacts").glob("*/manifest.json")]


def _paths(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    results = ["results"] if Path("results").is_dir() else []
    return [*_runs(parsed_args), *_artifacts(), *results]


def _keys(**_: Any) -> Iterator[str]:
    from mobilekd.formats.recipe_keys import keys

    return (f"{key.name}=" for key in keys() if not key.table)


#: What may stand where an argument's ``metavar`` is.
CHOICES: dict[str, Callable[..., Any]] = {
    "RECIPE": _recipes,
    "RUN": _runs,
    "RUN|ARTIFACT": lambda **asked: [*_runs(**asked), *_artifacts()],
    "ARTIFACT": _artifacts,
    "PATH": _paths,
    "KEY=VALUE": _keys,
    "KEY=A,B": _keys,
    "KEY": lambda **asked: [key.rstrip("=") for key in _keys(**asked)],
    "B": lambda **_: BACKENDS,
    "P": lambda **_: PRECISIONS,
}
