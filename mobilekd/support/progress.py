"""Progress on standard error: a bar with the time left on a terminal, plain lines elsewhere,
silence when asked.
"""

import io
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

Item = TypeVar("Item")


class _Heedless(io.FileIO):
    """Standard error as a file that may be full, or whose reader may have left: what cannot be
    written there is lost, and the command goes on.
    """

    def write(self, data: Any, /) -> int:
        """All of ``data``, or none: a caller that retried would get the same error."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def prepare_streams() -> None:
    """Let standard output and error write what their encoding cannot hold as ``\\xe9``: a name in
    another alphabet ends no command. Neither does a standard error that lies on a full disk, nor
    one of the two that was closed before: what goes there is lost.
    """
    for handle, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            if nowhere != handle:
                os.dup2(nowhere, handle)
                os.close(nowhere)
            setattr(sys, name, os.fdopen(handle, "w", closefd=False))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if type(sys.stderr) is io.TextIOWrapper and sys.stderr.fileno() == 2:
        sys.stderr = io.TextIOWrapper(
            io.BufferedWriter(_Heedless(2, "w", closefd=False)),
            encoding=sys.stderr.encoding,
            errors="backslashreplace",
            line_buffering=True,
        )


def say(text: str) -> None:
    """One line for the person who waits; standard output stays free for ``--json``."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def without_native_errors() -> Iterator[None]:
    """Standard error closed to libraries in C++ that tell what nobody asked: this process writes
    nothing there meanwhile.
    """
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def time_left(seconds: float) -> str:
    """``about 40 s left``; minutes from two on, hours from two on."""
    if seconds < 120:
        return f"about {seconds:.0f} s left"
    if seconds < 7200:
        return f"about {seconds / 60:.0f} min left"
    return f"about {seconds / 3600:.1f} h left"


def track(
    items: Iterable[Item],
    what: str,
    total: int | None = None,
    every: float = 20.0,
    *,
    after: int = 0,
) -> Iterator[Item]:
    """Iterate with a progress bar and the time left (terminal), or a plain line every ``every``
    seconds (elsewhere, and from a thread: bars of several would draw over each other). The plain
    lines' time left counts ``after`` more items, which later calls iterate.
    """
    if total is None:
        total = len(items) if isinstance(items, Sized) else None
    if sys.stderr.isatty() and threading.current_thread() is threading.main_thread():
        try:
            from rich.console import Console
            from rich.progress import track as bar
        except ImportError:  # a phone owner's install: plain lines serve
            pass
        else:
            yield from bar(items, what, total=total, console=Console(stderr=True), transient=True)
            return
    first = last = time.monotonic()
    for done, item in enumerate(items):
        yield item
        now = time.monotonic()
        if not done:
            first = now  # no measure of the others: it may have waited for a compiler
        if now - last >= every:
            last = now
            left = (
                f", {time_left((now - first) / done * (total - done - 1 + after))}"
                if total and done
                else ""
            )
            say(f"{what}: {done + 1}{f' of {total}' if total else ''}{left}")
