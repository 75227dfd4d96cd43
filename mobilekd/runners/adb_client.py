"""The real ``adb`` program as a typed client: every command ends, every failure becomes one line
that names the remedy.

What adb does that one must know (measured with adb 29 against ``tests/adb``): a connection lost in
the middle of a shell command gives exit code 0 and cut output, so each command prints an end marker
with its own exit code; errors of push and pull go to standard output; ``wait-for-device`` never
ends by itself, so it is not used.
"""

import re
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from mobilekd.runners import program
from mobilekd.runners.base import DeviceError
from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.process import CompletedCommand, Growing, printable

QUICK = 30.0  # seconds for a command that asks something
TRANSFER = 300.0  # seconds for a push
SHORT = 1 << 20  # bytes of an answer to a question
MOST_DEVICES = 100
REMEDIES = (
    (
        "unauthorized",
        "the phone has not allowed this computer; unlock it, tap Allow on its screen and run again",
    ),
    (
        "no permissions",
        (
            "this user may not open the USB device; apt-get install"
            " android-sdk-platform-tools-common, replug"
        ),
    ),
    (
        "device offline",
        "offline; replug the cable (Wi-Fi: adb disconnect, adb connect) and run again",
    ),
    ("No space left on device", "its storage is full; free 50 MB on the phone and run again"),
    (
        "Read-only file system",
        "its folder for pushed files cannot be written; restart the phone and run again",
    ),
    (
        "couldn't read from device",
        "the connection was lost while a file was pushed; check the cable and run again",
    ),
    (
        "more than one device",
        "several devices are connected; set ANDROID_SERIAL, or bench with --device adb:SERIAL",
    ),
    (
        "no devices",
        "no phone is connected; plug one in with USB debugging on, then see mobilekd devices",
    ),
    ("not found", "not connected; see mobilekd devices for what is"),
    ("closed", "the connection was closed; check the cable and run again"),
)
#: States of ``adb devices`` other than ``device`` (AOSP packages/modules/adb/adb.cpp,
#: to_string(ConnectionState)).
STATES = {
    "offline": "offline; replug the cable (Wi-Fi: adb disconnect, adb connect) and run again",
    "authorizing": "still asking whether it may; unlock it, tap Allow on its screen and run again",
    "connecting": "still connecting; wait some seconds and run again",
    "bootloader": "in its bootloader; restart it (fastboot reboot) and run again",
    "recovery": "in recovery mode; restart it (adb reboot) and run again",
    "rescue": "in rescue mode; restart it (adb reboot) and run again",
    "sideload": (
        "waiting for a system update to be sideloaded; restart it (adb reboot) and run again"
    ),
}


@dataclass(frozen=True)
class Listed:
    """One line of ``adb devices``."""

    serial: str
    state: str  # device, offline, unauthorized, no permissions ...


def executable() -> str:
    """Where adb is."""
    path = shutil.which("adb")
    if path is None:
        raise CannotRunHere(
            "adb: not on this machine; apt-get install adb (macOS: brew install"
            " android-platform-tools)"
        )
    return path


def listed() -> list[Listed]:
    """All devices that the adb server knows."""
    finished = program.run([executable(), "devices"], timeout=QUICK, limit=SHORT, who="adb")
    if finished.code != 0:
        raise DeviceError(
            f"adb: its server does not start ({_last(finished.stderr or finished.stdout)}); adb"
            " kill-server, then run again"
        )
    lines = finished.stdout.partition("List of devices attached")[2].splitlines()
    rows = [line.rpartition("\t") for line in lines if "\t" in line]
    if len(rows) > MOST_DEVICES:
        raise DeviceError(
            f"adb: its server names {len(rows)} devices, which cannot be; adb kill-server, then run"
            " again"
        )
    # "no permissions (user in plugdev group; are your udev rules wrong?); see [http://...]"
    return [Listed(serial, re.split(r"[;(]", state)[0].strip()) for serial, _, state in rows]


def choose(serial: str) -> str:
    """The serial to use: the one asked for, or the only one there is."""
    known = listed()
    if serial:
        state = next((item.state for item in known if item.serial == serial), "not found")
        if state != "device":
            raise DeviceError(f"adb:{printable(serial)}: {remedy(state)}")
        return serial
    usable = [item for item in known if item.state == "device"]
    if len(usable) > 1:
        names = ", ".join(printable(item.serial) for item in usable)
        raise UserError(
            f"adb: several devices are connected ({names}); choose one with --device adb:SERIAL,"
            " or take all with --device adb:all"
        )
    if not usable and known:
        raise DeviceError(f"adb:{printable(known[0].serial)}: {remedy(known[0].state)}")
    if not usable:
        raise DeviceError(
            "adb: no phone is connected; plug one in with USB debugging on, then see mobilekd"
            " devices"
        )
    return usable[0].serial


