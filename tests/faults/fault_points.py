"""Kill this process before its n-th change of the file system: a point that comes back at every
run, where a moment drawn from the clock does not.

Python announces every opened, renamed, removed and made file to audit hooks; ``os.fsync`` is
counted beside them. Standard library only: a hook of ``sitecustomize`` loads it into processes that
a command starts, too.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

#: Environment variable that carries an :func:`arm` call into the processes of a command.
VARIABLE = "MOBILEKD_TEST_FAULT"

#: Environment variable that names the command's first process, which leads its group.
FIRST = "MOBILEKD_TEST_FIRST"

_CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.truncate")


def arm(folder: str, journal: str, point: int | None = None, number: int = signal.SIGKILL) -> None:
    """Count this process's changes below ``folder`` (relative paths count as such), each as a line
    of a file in the folder ``journal``.

    Before change number ``point`` (from 0) the command's processes are killed with SIGKILL, as when
    the power fails, or its first process alone gets the gentler signal ``number``.
    """
    first = int(os.environ.setdefault(FIRST, str(os.getpgrp())))  # the command's, for its children
    log = os.open(f"{journal}/{os.getpid()}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    count = 0

    def changes(event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "open":
            path, _, flags = arguments
            if not flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                return False
        elif event in _CHANGES:
            path = arguments[0]
        else:
            return False
        if isinstance(path, int) or not isinstance(path, (str, bytes, os.PathLike)):
            return False
        text = os.fsdecode(path)
        return not os.path.isabs(text) or text.startswith(f"{folder}{os.sep}")

    def reach(event: str) -> None:
        nonlocal count
        if count == point:
            os.write(log, f"killed before {event}\n".encode())
            if number == signal.SIGKILL:
                own = os.getpgrp()  # a sweep's cells are groups of their own
                if first != own:
                    os.killpg(first, number)
                os.killpg(own, number)
            else:
                os.kill(first, number)
        count += 1
        os.write(log, f"{event}\n".encode())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if changes(event, arguments):
            reach(f"{event} {Path(os.fsdecode(arguments[0])).name}")

    plain = os.fsync

    def fsync(handle: Any) -> None:
        reach("os.fsync")
        plain(handle)

    os.fsync = fsync
    sys.addaudithook(hook)


def arm_from_environment() -> None:
    """What ``sitecustomize`` calls in every Python process of a command."""
    if words := os.environ.get(VARIABLE):
        arm(**json.loads(words))
