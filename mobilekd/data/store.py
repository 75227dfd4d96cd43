"""The store: photographs decoded and reduced, on disk, found by their content.

A folder for each rule of reading (crop, size, version, decoder) holds blocks. A block is a numpy
file ``NAME.npy``, uint8 ``[N, 3, H, W]``, and ``NAME.json``, which says of each photograph the hash
of its file, the hash and size of what it shows, and the checksum of its pixels. Pixels are written
first and the list last, under a name of its own that appears whole: a block without its list is
none, so a process may be killed at any point. Nobody changes a block. Whoever writes or removes one
holds the store's lock; readers need none, and check what they read.

Positioned reads and not a memory map: pages of a map count as the process's own memory in what most
tools show, and a file that was cut short ends the process (SIGBUS) where a read says so.
"""

import fcntl
import io
import itertools
import json
import os
import shutil
import threading
import time
import uuid
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import features

from mobilekd.formats.pictures import Policy
from mobilekd.formats.preprocess import READING_VERSION
from mobilekd.support.errors import UserError
from mobilekd.support.files import cache_folder, sha256_json
from mobilekd.support.progress import say

#: Environment variables: the store's folder (``off``: none), and how many GB it may take.
PLACE, BOUND = "MOBILEKD_STORE", "MOBILEKD_STORE_GB"

#: Bytes before the first pixel of a block: numpy's header.
HEADER = 128


@dataclass(frozen=True, slots=True)
class Found:
    """A photograph of a block."""

    block: Path  # its list
    slot: int
    checksum: int  # CRC-32 of its pixels
    pixels: bytes  # SHA-256 of what it shows, undiminished
    width: int
    height: int


class Shelf:
    """The blocks of one rule of reading."""

    def __init__(self, folder: Path, policy: Policy) -> None:
        rule = {"rule": policy.rule(), "version": READING_VERSION, "decoder": decoder()}
        self.rule = rule
        self.shape = (3, policy.height, policy.width)
        self.folder = folder / sha256_json(rule)[:32]
        self.damaged: set[str] = set()
        self._blocks: dict[str, _Block] = {}
        self._place: dict[bytes, tuple[str, int]] = {}

    @property
    def size(self) -> int:
        """Bytes of a photograph."""
        return int(np.prod(self.shape))

    def look(self) -> None:
        """Learn of blocks that were written or removed since."""
        try:
            there = {entry.name for entry in os.scandir(self.folder) if _is_list(entry.name)}
        except OSError:
            there = set()
        gone = self._blocks.keys() - there
        if gone:
            self._place = {key: at for key, at in self._place.items() if at[0] not in gone}
        for name in gone:
            del self._blocks[name]
        for name in sorted(there - self._blocks.keys() - self.damaged):
            block = _Block.read(self.folder / name, self.size)
            if block is None:
                self.damaged.add(name)
                continue
            self._blocks[name] = block
            for slot, content in enumerate(block.contents):
                self._place.setdefault(content, (name, slot))

    def find(self, content: bytes) -> Found | None:
        """Where the photograph lies whose file has this SHA-256."""
        if (at := self._place.get(content)) is None:
            return None
        name, slot = at
        return self._blocks[name].found(self.folder / name, slot)


@dataclass(frozen=True)
class _Block:
    """The list of a block, in little memory."""

    contents: list[bytes]
    pixels: bytes  # 32 of each
    numbers: np.ndarray  # int64 [N, 3]: checksum, width, height

    @classmethod
    def read(cls, path: Path, size: int) -> "_Block | None":
        """None where the list or its block is damaged or incomplete."""
        try:
            document = json.loads(path.read_bytes())
            rows = document["photographs"]
            if document["sha256"] != sha256_json(rows):
                return None
            if path.with_suffix(".npy").stat().st_size != HEADER + len(rows) * size:
                return None
            return cls(
                [bytes.fromhex(row[0]) for row in rows],
                bytes.fromhex("".join(row[1] for row in rows)),
                np.array([row[2:5] for row in rows], dtype=np.int64).reshape(-1, 3),
            )
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None

    def found(self, path: Path, slot: int) -> Found:
        checksum, width, height = map(int, self.numbers[slot])
        pixels = self.pixels[32 * slot : 32 * slot + 32]
        return Found(path, slot, checksum, pixels, width, height)


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
                filling.writers.append(_Writer(shelf))
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
        taken = sum(_bytes_of(path) for _, path in blocks)
        limit = bound(self.folder, taken)
        for _, path in sorted(blocks):
            if taken + wanted <= limit:
                break
            if path not in self.used:
                taken -= _bytes_of(path)
                remove(path)
        return taken + wanted <= limit

    def lists(self) -> list[Path]:
        """The lists of all blocks."""
        return sorted(path for path in self.folder.glob("*/*.json") if _is_list(path.name))

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
                if not _is_list(entry.name) and not whole.exists():
                    os.unlink(entry.path)


