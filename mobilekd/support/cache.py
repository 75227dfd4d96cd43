"""The user's cache: parts that cost minutes or a network, each with hashes that are checked
whenever it is used; and working folders that the next start removes where a process was killed.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, so nothing is called left over
    fcntl = None  # type: ignore[assignment]

from mobilekd.support.errors import UserError
from mobilekd.support.files import (
    cache_folder,
    clear_leftovers,
    read_json,
    sha256_file,
    working_folder,
    write_json,
)
from mobilekd.support.progress import say

#: Of a part's name: the hashes of its files, beside it.
RECORD = ".sha256.json"
#: Of the name of folders in which parts are made.
WORK = "work"


def kept_folder(name: str, fill: Callable[[Path], None]) -> Path:
    """The folder ``name`` of the cache, filled by ``fill`` where it is missing or not as it was
    made (which is said). What ``fill`` raises leaves the cache as it was.
    """

    def make(place: Path) -> None:
        place.mkdir()
        fill(place)

    return _kept(name, make)


def kept_file(name: str, make: Callable[[Path], None], once: str = "") -> Path:
    """The file ``name`` of the cache, as ``kept_folder``; ``make`` writes it.

    One that must stay what it is, such as a key, is not made again where it changed: ``once`` is
    the remedy that the refusal names.
    """
    return _kept(name, make, once)


def adopt(name: str) -> None:
    """Take the part ``name``, where an earlier version left it without hashes, for whole."""
    place = cache_folder() / name
    record = place.with_name(place.name + RECORD)
    if place.exists() and not record.exists():
        with _no_space(record):
            write_json(record, _hashes(place))


def _kept(name: str, make: Callable[[Path], None], once: str = "") -> Path:
    place = cache_folder() / name
    record = place.with_name(place.name + RECORD)
    with _no_space(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        if _difference(place, record) is None:
            return place
        with _locked(place.with_name(f".{place.name}.lock")), scratch() as work:
            difference = _difference(place, record)  # another process may have made it meanwhile
            if difference is None:
                return place
            if place.exists() and once:
                raise UserError(f"{place}: is not as it was made ({difference}); {once}")
            if place.exists():
                say(f"cache: {place} is not as it was made ({difference}); making it again")
            make(work / place.name)
            hashes = _hashes(work / place.name)
            _remove(place)
            write_json(record, hashes)
            os.replace(work / place.name, place)
    return place


def _difference(place: Path, record: Path) -> str | None:
    """How a part differs from its record, naming the first file; None where it does not."""
    if not place.exists():
        return "it is missing"
    if not record.is_file():
        return "its hashes are missing"
    try:
        wanted = read_json(record, "list of hashes")
    except UserError:
        wanted = None
    if not isinstance(wanted, dict):
        return "its hashes cannot be read"
    hashes = _hashes(place)
    wrong = [name for name in {**wanted, **hashes} if wanted.get(name) != hashes.get(name)]
    more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
    return f"{wrong[0] or place.name} differs{more}" if wrong else None


def _hashes(place: Path) -> dict[str, str]:
    """SHA-256 by path below ``place``; a file's own path is empty."""
    if place.is_file():
        return {"": sha256_file(place)}
    files = sorted(path for path in place.rglob("*") if path.is_file() or path.is_symlink())
    return {path.relative_to(place).as_posix(): sha256_file(path) for path in files}


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)


@contextmanager
def scratch(beside: Path | None = None) -> Iterator[Path]:
    """A folder to work in, ``beside`` a path (by default in the cache), gone at the end. What
    killed processes left there is removed first.
    """
    path = cache_folder() / WORK if beside is None else beside
    with _no_space(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with working_folder(path) as work:
        yield work


def clear_work() -> None:
    """Remove what killed processes left of their work in the cache."""
    clear_leftovers(cache_folder() / WORK)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Wait for a lock that is held by one process at a time."""
    with path.open("a") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _no_space(place: Path) -> Iterator[None]:
    """What the disk refuses, in one line."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{error.filename or place}: cannot be written ({error.strerror or error}); free some"
            " space, or name another folder with MOBILEKD_CACHE"
        ) from None
