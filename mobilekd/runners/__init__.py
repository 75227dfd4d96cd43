"""Runners: ways to run an artifact on a device. ``get`` finds one by the name people type
(``--device``, ``--via``).

A new kind of device is one new file with a ``Runner``. Never imports backends, students or
training: a runner sees an artifact's file and its golden set.
"""

from mobilekd.runners.base import DeviceError, Reading, Runner, Setting
from mobilekd.support.errors import UserError

__all__ = ["DeviceError", "Reading", "Runner", "Setting", "get"]


def get(device: str, via: str = "shell") -> Runner:
    """The runner for ``host``, ``adb``, ``adb:SERIAL`` or ``qemu:CPU``; ``via`` is ``shell`` or
    ``app`` (phones only).
    """
    kind, _, name = device.partition(":")
    if via not in ("shell", "app"):
        raise UserError(f"--via {via}: unknown way onto a device; use shell or app")
    if via == "app" and kind != "adb":
        raise UserError(
            f"--via app: only phones have the app; use --device adb, or --via shell for {device}"
        )
    if device == "host":
        from mobilekd.runners.host import HostRunner

        return HostRunner()
    if kind == "qemu" and name:
        from mobilekd.runners.qemu import QemuRunner

        return QemuRunner(name)
    if kind == "adb":
        from mobilekd.runners.adb import AdbRunner
        from mobilekd.runners.app import AppRunner

        return AppRunner(name) if via == "app" else AdbRunner(name)
    raise UserError(
        f"--device {device}: unknown device; use host, adb, adb:SERIAL or qemu:CPU (such as"
        " qemu:cortex-a53)"
    )
