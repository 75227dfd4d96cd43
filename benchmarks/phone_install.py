"""How large a phone owner's install is: ``requirements-phone.txt`` and the package in a fresh
environment.

    python benchmarks/phone_install.py benchmarks/results/phone-install.json

Everything counts: packages, their compiled files, pip itself. ``--environment DIR`` keeps the
environment there. pip reaches its index, or what its own settings name.
"""

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from mobilekd.support.files import write_json
from mobilekd.support.provenance import commit, utc_now

CHECKOUT = Path(__file__).resolve().parents[1]
LIST = CHECKOUT / "requirements-phone.txt"
#: What the package is built from (``tools/setup.sh``).
SOURCES = (
    *("mobilekd", "android_demo", "ios_export"),
    *("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"),
    "THIRD_PARTY_NOTICES.txt",
)


def install(environment: Path) -> None:
    """A fresh environment with what the page on installing says, in its order."""
    venv.create(environment, with_pip=True)
    pip = [environment / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    with tempfile.TemporaryDirectory() as work:
        # a build leaves folders beside its sources
        for name in SOURCES:
            place = CHECKOUT / name
            if place.is_dir():
                shutil.copytree(
                    place, Path(work) / name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(place, work)
        subprocess.run([*pip, "-r", LIST], check=True)
        subprocess.run([*pip, "--no-deps", work], check=True)


def sizes(environment: Path) -> dict[str, int]:
    """Bytes of all files below each folder of the environment's packages; the rest is ``other``."""
    (packages,) = environment.glob("lib/python*/site-packages")
    found = {"other": _bytes(environment) - _bytes(packages)}
    for entry in sorted(packages.iterdir()):
        name = entry.name.partition("-")[0].partition(".")[0]
        found[name] = found.get(name, 0) + _bytes(entry)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _bytes(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(one.lstat().st_size for one in path.rglob("*") if one.is_symlink() or one.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("--environment", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        environment = arguments.environment or Path(work) / "environment"
        install(environment)
        parts = sizes(environment)
    total = sum(parts.values())
    document = {
        "what": "bytes of a fresh environment with all that measuring a phone and reading takes",
        "command": "python benchmarks/phone_install.py benchmarks/results/phone-install.json",
        "commit": commit(),
        "finished_utc": utc_now(),
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "bytes": total,
        "bytes_without_pip": total - parts.get("pip", 0) - parts.get("setuptools", 0),
        "parts": parts,
    }
    write_json(arguments.output, document)
    print(f"{total / 1e6:.1f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
