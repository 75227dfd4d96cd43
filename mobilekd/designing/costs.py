"""What an operator costs, learnt from a table of measured chains: a network's latency is the sum.

For each kind of operator the cost is a call, and so much for each multiply-add, value read, value
written and weight. Kernels work on channels in tiles, so 24 channels cost as many as 32 where a
tile is 16. The factors are the ones of least relative squared error, none below zero (Lawson and
Hanson, 1974), and the tile is the one under which that error is least.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from mobilekd.designing.operators import Operator
from mobilekd.designing.table import Measured

#: Channels that a kernel may work on at once: 4 to 16 floats of a register, or several registers.
TILES = (1, 4, 8, 16, 32, 64)


@dataclass(frozen=True)
class Costs:
    """Nanoseconds for each unit of each kind, and the tile of channels."""

    factors: Mapping[str, float]
    tile: int

    @classmethod
    def fit(cls, rows: Sequence[Measured]) -> "Costs":
        """The costs that explain measured chains best."""
        fits = [_fitted(rows, tile) for tile in TILES]
        residual, factors, tile = min(fits, key=lambda one: one[0])
        del residual
        return cls(factors, tile)

    def predict_ms(self, operators: Iterable[Operator]) -> float:
        """Latency of a network in milliseconds."""
        units = _units(operators, self.tile)
        return sum(self.factors.get(name, 0.0) * count for name, count in units.items()) / 1e6

    def errors(self, rows: Iterable[Measured]) -> np.ndarray:
        """Relative errors against measured files, ``[N]``: 0.05 where 5% too much is predicted."""
        return np.array(
            [self.predict_ms(row.operators) / row.latency.fastest_ms - 1 for row in rows]
        )


def _fitted(rows: Sequence[Measured], tile: int) -> tuple[float, dict[str, float], int]:
    """The error that is left, the factors, and the tile."""
    units = [_units(row.operators, tile) for row in rows]
    names = sorted({name for one in units for name in one})
    matrix = np.array([[one.get(name, 0.0) for name in names] for one in units])
    relative = matrix / np.array([1e6 * row.latency.fastest_ms for row in rows])[:, None]
    scale = relative.max(axis=0)
    scale[scale == 0] = 1.0
    factors, residual = nnls(relative / scale, np.ones(len(rows)))
    return float(residual), dict(zip(names, (factors / scale).tolist(), strict=True)), tile


def _units(operators: Iterable[Operator], tile: int) -> dict[str, float]:
    """How much there is of everything that costs; ``runtime`` is a file's own overhead."""
    found = {"runtime": 1.0}
    for one in operators:
        padded = math.ceil(one.channels / tile) * tile / one.channels if one.channels else 1.0
        amounts = {
            "call": 1.0,
            "macs": one.macs * padded,
            "inputs": one.inputs,
            "outputs": one.outputs * padded,
            "weights": one.weights * padded,
        }
        for name, amount in amounts.items():
            key = f"{one.kind}.{name}"
            found[key] = found.get(key, 0.0) + amount
    return found
