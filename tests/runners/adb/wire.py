"""adb's wire protocol, the device's side of it: messages, the handshake, and streams with one write
in flight each way.

Format: AOSP packages/modules/adb/protocol.txt. 24 bytes of header (command, two arguments, length,
checksum, magic), then data.
"""

import os
import queue
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pretend_phone import Phone

CNXN, AUTH, OPEN, OKAY, WRTE, CLSE = (
    int.from_bytes(word, "little")
    for word in (b"CNXN", b"AUTH", b"OPEN", b"OKAY", b"WRTE", b"CLSE")
)
AUTH_TOKEN, AUTH_PUBLIC_KEY = 1, 3
WITH_CHECKSUM, WITHOUT_CHECKSUM = 0x01000000, 0x01000001


class Gone(Exception):
    """The other side closed this stream, or the connection is over."""


class Stream:
    """One adb stream."""

    def __init__(self, connection: "Connection", local: int, remote: int):
        self.connection, self.local, self.remote = connection, local, remote
        self.inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self.acknowledged = threading.Semaphore(0)
        self.buffer = bytearray()
        self.closed = False

    def receive(self) -> bytes:
        data = None if self.closed and self.inbox.empty() else self.inbox.get()
        if data is None:
            raise Gone
        # only now: a slow service slows the sender down
        self.connection.send(OKAY, self.local, self.remote)
        return data

    def read(self, count: int) -> bytes:
        while len(self.buffer) < count:
            self.buffer += self.receive()
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def write(self, data: bytes) -> None:
        for start in range(0, len(data), self.connection.most):
            if self.closed:
                raise Gone
            self.connection.send(
                WRTE, self.local, self.remote, data[start : start + self.connection.most]
            )
            self.acknowledged.acquire()

    def end(self) -> None:
        self.closed = True
        self.inbox.put(None)
        self.acknowledged.release()


Service = Callable[["Connection", Stream, str], None]


class Connection:
    """One client's TCP connection with its streams."""

    def __init__(self, phone: "Phone", sock: socket.socket):
        self.phone, self.sock, self.lock = phone, sock, threading.Lock()
        self.version, self.most = WITH_CHECKSUM, 4096
        self.wanted = (WITH_CHECKSUM, 4096)
        self.streams: dict[int, Stream] = {}
        self.processes: set[subprocess.Popen[bytes]] = set()
        self.last = 0

    def send(self, command: int, first: int, second: int, data: bytes = b"") -> None:
        if self.phone.faults.delay:
            time.sleep(self.phone.faults.delay)
        check = sum(data) & 0xFFFFFFFF if self.version < WITHOUT_CHECKSUM else 0
        try:
            with self.lock:
                self.sock.sendall(
                    struct.pack(
                        "<6I", command, first, second, len(data), check, command ^ 0xFFFFFFFF
                    )
                    + data
                )
        except OSError:
            raise Gone from None

    def receive(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            part = self.sock.recv(count - len(data))
            if not part:
                raise Gone
            data += part
        return bytes(data)

    def run(self) -> None:
        with suppress(Gone, OSError):
            while True:
                command, first, second, length, check, magic = struct.unpack(
                    "<6I", self.receive(24)
                )
                if magic != command ^ 0xFFFFFFFF or length > 1 << 20:
                    break
                data = self.receive(length)
                if (
                    self.version < WITHOUT_CHECKSUM
                    and command != CNXN
                    and check != sum(data) & 0xFFFFFFFF
                ):
                    break
                self.handle(command, first, second, data)
        self.drop()

    def welcome(self) -> None:
        # this one still with its checksum
        self.send(CNXN, self.wanted[0], self.phone.most, self.phone.banner())
        self.version, self.most = self.wanted

    def handle(self, command: int, first: int, second: int, data: bytes) -> None:
        stream = self.streams.get(second)
        if self.phone.faults.mute:
            return
        if command in (CNXN, AUTH):
            if command == CNXN:
                self.wanted = min(first, self.phone.version), min(second, self.phone.most)
            if not self.phone.faults.unauthorized:
                self.welcome()
            # with the key a phone waits for its user, silent
            elif (command, first) != (AUTH, AUTH_PUBLIC_KEY):
                self.send(AUTH, AUTH_TOKEN, 0, os.urandom(20))
        elif command == OPEN:
            self.open(first, data.rstrip(b"\0").decode(errors="surrogateescape"))
        elif stream and command == OKAY:
            stream.acknowledged.release()
        elif stream and command == WRTE:
            stream.inbox.put(data)
        elif stream and command == CLSE:
            stream.end()
            self.streams.pop(second, None)

    def open(self, remote: int, name: str) -> None:
        service = self.phone.service(name)
        if service is None:
            self.send(CLSE, 0, remote)
            return
        self.last += 1
        stream = self.streams[self.last] = Stream(self, self.last, remote)
        self.send(OKAY, stream.local, remote)
        threading.Thread(target=self.serve, args=(service, stream, name), daemon=True).start()

    def serve(self, service: Service, stream: Stream, name: str) -> None:
        with suppress(Gone):
            service(self, stream, name)
        if self.streams.pop(stream.local, None):
            with suppress(Gone):
                self.send(CLSE, stream.local, stream.remote)
        stream.end()

    def drop(self) -> None:
        self.phone.connections.discard(self)
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self.sock.close()
        for stream in list(self.streams.values()):
            stream.end()
        for process in list(self.processes):
            hang_up(process)


def hang_up(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGHUP)
