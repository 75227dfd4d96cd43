"""Small statistics used by metrics, measurements and reports. numpy only: a phone is measured where
scipy is not installed.

Percentiles are linear-interpolated order statistics (numpy's default, Hyndman and Fan type 7), with
percentile-bootstrap intervals over blocks, because neighbouring latencies are correlated. Two
measurements are compared over processes: one process is one independent observation (Kalibera and
Jones, "Rigorous benchmarking in reasonable time", ISMM 2013). Resampling samples instead finds a
difference between a machine and itself in most tries; ``tests/metrics/test_stats.py`` shows it.
"""

import functools
import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np

from mobilekd.formats.interval import Interval

#: Samples of one process, or of several.
Processes: TypeAlias = np.ndarray | Sequence[np.ndarray]
#: The fewest processes on either side that a verdict may rest on.
LEAST_PROCESSES = 3
#: The chance that settings which are as fast as before are called slower by luck, however many are
#: compared together; and the same for faster. With a single setting that is where its 95% interval
#: lies above, or below, 1.
FALSE_ALARM = 0.025
#: A difference in accuracy is shown where its corrected two-sided p-value lies below this.
LEVEL = 2 * FALSE_ALARM


@functools.cache
def _quadrature() -> tuple[np.ndarray, np.ndarray]:
    """Gauss and Legendre's nodes and weights on (-1, 1); so many give the t distribution to 11
    digits up to 10,000 degrees of freedom.
    """
    return np.polynomial.legendre.leggauss(200)


def t_above(value: float, freedom: float) -> float:
    """Chance that Student's t with ``freedom`` degrees (1 or more, whole or not) exceeds ``value``.

    With ``t = sqrt(freedom) / tan(angle)`` the density is a power of ``sin(angle)``; the angle is
    taken as a square, which makes the integrand smooth where that power is not whole.
    """
    if value < 0:
        return 1 - t_above(-value, freedom)
    end = math.sqrt(math.atan2(math.sqrt(freedom), value))
    nodes, weights = _quadrature()
    u = (nodes + 1) / 2 * end
    scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(math.pi) / 2
    density = np.exp((freedom - 1) * np.log(np.sin(u * u)) + scale) * 2 * u
    return float(density @ weights) * end / 2


def t_quantile(q: float, freedom: float) -> float:
    """The value that Student's t with ``freedom`` degrees does not exceed with chance ``q``, from
    0.5 to below 1.
    """
    low, high = 0.0, 1.0
    while t_above(high, freedom) > 1 - q:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if t_above(middle, freedom) > 1 - q else (low, middle)
    return middle


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): adjusted p-values in the order given."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return [float(value) for value in adjusted]


def verdict(p: float, gain: float) -> Literal["better", "worse", ""]:
    """On a difference with the corrected p-value ``p``, positive where it is a gain; empty where
    luck may explain it.

    Whatever gives a verdict on a student and its control, in words or in colour, takes it from
    here.
    """
    return "" if p >= LEVEL else "better" if gain > 0 else "worse"


#: Samples that are held at once while resamples are drawn.
HELD_SAMPLES = 1_000_000


