"""What a Linux kernel tells about itself, here or on a phone: one shell command reads it, one
parser understands it.

Files and units: cpufreq in kHz (docs.kernel.org/admin-guide/pm/cpufreq.html), thermal zones in
millidegrees (docs.kernel.org/driver-api/thermal/sysfs-api.html), power_supply capacity in percent
and temp in tenths of a degree (docs.kernel.org/power/power_supply_class.html), cpuinfo, meminfo and
loadavg as in proc(5).
"""

import re
from typing import Any

from mobilekd.support.process import printable

_CPU = "/sys/devices/system/cpu/cpu[0-9]*/cpufreq"
STATE_FILES = (
    f"{_CPU}/scaling_cur_freq {_CPU}/scaling_governor /sys/class/thermal/thermal_zone*/type"
    " /sys/class/thermal/thermal_zone*/temp /sys/class/power_supply/*/type"
    " /sys/class/power_supply/*/status /sys/class/power_supply/*/capacity"
    " /sys/class/power_supply/*/temp /proc/loadavg"
)
HARDWARE_FILES = f"/proc/cpuinfo /proc/meminfo {_CPU}/cpuinfo_max_freq"
PROCESSOR_ZONE = re.compile(r"cpu|soc|x86_pkg|apss|cluster|big|little", re.IGNORECASE)


LEAVES = (
    "scaling_cur_freq|scaling_governor|cpuinfo_max_freq|type|temp|status|capacity|loadavg|cpuinfo"
    "|meminfo"
)
# a folder's own name may hold a colon
LINE = re.compile(rf"^(/(?:sys|proc)/(?:.*?/)?(?:{LEAVES})):(.*)$")


def read_script(files: str) -> str:
    """Shell that prints every line of every readable file of ``files`` (patterns) behind its path,
    in a single process.
    """
    return f"grep -sH '' {files}"


def parse(text: str) -> dict[str, str]:
    """Content by path, from what ``read_script`` printed."""
    files: dict[str, list[str]] = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            files.setdefault(match[1], []).append(match[2])
    return {path: "\n".join(lines).strip() for path, lines in files.items()}


def whole_number(text: str | None) -> int | None:
    """An integer of at most 15 digits; nothing that a kernel or a phone tells has more."""
    return int(text) if text is not None and re.fullmatch(r"-?[0-9]{1,15}", text) else None


def _by_cpu(files: dict[str, str], name: str) -> dict[int, int]:
    values = {}
    for path, content in files.items():
        match = re.fullmatch(rf"/sys/devices/system/cpu/cpu([0-9]{{1,4}})/cpufreq/{name}", path)
        value = whole_number(content)
        if match and value is not None:
            values[int(match[1])] = value
    return dict(sorted(values.items()))


def state(files: dict[str, str]) -> dict[str, Any]:
    """Fields of ``Conditions`` that the kernel's files tell; what is not told is absent."""
    fields: dict[str, Any] = {"frequency_khz": tuple(_by_cpu(files, "scaling_cur_freq").values())}
    governors = sorted(
        {
            content
            for path, content in files.items()
            if path.endswith("/cpufreq/scaling_governor") and content
        }
    )
    if governors:
        fields["governor"] = printable(",".join(governors))
    celsius = []
    for path, content in files.items():
        value = whole_number(content)
        if re.fullmatch(r"/sys/class/thermal/thermal_zone\d+/temp", path) and value is not None:
            kind = files.get(path.removesuffix("temp") + "type", "")
            # a sensor that is off says 0 or nonsense
            if PROCESSOR_ZONE.search(kind) and 1_000 <= value <= 150_000:
                celsius.append(value / 1000)
    if celsius:
        fields["soc_celsius"] = max(celsius)
    for path, content in files.items():
        if (
            path.startswith("/sys/class/power_supply/")
            and path.endswith("/type")
            and content == "Battery"
        ):
            place = path.removesuffix("type")
            percent, tenths, status = (
                whole_number(files.get(place + "capacity")),
                whole_number(files.get(place + "temp")),
                files.get(place + "status"),
            )
            fields |= {"battery_percent": float(percent)} if percent is not None else {}
            fields |= {"battery_celsius": tenths / 10} if tenths is not None else {}
            fields |= (
                {"charging": status in ("Charging", "Full")}
                if status in ("Charging", "Full", "Discharging", "Not charging")
                else {}
            )
    load = files.get("/proc/loadavg", "").split()
    if load and re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", load[0]):
        fields["load"] = float(load[0])
    return fields


def hardware(files: dict[str, str]) -> dict[str, Any]:
    """Fields of ``Device`` from cpuinfo and meminfo."""
    cpuinfo = files.get("/proc/cpuinfo", "")
    features = re.search(r"^(?:Features|flags)\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    memory = re.search(
        r"^MemTotal:\s*([0-9]{1,15}) kB", files.get("/proc/meminfo", ""), re.MULTILINE
    )
    return {
        "cores": len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE)),
        "cpu_features": tuple(map(printable, sorted(features[1].split()))) if features else (),
        "memory_bytes": int(memory[1]) * 1024 if memory else None,
    }


def processor_name(files: dict[str, str]) -> str:
    """The processor as cpuinfo names it: a model name on x86, implementer and parts on Arm."""
    cpuinfo = files.get("/proc/cpuinfo", "")
    name = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    if name:
        return printable(name[1])
    makers = re.findall(r"^CPU implementer\s*:\s*(\S+)", cpuinfo, re.MULTILINE)
    parts = sorted(set(re.findall(r"^CPU part\s*:\s*(\S+)", cpuinfo, re.MULTILINE)))
    return printable(f"implementer {makers[0]}, parts {', '.join(parts)}") if makers else ""


def big_cores(files: dict[str, str]) -> str:
    """Numbers of the cores with the highest top frequency, with commas; empty where all are alike
    or it is not told.
    """
    top = _by_cpu(files, "cpuinfo_max_freq")
    if len(set(top.values())) < 2:
        return ""
    return ",".join(str(core) for core, khz in top.items() if khz == max(top.values()))
