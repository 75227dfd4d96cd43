"""What made a result: versions, commit, time. Read from package metadata, so nothing heavy is
imported.
"""

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "mobilekd",
    "torch",
    "torchvision",
    "executorch",
    "timm",
    "coremltools",
    "numpy",
    "pillow",
)


def versions() -> dict[str, str]:
    """Installed versions of what a result depends on, and Python's."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """The checkout's commit (``-dirty`` when changed), or None outside one; a copy without ``.git``
    is told by MOBILEKD_COMMIT.
    """
    if told := os.environ.get("MOBILEKD_COMMIT"):
        return told
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None


def utc_now() -> str:
    """ISO 8601, seconds, Z."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
