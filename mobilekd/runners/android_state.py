"""What an Android phone tells over ``adb shell``: properties, battery, thermal status, screen.

Formats: ``getprop`` prints ``[key]: [value]`` (AOSP toolbox/getprop), ``dumpsys battery`` from
BatteryService.dump (temperature in tenths of a degree, charge counter in microampere-hours, voltage
in millivolts, status 2 charging and 5 full as in android.os.BatteryManager), ``dumpsys
thermalservice`` from ThermalManagerService.dump (status 0 to 6 as in android.os.PowerManager,
Android 10 and newer), ``dumpsys power`` from PowerManagerService.dump (mWakefulness).
"""

import hashlib
import re
from typing import Any

from mobilekd.formats.measurement import Conditions, Device
from mobilekd.runners import linux_state
from mobilekd.support.process import printable
from mobilekd.support.provenance import utc_now

# Android 8, the first with sha256sum (AOSP system/core/shell_and_utilities/README.md)
OLDEST_API = 26
STATE_SCRIPT = (
    "echo '## battery'; dumpsys battery 2>/dev/null; echo '## thermal'; dumpsys thermalservice"
    " 2>/dev/null; echo '## power'; dumpsys power 2>/dev/null | grep mWakefulness=; echo '##"
    " kernel'; " + linux_state.read_script(linux_state.STATE_FILES) + "; true"
)
HARDWARE_SCRIPT = "getprop; " + linux_state.read_script(linux_state.HARDWARE_FILES) + "; true"


def properties(text: str) -> dict[str, str]:
    """``getprop``'s lines, fit for a message."""
    pairs = re.findall(r"^\[([^\]\n]{1,200})\]: \[(.*)\]$", text, re.MULTILINE)
    return {key: printable(value) for key, value in pairs}


def problem(props: dict[str, str]) -> str | None:
    """Why the shell way cannot work on this phone, with the remedy; None where it can."""
    abis = props.get("ro.product.cpu.abilist") or props.get("ro.product.cpu.abi", "")
    api = props.get("ro.build.version.sdk", "")
    if "arm64-v8a" not in abis.split(","):
        return (
            f"wrong ABI: it runs {abis or 'an unknown one'}, the runner needs arm64-v8a; use a"
            " 64-bit phone, or bench with --via app"
        )
    if re.fullmatch(r"[0-9]{1,6}", api) and int(api) < OLDEST_API:
        release = props.get("ro.build.version.release", "?")
        return (
            f"Android is too old: {release} (API {api}), API {OLDEST_API} is the least; use a newer"
            " phone, or bench with --via app"
        )
    return None


def device(text: str, serial: str) -> Device:
    """``Device`` from ``HARDWARE_SCRIPT``'s output. Its id holds a hash of the serial, never the
    serial itself.
    """
    props = properties(text)
    files = linux_state.parse(text)
    maker, model = props.get("ro.product.manufacturer", ""), props.get("ro.product.model", "")
    slug = re.sub(r"[^a-z0-9]+", "-", f"{maker}-{model}".lower())[:80].strip("-") or "phone"
    mark = hashlib.sha256((props.get("ro.serialno") or serial).encode()).hexdigest()[:4]
    release, api = (
        props.get("ro.build.version.release", "?"),
        props.get("ro.build.version.sdk", "?"),
    )
    return Device(
        id=f"{slug}-{mark}",
        kind="adb",
        maker=maker,
        model=model,
        soc=props.get("ro.soc.model") or props.get("ro.board.platform", ""),
        os=f"Android {release} (API {api})",
        abi=props.get("ro.product.cpu.abi", ""),
        emulated=props.get("ro.kernel.qemu") == "1" or props.get("ro.boot.qemu") == "1",
        **linux_state.hardware(files),
    )


def _parts(text: str) -> dict[str, str]:
    """``STATE_SCRIPT``'s output by the titles that it prints."""
    parts: dict[str, list[str]] = {}
    title = ""
    for line in text.splitlines():
        if line.startswith("## "):
            title = line.removeprefix("## ").strip()
        else:
            parts.setdefault(title, []).append(line)
    return {name: "\n".join(lines) for name, lines in parts.items()}


def conditions(text: str) -> Conditions:
    """``Conditions`` from ``STATE_SCRIPT``'s output; Android's own word on the battery goes before
    the kernel's.
    """
    parts = _parts(text)
    fields: dict[str, Any] = linux_state.state(linux_state.parse(parts.get("kernel", "")))
    # Bounded repeats: what a device prints must not cost more time than its length.
    pattern = r"^[ \t]{1,16}(\w[\w ]{0,63}): (\S{1,100})[ \t]*$"
    battery = dict(re.findall(pattern, parts.get("battery", ""), re.MULTILINE))

    def number(key: str) -> int | None:
        return linux_state.whole_number(battery.get(key))

    level, scale, tenths, status = (
        number("level"),
        number("scale"),
        number("temperature"),
        number("status"),
    )
    fields |= {"battery_percent": 100.0 * level / scale} if level is not None and scale else {}
    fields |= {"battery_celsius": tenths / 10} if tenths is not None else {}
    fields |= {"charging": status in (2, 5)} if status is not None else {}
    fields |= {"charge_uah": number("Charge counter"), "voltage_mv": number("voltage")}
    thermal = re.search(r"^Thermal Status: ([0-9]{1,4})\b", parts.get("thermal", ""), re.MULTILINE)
    fields |= {"thermal_status": int(thermal[1])} if thermal else {}
    wake = re.search(r"mWakefulness=(\w{1,40})", parts.get("power", ""))
    fields |= {"screen_on": wake[1] == "Awake"} if wake else {}
    return Conditions(utc=utc_now(), **fields)
