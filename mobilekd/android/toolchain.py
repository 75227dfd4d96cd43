"""The programs outside Python that the build needs; one line names those that are missing, with the
command that installs them.
"""

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.process import OutOfBoundsError, run_bounded

#: Program -> its package on Debian or Ubuntu.
PACKAGES = {
    "java": "openjdk-17-jdk-headless",
    "javac": "openjdk-17-jdk-headless",
    "keytool": "openjdk-17-jdk-headless",
    "mvn": "maven",
    "aapt": "aapt",
    "zipalign": "zipalign",
    "apksigner": "apksigner",
}

#: Those that an Android SDK's build-tools hold too.
_BUILD_TOOLS = ("aapt", "zipalign", "apksigner")


@dataclass(frozen=True)
class Toolchain:
    """Paths of all programs."""

    java: str
    javac: str
    keytool: str
    mvn: str
    aapt: str
    zipalign: str
    apksigner: str


def build_tools() -> Path | None:
    """The newest build-tools of an installed Android SDK (``ANDROID_HOME``, ``ANDROID_SDK_ROOT``),
    if there is one.
    """
    for variable in ("ANDROID_HOME", "ANDROID_SDK_ROOT"):
        folder = Path(os.environ.get(variable) or os.devnull) / "build-tools"
        if folder.is_dir():
            versions = [path for path in folder.iterdir() if re.fullmatch(r"[0-9.]+", path.name)]
            if versions:
                return max(versions, key=lambda path: [int(part) for part in path.name.split(".")])
    return None


def find(program: str) -> str | None:
    """A program's path: an SDK's build-tools first, ``JAVA_HOME`` for the JDK, then ``PATH``."""
    tools, java = build_tools(), os.environ.get("JAVA_HOME")
    places = [tools] if tools and program in _BUILD_TOOLS else []
    places += [Path(java) / "bin"] if java and program in ("java", "javac", "keytool") else []
    for place in places:
        path = shutil.which(program, path=str(place))
        if path:
            return path
    return shutil.which(program)


def missing() -> dict[str, str]:
    """Programs that are not here, each with its package."""
    return {program: package for program, package in PACKAGES.items() if find(program) is None}


def toolchain() -> Toolchain:
    """All programs, or one :class:`CannotRunHere` that names every one that is missing, with one
    command for all.
    """
    absent = missing()
    if absent:
        packages = " ".join(sorted(set(absent.values())))
        raise CannotRunHere(
            f"{', '.join(absent)} not found on this machine; on Debian: apt install {packages}"
        )
    return Toolchain(**{program: str(find(program)) for program in PACKAGES})


def run(
    command: Sequence[str | Path], what: str, *, timeout: float = 900, cwd: Path | None = None
) -> str:
    """Run a program and give its standard output; a failure is one line with the program's own last
    words.
    """
    program = Path(str(command[0])).name
    try:
        done = run_bounded(command, timeout=timeout, cwd=cwd)
    except FileNotFoundError:
        raise CannotRunHere(
            f"{what}: {command[0]} not found; install {PACKAGES.get(program, program)}"
        ) from None
    except OutOfBoundsError as error:
        raise UserError(f"{what}: {error}; a less busy machine may help") from None
    if done.code != 0:
        said = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in said if "error" in line.lower()] or said[-1:]
        raise UserError(
            f"{what}: {program} failed: {' | '.join(errors[:3])[:600] or f'exit code {done.code}'}"
        )
    return done.stdout
