"""Fitting a finished student to a clinic by its answers alone: temperature and priors, the
threshold of "not sure", operating points and sets; judged by cross-fitting.

Temperature and priors are the multinomial regression of the label on the logarithm of the answers
with one slope for all classes (Platt's scaling for several classes; Guo et al., arXiv 1706.04599,
with the biases of their vector scaling). The biases are held near 0, as a few hundred photographs
hold a handful of a rare class. A class of which there are too few lesions to exclude it keeps its
prior beside the others: what was not photographed is no less common for that.

Whatever depends on probabilities is fitted on answers that were rescaled without the photograph's
own lesion, and judged on lesions that it has not seen: else it would look better than it is.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import count as count_from

import numpy as np

from mobilekd.formats.artifact import ClinicFit, Manifest
from mobilekd.formats.calibration import Calibration, Rescale
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.formats.pictures import Pictures
from mobilekd.metrics import interval, lesion_weights, metrics
from mobilekd.metrics.calibrate import (
    LEAST,
    operating_points,
    quality_limits,
    rescaled,
)
from mobilekd.metrics.conformal import fit_sets, in_sets
from mobilekd.metrics.guard import LEAST_LESIONS
from mobilekd.metrics.lesions import known_lesions

#: Parts of the photographs, of which each is answered by what was fitted on the others.
FOLDS = 5

#: Variance that a bias is expected to have: e in odds either way is usual, e^2 is not.
VARIANCE = 1.0

#: Bounds of the slope; photographs that are all answered rightly would drive it to infinity.
FLATTEST, STEEPEST = 0.05, 4.0

#: Figures that are told before and after, by their key in ``metrics.json``.
FIGURES = ("ece", "nll", "brier", "accuracy", "balanced_accuracy")


def fit_rescale(probabilities: np.ndarray, targets: np.ndarray, free: np.ndarray) -> Rescale:
    """Temperature and priors of least penalised log loss, from float ``[N, C]``, int ``[N]``. The
    offsets of the classes ``free``, bool ``[C]``, sum to 0, the others are 0.
    """
    from scipy.optimize import minimize

    evidence = np.log(np.maximum(probabilities, LEAST))
    rows = np.arange(len(targets))
    # any values become offsets that sum to 0 over the free classes
    centre = np.diag(free.astype(float)) - np.outer(free, free) / max(1, free.sum())

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        offsets = centre @ values[1:]
        logits = values[0] * evidence + offsets
        highest = logits.max(1)
        total = highest + np.log(np.exp(logits - highest[:, None]).sum(1))
        wrong = np.exp(logits - total[:, None])
        wrong[rows, targets] -= 1
        own = float((total - logits[rows, targets]).sum())
        penalty = float((offsets**2).sum()) / (2 * VARIANCE)
        slope = np.append((wrong * evidence).sum(), centre @ (wrong.sum(0) + offsets / VARIANCE))
        return own + penalty, slope

    start = np.append(1.0, np.zeros(probabilities.shape[1]))
    bounds = [(FLATTEST, STEEPEST), *[(None, None)] * probabilities.shape[1]]
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    offsets = centre @ found[1:]
    return Rescale(power=float(found[0]), offsets=tuple(float(value) for value in offsets))


def lesions_by_class(
    targets: np.ndarray, lesions: Sequence[str], labels: Sequence[Label]
) -> dict[str, int]:
    """How many lesions of each class there are, by key."""
    names = known_lesions(lesions)
    return {label.key: len(np.unique(names[targets == i])) for i, label in enumerate(labels)}


def excludable(counts: Sequence[int], set_coverage: float) -> np.ndarray:
    """bool ``[C]``: of which classes there are lesions enough to exclude it from a set."""
    return np.array([count >= least(set_coverage) for count in counts])


def folds(targets: np.ndarray, lesions: Sequence[str], count: int = FOLDS) -> np.ndarray:
    """int ``[N]``: a part for each photograph; lesions stay whole, and classes are dealt evenly."""
    _, first, member = np.unique(known_lesions(lesions), return_index=True, return_inverse=True)
    order = np.random.default_rng(0).permutation(len(first))
    dealt = np.empty(len(first), np.int64)
    dealt[order[np.argsort(targets[first][order], kind="stable")]] = np.arange(len(first)) % count
    return dealt[member]


def _halves(targets: np.ndarray, lesions: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """For each part of :func:`folds` bool ``[N]`` twice: the part, and the rest that fits it."""
    part = folds(targets, lesions)
    for one in np.unique(part):
        yield part == one, part != one


def cross_fitted(
    probabilities: np.ndarray, targets: np.ndarray, lesions: Sequence[str], free: np.ndarray
) -> np.ndarray:
    """Each photograph's answer ``[N, C]``, rescaled by what was fitted on other lesions."""
    answers = np.empty(probabilities.shape)
    for own, others in _halves(targets, lesions):
        fitted = fit_rescale(probabilities[others], targets[others], free)
        answers[own] = rescaled(probabilities[own], fitted)
    return answers


