"""One command at a time in a folder: a lock file beside it that says who works there.

The kernel's ``flock`` is the lock, so one whose holder was killed is free at once; the file's text
only tells who holds it. The file goes away with its last holder.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from mobilekd.support.errors import UserError
from mobilekd.support.provenance import utc_now


class Held(UserError):
    """A folder that another command is working in."""


def lock_file(folder: Path) -> Path:
    """Where the lock of ``folder`` lies: beside it, so that it never counts as content."""
    whole = folder.absolute()
    return whole.with_name(f".{whole.name}.lock")


@contextmanager
def locked(folder: Path, command: str, *, shared: bool = False) -> Iterator[None]:
    """Hold ``folder`` for ``command`` until the block ends; the folder need not exist yet.

    ``shared`` is for commands that only read, any number of which go together; where no lock can be
    written, nobody can write the folder either, and they go on without one. Under ``torchrun`` rank
    0 holds the lock for all. A folder that is held is a ``Held`` with the holder's command,
    process id and start.
    """
    if os.environ.get("RANK", "0") != "0":
        yield
        return
    path = lock_file(folder)
    made = [parent for parent in path.parents if not parent.exists()]
    handle = _acquire(folder, path, shared=shared)
    if handle is None:
        yield
        return
    try:
        holder = {"command": command, "process": os.getpid(), "started": utc_now()}
        os.write(handle, (json.dumps(holder) + "\n").encode())
        yield
    finally:
        _release(handle, path)
        with suppress(OSError):
            for parent in made:
                parent.rmdir()


def _acquire(folder: Path, path: Path, *, shared: bool) -> int | None:
    """The open, locked file at ``path``; None where a reader may not write."""
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if shared:
                return None
            raise UserError(
                f"{folder}: cannot be locked ({error.strerror}); choose a folder you may write to"
            ) from None
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            text = _read(path)
            os.close(handle)
            raise Held(f"{folder}: {_holders(text)} is working on it; wait, or end it") from None
        # the last holder removes the file: one that was removed meanwhile locks nobody out
        with suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == os.stat(path).st_ino:
                if not shared:
                    os.ftruncate(handle, 0)  # whoever held it before was killed
                return handle
        os.close(handle)


def _release(handle: int, path: Path) -> None:
    try:
        # other readers may hold it too: the last one removes the file
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    finally:
        os.close(handle)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _holders(text: str) -> str:
    """Who holds a lock, from its file's text; those that have ended are left out."""
    living = []
    for line in text.splitlines():
        try:
            holder: Any = json.loads(line)
            process, words = int(holder["process"]), str(holder["command"])
            started = str(holder["started"])
        except (ValueError, KeyError, TypeError):
            continue
        if _lives(process):
            living.append(f"mobilekd {words} (process {process}, since {started})")
    return " and ".join(living) or "another process"


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
