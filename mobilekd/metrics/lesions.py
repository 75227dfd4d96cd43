"""Photographs of one lesion are alike, so what is counted and drawn are lesions."""

from collections.abc import Sequence

import numpy as np


def known_lesions(lesions: Sequence[str]) -> np.ndarray:
    """A name for each photograph's lesion, str ``[N]``; one whose lesion is not known (``""``) is
    its own.
    """
    return np.array([lesion or f"\0{row}" for row, lesion in enumerate(lesions)], dtype=str)


def lesion_rows(lesions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The row of each lesion's first photograph, int ``[L]`` in the order of the lesions' names,
    and the place of each photograph's lesion in it, int ``[N]``.

    Without an array of names: numpy gives every name as much room as the longest one takes.
    """
    first: dict[str, int] = {}
    names = [lesion or f"\0{row}" for row, lesion in enumerate(lesions)]
    for row, name in enumerate(names):
        first.setdefault(name, row)
    ordered = sorted(first)
    rows = np.array([first[name] for name in ordered], np.int64)
    place = {name: number for number, name in enumerate(ordered)}
    return rows, np.fromiter((place[name] for name in names), np.int64, len(names))