def fit_clinic(
    probabilities: np.ndarray,
    targets: np.ndarray,
    lesions: Sequence[str],
    labels: Sequence[Label],
    before: Calibration,
    *,
    coverage: float,
    set_coverage: float,
    pictures: Pictures | None = None,
) -> Calibration:
    """What decides in that clinic, from a file's own probabilities ``[N, C]``; temperature and bias
    inside the file stay those of ``before``.
    """
    counts = lesions_by_class(targets, lesions, labels)
    free = excludable(list(counts.values()), set_coverage)
    answers = cross_fitted(probabilities, targets, lesions, free)
    top = answers.max(1)
    threshold = float(np.quantile(top, 1 - coverage, method="lower"))
    kept = top >= threshold
    return before.model_copy(
        update={
            "rescale": fit_rescale(probabilities, targets, free),
            "threshold": threshold,
            "coverage": float(kept.mean()),
            "coverage_by_class": {
                label.key: float(kept[targets == i].mean())
                for i, label in enumerate(labels)
                if (targets == i).any()
            },
            "operating_points": operating_points(answers, targets, tuple(labels)),
            "quality": before.quality if pictures is None else quality_limits(pictures),
            "sets": fit_sets(answers, targets, lesions, list(counts), set_coverage),
            "shares": shares_of(targets, labels),
        }
    )


def judge(
    probabilities: np.ndarray,
    targets: np.ndarray,
    lesions: Sequence[str],
    labels: Sequence[Label],
    before: Calibration,
    *,
    coverage: float,
    set_coverage: float,
) -> tuple[dict[str, Interval], dict[str, Interval], Interval]:
    """Figures of the artifact as it is, of the fit by cross-fitting, and the log loss that the fit
    adds (below 0: it takes some away), paired.
    """
    keys = [label.key for label in labels]
    old = rescaled(probabilities, before.rescale)
    new, inside = np.empty(probabilities.shape), np.zeros(probabilities.shape, bool)
    for own, others in _halves(targets, lesions):
        fitted = fit_clinic(
            probabilities[others],
            targets[others],
            [lesion for lesion, kept in zip(lesions, others, strict=True) if kept],
            labels,
            before,
            coverage=coverage,
            set_coverage=set_coverage,
        )
        assert fitted.sets is not None
        new[own] = rescaled(probabilities[own], fitted.rescale)
        inside[own] = in_sets(new[own], keys, fitted.sets.thresholds)
    was = in_sets(old, keys, before.sets.thresholds) if before.sets else None
    rows = np.arange(len(targets))
    lost = [-np.log(np.maximum(one[rows, targets], LEAST)) for one in (new, old)]
    return (
        _figures(old, was, targets, lesions, labels),
        _figures(new, inside, targets, lesions, labels),
        _mean(lost[0] - lost[1], targets, lesions),
    )


def _figures(
    probabilities: np.ndarray,
    inside: np.ndarray | None,
    targets: np.ndarray,
    lesions: Sequence[str],
    labels: Sequence[Label],
) -> dict[str, Interval]:
    found = metrics(targets, probabilities, lesions, labels)
    figures = {name: found[name] for name in FIGURES}
    order = sorted(range(len(labels)), key=lambda i: labels[i].known_role != "melanoma")
    recalls = (f"recall.{labels[i].key}" for i in order)
    figures |= {name: found[name] for name in recalls if name in found}
    if inside is None:
        return figures
    held = inside[np.arange(len(targets)), targets].astype(float)
    for i in order:
        own = np.flatnonzero(targets == i)
        if len(own):
            some = [lesions[int(row)] for row in own]
            figures[f"set_coverage.{labels[i].key}"] = _mean(held[own], targets[own], some)
    figures["set_coverage"] = _mean(held, targets, lesions)
    figures["set_size"] = _mean(inside.sum(1).astype(float), targets, lesions)
    return figures


