"""What the pretend phone serves: shell commands with exit codes (shell v2), and file transfer
(sync).

Formats: AOSP packages/modules/adb/shell_protocol.h (id, length, data) and SYNC.TXT (four letters,
length, data).
"""

import fcntl
import os
import selectors
import struct
import subprocess
import threading
import time
from contextlib import nullcontext, suppress

from wire import Connection, Gone, Stream, hang_up

STDIN, STDOUT, STDERR, EXIT, CLOSE_STDIN = range(5)


def shell(connection: Connection, stream: Stream, name: str) -> None:
    """``shell,v2:COMMAND``: packets of both streams and the exit code; ``shell:`` and ``exec:``:
    one raw stream.
    """
    head, _, command = name.partition(":")
    v2, faults = "v2" in head.split(","), connection.phone.faults
    if faults.stall and faults.strikes(command):
        seconds, faults.stall = faults.stall, 0.0
        time.sleep(seconds)
    status, low = os.pipe()
    told = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 20)  # clear of the digits that /bin/sh redirects
    os.close(low)
    process = connection.phone.spawn(command, told, subprocess.PIPE if v2 else subprocess.STDOUT)
    os.close(told)
    connection.processes.add(process)
    done = threading.Event()
    threading.Thread(target=_feed, args=(stream, process, v2, done), daemon=True).start()
    sent = 0

    def emit(kind: int, data: bytes) -> None:
        nonlocal sent
        if (
            kind == STDOUT
            and 0 <= faults.vanish_after < sent + len(data)
            and faults.strikes(command)
        ):
            faults.vanish_after = -1
            connection.phone.vanish(faults.away)
            raise Gone
        sent += len(data)
        stream.write(struct.pack("<BI", kind, len(data)) + data if v2 else data)

    try:
        if faults.garbage and faults.strikes(command):
            emit(STDOUT, faults.garbage)
        code = _copy(process, status, emit)
        connection.phone.answered(command)
        if v2:
            emit(EXIT, bytes([int(code or process.wait() & 255)]))
        done.set()  # what it left in the background lives on
    finally:
        os.close(status)
        connection.processes.discard(process)
        if not done.is_set() and v2:
            hang_up(process)
            for pipe in filter(None, (process.stdout, process.stderr)):
                pipe.close()  # a program that waits to print goes on for ever otherwise
        threading.Thread(target=process.wait, daemon=True).start()


def _feed(
    stream: Stream, process: "subprocess.Popen[bytes]", v2: bool, done: threading.Event
) -> None:
    """The client's standard input into the process; a client that left hangs it up."""
    data = b""
    while True:
        try:
            if v2:
                kind, length = struct.unpack("<BI", stream.read(5))
                data = stream.read(length)
            else:
                kind, data = STDIN, stream.receive()
        except Gone:
            if v2 and not done.is_set():
                hang_up(process)
            kind = CLOSE_STDIN
        with suppress(OSError, ValueError):  # a command need not read its input
            if kind == STDIN:
                process.stdin.write(data)
                process.stdin.flush()
            elif kind == CLOSE_STDIN:
                process.stdin.close()
        if stream.closed and stream.inbox.empty():
            return


def _copy(process: "subprocess.Popen[bytes]", status: int, emit) -> bytes:
    """Output as it comes, until the exit code came over its own pipe (proot lives on while a
    background child does).
    """
    selector, code = selectors.DefaultSelector(), b""
    for pipe, kind in ((process.stdout, STDOUT), (process.stderr, STDERR), (status, EXIT)):
        if pipe:
            os.set_blocking(pipe if kind == EXIT else pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, kind)
    while selector.get_map():
        ready = selector.select(0 if code else None)
        if not ready:
            break
        for key, _ in ready:
            data = os.read(key.fd, 65536)
            if key.data == EXIT:
                code += data
                if not data or code.endswith(b"\n"):
                    selector.unregister(key.fileobj)
            elif data:
                emit(key.data, data)
            else:
                selector.unregister(key.fileobj)
    return code


