"""Photographs of one lesion are alike, so what is counted and drawn are lesions."""

from collections.abc import Sequence

import numpy as np


def known_lesions(lesions: Sequence[str]) -> np.ndarray:
    """A name for each photograph's lesion, str ``[N]``; one whose lesion is not known (``""``) is
    its own.
    """
    return np.array([lesion or f"\0{row}" for row, lesion in enumerate(lesions)], dtype=str)
