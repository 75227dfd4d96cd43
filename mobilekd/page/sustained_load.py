"""Sustained load: latency against time with temperature and frequency, how far it drifts, and what
it took from the battery.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mobilekd import figures
from mobilekd.figures.tables import Cell, Table, duration, milliseconds, signed, table
from mobilekd.formats.measurement import Measurement, Sustained, thread_words

#: Share of the time at either end that drift is read from.
END = 0.1


@dataclass(frozen=True)
class Drift:
    """Medians of the first and the last tenth of the time under load, milliseconds."""

    seconds: float
    first: float
    last: float

    @property
    def change(self) -> float:
        """0.3 for 30% more time at the end."""
        return self.last / self.first - 1


def drift(load: Sustained | None) -> Drift | None:
    """None where nothing was sustained."""
    if load is None or not load.blocks:
        return None
    seconds, times = _starts(load), np.array([block.median_ns for block in load.blocks]) / 1e6
    counts = np.array([block.count for block in load.blocks])
    whole = load.length_ns / 1e9
    # An end in which no block begins, because one inference is longer, has the nearest one's time.
    first, last = seconds <= END * whole, seconds >= (1 - END) * whole
    first[0], last[-1] = True, True
    return Drift(
        whole,
        _weighted_median(times[first], counts[first]),
        _weighted_median(times[last], counts[last]),
    )


def _starts(load: Sustained) -> np.ndarray:
    """When each block begins, in seconds."""
    return np.array([block.offset_ns for block in load.blocks]) / 1e9


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> float:
    """Of blocks' medians, weighted with what each block holds."""
    order = np.argsort(values)
    below = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(below, below[-1] / 2)])


def chart(measurement: Measurement, name: str) -> figures.Chart | None:
    """Latency, temperature and frequency against time."""
    load = measurement.sustained
    change = drift(load)
    if load is None or change is None:
        return None
    bands = [(block.p10_ns, block.median_ns, block.p90_ns) for block in load.blocks]
    celsius = [(offset / 1e9, degrees) for offset, degrees in load.celsius]
    megahertz = [(offset / 1e9, khz / 1e3) for offset, khz in load.frequency_khz]
    made = figures.sustained(
        _starts(load), np.array(bands) / 1e6, change.change, celsius, megahertz
    )
    made.title = f"Sustained load: {name}, {thread_words(load.threads)}"
    return made


def sustained(members: Sequence[Measurement], name: Callable[[Measurement], Cell]) -> Table | None:
    """How far latency drifts."""
    rows = []
    for one in members:
        load, found = one.sustained, drift(one.sustained)
        if load is None or found is None:
            continue
        heat = [degrees for _, degrees in load.celsius]
        megahertz = [khz / 1e3 for _, khz in load.frequency_khz]
        rows.append(
            [
                name(one),
                Cell(
                    duration(found.seconds), "; ".join((thread_words(load.threads), *load.reasons))
                ),
                milliseconds(found.first),
                milliseconds(found.last),
                signed(found.change),
                f"{heat[0]:.1f} to {heat[-1]:.1f}" if heat else "–",
                f"{megahertz[0]:.0f} to {megahertz[-1]:.0f}" if megahertz else "–",
            ]
        )
    if not rows:
        return None
    header = ("artifact", "for", "first tenth", "last tenth", "change", "°C", "fastest core, MHz")
    note = (
        "Inferences back to back in one process: medians in ms over the first and the last tenth of"
        " the time."
    )
    return table("Sustained load", header, rows, note)


def energy(members: Sequence[Measurement], name: Callable[[Measurement], Cell]) -> Table | None:
    """What the device took during the sustained part, where it tells, with the resolution of its
    counter.
    """
    rows = []
    for one in members:
        found = one.energy
        if found is None:
            continue
        if found.joules is None:
            rows.append([name(one), Cell("–", found.reason), "–", "–"])
            continue
        each, step = found.joules_per_inference, found.resolution_uah
        whole = f"{found.joules:.1f}"
        rows.append(
            [
                name(one),
                whole,
                "–" if each is None else f"{1000 * each:.2f}",
                "–" if step is None else f"{step} µAh",
            ]
        )
    if not rows:
        return None
    note = "The whole device during the sustained part, by its own charge counter."
    return table(
        "Energy",
        ("artifact", "joules", "millijoules per inference", "the counter's step"),
        rows,
        note,
    )
