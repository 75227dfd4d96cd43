"""What travels to the nodes of a Ray cluster by its code, as what stands inside a function does.

A node may have another version of this program, or none: it can still say so. Everything else is
imported there, after that.
"""

from collections.abc import Callable
from typing import Any


def caller() -> Callable[..., Any]:
    """What runs on a node: ``call(wanted, function, *arguments)`` gives what that function of
    ``ray_node`` gives, or ``{"differs": {package: (its version, ours)}}`` where the node is not
    like ``wanted``, versions by package.
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
