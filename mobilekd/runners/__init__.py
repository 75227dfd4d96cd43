"""Runners: ways to run an artifact on a device. ``get`` finds one by the name people type
(``--device``, ``--via``).

A new kind of device is one new file with a ``Runner``. Never imports backends, students or
training: a runner sees an artifact's file and its golden set.
"""

from collections.abc import Sequence
from pathlib import Path

from mobilekd.runners.base import DeviceError, Reading, Runner, Setting
from mobilekd.support.errors import UserError

__all__ = ["ON_AN_IPHONE", "DeviceError", "Reading", "Runner", "Setting", "check", "get"]

#: Who measures an iPhone, and where it is told.
ON_AN_IPHONE = "Xcode's performance report measures it there (ios_export/README.md)"

#: What people call a device, and what it is called here.
MEANT = {
    **dict.fromkeys(("phone", "android", "usb", "mobile"), "adb"),
    **dict.fromkeys(("cpu", "local", "localhost", "pc", "here"), "host"),
    **dict.fromkeys(("qemu", "emulator", "arm", "arm64"), "qemu:cortex-a53"),
}


def check(device: str, via: str = "shell") -> None:
    """A ``UserError`` for words that name no device or no way onto it; asks no device."""
    kind, _, name = device.partition(":")
    if via not in ("shell", "app"):
        raise UserError(f"--via {via}: unknown way onto a device; use shell or app")
    if device != "host" and kind != "adb" and not (kind == "qemu" and name):
        if device.casefold() in ("iphone", "ios", "ipad"):
            raise UserError(
                f"--device {device}: an iPhone is not measured from here; {ON_AN_IPHONE}"
            )
        meant = MEANT.get(device.casefold())
        guess = f"did you mean {meant}? " if meant else ""
        raise UserError(
            f"--device {device}: unknown device; {guess}use host, adb, adb:SERIAL, adb:all or"
            " qemu:CPU (such as qemu:cortex-a53)"
        )
    if via == "app" and kind != "adb":
        raise UserError(
            f"--via app: only phones have the app; use --device adb, or --via shell for {device}"
        )


def get(device: str, via: str = "shell", libraries: Sequence[Path] = ()) -> Runner:
    """The runner for ``host``, ``adb``, ``adb:SERIAL`` or ``qemu:CPU``; ``via`` is ``shell`` or
    ``app`` (phones only). ``libraries`` are runtimes' own, for a phone by ``shell``.
    """
    check(device, via)
    kind, _, name = device.partition(":")
    if device == "host":
        from mobilekd.runners.host import HostRunner

        return HostRunner()
    if kind == "qemu":
        from mobilekd.runners.qemu import QemuRunner

        return QemuRunner(name)
    from mobilekd.runners.adb import AdbRunner
    from mobilekd.runners.app import AppRunner

    return AppRunner(name) if via == "app" else AdbRunner(name, libraries)