class _Writer:
    """One block being written."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        shelf.folder.mkdir(parents=True, exist_ok=True)
        self.data = shelf.folder / f"{uuid.uuid4().hex[:16]}.npy"
        self.handle = os.open(self.data, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self.rows: dict[int, list[Any]] = {}
        self.slots = itertools.count()
        self.lock = threading.Lock()

    def put(
        self, content: bytes, pixels: bytes, size: tuple[int, int], picture: np.ndarray
    ) -> None:
        """Write a photograph ``[3, H, W]``; many threads may."""
        picture = np.ascontiguousarray(picture)
        whole = memoryview(picture.data).cast("B")
        with self.lock:
            slot = next(self.slots)
        done = 0
        while done < len(whole):
            at = HEADER + slot * self.shelf.size + done
            done += os.pwrite(self.handle, whole[done:], at)
        self.rows[slot] = [content.hex(), pixels.hex(), zlib.crc32(whole), *size]

    def finish(self) -> None:
        rows = [self.rows[slot] for slot in sorted(self.rows)]
        if not rows:
            return
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header,
            {"descr": "|u1", "fortran_order": False, "shape": (len(rows), *self.shelf.shape)},
        )
        assert len(header.getvalue()) == HEADER
        os.pwrite(self.handle, header.getvalue(), 0)
        # not flushed to the disk: after a failure of power the checksums tell
        document = {"rule": self.shelf.rule, "photographs": rows, "sha256": sha256_json(rows)}
        part = self.data.with_suffix(".part")
        part.write_text(json.dumps(document))
        os.replace(part, self.data.with_suffix(".json"))

    def clear(self) -> None:
        """Close, and remove what did not become a block."""
        os.close(self.handle)
        if not self.data.with_suffix(".json").exists():
            for path in (self.data, self.data.with_suffix(".part")):
                with suppress(OSError):
                    path.unlink()


class Filling:
    """Blocks being written, one for each shelf."""

    def __init__(self, writers: list[_Writer]) -> None:
        self.writers = writers

    def put(
        self,
        shelf: int,
        content: bytes,
        pixels: bytes,
        size: tuple[int, int],
        picture: np.ndarray,
    ) -> None:
        """Write a photograph into the block of shelf number ``shelf``."""
        self.writers[shelf].put(content, pixels, size, picture)

    def finish(self) -> None:
        """Give every block its list."""
        for writer in self.writers:
            writer.finish()

    def clear(self) -> None:
        """Remove what did not become a block."""
        for writer in self.writers:
            writer.clear()


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
    sizes = [(_bytes_of(path), path) for path in store.lists()]
    taken = sum(size for size, _ in sizes)
    count = sum(_count(path) for _, path in sizes)
    near = next(path for path in (store.folder, *store.folder.parents) if path.exists())
    return count, taken, bound(near, taken)


def empty(store: Store) -> int:
    """Remove everything in the store but its lock; returns the bytes that were freed."""
    if not store.folder.exists():
        return 0
    try:
        with store.locked():
            freed = sum(_bytes_of(path) for path in store.lists())
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


def remove(path: Path) -> None:
    """Remove a block by its list, which goes first: without it the block is none."""
    path.unlink(missing_ok=True)
    path.with_suffix(".npy").unlink(missing_ok=True)


def read_into(path: Path, slots: Sequence[tuple[int, int]], out: Sequence[np.ndarray]) -> list[int]:
    """Read photographs of the block whose list is ``path`` into ``out``, each ``[3, H, W]`` in one
    piece, by (slot, checksum); the positions of those that are not as they were written, or that
    cannot be read.
    """
    wrong = []
    try:
        with path.with_suffix(".npy").open("rb", buffering=0) as file:
            for n, (slot, checksum) in enumerate(slots):
                target = memoryview(out[n].data).cast("B")
                file.seek(HEADER + slot * len(target))
                done = 0
                while done < len(target) and (more := file.readinto(target[done:])):
                    done += more
                if done < len(target) or zlib.crc32(target) != checksum:
                    wrong.append(n)
    except OSError:
        return list(range(len(slots)))
    return wrong


@cache
def decoder() -> str:
    """The libraries that decode: another version may give other pixels."""
    names = ("jpg", "webp", "avif", "jpg_2000", "libtiff", "littlecms2", "zlib")
    found = [f"{name} {features.version(name)}" for name in names if features.check(name)]
    with suppress(PackageNotFoundError):
        found.append(f"pillow-heif {version('pillow-heif')}")
    return f"Pillow {PIL.__version__}, {', '.join(found)}"


def _is_list(name: str) -> bool:
    return name.endswith(".json")


def _bytes_of(path: Path) -> int:
    total = 0
    for one in (path, path.with_suffix(".npy")):
        with suppress(OSError):
            total += one.stat().st_size
    return total


def _count(path: Path) -> int:
    try:
        return len(json.loads(path.read_bytes())["photographs"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def let_others() -> None:
    """Let others that wait for the lock have their turn."""
    time.sleep(0.002)
