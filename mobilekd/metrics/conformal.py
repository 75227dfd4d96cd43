"""Sets instead of a word: the classes that cannot be excluded, by conformal prediction within each
class (Vovk, "Conditional validity of inductive conformal predictors", 2012).

For each class the photographs of validation that belong to it say how low its probability may be
and still be right. If later photographs are like those, the set holds the true class for at least
the asked share of each class, melanoma's too, whatever the network is worth; a poor one gives
larger sets.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mobilekd.formats.calibration import Sets


def fit_sets(
    probabilities: np.ndarray, targets: np.ndarray, keys: Sequence[str], coverage: float
) -> Sets:
    """The least probability with which each class is in the set, from float ``[N, C]`` and int
    ``[N]``. A class with too few photographs to exclude it at this ``coverage`` is always in: 0.
    """
    thresholds = {}
    for index, key in enumerate(keys):
        own = np.sort(probabilities[targets == index, index])
        # so many of n may be missed that one more photograph of the class, which takes any of
        # n + 1 ranks alike, is missed at most as often as asked
        missed = int(np.floor((1 - coverage) * (len(own) + 1) + 1e-9))
        # a hair lower, so that the last digits of another machine's logarithm do not decide
        thresholds[key] = float(own[missed - 1] * (1 - 1e-6)) if missed else 0.0
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
