"""A measurement's samples by setting, with the figures that a latency report holds. Times in
milliseconds.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

import numpy as np

from mobilekd.formats.interval import Interval
from mobilekd.formats.measurement import Measurement, Series, thread_words
from mobilekd.metrics.stats import percentile

#: Bootstrap draws for a percentile's interval.
DRAWS = 400


@dataclass(frozen=True, eq=False)
class LatencySamples:
    """All series of one measurement under the same threads and cores, one per process."""

    threads: int
    cores: str
    series: tuple[Series, ...]

    @property
    def name(self) -> str:
        """``1 thread``, ``2 threads on cores 4-7``."""
        words = thread_words(self.threads)
        return words if self.cores == "all" else f"{words} on cores {ranges(self.cores)}"

    @property
    def processes(self) -> list[np.ndarray]:
        """Samples in milliseconds, one array per process; invalid series only where there is no
        valid one.
        """
        chosen = [one for one in self.series if one.valid] or list(self.series)
        return [np.array(one.samples_ns, float) / 1e6 for one in chosen]

    @property
    def samples(self) -> np.ndarray:
        """All samples in order, milliseconds."""
        return np.concatenate(self.processes)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why no series is valid; empty where one is."""
        if any(one.valid for one in self.series):
            return ()
        return tuple(dict.fromkeys(reason for one in self.series for reason in one.reasons))

    def percentile(self, q: float) -> Interval:
        """A percentile of all samples with its interval, milliseconds."""
        return _percentile(tuple(self.samples), q)


def ranges(cores: str) -> str:
    """``4,5,6,7`` as ``4–7``; what is no list of numbers stays as it is."""
    if not all(part.isdigit() for part in cores.split(",")):
        return cores
    numbers = sorted({int(part) for part in cores.split(",")})
    runs = [list(run) for _, run in groupby(enumerate(numbers), key=lambda item: item[1] - item[0])]
    return ", ".join(
        str(run[0][1]) if len(run) == 1 else f"{run[0][1]}–{run[-1][1]}" for run in runs
    )


@lru_cache(maxsize=4096)
def _percentile(samples: tuple[float, ...], q: float) -> Interval:
    """Once for the page, its Markdown and its JSON."""
    return percentile(np.array(samples), q, draws=DRAWS)


def timed(measurement: Measurement) -> bool:
    """Whether its times may be shown: an emulated processor's never, and none of a device that
    answers wrongly.
    """
    return (
        measurement.golden.passed
        and not measurement.device.emulated
        and any(one.samples_ns for one in measurement.series)
    )


def latency_samples(measurement: Measurement) -> list[LatencySamples]:
    """By threads, all cores first; nothing where times may not be shown."""
    if not timed(measurement):
        return []
    found: dict[tuple[int, str], list[Series]] = {}
    for one in measurement.series:
        if one.samples_ns:
            found.setdefault((one.threads_asked, one.cores), []).append(one)
    ordered = sorted(found.items(), key=lambda item: (item[0][1] != "all", item[0]))
    return [LatencySamples(threads, cores, tuple(series)) for (threads, cores), series in ordered]


def trusted(measurement: Measurement) -> bool:
    """Times that a verdict may rest on."""
    return timed(measurement) and measurement.valid


def spread(samples: Sequence[float] | np.ndarray) -> dict[str, float]:
    """Plain figures beside the percentiles, milliseconds; the trimmed mean leaves out a tenth at
    either end.
    """
    values = np.sort(np.asarray(samples, float))
    cut = len(values) // 10
    deviation = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {
        "min": float(values[0]),
        "max": float(values[-1]),
        "mean": float(values.mean()),
        "trimmed_mean": float(values[cut : len(values) - cut].mean()),
        "standard_deviation": deviation,
        "coefficient_of_variation": deviation / float(values.mean()),
    }
