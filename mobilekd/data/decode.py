"""Photographs as arrays, their sizes and their hashes.

Decoding is what costs: a photograph of 6000 x 4000 takes longer than many training steps. So each
is decoded once, in parallel (Pillow leaves the interpreter free meanwhile), and what comes out
waits in the store (:mod:`mobilekd.data.store`) for later epochs, ranks, commands and runs.
"""

from collections.abc import Sequence

import numpy as np

from mobilekd.data.dataset import Dataset
from mobilekd.data.known_files import sizes_of
from mobilekd.data.reading import in_parallel, read, store_for
from mobilekd.data.stored_pictures import pictures_of
from mobilekd.formats.pictures import Pictures, Policy


def inputs(dataset: Dataset, ids: Sequence[str], preprocess: Policy) -> np.ndarray:
    """Photographs ``ids`` as ``preprocess`` makes them, in memory: uint8 ``[N, 3, H, W]``; one
    ``UserError`` names every photograph that is broken.
    """
    return np.asarray(pictures(dataset, ids, preprocess))


def pictures(dataset: Dataset, ids: Sequence[str], preprocess: Policy) -> Pictures:
    """The same, as many as there are: they stay in the store until rows of them are asked for."""
    return pictures_of(dataset, dataset.rows(ids), preprocess)


def photograph_sizes(dataset: Dataset, ids: Sequence[str]) -> list[tuple[int, int]]:
    """(width, height) in pixels of ``ids``, from the files' headers where no command has read them
    before; one ``UserError`` names every photograph that has none.
    """
    rows = dataset.rows(ids)
    store = store_for(dataset)
    known = sizes_of(dataset, rows, None if store is None else store.folder)
    new = np.array([i for i in map(int, rows) if i not in known], dtype=np.int64)

    def one(_: int, i: int) -> None:
        known[i] = dataset.size(i)

    in_parallel(dataset, new, one, "reading sizes")
    return [known[i] for i in map(int, rows)]


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
    where its file has changed since; the store keeps them for later commands. A photograph that is
    decoded for it goes into the store in every size of ``dataset.policies``.
    """
    rows = dataset.rows(ids)
    read(dataset, rows, what, (), hashes=True)
    return [dataset.known[dataset.ids[int(i)]][2].hex() for i in rows]
