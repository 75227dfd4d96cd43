"""Every metric as a pure function of weights, so that a bootstrap draw is one row of a matrix and
1000 draws are one call.

``metric(truth, probabilities, weights) -> values``: ``truth`` int ``[N]``, ``probabilities`` float
``[N, C]``, ``weights`` float ``[D, N]`` (how often each photograph was drawn), ``values`` float
``[D]``. With ``weights = ones((1, N))`` it is the plain metric. Class averages run over the classes
that have an example, as scikit-learn's balanced accuracy does.
"""

from collections.abc import Callable

import numpy as np

Metric = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
ECE_BINS = 15
#: Below this a probability counts as this much in the log loss, as in a float32 softmax that has
#: underflowed.
SMALLEST = 1e-12


def average(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of per-photograph ``values`` ``[N]`` for every draw: ``[D]``."""
    return np.asarray(weights @ values / weights.sum(1))


def accuracy(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of photographs whose most probable class is the true one."""
    return average((probabilities.argmax(1) == truth).astype(float), weights)


def recalls(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share found of every class: ``[D, C]``, NaN where a class has no example."""
    classes = np.arange(probabilities.shape[1])
    is_class = (truth[:, None] == classes).astype(float)  # [N, C]
    found = is_class * (probabilities.argmax(1) == truth)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((weights @ found) / (weights @ is_class))


def recall_of(index: int) -> Metric:
    """The recall of class ``index`` as a metric."""
    return lambda truth, probabilities, weights: _share(
        probabilities.argmax(1) == index, truth == index, weights
    )


def balanced_accuracy(
    truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Mean recall over the classes present."""
    return np.asarray(recalls(truth, probabilities, weights)[:, np.unique(truth)].mean(1))


def macro_f1(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean F1 over the classes present."""
    classes = np.unique(truth)
    is_class = (truth[:, None] == classes).astype(float)
    said = (probabilities.argmax(1)[:, None] == classes).astype(float)
    return np.asarray(
        (2 * (weights @ (is_class * said)) / (weights @ is_class + weights @ said)).mean(1)
    )


def nll(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Negative log-likelihood in nats."""
    return average(
        -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], SMALLEST)), weights
    )


