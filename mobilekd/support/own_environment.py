"""Virtual environments for a library whose needs contradict ours: made once, kept in the cache
folder, and run as another process.

Each sees the packages of the environment that makes it and holds the library with what it needs,
pinned and without their own dependencies.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from mobilekd.support.errors import UserError
from mobilekd.support.files import cache_folder
from mobilekd.support.progress import say


def interpreter(name: str, packages: Sequence[str], *, size: str) -> Path:
    """The Python of the environment ``name`` that has ``packages`` (``name==version``). Makes it
    where it is not yet, after saying so with its ``size``.

    Raises:
        UserError: with pip's reason, and nothing left behind.
    """
    key = hashlib.sha256(f"{' '.join(packages)} {sys.executable}".encode()).hexdigest()[:12]
    place = cache_folder() / f"{name}-{key}"
    python = place / "bin" / "python"
    if place.exists():
        return python
    say(f"{name}: installing {packages[0]} and its needs into the cache ({size}, once)")
    making = place.with_name(f"{place.name}.{os.getpid()}")
    shutil.rmtree(making, ignore_errors=True)
    try:
        _make(making, packages, name)
        making.rename(place)  # under its name only when it is whole
    except OSError:
        if not place.exists():  # another process was quicker
            raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return python


def _make(place: Path, packages: Sequence[str], name: str) -> None:
    """pip is the running environment's own, pointed at the new one."""
    _run(name, sys.executable, "-m", "venv", "--without-pip", str(place))
    python = str(place / "bin" / "python")
    own = _run(name, python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))")
    seen = [path for path in sys.path if path.endswith("site-packages")]
    (Path(own.strip()) / "shared.pth").write_text("\n".join(seen) + "\n", encoding="utf-8")
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    _run(name, *pip, "install", "-q", "--no-deps", *packages)


def _run(name: str, *command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(
            f"{name}: its environment cannot be made ({reason}); check that pip reaches its index"
            " and that the disk has room, then run this again"
        )
    return done.stdout
