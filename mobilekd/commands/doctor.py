"""``mobilekd doctor``: what this machine lacks for which command, each with its fix; ``--install``
mends what apt can.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from mobilekd.android.toolchain import build_tools, find
from mobilekd.backends import names
from mobilekd.backends.shared import htp
from mobilekd.support import system_programs
from mobilekd.support.errors import CannotRunHere
from mobilekd.support.files import nearest_folder
from mobilekd.support.progress import say
from mobilekd.support.system_programs import TOOLS, Tool, fix_for
from mobilekd.support.words import counted


@dataclass(frozen=True)
class Check:
    """One thing that was looked for. ``required`` things stop every command, the others only what
    ``needed_for`` names.
    """

    name: str
    ok: bool
    detail: str
    fix: str = ""
    needed_for: str = ""
    required: bool = False


#: Least free space for training runs and the app's build, in bytes.
LEAST_SPACE = 4 << 30


def doctor() -> list[Check]:
    """Every check, the required ones first."""
    return [
        *_python(),
        *_packages(),
        exporter_matches_torch(),
        *_extras(),
        _qualcomm(),
        _qualcomm_for_phones(),
        *_machine(),
        *_photographs(),
        *map(_tool, TOOLS),
        _python_headers(),
        _android_sdk(),
    ]


def install() -> None:
    """Install the missing programs where that can be done, else name them with the command."""
    system_programs.install([tool for tool in TOOLS if _found(tool) is None])


def empty_store() -> None:
    """Remove what the store of decoded photographs holds; the next command decodes them again."""
    from mobilekd.data import store

    place = store.open_store()
    if place is None:
        say(f"doctor: there is no store of decoded photographs ({store.PLACE} turns it off)")
        return
    freed = store.empty(place)
    say(f"doctor: {freed / 1e9:.2f} GB of decoded photographs removed from {place.folder}")


def _found(tool: Tool) -> str | None:
    return next((path for command in tool.command.split("|") if (path := find(command))), None)


def _tool(tool: Tool) -> Check:
    path = _found(tool)
    if path and tool.command == "javac":
        release = _java_release(path)
        if release < 17:
            return Check(
                "javac", False, f"{path}, release {release}", fix_for([tool]), tool.needed_for
            )
    return Check(
        tool.command.partition("|")[0],
        path is not None,
        path or "",
        fix_for([tool]),
        tool.needed_for,
    )


def _java_release(javac: str) -> int:
    done = subprocess.run([javac, "-version"], capture_output=True, text=True)
    match = re.search(r"(\d+)", done.stdout + done.stderr)
    return int(match.group(1)) if match and done.returncode == 0 else 0


def _python() -> list[Check]:
    running = platform.python_version()
    return [
        Check(
            "Python 3.11 to 3.13",
            (3, 11) <= sys.version_info[:2] <= (3, 13),
            running,
            "use Python 3.11, 3.12 or 3.13",
            "everything",
            True,
        )
    ]


def _python_headers() -> Check:
    """``torch.compile`` builds extensions of this Python; without its headers training goes on
    uncompiled.
    """
    header = Path(sysconfig.get_path("include")) / "Python.h"
    release = f"{sys.version_info.major}.{sys.version_info.minor}"
    return Check(
        "Python's headers",
        header.is_file(),
        str(header) if header.is_file() else "",
        f"sudo apt-get install python{release}-dev",
        "teach, distill: torch.compile (with g++), about a third faster on a CPU",
    )


#: What devices, bench --device adb, report, inspect, verify --hashes and recipes need; the other
#: dependencies may be absent together (``requirements-phone.txt``).
LIGHT = ("numpy", "pillow", "pydantic", "argcomplete", "jinja2", "markupsafe")
#: What needs those others.
WHOLE = "teach, distill, evaluate, predict, export: pip install mobilekd brings all"


def _packages() -> list[Check]:
    """The plain dependencies of the installed package; their versions are read, nothing is
    imported. Those that a phone owner's install lacks are required as soon as one of them is here.
    """
    try:
        needed = requires("mobilekd") or []
    except PackageNotFoundError:
        return [
            Check("mobilekd", False, "runs from a source tree", "pip install .", "everything", True)
        ]
    found: dict[str, tuple[str, str | None]] = {}
    for requirement in needed:
        if "extra ==" in requirement or "sys_platform" in requirement:
            continue
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        found[name] = requirement, _version(name)
    whole = any(here for name, (_, here) in found.items() if name not in LIGHT)
    checks = [
        Check(
            name,
            here is not None,
            here or "not installed",
            "" if here else f"pip install '{requirement}'",
            "everything" if name in LIGHT else WHOLE,
            required=whole or name in LIGHT,
        )
        for name, (requirement, here) in found.items()
    ]
    core_ml = _version("coremltools")
    checks.append(
        Check(
            "coremltools",
            core_ml is not None,
            core_ml or "",
            "pip install coremltools",
            "export --backend coreml",
        )
    )
    return checks


def _version(name: str) -> str | None:
    """An installed package's version; None where it is not here."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _extras() -> list[Check]:
    """What backends need beyond the plain dependencies, by the extra of each one's name; Qualcomm's
    libraries may come from elsewhere and have a check of their own.
    """
    try:
        needed = requires("mobilekd") or []
    except PackageNotFoundError:  # which is said of all packages
        return []
    checks = []
    for backend in names():
        extra = re.compile(rf"extra == [\"']{backend}[\"']")
        packages = [
            re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
            for requirement in needed
            if extra.search(requirement)
        ]
        if not packages or backend == "qnn":
            continue
        found = {name: _version(name) for name in packages}
        missing = [name for name, here in found.items() if here is None]
        told = [f"{name} {here}" for name, here in found.items() if here is not None]
        checks.append(
            Check(
                f"extra {backend}",
                not missing,
                ", ".join(told if not missing else [f"{name} not installed" for name in missing]),
                f"pip install 'mobilekd[{backend}]'",
                f"export --backend {backend}, and running its files here",
            )
        )
    return checks


