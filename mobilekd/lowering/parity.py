"""Parity compares arrays and calls nothing: how close two sets of answers are, which gates that
passes, where layers part.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mobilekd.formats.gates import Gate, Stage
from mobilekd.formats.interval import Interval
from mobilekd.formats.parity_names import GateId, GateName, Part, StageId, StageName
from mobilekd.support.errors import GateError

#: Below this a layer's output has visibly left its reference; a sound int8 layer alone stays far
#: above.
LAYER_SQNR_DB = 10.0

#: Gates that labelled photographs decide.
DECISIONS = (GateId.AGREEMENT, GateId.BALANCED_ACCURACY)

#: Stands for an infinite error, which JSON has no word for.
UNBOUNDED = 1e30


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
    return decibels(signal, noise)


def decibels(signal: float, noise: float) -> float:
    """The ratio of two energies, held between -200 and 200 dB."""
    if not np.isfinite(noise):
        return -200.0
    if noise == 0:
        return 200.0
    return float(np.clip(10 * np.log10(max(signal, 1e-300) / noise), -200.0, 200.0))


def agreement(given: np.ndarray, wanted: np.ndarray) -> float:
    """Share of equal decisions (top-1) of probabilities ``[N, C]``."""
    return float(np.mean(np.argmax(given, 1) == np.argmax(wanted, 1)))


def stage_row(
    stage: StageName,
    against: StageId,
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
        against=StageName(against),
        verified=True,
        where=where,
        samples=len(wanted[0]),
        max_error=max(max_error(a, b) for a, b in zip(given, wanted, strict=True)),
        sqnr_db=min(sqnr_db(a, b) for a, b in zip(given, wanted, strict=True)),
        agreement=agreement(given[0], wanted[0]),
        accuracy_drop=accuracy_drop,
    )


def stage_rows(
    stage: StageId,
    against: StageId,
    given: Sequence[np.ndarray],
    wanted: Sequence[np.ndarray],
    where: str,
    processor: str = "",
    threshold: float | None = None,
) -> list[Stage]:
    """One row for the probabilities ``[N, C]``, one where there is a class activation map
    ``[N, h, w]`` behind them, and with the guard's ``threshold`` one for its score ``[N, 1]``,
    which comes last. ``processor`` is the emulated one, if any.
    """
    name = StageName(stage, processor=processor)
    rows = [stage_row(name, against, given[:1], wanted[:1], where)]
    if threshold is not None:
        guard_name = StageName(stage, Part.GUARD, processor)
        row = stage_row(guard_name, against, given[-1:], wanted[-1:], where)
        same = float(np.mean((given[-1] > threshold) == (wanted[-1] > threshold)))
        rows.append(row.model_copy(update={"agreement": same}))
        given, wanted = given[:-1], wanted[:-1]
    if len(wanted) > 1:
        maps = [output[1].reshape(len(wanted[1]), -1) for output in (given, wanted)]
        # its decision is the hottest cell
        map_name = StageName(stage, Part.MAP, processor)
        rows.append(stage_row(map_name, against, maps[:1], maps[1:], where))
    return rows


def unverified(stage: StageId | StageName, against: StageId, reason: str) -> Stage:
    """A row that says why there is no figure."""
    names = {"stage": StageName.read(stage), "against": StageName(against)}
    return Stage(**names, verified=False, reason=reason)


def at_most(gate: GateId, value: float, limit: float, processor: str = "") -> Gate:
    """``value <= limit``; ``processor`` is the emulated one that answered, if any."""
    name = GateName(gate, processor)
    return Gate(name=name, value=value, limit=limit, relation="<=", passed=value <= limit)


def at_least(gate: GateId, value: float, limit: float) -> Gate:
    """``value >= limit``."""
    name = GateName(gate)
    return Gate(name=name, value=value, limit=limit, relation=">=", passed=value >= limit)


@dataclass(frozen=True)
class LayerMismatch:
    """A layer whose outputs, or weights, differ between two stages, and by how much."""

    layer: str
    sqnr_db: float


def first_mismatch(
    given: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]
) -> LayerMismatch | None:
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
            return LayerMismatch(name, value)
    return LayerMismatch(*min(common, key=lambda item: item[1])) if common else None


@dataclass(frozen=True)
class Failure:
    """The first gate that failed, the first stage and layer whose numbers differ, and what else is
    known of the cause.
    """

    gate: Gate
    stage: StageName | None = None
    mismatch: LayerMismatch | None = None
    detail: str = ""
    remedy: str = ""


def refuse(failure: Failure) -> GateError:
    """What the person reads: which gate, by how much, the first stage, the first layer."""
    gate, mismatch = failure.gate, failure.mismatch
    stage = failure.stage.title if failure.stage else ""
    place = f"; the numbers first part in stage '{stage}'" if stage else ""
    layer = f" at layer {mismatch.layer} (SQNR {mismatch.sqnr_db:.1f} dB)" if mismatch else ""
    detail = f"; {failure.detail}" if failure.detail else ""
    return GateError(
        f"{judged(gate)}{place}{layer}{detail}; nothing was written; {failure.remedy}",
        by_decisions=gate.name.id in DECISIONS,
    )


def judged(gate: Gate) -> str:
    """A gate in words: its value, with interval and count where photographs decide, and its
    limit.
    """
    return f"{gate.name.title}: {gate.measured}, must be {gate.condition}"