def remedy(text: str) -> str:
    """adb's words for a failure, or a device's state, turned into what to do."""
    if text in STATES:
        return STATES[text]
    for words, advice in REMEDIES:
        if words in text:
            return advice
    return f"{_last(text) or 'adb failed without a word'}; check the connection and run again"


def _last(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return printable(lines[-1]) if lines else ""


class Adb:
    """One device, by its serial."""

    def __init__(self, serial: str):
        self.serial = serial
        self._command = [executable(), "-s", serial]

    @property
    def name(self) -> str:
        """How messages call it."""
        return f"adb:{printable(self.serial)}"

    def shell(
        self,
        command: str,
        *,
        timeout: float = QUICK,
        on_line: Callable[[str], None] | None = None,
        limit: int = SHORT,
    ) -> CompletedCommand:
        """Run a POSIX shell command on the device to its very end, or raise ``DeviceError``.

        Both streams come back as far as the device keeps them apart; the exit code is the command's
        own.
        """
        marker = f"mobilekd-end-{secrets.token_hex(6)}"
        wrapped = f"( {command}\n); printf '\\n%s %s\\n' {marker} $?"
        finished = program.run(
            [*self._command, "shell", wrapped],
            timeout=timeout,
            on_line=on_line,
            who=self.name,
            limit=limit,
        )
        text = finished.stdout.replace("\r\n", "\n")
        ends = list(re.finditer(rf"^{marker} (\d+)$", text, re.MULTILINE))
        if ends:
            return CompletedCommand(
                int(ends[-1][1][:9]), text[: ends[-1].start()].removesuffix("\n"), finished.stderr
            )
        if finished.code != 0 and finished.stderr.strip():
            raise DeviceError(f"{self.name}: {remedy(finished.stderr)}")
        raise DeviceError(
            f"{self.name}: the connection was lost in the middle of a command; check the cable and"
            " run again"
        )

    def ask(self, command: str) -> str:
        """What a command prints; failures of the command itself count as an empty answer."""
        finished = self.shell(command)
        return finished.stdout if finished.code == 0 else ""

    def push(self, files: Sequence[Path], folder: str) -> None:
        """Copy local files into an existing folder of the device; adb tells its errors on either
        stream.
        """
        # so that no name starts with a dash; links keep their names
        sources = [str(file.absolute()) for file in files]
        finished = program.run(
            [*self._command, "push", *sources, f"{folder}/"],
            timeout=TRANSFER,
            who=self.name,
            limit=SHORT,
        )
        if finished.code != 0:
            raise DeviceError(f"{self.name}: {remedy(finished.stdout + finished.stderr)}")

    def pull(self, path: str, target: Path, most: int) -> None:
        """Copy one file of at most ``most`` bytes from the device; a cut connection ends with exit
        code 1 and no word.
        """
        finished = program.run(
            [*self._command, "pull", path, str(target)],
            timeout=TRANSFER,
            who=self.name,
            limit=SHORT,
            growing=Growing(target, most),
        )
        if finished.code != 0 or not target.is_file():
            raise DeviceError(
                f"{self.name}: {remedy(finished.stdout + finished.stderr or 'closed')}"
            )

    def sha256(self, paths: Sequence[str]) -> dict[str, str]:
        """Hashes taken on the device, of the files that are there."""
        text = self.shell("sha256sum " + " ".join(shlex.quote(path) for path in paths)).stdout
        return {
            path: digest
            for digest, _, path in (line.partition("  ") for line in text.splitlines())
            if path
        }

    def wait_back(self, seconds: float) -> bool:
        """Whether the device answers, at once or within ``seconds``. A lost network device is
        connected anew.
        """
        end = time.monotonic() + seconds
        while True:
            if self._answers():
                return True
            if time.monotonic() >= end:
                return False
            # HOST:PORT; the server itself tries only every 10 s
            if re.fullmatch(r"[\w.\-\[\]:]+:\d+", self.serial):
                for word in ("disconnect", "connect"):
                    self._quietly([executable(), word, self.serial])
            time.sleep(0.5)

    def _answers(self) -> bool:
        try:
            return self.ask("echo alive").strip().endswith("alive")
        except UserError:
            return False

    def _quietly(self, command: list[str]) -> None:
        with suppress(DeviceError):
            program.run(command, timeout=QUICK, limit=SHORT, who="adb")
