"""What is known of a photograph's file without opening it again: the hash of its bytes, which finds
its pixels in the store, the hash of what it shows, and its size.

Kept from one command to the next, and taken only where the file is the very one that was read: same
place, size, times of change of content and of entry, and number on its disk.
"""

import hashlib
import os
import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mobilekd.data.dataset import Dataset
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_bytes

#: One file: the stamp it was read under, hash of its bytes, hash of its pixels, width, height.
_LAYOUT = struct.Struct("<16s32s32sII")

#: Files are forgotten where so many times as many are kept as a data set has.
_SPARE = 4


class Known(NamedTuple):
    """One photograph's file."""

    stamp: bytes  # place, size, times and number of the file that was read
    content: bytes  # SHA-256 of its bytes
    pixels: bytes  # SHA-256 of its size and decoded pixels
    width: int  # of the upright photograph, as it is decoded
    height: int


def stamp(dataset: Dataset, i: int) -> bytes:
    """Identifies photograph ``i``'s file as it is now; empty where it is generated or gone."""
    if dataset.paths is None:
        return b""
    place = dataset.paths[i]
    path = os.fspath(place)
    try:
        status = os.stat(path) if isinstance(place, str) else place.stat()
    except OSError:
        return b""
    seen = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    folder, _, name = path.rpartition("/")
    # a photograph's name is no "..", so its folder says where it lies
    named = os.fsencode(f"{_absolute(folder, '' if path[0] == '/' else os.getcwd())}/{name}")
    return hashlib.blake2b(named + f"\0{seen}".encode(), digest_size=16).digest()


@lru_cache(maxsize=64)
def _absolute(folder: str, here: str) -> str:
    """``folder`` from the root on, without a slash at its end; ``here`` is where a relative one
    begins. Thousands of photographs lie in one.
    """
    return os.path.normpath(os.path.join(here or "/", folder)).rstrip("/")


def recall(folder: Path, dataset: Dataset, stamps: Mapping[int, bytes]) -> None:
    """Put into ``dataset.known`` what ``folder`` keeps of the rows of ``stamps``."""
    wanted = {
        mark: i
        for i, mark in stamps.items()
        if mark and ((known := dataset.known.get(dataset.ids[i])) is None or known[0] != mark)
    }
    if wanted:
        for entry in _read(_file(folder, dataset)):
            if (row := wanted.get(entry[0])) is not None:
                dataset.known[dataset.ids[row]] = Known(*entry)


def keep(folder: Path, dataset: Dataset, rows: Sequence[int]) -> None:
    """Write what is known of ``rows`` below ``folder``; raises what the disk refuses."""
    path = _file(folder, dataset)
    entries = {entry[0]: entry for entry in _read(path)}
    if len(entries) > _SPARE * len(rows):
        entries = {}
    for i in rows:
        if known := dataset.known.get(dataset.ids[i]):
            entries[known[0]] = known
    data = b"".join(_LAYOUT.pack(*entry) for entry in entries.values())
    try:
        write_bytes(path, hashlib.sha256(data).digest() + data)
    except UserError as error:
        raise OSError(str(error)) from None


def _file(folder: Path, dataset: Dataset) -> Path:
    """The list of the folder in which all of the data set lies."""
    assert dataset.paths is not None, "asked for files alone"
    parents = {os.path.dirname(os.fspath(path)) for path in dataset.paths}
    try:
        common = os.path.commonpath([os.path.abspath(parent) for parent in parents])
    except ValueError:  # several drives
        common = ""
    return folder / "files" / hashlib.sha256(os.fsencode(common)).hexdigest()[:24]


def _read(path: Path) -> list[tuple[bytes, bytes, bytes, int, int]]:
    """What a list holds; nothing where it is missing or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return []
    body = memoryview(data)[32:]
    if len(body) % _LAYOUT.size or hashlib.sha256(body).digest() != data[:32]:
        return []
    return [_LAYOUT.unpack_from(body, at) for at in range(0, len(body), _LAYOUT.size)]


def sizes_of(dataset: Dataset, rows: np.ndarray, folder: Path | None) -> dict[int, tuple[int, int]]:
    """(width, height) of those of ``rows`` whose files were read before, by an earlier command of
    which ``folder`` knows, too, and are the same still.
    """
    stamps = {i: stamp(dataset, i) for i in map(int, rows)}
    if folder is not None:
        recall(folder, dataset, stamps)
    found = {}
    for i, mark in stamps.items():
        known = dataset.known.get(dataset.ids[i])
        if known is not None and known[0] == mark:
            found[i] = (int(known[3]), int(known[4]))
    return found
