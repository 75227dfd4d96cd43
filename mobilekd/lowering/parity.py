"""Parity compares arrays and calls nothing: how close two sets of answers are, which gates that
passes, where layers part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mobilekd.formats.artifact import Gate, Interval, Stage
from mobilekd.support.errors import GateError

#: Below this a layer's output has visibly left its reference; a sound int8 layer alone stays far
#: above.
LAYER_SQNR_DB = 10.0

#: Stands for an infinite error, which JSON has no word for.
UNBOUNDED = 1e30

#: What a stage's second row is called: the class activation map's.
MAP = ", activation map"


def max_error(given: np.ndarray, wanted: np.ndarray) -> float:
    """Largest absolute difference; ``UNBOUNDED`` where ``given`` holds what is no number."""
    difference = np.abs(np.asarray(given, np.float64) - wanted)
    if not np.isfinite(difference).all():
        return UNBOUNDED
    return min(float(difference.max(initial=0.0)), UNBOUNDED)


def sqnr_db(given: np.ndarray, wanted: np.ndarray) -> float:
    """Signal to quantisation noise ratio, ``10 log10(sum wanted^2 / sum (given - wanted)^2)``; at
    most 200 dB.
    """
    wanted = np.asarray(wanted, np.float64)
    noise = float(np.sum((np.asarray(given, np.float64) - wanted) ** 2))
    signal = float(np.sum(wanted**2))
    if not np.isfinite(noise):
        return -200.0
    if noise == 0:
        return 200.0
    return float(np.clip(10 * np.log10(max(signal, 1e-300) / noise), -200.0, 200.0))


def agreement(given: np.ndarray, wanted: np.ndarray) -> float:
    """Share of equal decisions (top-1) of probabilities ``[N, C]``."""
    return float(np.mean(np.argmax(given, 1) == np.argmax(wanted, 1)))


def compared(
    stage: str,
    against: str,
    given: Sequence[np.ndarray],
    wanted: Sequence[np.ndarray],
    where: str,
    accuracy_drop: Interval | None = None,
) -> Stage:
    """One row of the parity table from outputs ``[N, ...]``; errors cover every output, the
    decision is the first one's.
    """
    return Stage(
        stage=stage,
        against=against,
        verified=True,
        where=where,
        samples=len(wanted[0]),
        max_error=max(max_error(a, b) for a, b in zip(given, wanted, strict=True)),
        sqnr_db=min(sqnr_db(a, b) for a, b in zip(given, wanted, strict=True)),
        agreement=agreement(given[0], wanted[0]),
        accuracy_drop=accuracy_drop,
    )


def rows(
    stage: str,
    against: str,
    given: Sequence[np.ndarray],
    wanted: Sequence[np.ndarray],
    where: str,
    accuracy_drop: Interval | None = None,
) -> list[Stage]:
    """One row for the probabilities and, where there is a class activation map ``[N, h, w]`` behind
    them, one for the map.
    """
    found = [compared(stage, against, given[:1], wanted[:1], where, accuracy_drop)]
    if len(wanted) > 1:
        maps = [output[1].reshape(len(wanted[1]), -1) for output in (given, wanted)]
        # its decision is the hottest cell
        found.append(compared(f"{stage}{MAP}", against, maps[:1], maps[1:], where))
    return found


def unverified(stage: str, against: str, reason: str) -> Stage:
    """A row that says why there is no figure."""
    return Stage(stage=stage, against=against, verified=False, reason=reason)


def at_most(name: str, value: float, limit: float) -> Gate:
    """``value <= limit``."""
    return Gate(name=name, value=value, limit=limit, relation="<=", passed=value <= limit)


def at_least(name: str, value: float, limit: float) -> Gate:
    """``value >= limit``."""
    return Gate(name=name, value=value, limit=limit, relation=">=", passed=value >= limit)


def non_inferior(name: str, drop: Interval, margin: float) -> Gate:
    """The lower 95% bound of (lowered minus fp32) must lie above ``-margin``; ``drop`` is fp32
    minus lowered.
    """
    worst = -drop.high if drop.high is not None else float("-1")
    return Gate(name=name, value=worst, limit=-margin, relation=">", passed=worst > -margin)


@dataclass(frozen=True)
class Parting:
    """Where two graphs part."""

    layer: str
    sqnr_db: float


def first_parting(
    given: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]
) -> Parting | None:
    """The first layer (in execution order) whose output is further than ``LAYER_SQNR_DB`` from its
    reference, else the worst one.

    None where the two have no layer in common.
    """
    common = [
        (name, sqnr_db(given[name], wanted[name]))
        for name in wanted
        if name in given and given[name].shape == wanted[name].shape
    ]
    for name, value in common:
        if value < LAYER_SQNR_DB:
            return Parting(name, value)
    return Parting(*min(common, key=lambda item: item[1])) if common else None


@dataclass(frozen=True)
class Failure:
    """The first gate that failed, the first stage and layer where the numbers part, and what else
    is known of the cause.
    """

    gate: Gate
    stage: str = ""
    parting: Parting | None = None
    detail: str = ""


def refuse(failure: Failure) -> GateError:
    """What the person reads: which gate, by how much, the first stage, the first layer."""
    gate, parting = failure.gate, failure.parting
    place = f"; the numbers first part in stage '{failure.stage}'" if failure.stage else ""
    layer = f" at layer {parting.layer} (SQNR {parting.sqnr_db:.1f} dB)" if parting else ""
    detail = f"; {failure.detail}" if failure.detail else ""
    return GateError(
        f"{gate.name}: {gate.value:.4g}, must be {gate.relation}"
        f" {gate.limit:g}{place}{layer}{detail}; nothing was written; train or quantise otherwise,"
        " or change the recipe's [gates] on purpose"
    )