def _mean(values: np.ndarray, targets: np.ndarray, lesions: Sequence[str]) -> Interval:
    """Mean of a value of each photograph with its bootstrap interval over lesions."""
    draws = [
        weights @ values / weights.sum(1) for weights in lesion_weights(targets, lesions, 1000)
    ]
    return interval(float(values.mean()), np.concatenate(draws))


def coverage_span(count: int, coverage: float) -> tuple[float, float]:
    """The 95% interval of the share of a class that its set will hold, fitted on ``count``
    lesions of it: a beta distribution's (Vovk 2012, section 2), which is wide enough where some
    have several photographs. A class with too few is always in its set.
    """
    from scipy.stats import beta

    missed = int(np.floor((1 - coverage) * (count + 1) + 1e-9))
    if not missed:
        return 1.0, 1.0
    low, high = beta.ppf([0.025, 0.975], count + 1 - missed, missed)
    return float(low), float(high)


def least(coverage: float) -> int:
    """Lesions of a class from which a set can exclude it."""
    return next(count for count in count_from(1) if coverage_span(count, coverage)[1] < 1)


def enough(coverage: float, within: float = 0.05) -> int:
    """Lesions of a class from which its coverage lies ``within`` of what was asked, 95%."""
    count = 10
    while True:
        low, high = coverage_span(count, coverage)
        if high < 1 and coverage - low <= within and high - coverage <= within:
            return count
        count += 1


def shares_of(targets: np.ndarray, labels: Sequence[Label]) -> dict[str, float]:
    """Share of each class among labelled photographs."""
    return {label.key: float((targets == i).mean()) for i, label in enumerate(labels)}


def estimate_shares(
    probabilities: np.ndarray, shares: Mapping[str, float], steps: int = 1000
) -> np.ndarray:
    """Share of each class among photographs without labels, float64 ``[C]``: expectation
    maximisation on answers ``[N, C]`` (Saerens, Latinne and Decaestecker, Neural Computation 14,
    2002). ``shares`` are those of the photographs that the probabilities were calibrated on, in
    the same order.

    It holds where only the mix of classes differs, not what each looks like.
    """
    known = np.maximum(np.array(list(shares.values())), 1e-6)
    found = known / known.sum()
    for _ in range(steps):
        answers = probabilities * (found / known)
        answers /= answers.sum(1, keepdims=True)
        next_one = answers.mean(0)
        if np.abs(next_one - found).max() < 1e-9:
            break
        found = next_one
    return np.asarray(found)


def also_fitted(manifest: Manifest) -> str:
    """What a clinic fitted besides probabilities and sets, in sentences: the guard's threshold and
    the limits of picture quality. "" for an artifact that was fitted to none.
    """
    fit = manifest.clinic
    if fit is None:
        return ""
    said = [_guard_words(fit, manifest)]
    if limits := manifest.calibration.quality:
        said.append(
            "A photograph is called blurred below a sharpness of"
            f" {limits.sharpness_low:.1f}, too dark below a mean brightness of"
            f" {limits.luma_low:.0f} of 255 and too bright above {limits.luma_high:.0f}:"
            " each the edge that 1% of these photographs passed."
        )
    return " ".join(said)


def _guard_words(fit: ClinicFit, manifest: Manifest) -> str:
    guard = manifest.guard
    if guard is None or fit.guard_refused_before is None:
        return "It has no guard, so it cannot say that a photograph is of another kind."
    said = f"Before, the guard refused {fit.guard_refused_before:.1%} of these photographs"
    if guard.clinic:
        return (
            f"{said}; its threshold stayed at {guard.threshold:.3f}, which {guard.clinic}"
            " photographs of a clinic set when it was exported."
        )
    lesions = sum(fit.lesions_by_class.values()) or fit.lesions
    if lesions <= LEAST_LESIONS:
        return (
            f"{said}; its threshold stayed at {guard.threshold:.3f}, as more than {LEAST_LESIONS}"
            " lesions are needed to move it."
        )
    return (
        f"{said}; its threshold was fitted to them, {guard.threshold:.3f}, and refuses"
        f" {guard.refused:.1%}."
    )
