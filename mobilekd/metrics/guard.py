"""The guard fitted: principal directions of training photographs, a threshold from validation.

Directions in which photographs of the known kind hardly differ are those that tell them from others
(Kamoi and Kobayashi, arXiv 2003.00402), so these are kept where not all fit.
"""

from collections.abc import Sequence

import numpy as np

from mobilekd.formats.guard import Guard
from mobilekd.formats.interval import Interval
from mobilekd.support.errors import UserError
from mobilekd.support.words import counted

#: Numbers in the directions: 13 kB in a model file, of the 20 that a whole guard may take.
NUMBERS = 3200

#: Share of validation that the threshold refuses. Others of one's own photographs are refused up to
#: twice as often, as validation is a sample: at most 2%.
REFUSED = 0.01

#: Of so many lesions of a clinic the most unusual one is refused; of fewer none would be.
LEAST_LESIONS = round(1 / REFUSED)

#: Share of a clinic's photographs that a guard refuses which knows others of them: as many as of
#: one's own at most, since these are judged by photographs that did not fit it.
CLINIC_REFUSED = 0.02

#: Parts of a clinic's photographs, each judged by a guard fitted on the others.
FOLDS = 5

#: Added to each variance, as a share of the mean one: rounding to int8 moves what hardly moves.
FLAT = 0.01


def fit_guard(
    layers: tuple[str, ...],
    training: np.ndarray,
    validation: np.ndarray,
    refused: float = REFUSED,
    *,
    deviations: bool = True,
) -> Guard:
    """From what the layers show, float ``[N, D]``, of training photographs and of validation's:
    with ``deviations`` each layer's means, then its deviations.
    """
    width = training.shape[1]
    if len(training) <= width or not len(validation):
        raise UserError(
            f"guard: {len(training)} training and {len(validation)} validation photographs are too"
            f" few for {width} numbers of each; give the split more"
        )
    training = np.asarray(training, np.float64)
    centre, scale = training.mean(0), np.maximum(training.std(0), 1e-6)
    variances, vectors = np.linalg.eigh(
        np.cov(((training - centre) / scale).T).reshape(width, width)
    )
    kept = np.argsort(variances)[: max(1, min(width, NUMBERS // width))]
    directions = vectors[:, kept].T / np.sqrt(variances[kept] + FLAT)[:, None] / scale
    guard = Guard(
        layers=layers,
        deviations=deviations,
        centre=_rounded(centre),
        directions=tuple(_rounded(row) for row in directions),
        threshold=1.0,
        refused=0.0,
        photographs=len(training),
    )
    return with_threshold(guard, guard.scores(validation), refused)


def with_threshold(guard: Guard, scores: np.ndarray, refused: float = REFUSED) -> Guard:
    """The same guard with the threshold that refuses at most this share of ``scores``."""
    threshold = float(np.quantile(scores, 1 - refused, method="higher"))
    share = float((scores > threshold).mean())
    return guard.model_copy(update={"threshold": threshold, "refused": share})


def knowing_clinic(guard: Guard, seen: np.ndarray, refused: float = CLINIC_REFUSED) -> Guard:
    """``guard`` that knows a clinic's photographs as well as those of training, from what its
    layers show of them, float ``[N, D]``, in the order of their names.

    In the guard's own coordinates photographs of training have mean 0 and covariance 1, so none of
    them is needed: half of them and half of the clinic's have mean ``m / 2`` and covariance
    ``(1 + S) / 2 + m m^T / 4``, with the clinic's covariance ``S`` estimated as Ledoit and Wolf do
    (J. Multivariate Analysis 88, 2004). The threshold refuses at most this share of the clinic's,
    each of them judged by a guard that was fitted without it and its neighbours.
    """
    if len(seen) <= LEAST_LESIONS:
        raise UserError(
            f"guard: {counted(len(seen), 'photograph')}, too few to know what is unusual among"
            f" them; give more than {LEAST_LESIONS}"
        )
    seen = np.asarray(seen, np.float64)
    # photographs of one patient have names in a row, so folds are blocks
    folds = np.arange(len(seen)) * FOLDS // len(seen)
    scores = np.concatenate(
        [_half_and_half(guard, seen[folds != k]).scores(seen[folds == k]) for k in range(FOLDS)]
    )
    both = _half_and_half(guard, seen).model_copy(update={"clinic": len(seen)})
    return with_threshold(both, scores, refused)


def _half_and_half(guard: Guard, seen: np.ndarray) -> Guard:
    from sklearn.covariance import LedoitWolf

    centre, directions = np.asarray(guard.centre), np.asarray(guard.directions)
    clinic = LedoitWolf().fit((seen - centre) @ directions.T)
    mean = clinic.location_ / 2
    covariance = (np.eye(len(mean)) + clinic.covariance_) / 2 + np.outer(mean, mean)
    whitened = np.linalg.solve(np.linalg.cholesky(covariance), directions)
    shift = np.linalg.pinv(directions) @ mean
    return guard.model_copy(
        update={
            "centre": _rounded(centre + shift),
            "directions": tuple(_rounded(row) for row in whitened),
        }
    )


def refused_share(outside: np.ndarray, lesions: Sequence[str]) -> Interval:
    """Share of photographs that the guard refuses, bool ``[N]``, with Wilson's 95% interval (JASA
    22, 1927) for as many independent ones as there are lesions.
    """
    share, count, z = float(outside.mean()), len(set(lesions)), 1.959964
    centre = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    spread = share * (1 - share) / count + z**2 / (4 * count**2)
    half = z * spread**0.5 / (1 + z**2 / count)
    return Interval(value=share, low=max(0.0, centre - half), high=min(1.0, centre + half))


def _rounded(values: np.ndarray) -> tuple[float, ...]:
    """As float32 holds them, written with as few digits."""
    return tuple(float(f"{value:.7g}") for value in values)
