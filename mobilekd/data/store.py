"""The store: photographs decoded once wait on disk for later epochs, ranks, commands and runs.

It has a folder for each rule of reading (crop, size, version, decoder), which holds the blocks of
:mod:`mobilekd.data.blocks`. Here is where it lies, how large it may grow, and who may write.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from mobilekd.data.blocks import Filling, Shelf, Writer, bytes_of, count, is_list, remove
from mobilekd.formats.pictures import Policy
from mobilekd.support.errors import UserError
from mobilekd.support.files import cache_folder
from mobilekd.support.progress import say

#: Environment variables: the store's folder (``off``: none), and how many GB it may take.
PLACE, BOUND = "MOBILEKD_STORE", "MOBILEKD_STORE_GB"


@dataclass
class Store:
    """The store of one place; ``writable`` until the disk refuses."""

    folder: Path
    writable: bool = True
    #: lists of blocks that this process needs, which it does not remove
    used: set[Path] = field(default_factory=set)

    def shelf(self, policy: Policy) -> Shelf:
        """The blocks under ``policy``."""
        return Shelf(self.folder, policy)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store against all others that write."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextmanager
    def filling(self, shelves: Sequence[Shelf]) -> Iterator["Filling"]:
        """Under the lock, room for a block of each of ``shelves``; they appear when the block of
        code ends well. ``OSError`` for what the disk refuses leaves nothing behind.
        """
        filling = Filling([])
        try:
            for shelf in shelves:
                filling.writers.append(Writer(shelf))
            yield filling
            filling.finish()
        finally:
            filling.clear()

    def give_up(self, error: OSError) -> None:
        """Write no more in this process, and say why, once."""
        if self.writable:
            self.writable = False
            say(
                f"photographs: the store {self.folder} cannot be written"
                f" ({error.strerror or error}); what it lacks is read from the photographs' files"
                f" whenever it is needed; free some space, or name another folder with {PLACE}"
            )

    def make_room(self, wanted: int) -> bool:
        """Under the lock, remove the blocks that were not used for longest until ``wanted`` bytes
        fit below the bound; False where they do not.
        """
        blocks = [(path.stat().st_mtime_ns, path) for path in self.lists()]
        taken = sum(bytes_of(path) for _, path in blocks)
        limit = bound(self.folder, taken)
        for _, path in sorted(blocks):
            if taken + wanted <= limit:
                break
            if path not in self.used:
                taken -= bytes_of(path)
                remove(path)
        return taken + wanted <= limit

    def lists(self) -> list[Path]:
        """The lists of all blocks."""
        return sorted(path for path in self.folder.glob("*/*.json") if is_list(path.name))

    def use(self, lists: set[Path]) -> None:
        """Note that this process needs blocks, so that others are removed before them."""
        for path in lists - self.used:
            with suppress(OSError):  # a store that is only read
                os.utime(path)
        self.used |= lists

    def drop(self, lists: set[Path]) -> None:
        """Remove damaged blocks, where that is allowed."""
        with suppress(OSError), self.locked():
            for path in lists:
                remove(path)

    def clear_leftovers(self, shelf: Shelf) -> None:
        """Under the lock, remove what killed processes left of blocks, as nobody else writes now,
        and what cannot be read.
        """
        for name in shelf.damaged:
            remove(shelf.folder / name)
        shelf.damaged.clear()
        with suppress(OSError):
            for entry in os.scandir(shelf.folder):
                whole = Path(entry.path).with_suffix(".json")
                if not is_list(entry.name) and not whole.exists():
                    os.unlink(entry.path)


def open_store() -> Store | None:
    """The user's store, as ``MOBILEKD_STORE`` says, else below the cache; None where there is
    none. A place that cannot be made is said, and is none either.
    """
    place = os.environ.get(PLACE, "")
    if place == "off" or os.environ.get(BOUND, "").strip() in ("0", "0.0"):
        return None
    try:
        folder = Path(place).expanduser().absolute() if place else cache_folder() / "photographs"
    except (UserError, RuntimeError) as error:
        _say_none(str(error))
        return None
    return store_at(folder)


@cache
def store_at(folder: Path) -> Store:
    """One for each place in a process, so that a refusal is said once."""
    return Store(folder)


@cache
def _say_none(reason: str) -> None:
    say(f"photographs: no store of decoded photographs ({reason}); they are read from their files")


def bound(folder: Path, taken: int) -> int:
    """Bytes that the store may take: ``MOBILEKD_STORE_GB``, else half of what is free or its
    own.
    """
    if asked := os.environ.get(BOUND):
        try:
            return int(float(asked) * 1e9)
        except (ValueError, OverflowError):
            raise UserError(
                f"{BOUND}={asked}: not a number; give the GB that decoded photographs may take, or"
                " 0 for none"
            ) from None
    return (taken + shutil.disk_usage(folder).free) // 2


def describe(store: Store) -> tuple[int, int, int]:
    """Photographs, bytes and bound of a store."""
    sizes = [(bytes_of(path), path) for path in store.lists()]
    taken = sum(size for size, _ in sizes)
    photographs = sum(count(path) for _, path in sizes)
    near = next(path for path in (store.folder, *store.folder.parents) if path.exists())
    return photographs, taken, bound(near, taken)


def empty(store: Store) -> int:
    """Remove everything in the store but its lock; returns the bytes that were freed."""
    if not store.folder.exists():
        return 0
    try:
        with store.locked():
            freed = sum(bytes_of(path) for path in store.lists())
            for path in store.lists():
                remove(path)
            for entry in store.folder.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
    except OSError as error:
        raise UserError(
            f"{store.folder}: cannot be emptied ({error.strerror or error}); mend its permissions"
        ) from None
    return freed


def let_others() -> None:
    """Let others that wait for the lock have their turn."""
    time.sleep(0.002)