class Sync:
    """File transfer, v1 (STAT SEND RECV), and stat v2 (STA2 LST2)."""

    def __init__(self, connection: Connection, stream: Stream, _name: str):
        self.connection, self.stream, self.phone = connection, stream, connection.phone
        with suppress(ValueError):
            while self.one():
                pass

    def one(self) -> bool:
        kind, length = struct.unpack("<4sI", self.stream.read(8))
        name = self.stream.read(length).decode(errors="surrogateescape")
        if kind == b"SEND":
            self.send(name)
        elif kind == b"RECV":
            self.receive(self.phone.path(name))
        elif kind == b"STAT":
            self.stream.write(b"STAT" + struct.pack("<3I", *_stat(self.phone.path(name))))
        elif kind in (b"STA2", b"LST2"):
            self.stream.write(_stat2(kind, self.phone.path(name)))
        elif kind != b"QUIT":
            self.fail(f"unknown command {kind!r}")
        return kind in (b"SEND", b"RECV", b"STAT", b"STA2", b"LST2")

    def fail(self, text: str) -> None:
        self.stream.write(b"FAIL" + struct.pack("<I", len(text)) + text.encode())

    def send(self, spec: str) -> None:
        """A push: the file grows as data comes; one cut short by a lost connection stays, short."""
        name, _, mode = spec.rpartition(",")
        path, out, error, got = self.phone.path(name), None, "", 0
        try:
            if not self.phone.writable(name):
                raise OSError(30, "Read-only file system")
            os.makedirs(os.path.dirname(path), exist_ok=True)
            out = open(path, "wb")  # noqa: SIM115, closed by the with below
        except OSError as reason:
            error = f"couldn't create file: {reason.strerror}"
        with out or nullcontext():
            while True:
                kind, length = struct.unpack("<4sI", self.stream.read(8))
                if kind != b"DATA":
                    break
                data = self.stream.read(length)
                got += length
                faults = self.phone.faults
                if 0 <= faults.drop_push_after < got:
                    faults.drop_push_after = -1
                    self.connection.drop()
                    raise Gone
                if 0 <= faults.full_after < got and not error:
                    error = "write failed: No space left on device"
                    self.fail(error)  # at once, as adbd does; then take and forget the rest
                elif out and not error:
                    out.write(data)
        if error:
            if out:
                os.unlink(path)
            if not error.startswith("write"):
                self.fail(error)
            return
        owner = int(mode) >> 6 & 7  # adbd copies the owner's bits to the group and the others
        os.chmod(path, owner << 6 | owner << 3 | owner)
        os.utime(path, (length, length))
        self.stream.write(b"OKAY" + struct.pack("<I", 0))

    def receive(self, path: str) -> None:
        try:
            with open(path, "rb") as file:
                endless = self.phone.faults.endless_pull
                while data := bytes(65536) if endless else file.read(65536):
                    self.stream.write(b"DATA" + struct.pack("<I", len(data)) + data)
            self.stream.write(b"DONE" + struct.pack("<I", 0))
        except OSError as error:
            self.fail(f"open failed: {error.strerror}")


def _stat(path: str) -> tuple[int, int, int]:
    try:
        found = os.stat(path, follow_symlinks=False)
        return found.st_mode, found.st_size & 0xFFFFFFFF, int(found.st_mtime)
    except OSError:
        return 0, 0, 0


def _stat2(kind: bytes, path: str) -> bytes:
    try:
        found = os.stat(path, follow_symlinks=kind == b"STA2")
    except OSError as error:
        return kind + struct.pack("<I2Q4IQ3q", error.errno, *[0] * 10)
    times = int(found.st_atime), int(found.st_mtime), int(found.st_ctime)
    owner = found.st_mode, found.st_nlink, found.st_uid, found.st_gid
    return kind + struct.pack(
        "<I2Q4IQ3q", 0, found.st_dev, found.st_ino, *owner, found.st_size, *times
    )
