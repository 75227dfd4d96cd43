"""Wheels for arm64 Linux, fetched once by pip on whatever this machine is: their libraries answer
on emulated processors and on phones.
"""

import sys
import zipfile
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from mobilekd.support.cache import kept_folder, scratch
from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.files import sha256_file
from mobilekd.support.process import run_bounded
from mobilekd.support.progress import say

DOWNLOAD = 900.0  # seconds for one wheel
#: The oldest C libraries that these packages are built for, in pip's words.
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64")
#: SHA-256 of the wheels that were examined.
WHEELS = {
    "executorch-1.5.1-cp311-cp311-manylinux_2_28_aarch64.whl": (
        "8ee02348a3ea80ddf770822911ebf78da616b73afce0fbaaa79f23311c88c66a"
    ),
    "executorch-1.5.1-cp312-cp312-manylinux_2_28_aarch64.whl": (
        "2c177f7922354a8a0d6111628c954519b87549598640e5e0042bef137b4cb83c"
    ),
    "executorch-1.5.1-cp313-cp313-manylinux_2_28_aarch64.whl": (
        "685a8d85b319fc99f2611a5e0ecf598755a91cf5d39a536e057dea60cd8e9682"
    ),
    "ai_edge_litert-2.3.0-cp311-cp311-manylinux_2_27_aarch64.whl": (
        "853fc608f96da87bd5f3458465dfb9abbf18d5ae6b94eceacead407146f175ae"
    ),
    "ai_edge_litert-2.3.0-cp312-cp312-manylinux_2_27_aarch64.whl": (
        "9891611b23a87cc2ace60e4b5ee9a2ee6f0fb7f395f009470961ae6e6310e1b8"
    ),
    "ai_edge_litert-2.3.0-cp313-cp313-manylinux_2_27_aarch64.whl": (
        "2ab71e4f5dfa65b3882634b42755f455f3e7415630d720200bd792733e15e257"
    ),
    "onnxruntime-1.32.0-cp311-cp311-manylinux_2_28_aarch64.whl": (
        "2303372a85299b6757b0e11e1cbf13e410ddf7e10c37f4b37e99d1c90e7daf7c"
    ),
    "onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_aarch64.whl": (
        "e36c187006e7a7c8b8d6d57f1a209dd63f52430dca6c282b177718ad6b841054"
    ),
    "onnxruntime-1.32.0-cp313-cp313-manylinux_2_28_aarch64.whl": (
        "54d02baff2df38777b4c3cc7af326406fe8b8a48f54720f4c446d2d327920a79"
    ),
}


def release(package: str) -> str:
    """The release of ``package`` that is installed (``1.5.1``), else the one whose wheels were
    examined: a phone is measured without exporters on this machine.
    """
    try:
        return version(package).split("+")[0]
    except PackageNotFoundError:
        prefix = package.replace("-", "_")
        return next(name for name in WHEELS if name.startswith(f"{prefix}-")).split("-")[1]


def arm_wheel(package: str, number: str, wanted: Callable[[str], bool], size: str) -> Path:
    """The wheel of ``package`` in version ``number``, unpacked as far as ``wanted`` says of the
    names in it; kept in the cache. ``size`` of the download is for whoever waits.

    Raises:
        CannotRunHere: pip cannot fetch it.
        UserError: what came is not the wheel that was examined.
    """
    fill = partial(_fetch, package, number, wanted, size)
    return kept_folder(f"{package}-{number}-aarch64", fill)


def _fetch(
    package: str, number: str, wanted: Callable[[str], bool], size: str, folder: Path
) -> None:
    say(f"fetching the arm64 wheel of {package} {number} (once, {size})")
    with scratch() as work:
        command: list[str | Path] = [sys.executable, "-m", "pip", "download", "--quiet"]
        command += ["--no-deps", "--only-binary=:all:", "--dest", work]
        command += [f"--platform={name}" for name in PLATFORMS]
        command += [f"--python-version={sys.version_info.major}.{sys.version_info.minor}"]
        answer = run_bounded([*command, f"{package}=={number}"], timeout=DOWNLOAD, who="pip")
        wheels = list(work.glob("*.whl"))
        if answer.code != 0 or not wheels:
            lines = answer.stderr.strip().splitlines() or ["no reason given"]
            raise CannotRunHere(
                f"arm64 runner: pip cannot fetch {package} {number} for aarch64 ({lines[-1]}); go"
                " online once"
            )
        _refuse_foreign(wheels[0])
        with zipfile.ZipFile(wheels[0]) as archive:
            names = [
                name for name in archive.namelist() if wanted(name) or _tells_the_licence(name)
            ]
            archive.extractall(folder, names)


def _refuse_foreign(wheel: Path) -> None:
    """A ``UserError`` for a wheel that has an examined one's name and another's bytes."""
    digest, pinned = sha256_file(wheel), WHEELS.get(wheel.name)
    if pinned not in (None, digest):
        raise UserError(
            f"{wheel.name}: the download is not the wheel that was examined (sha256"
            f" {digest[:16]}...); do not use it, see where pip fetches from (pip config list)"
        )
    if pinned is None:
        say(f"{wheel.name}: not a wheel that was examined; pip checked it by its index")


def _tells_the_licence(name: str) -> bool:
    return "/licenses/" in name or name.rpartition("/")[2].startswith(
        ("LICENSE", "ThirdPartyNotices")
    )
