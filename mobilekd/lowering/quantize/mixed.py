"""Mixed precision found by itself: how much each layer alone costs, then the fewest layers left in
floating point.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mobilekd.lowering.parity import sqnr_db
from mobilekd.lowering.quantize.simulate import Simulation
from mobilekd.support.progress import track

#: probabilities ``[N, C]`` -> whether they pass the gates
Accept = Callable[[np.ndarray], bool]


@dataclass(frozen=True)
class Sensitivity:
    """One layer rounded alone, everything else in floating point."""

    layer: str
    sqnr_db: float  # of the probabilities
    agreement: float  # top-1, with floating point
    accuracy_loss: float  # of balanced accuracy
    left_in_float: bool = False

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return asdict(self)


def sensitivities(
    simulation: Simulation,
    photographs: np.ndarray,
    reference: np.ndarray,
    balanced_accuracy: Callable[[np.ndarray], float],
) -> list[Sensitivity]:
    """Every layer alone, on validation photographs uint8 ``[N, 3, H, W]``; ``reference`` fp32
    probabilities ``[N, C]``.
    """
    table = []
    whole = balanced_accuracy(reference)
    for layer in track(simulation.layers(), "sensitivity of each layer"):
        simulation.only(layer)
        given = simulation.answers(photographs)
        table.append(
            Sensitivity(
                layer=layer,
                sqnr_db=sqnr_db(given, reference),
                agreement=float(np.mean(given.argmax(1) == reference.argmax(1))),
                accuracy_loss=whole - balanced_accuracy(given),
            )
        )
    return table


def choose(
    simulation: Simulation, table: Sequence[Sensitivity], photographs: np.ndarray, accept: Accept
) -> frozenset[str]:
    """Few layers in floating point that ``accept`` passes on validation, found greedily, the worst
    ones first.

    One after the other is left in floating point until that passes, then each one is tried back in
    int8. All of them where nothing less passes: more layers in floating point need not agree
    better, so how many suffice cannot be found by halving.
    """
    order = [item.layer for item in sorted(table, key=lambda item: item.sqnr_db)]

    def passes(layers: Sequence[str]) -> bool:
        simulation.all_but(frozenset(layers))
        return accept(simulation.answers(photographs))

    chosen: list[str] = []
    for layer in track(order, "layers to leave in floating point"):
        if passes(chosen):
            break
        chosen.append(layer)
    for layer in track(chosen[:-1], "left in floating point, each tried in int8"):
        if passes([other for other in chosen if other != layer]):
            chosen.remove(layer)
    return frozenset(chosen)
