"""Backends, found by name: ``mobilekd/backends/<name>.py`` holds ``BACKEND``. A new backend is one
new file.

Files that start with ``_`` are shared by several backends. Never imports inference, lowering or
training: a backend lowers one graph and runs one file.
"""

from importlib import import_module
from pathlib import Path

from mobilekd.backends.base import Backend, Lowered
from mobilekd.support.errors import UserError
from mobilekd.support.words import unknown

__all__ = ["Backend", "Lowered", "get", "names"]


def names() -> list[str]:
    """Every backend's name, from the files of this package alone; files that start with ``_`` are
    helpers.
    """
    files = (path.stem for path in Path(__file__).parent.glob("*.py"))
    return sorted(
        stem.replace("_", "-") for stem in files if stem != "base" and not stem.startswith("_")
    )


def get(name: str) -> Backend:
    """The backend of that name."""
    if name not in names():
        raise UserError(unknown(f"backend {name}", name, names()))
    backend: Backend = import_module(f"mobilekd.backends.{name.replace('-', '_')}").BACKEND
    return backend
