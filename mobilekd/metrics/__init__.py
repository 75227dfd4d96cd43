"""Metrics with 95% intervals: bootstrap over lesions, stratified by class, paired for differences.
numpy only.

Photographs of one lesion are drawn together, because they are not independent; every class keeps
its number of lesions, so no draw loses a rare class. Intervals are the draws' 2.5% and 97.5%
quantiles.

A new metric is one function of weighted photographs (``weighted.py``) and one definition in
``registry.py``. Never imports torch, nor anything that answers or trains.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mobilekd.formats.calibration import Calibration
from mobilekd.formats.interval import Interval
from mobilekd.formats.labels import Label
from mobilekd.metrics.lesions import lesion_rows
from mobilekd.metrics.registry import Judged, all_metrics, class_groups, definition, keys_of
from mobilekd.metrics.weighted import Metric
from mobilekd.support.errors import UserError
from mobilekd.support.words import unknown

#: Draws are made in blocks of this many weights, which bounds memory at about 100 MB whatever the
#: set's size.
BLOCK = 4_000_000


def metrics(
    truth: np.ndarray,
    probabilities: np.ndarray,
    lesions: Sequence[str],
    classes: Sequence[Label | str],
    *,
    calibration: Calibration | None = None,
    teacher: np.ndarray | None = None,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Interval]:
    """Every metric of the design, by its key.

    ``truth`` int ``[N]``, ``probabilities`` float ``[N, C]``, ``lesions`` one name per photograph
    (empty: a lesion of its own), ``classes`` in column order. ``calibration`` adds what
    validation's thresholds give, ``teacher`` (``[N, C]`` logits or probabilities) the share of
    equal decisions. A class without an example gives null with the reason.
    """
    truth, probabilities = _checked(truth, probabilities, len(classes))
    if teacher is not None:
        teacher = _checked(truth, teacher, len(classes))[1]
    present = frozenset(np.unique(truth).tolist())
    keys, groups = keys_of(classes), class_groups(classes)
    made = dict(all_metrics(Judged(keys, groups, present, calibration, teacher)))
    wanted = {name: metric for name, metric in made.items() if not isinstance(metric, str)}
    missing = {name: reason for name, reason in made.items() if isinstance(reason, str)}
    found = _draws(wanted, truth, probabilities, lesions, draws, seed)
    intervals = {
        name: interval(one.value, one.spread, centred=definition(name).centred)
        for name, one in found.items()
    }
    return {
        **intervals,
        **{name: Interval(value=None, reason=reason) for name, reason in missing.items()},
    }


@dataclass(frozen=True, eq=False)
class Draws:
    """A figure and its bootstrap draws ``[D]``; two of them under the same seed and photographs are
    paired.
    """

    value: float
    spread: np.ndarray

    def __sub__(self, other: "Draws") -> "Draws":
        return Draws(self.value - other.value, self.spread - other.spread)


def metric_draws(
    names: Sequence[str],
    truth: np.ndarray,
    probabilities: np.ndarray,
    lesions: Sequence[str],
    classes: Sequence[Label | str],
    *,
    draws: int = 1000,
    seed: int = 0,
) -> dict[str, Draws]:
    """Draws of several metrics at once. The lesions drawn depend on truth, lesions and seed alone,
    so that models are paired.
    """
    truth, probabilities = _checked(truth, probabilities, len(classes))
    return _draws(
        {name: named_metric(name, classes) for name in names},
        truth,
        probabilities,
        lesions,
        draws,
        seed,
    )


def _draws(
    wanted: dict[str, Metric],
    truth: np.ndarray,
    probabilities: np.ndarray,
    lesions: Sequence[str],
    draws: int,
    seed: int,
) -> dict[str, Draws]:
    found: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for weights in lesion_weights(truth, lesions, draws, seed):
        for name, metric in wanted.items():
            found[name].append(metric(truth, probabilities, weights))
    plain = np.ones((1, len(truth)))
    return {
        name: Draws(float(metric(truth, probabilities, plain)[0]), np.concatenate(found[name]))
        for name, metric in wanted.items()
    }


def paired_difference(
    metric: str,
    truth: np.ndarray,
    probs_a: np.ndarray,
    probs_b: np.ndarray,
    lesions: Sequence[str],
    classes: Sequence[Label | str],
    draws: int = 1000,
    seed: int = 0,
) -> Interval:
    """``metric`` of ``a`` minus that of ``b`` on the same photographs, both under the same draws of
    lesions.
    """
    a, b = (
        metric_draws([metric], truth, one, lesions, classes, draws=draws, seed=seed)[metric]
        for one in (probs_a, probs_b)
    )
    return interval((a - b).value, (a - b).spread)


def pooled(seeds: Sequence[Draws], stream: int) -> Draws:
    """Several seeds of one recipe as one figure: their mean, spread over lesions and over seeds.

    Every draw resamples the seeds too; their deviations are stretched by ``sqrt(n / (n - 1))``
    because a resample of ``n`` varies by that much too little. ``stream`` names the group, so that
    two groups' seeds are drawn independently.
    """
    values = np.array([one.spread for one in seeds])  # [S, D]
    count, draws = values.shape
    mean = values.mean(0)
    if count > 1:
        chosen = np.random.default_rng([stream, count]).integers(0, count, (count, draws))
        mean = mean + (values[chosen, np.arange(draws)].mean(0) - mean) * np.sqrt(
            count / (count - 1)
        )
    return Draws(float(np.mean([one.value for one in seeds])), mean)


def interval(value: float, spread: np.ndarray, *, centred: bool = False) -> Interval:
    """Percentile interval of the draws; ``centred`` moves them by their median's bias first.

    The calibration error is a sum of absolute values, so resampling can only add to it: its raw
    draws lie above the estimate.
    """
    if not np.isfinite(value):
        return Interval(value=None, reason="not defined on this set")
    spread = spread[np.isfinite(spread)]
    if not len(spread):
        return Interval(value=value)
    if centred:
        spread = np.maximum(spread - (np.median(spread) - value), 0)
    low, high = np.quantile(spread, [0.025, 0.975])
    return Interval(value=value, low=float(low), high=float(high))


def named_metric(name: str, classes: Sequence[Label | str]) -> Metric:
    """A metric that needs no calibration, by its key in ``metrics.json``."""
    judged = Judged(keys_of(classes), class_groups(classes))
    known = {name: made for name, made in all_metrics(judged) if not isinstance(made, str)}
    if name not in known:
        raise UserError(unknown(f"metric {name}", name, known))
    return known[name]


def _checked(
    truth: np.ndarray, probabilities: np.ndarray, classes: int
) -> tuple[np.ndarray, np.ndarray]:
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, float)
    if len(truth) == 0:
        raise UserError(
            "metrics: no labelled photograph to judge; check the labels and the class mapping"
        )
    if probabilities.shape != (len(truth), classes):
        raise UserError(
            f"metrics: answers of shape {probabilities.shape} for {len(truth)} photographs and"
            f" {classes} classes; check the model"
        )
    bad = int((~np.isfinite(probabilities)).any(1).sum())
    if bad:
        raise UserError(
            f"metrics: {bad} of {len(truth)} answers hold NaN or infinity; the model is broken,"
            " train or export again"
        )
    if truth.min() < 0 or truth.max() >= classes:
        raise UserError(
            "metrics: a photograph has no class of this model; map or leave out unlabelled"
            " photographs first"
        )
    return truth, probabilities


def lesion_weights(
    truth: np.ndarray, lesions: Sequence[str], draws: int, seed: int = 0
) -> Iterator[np.ndarray]:
    """Blocks ``[d, N]`` of bootstrap weights, ``draws`` rows in all: within every class as many
    lesions as it has, with replacement.

    A lesion whose photographs carry several labels is drawn with the class of its first photograph.
    """
    first, member = lesion_rows(lesions)
    stratum = np.asarray(truth)[first]  # class of every lesion [L]
    random = np.random.default_rng(seed)
    block = max(1, BLOCK // max(1, len(truth)))
    for start in range(0, draws, block):
        count = np.empty((min(block, draws - start), len(first)))
        for label in np.unique(stratum):
            inside = np.flatnonzero(stratum == label)
            count[:, inside] = random.multinomial(
                len(inside), np.full(len(inside), 1 / len(inside)), size=len(count)
            )
        yield count[:, member]