def _qualcomm() -> Check:
    """Qualcomm's libraries for this machine; nothing is loaded."""
    name, needed_for = "Qualcomm's host libraries", "export --backend qnn, and running its files"
    try:
        found = htp.find()
    except CannotRunHere as reason:
        detail, _, fix = str(reason).partition("; ")
        return Check(name, False, detail, fix, needed_for)
    fits = htp.known_to_fit(found.version)
    detail = f"QNN {found.version} of {found.source}"
    return Check(name, fits, detail, htp.REMEDY, needed_for)


def _qualcomm_for_phones() -> Check:
    """What a phone needs beside a file, which no package may hand on: in the user's own SDK."""
    folder = htp.phone_libraries()
    return Check(
        "Qualcomm's phone libraries",
        folder is not None,
        str(folder or ""),
        "unpack Qualcomm's AI Engine Direct SDK and name its folder in QNN_SDK_ROOT",
        "export --backend qnn: what its files need on a phone",
    )


def exporter_matches_torch() -> Check:
    """ExecuTorch's wheel holds kernels built for one torch release; another one fails far away,
    while loading.
    """
    pairs = {"1.5": "2.15"}
    exporter, torch = (_version(name) for name in ("executorch", "torch"))
    if exporter is None or torch is None:
        return Check(
            "torch fits executorch",
            False,
            "one of them is missing",
            "pip install mobilekd",
            "export",
            required=exporter is not None or torch is not None,
        )
    wanted = pairs.get(".".join(exporter.split(".")[:2]))
    fits = wanted is not None and torch.startswith(f"{wanted}.")
    fix = (
        f"pip install 'torch=={wanted}.*'"
        if wanted
        else "pip install 'executorch==1.5.*' 'torch==2.15.*'"
    )
    return Check(
        "torch fits executorch",
        fits,
        f"torch {torch}, executorch {exporter}",
        fix,
        "export, predict with a .pte",
        True,
    )


def _machine() -> list[Check]:
    free = shutil.disk_usage(Path.cwd()).free
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return [
        Check(
            "disk space",
            free >= LEAST_SPACE,
            f"{free / 1e9:.0f} GB free here",
            f"free {LEAST_SPACE / 1e9:.0f} GB on this disk",
            "training, apk",
        ),
        Check(
            "processor cores",
            cores >= 2,
            str(cores),
            "two or more make training bearable; one works",
            "training",
        ),
    ]


def _photographs() -> list[Check]:
    """The store of decoded photographs: its size and its bound. It is filled by whoever reads."""
    try:
        from mobilekd.data import store
    except ImportError:  # a package is missing, which is said
        return []
    name, needed_for = "store of decoded photographs", "training, evaluate: decoding once"
    place = store.open_store()
    if place is None:
        return [Check(name, True, f"off ({store.PLACE}, {store.BOUND})", needed_for=needed_for)]
    count, taken, limit = store.describe(place)
    near = nearest_folder(place.folder)
    found = f"{counted(count, 'photograph')}, {taken / 1e9:.2f} of at most {limit / 1e9:.0f} GB"
    return [
        Check(
            name,
            os.access(near, os.W_OK),
            f"{found}, {place.folder}; doctor --empty-store removes them",
            f"{place.folder} cannot be written ({found}); name another folder with {store.PLACE}",
            needed_for,
        )
    ]


def _android_sdk() -> Check:
    folder = build_tools()
    instead = all(find(command) for command in ("aapt", "zipalign", "apksigner"))
    detail = str(folder) if folder else "none; the programs above serve"
    return Check(
        "Android SDK's build-tools",
        folder is not None or instead,
        detail,
        "install an Android SDK and set ANDROID_HOME",
        "apk",
    )
