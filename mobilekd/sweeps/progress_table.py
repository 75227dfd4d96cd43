"""One table of progress for cells on several machines: redrawn on a terminal, elsewhere a line for
every change.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mobilekd.support.progress import say

#: In which order a terminal shows cells: there may be more than it has lines.
ORDER = ("failed", "refused", "running", "waiting", "trained")
#: How often a terminal is drawn anew at most, per second.
RATE = 2


@dataclass
class Row:
    """A cell's line; times are seconds of ``time.monotonic``."""

    state: str = "waiting"
    node: str = ""
    line: str = ""
    starts: int = 0
    began: float | None = None
    ended: float | None = None


class ProgressTable:
    """What every cell is doing, and where."""

    def __init__(self, command: str, names: Iterable[str]) -> None:
        self.command = command
        self.rows = {name: Row() for name in names}

    def begin(self, name: str, node: str, starts: int) -> None:
        """A cell runs on ``node``, for the ``starts``-th time: a lost node's cell starts again."""
        row = self.rows[name]
        if row.state not in ("waiting", "running") or (row.node, row.starts) == (node, starts):
            return
        row.state, row.node, row.starts = "running", node, starts
        row.began = row.began or time.monotonic()
        again = " again, its node was lost" if starts > 1 else ""
        self._say(f"sweep: {self.command} {name} on {node}{again}")

    def tell(self, name: str, line: str) -> None:
        """A running cell's last line."""
        if self.rows[name].state == "running":
            self.rows[name].line = line

    def finish(self, name: str, state: str, detail: str) -> None:
        """A cell has ended."""
        row = self.rows[name]
        row.state, row.line, row.ended = state, detail, time.monotonic()
        self._say(f"sweep: {name}: {state}, {self.counts()}")

    def counts(self) -> str:
        """How many cells are how far, in words."""
        states = [row.state for row in self.rows.values()]
        parts = [f"{states.count(state)} {state}" for state in ORDER if state in states]
        return f"{', '.join(parts)} of {len(states)}"

    @contextmanager
    def shown(self) -> Iterator[None]:
        """On a terminal, the table stands there until the block ends, and stays as it was last."""
        if not sys.stderr.isatty():
            yield
            return
        from rich.console import Console
        from rich.live import Live

        console = Console(stderr=True)
        with Live(console=console, refresh_per_second=RATE, get_renderable=self.drawn):
            yield

    def drawn(self) -> Any:
        """The table as rich draws it."""
        from rich.table import Table
        from rich.text import Text

        table = Table(caption=f"{self.command}: {self.counts()}", caption_justify="left", box=None)
        for title in ("RUN", "STATE", "NODE", "TIME", "LAST LINE"):
            table.add_column(title, no_wrap=True, justify="right" if title == "TIME" else "left")
        for name, row in sorted(self.rows.items(), key=lambda item: ORDER.index(item[1].state)):
            end = row.ended or time.monotonic()
            seconds = f"{end - row.began:.0f} s" if row.began else ""
            cells = (name, row.state, row.node, seconds, row.line.removeprefix(f"{name}: "))
            table.add_row(*map(Text, cells))  # no markup: lines may hold brackets
        return table

    def _say(self, line: str) -> None:
        if not sys.stderr.isatty():
            say(line)
