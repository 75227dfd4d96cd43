"""Sets of photographs joined, or cut short, without reading them."""

from collections.abc import Sequence

import numpy as np

from mobilekd.formats.pictures import LazyPictures, Pictures


class JoinedPictures(LazyPictures):
    """Several sets of photographs of one size as one."""

    def __init__(self, parts: Sequence[Pictures]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self.ends[-1]), *parts[0].shape[1:])

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        if isinstance(rows, (int, np.integer)):
            return self[np.array([rows])][0]
        wanted = np.arange(len(self))[rows]
        part_of = np.searchsorted(self.ends, wanted, side="right")
        out = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        for part in np.unique(part_of):
            members = np.flatnonzero(part_of == part)
            before = int(self.ends[part]) - len(self.parts[part])
            out[members] = self.parts[part][wanted[members] - before]
        return out


class FirstPictures(LazyPictures):
    """The first ``count`` of a set of photographs."""

    def __init__(self, pictures: Pictures, count: int) -> None:
        self.pictures, self.shape = pictures, (count, *pictures.shape[1:])

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        chosen: np.ndarray = self.pictures[np.arange(len(self))[rows]]
        return chosen


def joined(parts: Sequence[Pictures]) -> Pictures:
    """Sets of photographs of one size one after the other; arrays as an array."""
    if len(parts) == 1:
        return parts[0]
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    return np.concatenate(arrays) if len(arrays) == len(parts) else JoinedPictures(parts)


def first(pictures: Pictures, count: int) -> Pictures:
    """The first ``count`` photographs, without reading them."""
    if isinstance(pictures, np.ndarray):
        return pictures[:count]
    return pictures if count == len(pictures) else FirstPictures(pictures, count)
