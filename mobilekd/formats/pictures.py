"""Preprocessed photographs, wherever they lie: in memory, or in the store on disk, of which only
what is asked for is read.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Protocol, overload

import numpy as np
from PIL import Image

#: Photographs at once where all of them are gone through, which bounds memory.
AT_ONCE = 64


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

    def rule(self) -> dict[str, Any]:
        """All that the pixels depend on besides the photograph, as JSON values."""


class Pictures(Protocol):
    """Photographs uint8 ``[N, 3, H, W]``: a numpy array, or what reads like its first axis. A
    slice or an array of rows gives a numpy array; ask for as many as memory holds.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """``(N, 3, H, W)``."""

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""

    def __len__(self) -> int: ...

    @overload
    def __getitem__(self, rows: int) -> Any: ...
    @overload
    def __getitem__(self, rows: slice | np.ndarray) -> Any: ...


class LazyPictures(ABC):
    """Pictures that are read as they are asked for: what follows from their ``shape`` alone."""

    shape: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of all of them."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self[:]

    @abstractmethod
    def __getitem__(self, rows: int | slice | np.ndarray) -> Any: ...


def in_parts(pictures: Pictures, size: int = AT_ONCE) -> Iterator[np.ndarray]:
    """All of them in order, ``size`` at once."""
    for start in range(0, len(pictures), size):
        yield pictures[start : start + size]
