"""Where the demo app's sources lie: beside the package in a checkout, inside it in a wheel."""

import hashlib
from pathlib import Path

from mobilekd.support.errors import UserError

_PACKAGE = Path(__file__).resolve().parents[1]


def demo_sources() -> Path:
    """The folder ``android_demo``."""
    for folder in (_PACKAGE.parent / "android_demo", _PACKAGE / "android_demo"):
        if (folder / "app" / "src" / "main" / "AndroidManifest.xml").is_file():
            return folder
    raise UserError(
        "android_demo: the app's sources are not installed; reinstall mobilekd from its wheel or"
        " use a checkout"
    )


def source_hash(*beside: str) -> str:
    """Hex SHA-256 over the app's sources, the list of its libraries, and the files
    ``beside`` them.
    """
    total = hashlib.sha256()
    root = demo_sources()
    files = [path for path in (root / "app" / "src" / "main").rglob("*") if path.is_file()]
    for file in [*sorted(files), root / "pom.xml", *(root / name for name in beside)]:
        total.update(f"{file.relative_to(root).as_posix()}\0".encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