def block_resamples(samples: np.ndarray, random: np.random.Generator, draws: int = 1) -> np.ndarray:
    """Moving-block resamples of a series, ``[draws, N]``; blocks of about n^(1/3) keep neighbours
    together (Kuensch 1989).
    """
    n = len(samples)
    block = max(1, round(n ** (1 / 3)))
    starts = random.integers(0, n - block + 1, size=(draws, -(-n // block)))
    rows = (starts[:, :, None] + np.arange(block)).reshape(draws, -1)[:, :n]
    return np.asarray(samples)[rows]


def percentile(samples: np.ndarray, q: float, *, draws: int = 1000, seed: int = 0) -> Interval:
    """The ``q``-th percentile with its 95% block-bootstrap interval over ``draws`` resamples."""
    samples = np.asarray(samples, float)
    if len(samples) < 2:
        return Interval(
            value=float(samples[0]) if len(samples) else None, reason="fewer than two samples"
        )
    random, step = np.random.default_rng(seed), max(1, HELD_SAMPLES // len(samples))
    values = [
        np.percentile(block_resamples(samples, random, min(step, draws - start)), q, axis=1)
        for start in range(0, draws, step)
    ]
    low, high = np.quantile(np.concatenate(values), [0.025, 0.975])
    return Interval(value=float(np.percentile(samples, q)), low=float(low), high=float(high))


def median_ratio(new: Processes, old: Processes, *, draws: int = 2000, seed: int = 0) -> Interval:
    """Median of ``new`` divided by median of ``old`` with its 95% interval.

    Each side is a list of series, one per process. With three or more on both sides the interval is
    Welch's over the logarithms of the processes' medians. With fewer (or one array) it is a block
    bootstrap within the processes: it holds for these processes only, and is far too narrow for a
    verdict about the machine; ``process_ratio`` withholds it.
    """
    ours, theirs = _series(new), _series(old)
    if not all(len(series) for series in (*ours, *theirs)) or not ours or not theirs:
        return Interval(value=None, reason="no samples")
    if min(len(ours), len(theirs)) >= LEAST_PROCESSES:
        return _welch_interval(ours, theirs)
    random = np.random.default_rng(seed)

    def resampled(group: list[np.ndarray]) -> float:
        return float(
            np.median(np.concatenate([block_resamples(series, random)[0] for series in group]))
        )

    ratios = [resampled(ours) / resampled(theirs) for _ in range(draws)]
    low, high = np.quantile(ratios, [0.025, 0.975])
    value = float(np.median(np.concatenate(ours)) / np.median(np.concatenate(theirs)))
    return Interval(value=value, low=float(low), high=float(high))


def process_ratio(new: Sequence[np.ndarray], old: Sequence[np.ndarray]) -> Interval:
    """``median_ratio`` with an interval only where a verdict may rest on it: from three processes
    on both sides.
    """
    ratio = median_ratio(new, old, draws=1 if min(len(new), len(old)) < LEAST_PROCESSES else 2000)
    if ratio.value is None or min(len(new), len(old)) >= LEAST_PROCESSES:
        return ratio
    return Interval(
        value=ratio.value, reason=f"fewer than {LEAST_PROCESSES} valid processes on one side"
    )


def process_p_value(
    new: Sequence[np.ndarray], old: Sequence[np.ndarray], bar: float = 1.0
) -> float:
    """One-sided p-value against "the ratio is ``bar`` or less", by Welch's test; from three
    processes on both sides.

    It is below 0.025 exactly where the 95% interval of ``process_ratio`` lies above ``bar``.
    """
    difference, error, freedom = _welch(_series(new), _series(old))
    excess = difference - float(np.log(bar))
    return t_above(excess / error, freedom) if error else float(excess <= 0)


def slower_by_luck(
    pairs: Sequence[tuple[Sequence[np.ndarray], Sequence[np.ndarray]]], bar: float = 1.0
) -> list[float]:
    """p-values against "the ratio is ``bar`` or less" of settings judged together, Holm-corrected;
    below ``FALSE_ALARM`` it counts.

    Settings need not be independent. Exchange new and old to ask for faster. Whoever gives a
    verdict on two measurements takes it from here, so that a command and a page never disagree.
    """
    return holm([process_p_value(new, old, bar) for new, old in pairs])


def _series(samples: Processes) -> list[np.ndarray]:
    return (
        [np.asarray(samples, float)]
        if isinstance(samples, np.ndarray)
        else [np.asarray(series, float) for series in samples]
    )


def _welch(new: list[np.ndarray], old: list[np.ndarray]) -> tuple[float, float, float]:
    """The ratio of geometric means of the processes' medians as a logarithm, its standard error,
    and Welch's degrees of freedom.
    """
    ours, theirs = (np.log([np.median(series) for series in group]) for group in (new, old))
    parts = ours.var(ddof=1) / len(ours), theirs.var(ddof=1) / len(theirs)
    difference, error = float(ours.mean() - theirs.mean()), float(np.sqrt(sum(parts)))
    if error == 0:
        return difference, 0.0, 1.0
    return (
        difference,
        error,
        float(
            sum(parts) ** 2 / (parts[0] ** 2 / (len(ours) - 1) + parts[1] ** 2 / (len(theirs) - 1))
        ),
    )


def _welch_interval(new: list[np.ndarray], old: list[np.ndarray]) -> Interval:
    """Ratio of geometric means of the processes' medians, with Welch's interval (Biometrika 34,
    1947).
    """
    difference, error, freedom = _welch(new, old)
    width = t_quantile(1 - FALSE_ALARM, freedom) * error
    return Interval(
        value=float(np.exp(difference)),
        low=float(np.exp(difference - width)),
        high=float(np.exp(difference + width)),
    )
