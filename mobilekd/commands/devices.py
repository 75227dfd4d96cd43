"""``devices``: what can be measured on, and what is wrong with what cannot, each with its
remedy.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from mobilekd.runners import android_state
from mobilekd.runners.adb_client import Adb, listed, remedy
from mobilekd.runners.host import HostRunner
from mobilekd.runners.native.build import arm_bundle, host_bundle
from mobilekd.runners.qemu import TRUSTED, QemuRunner
from mobilekd.support.errors import UserError
from mobilekd.support.process import printable


@dataclass(frozen=True)
class DeviceStatus:
    """One device: what to write after ``--device``, what it is, and why it cannot be used where it
    cannot.
    """

    device: str
    usable: bool
    problem: str = ""
    name: str = ""
    latency: bool = True  # False: answers only


def devices() -> list[DeviceStatus]:
    """This machine, every device adb knows, and the emulated processors that the golden set is
    checked on.
    """
    return [_host(), *_phones(), *_emulated()]


def _host() -> DeviceStatus:
    about = HostRunner().describe()
    return DeviceStatus(
        "host",
        *_outcome("host"),
        name=f"{about.soc or about.model}, {about.cores} cores, {about.os}",
    )


def _outcome(kind: str, cpu: str = "") -> tuple[bool, str]:
    """Whether the runner can be had, building it where need be, and why not."""
    try:
        if kind == "host":
            host_bundle()
        else:
            QemuRunner(cpu)
            arm_bundle()
    except UserError as error:
        return False, str(error)
    return True, ""


def _phones() -> list[DeviceStatus]:
    try:
        known = listed()
    except UserError as error:
        return [DeviceStatus("adb", False, str(error), "a phone")]
    if not known:
        advice = (
            "no phone is connected; plug one in with USB debugging on (benchmarks/phone.md tells"
            " how)"
        )
        return [DeviceStatus("adb", False, advice, "a phone")]
    with ThreadPoolExecutor(len(known)) as pool:  # one that hangs does not make the others wait
        return list(pool.map(lambda item: _phone(item.serial, item.state), known))


def _phone(serial: str, state: str) -> DeviceStatus:
    device = f"adb:{printable(serial)}"
    if state != "device":
        advice, state = remedy(state), printable(state)
        return DeviceStatus(
            device, False, advice if state in advice else f"{state}: {advice}", "a phone"
        )
    try:
        text = Adb(serial).ask(android_state.HARDWARE_SCRIPT)
    except UserError as error:
        return DeviceStatus(device, False, str(error), "a phone")
    about = android_state.device(text, serial)
    name = f"{about.maker} {about.model}, {about.soc}, {about.os}" + (
        " (emulated)" if about.emulated else ""
    )
    trouble = android_state.problem(android_state.properties(text))
    return DeviceStatus(device, trouble is None, trouble or "", name, latency=not about.emulated)


def _emulated() -> list[DeviceStatus]:
    return [
        DeviceStatus(
            f"qemu:{cpu}",
            *_outcome("qemu", cpu),
            name=f"emulated {cpu}: answers only",
            latency=False,
        )
        for cpu in TRUSTED
    ]