def brier(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Brier score: squared error summed over classes, from 0 to 2."""
    target = np.eye(probabilities.shape[1])[truth]
    return average(((probabilities - target) ** 2).sum(1), weights)


def equal_mass_bins(confidence: np.ndarray, bins: int = ECE_BINS) -> np.ndarray:
    """Bin of every photograph: ``bins`` groups of equal size by confidence ``[N]``; equal
    confidences stay together.
    """
    order = np.sort(confidence)
    edges = order[
        [
            round(len(order) * k / bins)
            for k in range(1, bins)
            if round(len(order) * k / bins) < len(order)
        ]
    ]
    return np.searchsorted(edges, confidence, side="right")


def ece(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Expected calibration error of the top label over 15 bins of equal mass; the bins are those of
    the whole set.
    """
    confidence = probabilities.max(1)
    bins = equal_mass_bins(confidence)
    gap = (confidence - (probabilities.argmax(1) == truth))[:, None] * (
        bins[:, None] == np.arange(ECE_BINS)
    )
    return np.asarray(np.abs(weights @ gap).sum(1) / weights.sum(1))


def _curves(
    positive: np.ndarray, score: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weight of positives and of negatives in every group of equal scores, ascending: two ``[D,
    G]``.
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    ranked = np.take(weights, order, axis=1)  # in rows: sums are those of reduceat
    up = ranked * positive[order]
    down = np.subtract(ranked, up, out=ranked)
    if len(starts) == len(order):  # no two scores are equal
        return up, down
    return np.add.reduceat(up, starts, axis=1), np.add.reduceat(down, starts, axis=1)


def auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve: the chance that a positive outranks a negative, ties counting half.
    NaN with one kind only.
    """
    up, down = _curves(positive, score, weights)
    below = np.cumsum(down, 1) - down / 2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((up * below).sum(1) / (up.sum(1) * down.sum(1)))


def macro_auc(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean one-against-rest AUC over the classes present."""
    return np.asarray(
        np.mean([auc(truth == c, probabilities[:, c], weights) for c in np.unique(truth)], axis=0)
    )


def score_of(indices: tuple[int, ...], probabilities: np.ndarray) -> np.ndarray:
    """Summed probability of a group of classes."""
    return np.asarray(probabilities[:, list(indices)].sum(1))


def sensitivity_at_specificity(indices: tuple[int, ...], specificity: float = 0.95) -> Metric:
    """Sensitivity at the lowest threshold on this set's own curve whose specificity is at least
    ``specificity``.
    """

    def metric(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        up, down = _curves(np.isin(truth, indices), score_of(indices, probabilities), weights)
        nothing = np.zeros((len(up), 1))
        # Column g: the threshold is group g's score, so that all groups below are called negative.
        true_negative = np.concatenate([nothing, np.cumsum(down, 1)], 1)
        missed = np.concatenate([nothing, np.cumsum(up, 1)], 1)
        reached = true_negative >= specificity * down.sum(1, keepdims=True) - 1e-9
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(1 - missed[np.arange(len(up)), reached.argmax(1)] / up.sum(1))

    return metric


def sensitivity_at(indices: tuple[int, ...], threshold: float) -> Metric:
    """Share of the group's photographs whose score reaches a given threshold."""

    def metric(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        positive = np.isin(truth, indices)
        return _share(score_of(indices, probabilities) >= threshold, positive, weights)

    return metric


def specificity_at(indices: tuple[int, ...], threshold: float) -> Metric:
    """Share of the other photographs whose score stays below a given threshold."""

    def metric(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        negative = ~np.isin(truth, indices)
        return _share(score_of(indices, probabilities) < threshold, negative, weights)

    return metric


def coverage_at(threshold: float) -> Metric:
    """Share of photographs that get an answer: top probability at or above ``threshold``."""
    return lambda truth, probabilities, weights: average(
        (probabilities.max(1) >= threshold).astype(float), weights
    )


def selective_accuracy_at(threshold: float) -> Metric:
    """Accuracy among the photographs that get an answer."""

    def metric(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return _share(probabilities.argmax(1) == truth, probabilities.max(1) >= threshold, weights)

    return metric


def in_set(index: int, least: np.ndarray) -> Metric:
    """Share of the photographs of class ``index`` whose set holds it, from thresholds ``[C]``."""

    def metric(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return _share(probabilities[:, index] >= least[index], truth == index, weights)

    return metric


def in_any_set(least: np.ndarray) -> Metric:
    """Share of all photographs whose set holds their class."""

    def metric(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
        own = probabilities[np.arange(len(truth)), truth] >= least[truth]
        return average(own.astype(float), weights)

    return metric


def set_size(least: np.ndarray) -> Metric:
    """Mean number of classes that cannot be excluded."""
    return lambda truth, probabilities, weights: average(
        (probabilities >= least).sum(1).astype(float), weights
    )


def set_of(count: int, least: np.ndarray) -> Metric:
    """Share of photographs whose set has ``count`` classes."""
    return lambda truth, probabilities, weights: average(
        ((probabilities >= least).sum(1) == count).astype(float), weights
    )


def aurc(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the risk-coverage curve (Geifman and El-Yaniv, arXiv 1705.08500): mean error rate
    over all coverages.
    """
    wrong, right = _curves(probabilities.argmax(1) != truth, -probabilities.max(1), weights)
    mass = wrong + right
    risk = np.cumsum(wrong, 1) / np.maximum(np.cumsum(mass, 1), 1e-300)
    return np.asarray((risk * mass).sum(1) / mass.sum(1))


def _share(kept: np.ndarray, among: np.ndarray, weights: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(
            (weights @ (kept & among).astype(float)) / (weights @ among.astype(float))
        )
