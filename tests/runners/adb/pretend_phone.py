"""A pretend Android phone: the daemon's side of adb over TCP, in front of a folder that plays the
phone's storage.

The real adb connects to it. Commands run under proot with the folder as the root, so that
``/data/local/tmp``, ``/sys`` and what ``getprop`` and ``dumpsys`` say are the folder's; arm64
programs run under qemu-aarch64. Where each answer's format is documented stands in
``system/README.md``. What it is not: mksh, toybox, bionic's linker, SELinux, a phone's times.
"""

import ctypes
import os
import platform
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from services import Sync, shell
from wire import WITHOUT_CHECKSUM, Connection, Service

HERE = Path(__file__).parent
HOST_FOLDERS = ("/bin", "/usr", "/lib", "/lib64", "/etc", "/proc", "/dev")


@dataclass
class Faults:
    """What goes wrong; each strikes once unless it is a state."""

    unauthorized: bool = False  # nobody taps "allow"
    mute: bool = False  # accepts connections, answers nothing: offline
    delay: float = 0.0  # seconds before each message: slow
    drop_push_after: int = -1  # the connection closes after so many bytes of a push
    full_after: int = -1  # storage is full after so many bytes of a push
    vanish_after: int = -1  # away after so many bytes of a shell command's output ...
    away: float = 1.0  # ... for so many seconds
    garbage: bytes = b""  # on standard output before a command's own
    kill: bool = False  # the system kills the runner with signal 9
    endless_pull: bool = False  # a pulled file has no end
    other_answers_in: int = -1  # the golden set's pass that is answered otherwise, from 0
    stall: float = 0.0  # seconds before a shell command begins: far too slow
    on: str = ""  # shell faults strike only commands that hold this text

    def strikes(self, command: str) -> bool:
        return self.on in command


