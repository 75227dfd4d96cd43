"""A cell of a sweep, the process that trains it, and what every place that runs cells must do.

A cell gets its job over its standard input: one line, then silence for as long as whoever started
it lives. It ends when that stream does, so no cell outlives its sweep, however that ends.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import RUNS

#: A cell's process. The working folder is not on its path (-P), and this package's own place comes
#: last, so that no module of the user's can stand for one of a library's.
PROGRAM = (
    "import sys; sys.path.append(sys.argv[1]);"
    " from mobilekd.commands.sweep import main; sys.exit(main())"
)

Command = Literal["teach", "distill"]


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: ``state`` is done (was there already), trained (now), refused (the
    user's mistake, or a full disk) or failed (ours), with the reason in ``detail``.
    """

    name: str
    state: str
    detail: str = ""


class Place(AbstractContextManager["Place"], Protocol):
    """Where cells run. Leaving it ends those that still run."""

    def check(self, recipes: Sequence[Recipe]) -> None:
        """A ``UserError`` where these recipes could not all run here; nothing has run yet."""

    def train(self, command: Command, recipes: Sequence[Recipe]) -> list[Cell]:
        """Teach or distill each recipe; a cell that fails says so and stops no other."""


def job(
    command: Command, recipe: Recipe, runs: Path, *, control: bool, patience: float = 0.0
) -> dict[str, Any]:
    """What a cell is to do, as JSON. For ``patience`` seconds it waits for a folder that somebody
    else still holds.
    """
    beside = [] if runs == RUNS else ["--runs", str(runs)]
    if not control and command == "distill":
        beside.append("--no-control")
    return {
        "command": command,
        "recipe": recipe.to_dict(),
        "runs": str(runs),
        "control": control,
        "patience": patience,
        # the run's own words for how it was made: its folder holds the recipe
        "argv": [command, str(runs / recipe.name), *beside],
    }


def start(
    job: dict[str, Any],
    *,
    cwd: Path | None = None,
    env: dict[str, str] | None = None,
    stderr: int | None = None,
) -> "subprocess.Popen[str]":
    """A cell at work, away from the terminal: Ctrl-C reaches the sweep alone, which ends it."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", PROGRAM, str(Path(__file__).parents[2])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        errors="replace",
        start_new_session=True,
        cwd=cwd,
        env=env,
    )
    assert process.stdin
    with suppress(BrokenPipeError):  # it was ended before it could read
        process.stdin.write(json.dumps(job) + "\n")
        process.stdin.flush()
    # its standard input stays open: that is how it knows that we live
    return process


def result(name: str, folder: Path, code: int, answer: str) -> Cell:
    """What a cell came to, by its process's exit code and its line on standard output."""
    if code == 0:
        return Cell(name, "trained", str(folder))
    state = "refused" if code == 2 else "failed"
    return Cell(name, state, answer.strip() or f"ended with code {code}")
