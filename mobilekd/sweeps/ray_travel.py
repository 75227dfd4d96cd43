"""What Ray sends to its nodes as code, because it is defined inside a function: a node needs no
import of ours to run it.

So a node that has another version of this program, or none, can still say so. Everything else is
imported there, after that.
"""

from collections.abc import Callable
from typing import Any


def caller() -> Callable[..., Any]:
    """The function that a node runs. ``call(wanted, function, *arguments)`` calls that function of
    ``ray_node`` and returns its result. Where the node's packages have other versions than
    ``wanted`` (by package), it returns ``{"differs": {package: (its version, ours)}}`` instead.
    """

    def call(wanted: dict[str, str], function: str, *arguments: Any) -> Any:
        from importlib import import_module
        from importlib.metadata import PackageNotFoundError, version

        import ray

        found = {}
        for package in wanted:
            try:
                found[package] = version(package).partition("+")[0]
            except PackageNotFoundError:
                found[package] = ""
        try:
            found["mobilekd"] = import_module("mobilekd.support.version").VERSION
        except ImportError:
            found["mobilekd"] = ""
        differs = {
            name: (found[name], wanted[name]) for name in wanted if found[name] != wanted[name]
        }
        if differs:
            return {"differs": differs, "node": ray.get_runtime_context().get_node_id()}
        return getattr(import_module("mobilekd.sweeps.ray_node"), function)(*arguments)

    return call


def board_class() -> type:
    """The actor on which cells write their progress."""

    class Board:
        def __init__(self) -> None:
            self.cells: dict[str, tuple[str, str, int]] = {}

        def tell(self, name: str, node: str, line: str | None) -> None:
            """A cell's last line; None where it starts."""
            starts = self.cells.get(name, ("", "", 0))[2]
            self.cells[name] = (node, line or "", starts + (line is None))

        def look(self) -> dict[str, tuple[str, str, int]]:
            """Node, last line and number of starts by cell."""
            return self.cells

    return Board
