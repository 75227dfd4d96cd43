"""Photographs to arrays, in parallel: Pillow leaves the interpreter free while it decodes and
resizes.

Reading happens once for a run, and a photograph of 200 x 150 costs a thirteenth of one training
step of the smallest student (CPU time; benchmarks/results/decode.json), so no pixels are cached on
disk, only the hashes of large folders.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from PIL import Image

from mobilekd.data.dataset import Dataset, some
from mobilekd.data.kept_hashes import keep, recall, stamp
from mobilekd.support.errors import UserError
from mobilekd.support.progress import track


class Policy(Protocol):
    """How a photograph is brought to one size: a model's preprocessing, or training's storage."""

    @property
    def width(self) -> int:
        """Pixels."""

    @property
    def height(self) -> int:
        """Pixels."""

    def apply(self, image: Image.Image) -> np.ndarray:
        """Upright RGB image -> uint8 ``[height, width, 3]``."""


def inputs(dataset: Dataset, ids: Sequence[str], preprocess: Policy) -> np.ndarray:
    """Photographs ``ids`` as ``preprocess`` makes them: uint8 ``[N, 3, H, W]``; one ``UserError``
    names every photograph that is broken.
    """
    rows = dataset.rows(ids)
    out = np.empty((len(rows), 3, preprocess.height, preprocess.width), dtype=np.uint8)

    def one(n: int, i: int) -> None:
        out[n] = preprocess.apply(dataset.photograph(i)).transpose(2, 0, 1)

    _in_parallel(dataset, rows, one, "reading photographs")
    return out


def photograph_sizes(dataset: Dataset, ids: Sequence[str]) -> list[tuple[int, int]]:
    """(width, height) in pixels of ``ids``, from the files' headers; one ``UserError`` names every
    photograph that has none.
    """
    rows = dataset.rows(ids)
    sizes = [(0, 0)] * len(rows)

    def one(n: int, i: int) -> None:
        sizes[n] = dataset.size(i)

    _in_parallel(dataset, rows, one, "reading sizes")
    return sizes


def check_photographs(dataset: Dataset) -> dict[str, str]:
    """Decode every photograph once: its hash by id, or one ``UserError`` with the count and first
    names of broken ones.
    """
    return dict(
        zip(
            dataset.ids,
            photograph_hashes(dataset, dataset.ids, "checking photographs"),
            strict=True,
        )
    )


def photograph_hashes(
    dataset: Dataset, ids: Sequence[str], what: str = "hashing photographs"
) -> list[str]:
    """SHA-256 of each photograph's size and decoded pixels: equal for equal pictures, whatever
    their files are called.

    The data set keeps them, so a photograph is decoded for its hash once in a process, and again
    where its file has changed since. Those of large folders are kept in the user's cache, too.
    """
    rows = dataset.rows(ids)
    kept = dataset.pixel_hashes
    stamps = {int(i): stamp(dataset, int(i)) for i in rows}
    recall(dataset, stamps)
    new = [i for i, stamp in stamps.items() if kept.get(dataset.ids[i], ("",))[1:] != stamp]

    def one(_: int, i: int) -> None:
        image = dataset.photograph(i)
        digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
        kept[dataset.ids[i]] = (digest, *stamps[i])

    if new:
        _in_parallel(dataset, np.array(new, dtype=np.int64), one, what)
        keep(dataset, new)
    return [kept[dataset.ids[int(i)]][0] for i in rows]


def _in_parallel(
    dataset: Dataset, rows: np.ndarray, work: Callable[[int, int], None], what: str
) -> None:
    """Call ``work(n, row)`` for each row; broken photographs are gathered, so that the message can
    count them.
    """
    errors: dict[int, str] = {}

    def one(n: int) -> None:
        try:
            work(n, int(rows[n]))
        except UserError as error:
            errors[n] = str(error)

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for _ in track(pool.map(one, range(len(rows))), what, total=len(rows)):
            pass
    if errors:
        names = [dataset.ids[int(rows[n])] for n in sorted(errors)]
        raise UserError(f"{some(names, 'unreadable photograph')}; the first: {errors[min(errors)]}")
