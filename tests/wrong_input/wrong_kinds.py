"""How a kind of wrong input is written down; ``test_wrong_input.py`` lists the kinds and puts each
to the program.

Each kind prepares its folder and returns the command; the strings must all be in its one line.
"""

from collections.abc import Callable
from pathlib import Path

Prepare = Callable[[Path], list[str]]
KINDS: dict[str, tuple[Prepare, tuple[str, ...]]] = {}

SMALL = ["--smoke", "--set", "name=fresh", "--set", "train.epochs=1", "--set", "teach.epochs=1"]


def kind(*says: str) -> Callable[[Prepare], Prepare]:
    def add(prepare: Prepare) -> Prepare:
        assert prepare.__name__ not in KINDS, f"two kinds are called {prepare.__name__}"
        KINDS[prepare.__name__] = prepare, says
        return prepare

    return add
