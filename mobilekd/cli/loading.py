"""A word before the long silence: torch takes seconds to load, and nothing is said meanwhile."""

import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

from mobilekd.support.progress import say


class SayBeforeTorch:
    """Says once that torch is about to be loaded, then leaves the import to those who find it."""

    def __init__(self, command: str) -> None:
        self.command, self.said = command, False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Never finds anything (importlib's protocol)."""
        if name == "torch" and not self.said:
            self.said = True
            say(f"{self.command}: loading torch")
        return None


def say_before_torch(command: str) -> None:
    """Have the first import of torch announced, by one process of several."""
    if "torch" not in sys.modules and int(os.environ.get("RANK", "0")) == 0:
        sys.meta_path.insert(0, SayBeforeTorch(command))
