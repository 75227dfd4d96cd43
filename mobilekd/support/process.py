"""Other programs, run to their end within bounds of time and output.

A program that floods its output, hangs, or is left by a Ctrl-C is ended with all that it started,
and costs no more memory than its limit.
"""

import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from mobilekd.support.errors import UserError

#: Bytes that a program may print on both streams together unless its caller expects more.
LIMIT = 8 << 20
CHUNK = 1 << 16
#: Chunks in flight between a reader and whoever collects them.
WAITING = 16
#: Seconds between two looks at a file that a program writes, and at whether it ended.
LOOK = 0.2
#: Seconds for which the streams of a program that ended may stay open in a child of its own.
AFTERWARDS = 2.0


class OutOfBoundsError(UserError):
    """A program took longer, or said more, than it may: one line that names it."""


@dataclass(frozen=True)
class CompletedCommand:
    """A program that ended: its exit code (negative: the signal that ended it) and both streams."""

    code: int
    stdout: str
    stderr: str


def printable(text: str, most: int = 200) -> str:
    """A foreign text in one line of a message: control characters, and what turns or hides the text
    around it, are escaped; cut at ``most`` characters.
    """
    line = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in " ".join(text.split())
    )
    return line if len(line) <= most else f"{line[: most - 3]}..."


class _OfThread(threading.local):
    """What each thread has for itself."""

    stop: threading.Event | None = None


_here = _OfThread()


@contextmanager
def stopped_by(event: threading.Event) -> Iterator[None]:
    """Once ``event`` is set, the program that this thread runs is ended and ``KeyboardInterrupt``
    is raised here, as Ctrl-C does in the main thread alone.

    It is cleared as it strikes, so that what tidies up afterwards may run programs again.
    """
    _here.stop = event
    try:
        yield
    finally:
        _here.stop = None


def _stop_if_asked() -> None:
    if _here.stop is not None and _here.stop.is_set():
        _here.stop.clear()
        raise KeyboardInterrupt


@dataclass(frozen=True)
class Growing:
    """A file that a program writes, and the most bytes that it may have."""

    path: Path
    most: int


def run_bounded(
    command: Sequence[str | Path],
    *,
    timeout: float,
    limit: int = LIMIT,
    who: str = "",
    on_line: Callable[[str], None] | None = None,
    growing: Growing | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> CompletedCommand:
    """Run a program to its end. What is stopped is stopped with all that it started; where this
    process is killed, Linux ends the program too.

    Args:
        command: the program and its words.
        timeout: seconds.
        limit: bytes of both streams together.
        who: how messages call it; its own name by default.
        on_line: is handed each line of standard output as it comes, without its end.
        growing: a file to watch meanwhile.
        cwd: the folder to run in.
        env: the whole environment; this process's own by default.

    Raises:
        OutOfBoundsError: the program was stopped, for its time, its output or its file.
        KeyboardInterrupt: this thread is to stop (``stopped_by``).
        FileNotFoundError: there is no such program.
    """
    _stop_if_asked()
    words = [str(word) for word in command]
    program = shutil.which(words[0])
    if program is None:
        raise FileNotFoundError(words[0])
    process = subprocess.Popen(
        [*_ending_with_us(), program, *words[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=env,
        start_new_session=True,
    )
    name = who or Path(words[0]).name
    streams = _Streams(process, limit, on_line)
    whole = False
    try:
        problem = streams.collect(time.monotonic() + timeout, growing)
        whole = not problem
    finally:
        if not whole:
            end_group(process)
        streams.close()
    if problem == _HANGS:
        raise OutOfBoundsError(
            f"{name}: no end after {timeout:.0f} s; it hangs or is far too slow, check it and run"
            " again"
        )
    if problem:
        raise OutOfBoundsError(f"{name}: {problem} and was stopped; check it and run again")
    stdout, stderr = (bytes(text).decode(errors="replace") for text in streams.texts)
    return CompletedCommand(process.wait(), stdout, stderr)


_HANGS = "hangs"


class _Streams:
    """Both streams of a program, read by a thread each and collected here."""

    def __init__(
        self,
        process: "subprocess.Popen[bytes]",
        limit: int,
        on_line: Callable[[str], None] | None,
    ):
        self.process, self.limit, self.on_line = process, limit, on_line
        self.texts = (bytearray(), bytearray())
        self._line_start = 0
        self._chunks: queue.Queue[tuple[int, bytes]] = queue.Queue(WAITING)
        self._readers = [
            threading.Thread(target=self._read, args=(number, stream), daemon=True)
            for number, stream in enumerate((process.stdout, process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, number: int, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError):  # closed by ``close``
            while chunk := os.read(stream.fileno(), CHUNK):
                self._chunks.put((number, chunk))
        self._chunks.put((number, b""))

    def collect(self, deadline: float, growing: Growing | None) -> str:
        """Fill ``texts`` to the program's end; what is wrong with it, else an empty string."""
        open_streams, ended = 2, None
        while open_streams or self.process.poll() is None:
            _stop_if_asked()
            if time.monotonic() > deadline:
                return _HANGS
            if growing and growing.path.exists() and growing.path.stat().st_size > growing.most:
                return f"wrote more than {growing.most >> 20} MiB into one file"
            try:
                number, chunk = self._chunks.get(timeout=LOOK)
            except queue.Empty:
                if self.process.poll() is not None:
                    ended = ended or time.monotonic()
                    if time.monotonic() - ended > AFTERWARDS:
                        return ""  # a child of its own keeps the streams open
                continue
            open_streams -= not chunk
            self.texts[number].extend(chunk)
            if sum(map(len, self.texts)) > self.limit:
                return f"printed more than {self.limit >> 20} MiB"
            if number == 0 and self.on_line is not None:
                self._lines(at_end=not chunk)
        return ""

    def _lines(self, *, at_end: bool) -> None:
        assert self.on_line is not None
        text = self.texts[0]
        while (end := text.find(b"\n", self._line_start)) >= 0:
            self.on_line(text[self._line_start : end].decode(errors="replace"))
            self._line_start = end + 1
        if at_end and self._line_start < len(text):
            self.on_line(text[self._line_start :].decode(errors="replace"))
            self._line_start = len(text)

    def close(self) -> None:
        """End the readers; what they still bring is thrown away."""
        end = time.monotonic() + AFTERWARDS
        while any(reader.is_alive() for reader in self._readers) and time.monotonic() < end:
            with suppress(queue.Empty):
                self._chunks.get(timeout=0.01)
        for reader, stream in zip(
            self._readers, (self.process.stdout, self.process.stderr), strict=True
        ):
            if stream is not None and not reader.is_alive():
                stream.close()


def end_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program that leads a session, with all that it started there."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


@cache
def _ending_with_us() -> tuple[str, ...]:
    """Words before a command by which Linux kills it when the thread that started it ends, be it by
    SIGKILL; empty elsewhere.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        return ()
    words = (setpriv, "--pdeathsig", "KILL", "--")
    tried = subprocess.run([*words, "true"], capture_output=True, stdin=subprocess.DEVNULL)
    return words if tried.returncode == 0 else ()
