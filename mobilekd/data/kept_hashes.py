"""Hashes of decoded photographs, kept in the user's cache from one command to the next: decoding
25,000 photographs takes a minute or more, and looking at their files does not.

A hash is taken from there only where the file is the very one that was decoded: same place, size,
time of change of content and of entry, and number on its disk, under the same decoder.
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import PIL
from PIL import features

from mobilekd.data.dataset import Dataset
from mobilekd.support.errors import UserError
from mobilekd.support.files import cache_folder, read_json, write_json
from mobilekd.support.progress import say

#: Photographs of a folder that are worth a file in the cache; fewer are decoded in seconds.
WORTH_KEEPING = 500

#: Raise it whenever the hash of a photograph becomes another one.
VERSION = 1


def stamp(dataset: Dataset, i: int) -> tuple[int, int, int, int]:
    """Size, times and number of photograph ``i``'s file; zeros where it is generated or gone."""
    if dataset.paths is None:
        return 0, 0, 0, 0
    try:
        status = dataset.paths[i].stat()
    except OSError:
        return 0, 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def recall(dataset: Dataset, stamps: Mapping[int, tuple[int, ...]]) -> None:
    """Put into ``dataset.pixel_hashes`` what the cache holds for the rows of ``stamps``."""
    for folder, rows in _by_folder(dataset, stamps).items():
        names = [i for i in rows if dataset.ids[i] not in dataset.pixel_hashes]
        if len(names) < WORTH_KEEPING:
            continue
        kept = _read(folder)
        for i in names:
            digest, *seen = kept.get(_name(dataset, i), [""])
            if tuple(seen) == stamps[i]:
                dataset.pixel_hashes[dataset.ids[i]] = (digest, *seen)


def keep(dataset: Dataset, rows: Iterable[int]) -> None:
    """Write the hashes of ``rows`` into the cache; where that cannot be written, it is said."""
    for folder, members in _by_folder(dataset, rows).items():
        if len(members) < WORTH_KEEPING:
            continue
        found = {_name(dataset, i): list(dataset.pixel_hashes[dataset.ids[i]]) for i in members}
        try:
            path = _file(folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, {"decoder": _decoder(), "photographs": _read(folder) | found})
        except (OSError, UserError) as error:
            say(f"{folder}: hashes of its photographs are not kept ({error})")


def _by_folder(dataset: Dataset, rows: Iterable[int]) -> dict[Path, list[int]]:
    folders: dict[Path, list[int]] = defaultdict(list)
    if dataset.paths is not None:
        for i in rows:
            folders[dataset.paths[i].parent].append(i)
    return folders


def _name(dataset: Dataset, i: int) -> str:
    assert dataset.paths is not None
    return dataset.paths[i].name


def _file(folder: Path) -> Path:
    mark = hashlib.sha256(os.fsencode(folder.absolute())).hexdigest()[:16]
    return cache_folder() / "pixel-hashes" / f"{mark}.json"


def _read(folder: Path) -> dict[str, list[Any]]:
    """What is kept of a folder; nothing where that is missing, broken or of another decoder."""
    try:
        path = _file(folder)
        kept = read_json(path, "list of hashes") if path.exists() else None
    except UserError:
        return {}
    if not isinstance(kept, dict) or kept.get("decoder") != _decoder():
        return {}
    photographs = kept.get("photographs")
    return photographs if isinstance(photographs, dict) else {}


def _decoder() -> str:
    return f"{VERSION}, Pillow {PIL.__version__}, JPEG {features.version('jpg')}"
