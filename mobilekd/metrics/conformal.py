"""Sets instead of a word: the classes that cannot be excluded, by conformal prediction within each
class (Vovk, "Conditional validity of inductive conformal predictors", 2012), over lesions, of which
each has photographs that are alike (Lee, Barber and Willett, "Distribution-free inference with
hierarchical data", arXiv 2306.06342).

For each class the photographs of validation that belong to it say how low its probability may be
and still be right. If later lesions are like those, the set holds the true class for at least
the asked share of each class, melanoma's too, whatever the network is worth; a poor one gives
larger sets.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mobilekd.formats.calibration import Sets
from mobilekd.metrics.lesions import known_lesions


def fit_sets(
    probabilities: np.ndarray,
    targets: np.ndarray,
    lesions: Sequence[str],
    keys: Sequence[str],
    coverage: float,
) -> Sets:
    """The least probability with which each class is in the set, from float ``[N, C]``, int ``[N]``
    and the lesion of each photograph (``""``: its own). A class with too few lesions to exclude it
    at this ``coverage`` is always in: 0.
    """
    names = known_lesions(lesions)
    thresholds = {}
    for index, key in enumerate(keys):
        rows = np.flatnonzero(targets == index)
        own = probabilities[rows, index]
        _, member, times = np.unique(names[rows], return_inverse=True, return_counts=True)
        order = np.argsort(-own, kind="stable")
        held = np.cumsum(1 / times[member[order]])  # lesions at or above, each counted once
        # one more lesion takes any of n + 1 ranks alike: so many must be held that it is missed at
        # most as often as asked
        place = int(np.searchsorted(held, coverage * (len(times) + 1) - 1e-9))
        # a hair lower, so that the last digits of another machine's logarithm do not decide
        thresholds[key] = float(own[order[place]] * (1 - 1e-6)) if place < len(own) else 0.0
    return Sets(coverage=coverage, thresholds=thresholds)


def in_sets(
    probabilities: np.ndarray, keys: Sequence[str], thresholds: Mapping[str, float]
) -> np.ndarray:
    """bool ``[N, C]``: which classes cannot be excluded."""
    least = np.array([thresholds[key] for key in keys])
    return np.asarray(probabilities >= least)


def members(probabilities: np.ndarray, least: Sequence[float]) -> list[int]:
    """The classes of one photograph's set, likeliest first, from float ``[C]`` and thresholds."""
    order = np.argsort(-probabilities, kind="stable")
    return [int(index) for index in order if probabilities[index] >= least[index]]


def sentence(names: Sequence[str], classes: int) -> str:
    """The set in words: names of the classes, likeliest first; sentences where it is empty or
    full.
    """
    if not names:
        return NONE_FITS
    if len(names) == classes:
        return ALL_FIT
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


#: The sentences of an empty and of a full set.
NONE_FITS = "none of the classes fits"
ALL_FIT = "no class can be excluded"
