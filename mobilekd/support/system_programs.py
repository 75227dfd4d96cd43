"""Programs outside Python that commands need, and how a machine gets them."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from mobilekd.support.errors import UserError
from mobilekd.support.process import printable, run_bounded
from mobilekd.support.progress import say


@dataclass(frozen=True)
class Tool:
    """A program outside Python: its command, its Debian package, how it is had on macOS, and what
    wants it.
    """

    command: str
    package: str
    homebrew: str
    needed_for: str


#: Programs outside Python in the order of use. The first Debian package that the machine's release
#: has is taken.
TOOLS = (
    Tool(
        "javac",
        "openjdk-17-jdk-headless|default-jdk-headless",
        "openjdk@17",
        "apk: compiling the app (JDK 17 or newer)",
    ),
    Tool("mvn", "maven", "maven", "apk: fetching the Kotlin compiler, R8 and the runtime"),
    Tool("aapt", "aapt", "", "apk: packaging resources (or an Android SDK's build-tools)"),
    Tool("zipalign", "zipalign", "", "apk: aligning (or an Android SDK's build-tools)"),
    Tool("apksigner", "apksigner", "", "apk: signing (or an Android SDK's build-tools)"),
    Tool(
        "adb",
        "adb",
        "android-platform-tools",
        "bench --device adb, apk --install: reaching a phone",
    ),
    Tool(
        "qemu-aarch64|qemu-aarch64-static",
        "qemu-user",
        "",
        "export --verify arm, bench --device qemu: emulated Arm processors",
    ),
    Tool(
        "aarch64-linux-gnu-g++",
        "g++-aarch64-linux-gnu",
        "",
        "export --verify arm, bench --device adb: building the Arm runner",
    ),
    Tool("g++", "g++", "gcc", "building the C++ runner for this machine"),
    Tool("npm", "npm", "node", "apk: fetching a community build of the Android runtime by name"),
    Tool("proot", "proot", "", "tests: the pretend phone's sandbox"),
    Tool(
        "chromium|google-chrome|chromium-browser",
        "chromium|chromium-browser",
        "chromium",
        "tests: opening the report in a real browser",
    ),
)

#: What apt says where another one holds a lock: of the package lists, or of dpkg.
APT_LOCKED = re.compile(r"Could not get lock|Unable to lock|Unable to acquire the dpkg")
#: Seconds to wait for another apt, between two tries, and for one command of apt.
APT_WAIT, APT_POLL, APT_TIMEOUT = 300.0, 3.0, 3600.0


def install(missing: Sequence[Tool]) -> None:
    """As root on Debian or Ubuntu, install the missing programs with apt; elsewhere name them with
    the command.
    """
    if not missing:
        return
    names = ", ".join(tool.command.partition("|")[0] for tool in missing)
    if not (shutil.which("apt-get") and os.geteuid() == 0):
        say(f"doctor: missing {names}; {fix_for(missing)}")
        return
    say(f"doctor: installing {names} with apt")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    apt_get(["update"], environment)
    apt_get(
        ["install", "-y", "--no-install-recommends", *(_debian_package(tool) for tool in missing)],
        environment,
    )


def apt_get(arguments: list[str], environment: dict[str, str]) -> None:
    """Run apt-get; another one, as every freshly started Ubuntu has, is waited for and that is
    said.
    """
    end, told = time.monotonic() + APT_WAIT, False
    while True:
        done = run_bounded(
            ["apt-get", "-qq", *arguments],
            timeout=APT_TIMEOUT,
            limit=64 << 20,
            env={**environment, "LC_ALL": "C"},
        )
        if done.code == 0:
            return
        lines = [line for line in done.stderr.splitlines() if line.startswith("E:")]
        words = printable((lines or done.stderr.splitlines() or ["no message"])[-1])
        locked = next((line for line in lines if APT_LOCKED.search(line)), None)
        if locked is None or time.monotonic() > end:
            remedy = "mend that" if locked is None else "wait for the other apt to end"
            raise UserError(
                f"apt-get {arguments[0]}: {printable(locked or words)}; {remedy}, then run mobilekd"
                " doctor --install again"
            )
        if not told:
            told = True
            say(
                f"doctor: another apt is at work ({printable(locked)}); waiting up to"
                f" {APT_WAIT:.0f} s for it"
            )
        time.sleep(min(APT_POLL, max(0.0, end - time.monotonic())))


def _debian_package(tool: Tool) -> str:
    """The first of the tool's packages that this release has."""
    *preferred, last = tool.package.split("|")
    for name in preferred:
        if subprocess.run(["apt-cache", "show", name], capture_output=True).returncode == 0:
            return name
    return last


def fix_for(tools: Sequence[Tool]) -> str:
    """The command that gets ``tools`` on this machine."""
    if sys.platform == "darwin":
        known = [tool.homebrew for tool in tools if tool.homebrew]
        return (
            "brew install " + " ".join(known)
            if known
            else "there is no package of it for macOS; use a Linux machine or container"
        )
    return "sudo apt-get install " + " ".join(tool.package.partition("|")[0] for tool in tools)