class Phone:
    """``with Phone(folder) as phone: adb connect phone.serial``."""

    def __init__(
        self,
        folder: Path,
        props: dict[str, str] | None = None,
        *,
        features: tuple[str, ...] = ("shell_v2", "cmd", "stat_v2"),
    ):
        self.root, self.features, self.faults = folder, features, Faults()
        self.version, self.most, self.port, self.cpu = WITHOUT_CHECKSUM, 1 << 20, 0, "cortex-a53"
        self.connections: set[Connection] = set()
        self.passes = 0  # golden sets that were answered
        self.listener: socket.socket | None = None
        if not folder.exists():
            shutil.copytree(HERE / "system", folder / "system")
            for name in ("sys", "proc"):
                shutil.move(folder / "system" / name, folder / name)
            for name in ("data/local/tmp", "sdcard", "tmp"):
                (folder / name).mkdir(parents=True)
        for key, value in (props or {}).items():
            self.set(key, value)

    @property
    def serial(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def storage(self) -> Path:
        """``/data/local/tmp``."""
        return self.root / "data/local/tmp"

    def set(self, key: str, value: str) -> None:
        """A system property."""
        file = self.root / "system/build.prop"
        lines = [
            line
            for line in file.read_text(encoding="utf-8").splitlines()
            if not line.startswith(f"{key}=")
        ]
        file.write_text("\n".join([*lines, f"{key}={value}"]) + "\n", encoding="utf-8")

    def dumpsys(self, service: str, old: str, new: str) -> None:
        """Change what ``dumpsys SERVICE`` says."""
        file = self.root / "system/etc/dumpsys" / service
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    def banner(self) -> bytes:
        names = "ro.product.name=pretend;ro.product.model=Pretend;ro.product.device=pretend"
        return f"device::{names};features={','.join(self.features)}".encode()

    def service(self, name: str) -> Service | None:
        if name.startswith(("shell:", "shell,", "exec:")):
            return shell
        return Sync if name.startswith("sync:") else None

    def path(self, name: str) -> str:
        """A device path on this machine; what leads out of the folder points at nothing."""
        root = str(self.root)
        path = root + os.path.normpath("/" + name.lstrip("/"))
        inside = os.path.commonpath(
            [os.path.realpath(os.path.dirname(path)), os.path.realpath(root)]
        ) == os.path.realpath(root)
        return path if inside else os.path.join(root, "outside-the-sandbox")

    def writable(self, name: str) -> bool:
        return os.path.normpath(name).startswith(("/data/local/tmp/", "/sdcard/"))

    def spawn(self, command: str, told: int, stderr: int) -> "subprocess.Popen[bytes]":
        """``sh -c COMMAND`` in the sandbox; its exit code is written to the file descriptor
        ``told``.
        """
        binds = [
            word for folder in HOST_FOLDERS if os.path.exists(folder) for word in ("-b", folder)
        ]
        for file in sorted((self.root / "proc").iterdir()):
            binds += ["-b", f"{file}:/proc/{file.name}"]
        line = [
            "proot",
            "-v",
            "-1",
            "-r",
            str(self.root),
            *binds,
            "-q",
            f"qemu-aarch64 -cpu {self.cpu}",
            "-w",
            "/",
        ]
        line += ["/bin/sh", "-c", f'/bin/sh -c "$1"; echo $? >/proc/self/fd/{told}', "sh", command]
        environment = {
            "PATH": "/system/bin:/usr/bin:/bin",
            "HOME": "/",
            "TMPDIR": "/data/local/tmp",
            "LANG": "C.UTF-8",
        }
        environment["PROOT_TMP_DIR"] = str(self.root / "tmp")
        process = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=self.root,
            env=environment,
            pass_fds=(told,),
            start_new_session=True,
            preexec_fn=hide_new_calls(),
        )
        if self.faults.kill and self.faults.strikes(command):
            self.faults.kill = False
            threading.Thread(target=kill_runner, args=(process.pid,), daemon=True).start()
        return process

    def answered(self, command: str) -> None:
        """After a command: a processor that answers otherwise this time. The first probability of
        the fourth picture is another by two thousandths.
        """
        if "mobilekd-runner golden" not in command:
            return
        if self.passes == self.faults.other_answers_in:
            (file,) = self.storage.glob("mobilekd-*/*.out.0")
            answers = np.fromfile(file, "<f4").reshape(6, 7)
            answers[3, 0] += 0.002
            answers.tofile(file)
        self.passes += 1

    def listen(self) -> None:
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen()
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection = Connection(self, sock)
                self.connections.add(connection)
                threading.Thread(target=connection.run, daemon=True).start()

    def stop(self) -> None:
        if self.listener:
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()
            self.listener = None
        for connection in list(self.connections):
            connection.drop()

    def vanish(self, seconds: float) -> None:
        """Out of reach, and back after a while."""
        self.stop()
        timer = threading.Timer(seconds, self.listen)
        timer.daemon = True
        timer.start()

    def __enter__(self) -> "Phone":
        self.listen()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def kill_runner(session: int) -> None:
    """Kill the emulated runner of a session as soon as it is there."""
    for _ in range(400):
        for entry in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError, IndexError):
                command = Path(f"/proc/{entry}/cmdline").read_bytes()
                if (
                    b"mobilekd-runner\0" in command
                    and b"qemu" in command.split(b"\0")[0]
                    and os.getsid(int(entry)) == session
                ):
                    os.kill(int(entry), signal.SIGKILL)
                    return
        time.sleep(0.02)


def hide_new_calls():
    """A seccomp filter under which statx and faccessat2 answer ENOSYS, so that libc falls back on
    what proot 5.1 translates.
    """
    load, jump_if_equal, answer = 0x20, 0x15, 0x06
    allow, no_such_call = 0x7FFF0000, 0x00050000 | 38
    numbers = {"x86_64": (332, 439), "aarch64": (291, 439)}.get(platform.machine(), ())
    code = [(load, 0, 0, 0)] + [
        (jump_if_equal, len(numbers) - i, 0, number) for i, number in enumerate(numbers)
    ]
    code += [(answer, 0, 0, allow), (answer, 0, 0, no_such_call)]
    text = ctypes.create_string_buffer(
        b"".join(struct.pack("HBBI", *instruction) for instruction in code)
    )
    filters = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(code), ctypes.addressof(text))
    )
    prctl = ctypes.CDLL(None).prctl

    def install(_keep: object = text) -> None:
        prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        prctl(22, 2, filters)  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER

    return install
