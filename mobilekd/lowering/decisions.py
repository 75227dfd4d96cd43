"""The gates that photographs decide, judged by intervals.

A share of 60 photographs is not known to a percent, so a gate asks two things in order:

1. **Are there enough photographs to decide?** Agreement with a limit L needs ``z^2 L / (1 - L)``
   of them (188 for 0.98): with fewer, even a file that always decides alike has a 95% interval that
   begins below L. The accuracy drop with a margin M needs ``(1 - L) (z / M)^2`` of them (769 for
   0.98 and 0.01): with fewer, a file that just passes the first gate moves accuracy by more than M
   through chance alone. ``ENOUGH`` are always enough.
2. **With enough**, agreement itself must reach L, and the drop's whole interval must lie below M.
   **With fewer**, the gate cannot be decided. The file is accepted, and called undecided wherever
   it is shown, unless the interval lies beyond the limit as a whole. A file in fp32 computes what
   its student does to the last digits, so its decisions are always judged as with enough.

Agreement's interval is Wilson's (Wilson 1927), the drop's the bootstrap's over lesions.
"""

import numpy as np

from mobilekd.formats.gates import Gate
from mobilekd.formats.interval import Interval
from mobilekd.formats.parity_names import GateId, GateName
from mobilekd.lowering.parity import agreement

#: Two-sided 95% quantile of the normal distribution.
Z = 1.959964
#: So many photographs decide every gate, however strict.
ENOUGH = 1000


def share(hits: int, count: int) -> Interval:
    """``hits`` of ``count`` with Wilson's 95% interval."""
    from scipy.stats import binomtest

    found = binomtest(hits, count).proportion_ci(0.95, method="wilson")
    return Interval(value=hits / count, low=float(found.low), high=float(found.high))


def needed_for_agreement(limit: float) -> int:
    """Photographs from which agreement with this limit can be decided."""
    return _at_most_enough(Z**2 * limit / (1 - limit) if limit < 1 else 0)


def needed_for_drop(margin: float, limit: float) -> int:
    """Photographs from which a drop below ``margin`` can be decided, where agreement has
    ``limit``.
    """
    return _at_most_enough((1 - limit) * (Z / margin) ** 2 if margin > 0 else ENOUGH)


def _at_most_enough(count: float) -> int:
    return min(ENOUGH, int(np.ceil(count)))


def agreement_gate(
    given: np.ndarray, wanted: np.ndarray, limit: float, *, exact: bool = False
) -> Gate:
    """Agreement of decisions of probabilities ``[N, C]``, judged by the rule of this file;
    ``exact`` is a file in fp32.
    """
    count = len(wanted)
    value = agreement(given, wanted)
    estimate = share(round(value * count), count)
    assert estimate.high is not None
    few = not exact and count < needed_for_agreement(limit)
    return Gate(
        name=GateName(GateId.AGREEMENT),
        value=value,
        limit=limit,
        relation=">=",
        passed=estimate.high >= limit if few else value >= limit,
        estimate=estimate,
        samples=count,
        undecided=few and estimate.high >= limit,
    )


def accuracy_gate(
    drop: Interval, count: int, margin: float, limit: float, *, exact: bool = False
) -> Gate:
    """Balanced accuracy lost, ``drop`` (fp32 minus lowered), judged by the rule of this file.

    ``limit`` is agreement's, ``exact`` is a file in fp32. The gate's value is the lower 95% bound
    of (lowered minus fp32), which must lie above ``-margin`` where there are enough photographs.
    """
    worst = -drop.high if drop.high is not None else -1.0
    least = drop.low if drop.low is not None else 1.0
    passed = worst > -margin
    few = not exact and count < needed_for_drop(margin, limit)
    undecided = few and not passed and least <= margin
    return Gate(
        name=GateName(GateId.BALANCED_ACCURACY),
        value=worst,
        limit=-margin,
        relation=">",
        passed=passed or undecided,
        estimate=drop,
        samples=count,
        undecided=undecided,
    )


def undecided_note(gate: Gate) -> str:
    """The sentence that travels with an artifact whose gate its photographs could not decide."""
    return (
        f"not decided: {gate.name.title} {gate.measured}, must be {gate.condition}; {gate.samples}"
        " test photographs are too few to decide that; accepted because the interval does not rule"
        " it out"
    )
