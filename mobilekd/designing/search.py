"""Which candidates meet a latency: predicted first, then measured as whole files, a few rounds of
both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mobilekd.backends.base import one_thread
from mobilekd.designing.costs import Costs
from mobilekd.designing.families import CLASSES, Candidate
from mobilekd.designing.files import Latency, lower, measure
from mobilekd.designing.table import Measured
from mobilekd.formats.preprocess import Preprocess
from mobilekd.students import build
from mobilekd.support.cache import scratch
from mobilekd.support.progress import say, track
from mobilekd.support.words import counted

#: A student that takes less than this share of the budget leaves time unused.
NEAR = 0.95
#: Share of the budget that a choice aims at, since a measurement has an error of its own.
AIM = 0.985
#: Rounds of choosing and measuring.
TRIES = 3


@dataclass(frozen=True)
class Found:
    """A candidate that was measured as a whole file."""

    candidate: Candidate
    predicted_ms: float  # from the chains of operators alone
    latency: Latency

    @property
    def measured_ms(self) -> float:
        """Of the fastest process."""
        return self.latency.fastest_ms

    @property
    def row(self) -> Measured:
        """As the table keeps it."""
        return Measured(
            name=self.candidate.name, operators=self.candidate.operators, latency=self.latency
        )


def search(
    wanted: Sequence[Candidate],
    costs: Costs,
    budget_ms: float,
    count: int,
    known: Sequence[Measured],
    precision: str,
    threads: int,
) -> list[Found]:
    """Measured candidates: those within the budget first, the nearest to it in front.

    A round chooses the widest candidate that should meet the budget in each of the ``count`` most
    promising groups (a depth and an input size), measures them, and corrects each group's
    predictions by what was measured. Before that, predictions are corrected by ``known`` whole
    files of the family. A group that is near the budget from below is done.
    """
    predicted = {one.name: costs.predict_ms(one.operators) for one in wanted}
    factors = dict.fromkeys((one.group for one in wanted), _correction(costs, known))
    found: dict[str, Found] = {}
    with scratch() as work:
        files: dict[str, Path] = {}

        def measure_whole(choices: Sequence[Candidate]) -> None:
            for one in track(choices, "design: lowering whole files"):
                files[one.name] = _lowered(one, precision, work / str(len(files)))
            for one, latency in _timed(choices, files, threads):
                found[one.name] = Found(one, predicted[one.name], latency)
                factors[one.group] = latency.fastest_ms / predicted[one.name]

        choices = promising(wanted, predicted, factors, budget_ms, count)
        groups = [one.group for one in choices]
        for _ in range(TRIES):
            measure_whole(choices)
            done = {
                one.candidate.group
                for one in found.values()
                if NEAR * budget_ms <= one.measured_ms <= budget_ms
            }
            rest = [one for one in wanted if one.group in groups and one.group not in done]
            again = promising(rest, predicted, factors, budget_ms, count)
            choices = [one for one in again if one.name not in found]
            if not choices:
                break
        if all(one.measured_ms > budget_ms for one in found.values()):
            fastest = min(wanted, key=lambda one: predicted[one.name] * factors[one.group])
            measure_whole([] if fastest.name in found else [fastest])
        # once more, side by side: what was measured in several rounds met several machines
        last = [one.candidate for one in found.values() if one.measured_ms <= budget_ms]
        for one, latency in _timed(last if len(last) > 1 else [], files, threads):
            both = found[one.name].latency.medians_ns + latency.medians_ns
            found[one.name] = Found(one, predicted[one.name], Latency(medians_ns=both))
    return sorted(found.values(), key=lambda one: (one.measured_ms > budget_ms, -one.measured_ms))


def promising(
    wanted: Sequence[Candidate],
    predicted: Mapping[str, float],
    factors: Mapping[tuple[str, int], float],
    budget_ms: float,
    count: int,
) -> list[Candidate]:
    """Of each group the widest that should meet the budget, and of those the ``count`` with most
    multiply-adds, groups that come near the budget first. Where none should meet it, the one that
    should be fastest.
    """
    best: dict[tuple[str, int], Candidate] = {}
    expected = {one.name: predicted[one.name] * factors[one.group] for one in wanted}
    for one in wanted:
        if expected[one.name] > AIM * budget_ms:
            continue
        if one.group not in best or expected[one.name] > expected[best[one.group].name]:
            best[one.group] = one
    ranked = sorted(
        best.values(), key=lambda one: (expected[one.name] < NEAR * AIM * budget_ms, -one.macs)
    )
    if not ranked and wanted:
        return [min(wanted, key=lambda one: expected[one.name])]
    return ranked[:count]


def _correction(costs: Costs, rows: Sequence[Measured]) -> float:
    """Measured over predicted, the median of a family's whole files; 1 where none was measured."""
    return float(1 / np.median(1 + costs.errors(rows))) if rows else 1.0


def _lowered(one: Candidate, precision: str, folder: Path) -> Path:
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(one.student, CLASSES)
        return lower(network, Preprocess(one.side, one.side), precision, folder)


def _timed(
    choices: Sequence[Candidate], files: Mapping[str, Path], threads: int
) -> list[tuple[Candidate, Latency]]:
    if not choices:
        return []
    say(f"design: measuring {counted(len(choices), 'whole file')}")
    names = [one.name for one in choices]
    read = measure({name: files[name] for name in names}, threads, "design: measuring")
    return [(one, read[one.name]) for one in choices]
