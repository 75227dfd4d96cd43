"""Blocks: photographs decoded and reduced, many in a file, found by the content of their own files.

A block is a numpy file ``NAME.npy``, uint8 ``[N, 3, H, W]``, and ``NAME.json``, which says of each
photograph the hash of its file, the hash and size of what it shows, and the checksum of its pixels.
Pixels are written first and the list last, under a name of its own that appears whole: a block
without its list is none, so a process may be killed at any point. Nobody changes a block. Whoever
writes or removes one holds the store's lock; readers need none, and check what they read.

Positioned reads and not a memory map: pages of a map count as the process's own memory in what most
tools show, and a file that was cut short ends the process (SIGBUS) where a read says so.
"""

import io
import itertools
import json
import os
import threading
import uuid
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import features

from mobilekd.formats.pictures import Policy
from mobilekd.formats.preprocess import READING_VERSION
from mobilekd.support.files import sha256_json

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
            there = {entry.name for entry in os.scandir(self.folder) if is_list(entry.name)}
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


class Writer:
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
        """Give the block its list; a block of no photographs gets none."""
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

    def __init__(self, writers: list[Writer]) -> None:
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


def remove(path: Path) -> None:
    """Remove a block by its list, which goes first: without it the block is none."""
    path.unlink(missing_ok=True)
    path.with_suffix(".npy").unlink(missing_ok=True)


@cache
def decoder() -> str:
    """The libraries that decode: another version may give other pixels."""
    names = ("jpg", "webp", "avif", "jpg_2000", "libtiff", "littlecms2", "zlib")
    found = [f"{name} {features.version(name)}" for name in names if features.check(name)]
    with suppress(PackageNotFoundError):
        found.append(f"pillow-heif {version('pillow-heif')}")
    return f"Pillow {PIL.__version__}, {', '.join(found)}"


def is_list(name: str) -> bool:
    """Whether a file of a shelf is the list of a block."""
    return name.endswith(".json")


def bytes_of(path: Path) -> int:
    """What the block whose list is ``path`` takes on disk."""
    total = 0
    for one in (path, path.with_suffix(".npy")):
        with suppress(OSError):
            total += one.stat().st_size
    return total


def count(path: Path) -> int:
    """Photographs of the block whose list is ``path``; 0 where that is damaged."""
    try:
        return len(json.loads(path.read_bytes())["photographs"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
