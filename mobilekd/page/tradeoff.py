"""Accuracy against latency: which models nothing beats on both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mobilekd import figures
from mobilekd.figures.tables import Cell, milliseconds, percent, table
from mobilekd.formats.interval import Interval
from mobilekd.formats.measurement import thread_words
from mobilekd.page.blocks import Block, Charts, Heading, Section, Text, section_of
from mobilekd.page.devices import by_way
from mobilekd.page.inputs import Inputs
from mobilekd.page.latency_samples import latency_samples, trusted
from mobilekd.support.text import listed


@dataclass(frozen=True)
class Placed:
    """One measured artifact with what is known of its accuracy."""

    name: str
    group: str  # precision
    milliseconds: float
    threads: int
    accuracy: Interval
    judged: str  # where the accuracy comes from
    front: bool = False


def accuracies(inputs: Inputs) -> dict[str, tuple[Interval, str]]:
    """Balanced accuracy by SHA-256 of the model file: from its own evaluation, else what its export
    found.
    """
    known: dict[str, tuple[Interval, str]] = {}
    for artifact in inputs.artifacts:
        exported = artifact.manifest.accuracy.get("balanced_accuracy")
        if exported is not None and exported.get("value") is not None:
            sha256 = artifact.manifest.files.get(artifact.manifest.model_file, "")
            known[sha256] = (Interval(**exported), "at export")
    for evaluation in inputs.evaluations:
        if evaluation.target.sha256 and evaluation.data.role == "test":
            known[evaluation.target.sha256] = (evaluation.metric("balanced_accuracy"), "evaluated")
    return known


def placed(inputs: Inputs) -> dict[str, list[Placed]]:
    """By device and way: valid measurements with a known accuracy, at the fewest threads that all
    of them share.
    """
    known = accuracies(inputs)
    found = {}
    for name, members in by_way(
        [one for one in inputs.measurements if trusted(one) and one.artifact_sha256 in known]
    ).items():
        latest = {
            one.artifact_sha256: one for one in sorted(members, key=lambda one: one.started_utc)
        }
        shared = set.intersection(
            *(
                {setting.threads for setting in latency_samples(one) if setting.cores == "all"}
                for one in latest.values()
            )
        )
        if not shared:
            continue
        threads = min(shared)
        points = []
        for mark, one in latest.items():
            setting = next(
                setting
                for setting in latency_samples(one)
                if setting.threads == threads and setting.cores == "all"
            )
            points.append(
                Placed(
                    one.artifact,
                    one.precision,
                    float(np.median(setting.samples)),
                    threads,
                    *known[mark],
                )
            )
        front = figures.pareto_front(
            [point.milliseconds for point in points],
            [point.accuracy.value or 0 for point in points],
        )
        found[name] = [
            Placed(**{**vars(point), "front": best})
            for point, best in zip(points, front, strict=True)
        ]
    return found


def section(inputs: Inputs) -> Section | None:
    """A picture and a table per device."""
    places = placed(inputs)
    blocks: list[Block | None] = []
    for name, points in places.items():
        if len(places) > 1:
            blocks.append(Heading(name))
        kinds = list(dict.fromkeys(point.group for point in points))
        marks = [
            figures.Point(
                point.name,
                point.milliseconds,
                point.accuracy,
                kinds.index(point.group),
                point.front,
            )
            for point in points
        ]
        threads = points[0].threads
        words = f"median ms with {thread_words(threads)}, logarithmic"
        chance = _chance(inputs)
        blocks.append(Charts((figures.pareto(marks, words, kinds, chance),)))
        blocks.append(_table(points))
    blocks.append(_not_placed(inputs, places) if blocks else None)
    return section_of("tradeoff", "Accuracy against latency", blocks)


def _chance(inputs: Inputs) -> float | None:
    """What guessing gets; None where the artifacts have not as many classes."""
    counts = {len(one.manifest.labels) for one in inputs.artifacts}
    counts |= {len(one.labels) for one in inputs.evaluations}
    return 1 / counts.pop() if len(counts) == 1 else None


def _not_placed(inputs: Inputs, places: dict[str, list[Placed]]) -> Block | None:
    """Measured artifacts that have no point here, and why."""
    placed_here = {point.name for points in places.values() for point in points}
    known = accuracies(inputs)
    unknown: list[str] = []
    untimed: list[str] = []
    for one in inputs.measurements:
        if one.artifact not in placed_here:
            (untimed if one.artifact_sha256 in known else unknown).append(one.artifact)
    reasons = (
        ("whose accuracy is not known here (give the artifact or its evaluation)", unknown),
        ("without a valid latency on all cores", untimed),
    )
    parts = [
        f"{len(set(names))} {reason}: {listed(list(dict.fromkeys(names)))}"
        for reason, names in reasons
        if names
    ]
    return Text(f"Measured and not here: {'; '.join(parts)}.") if parts else None


def _table(points: Sequence[Placed]) -> Block:
    rows: list[list[object]] = [
        [
            point.name,
            milliseconds(point.milliseconds),
            Cell(
                percent(point.accuracy).text,
                f"{percent(point.accuracy).minor} {point.judged}".strip(),
            ),
            Cell("on the front", mark="good") if point.front else Cell("beaten on both"),
        ]
        for point in sorted(points, key=lambda point: point.milliseconds)
    ]
    return table(
        "Accuracy and latency",
        ("artifact", "median ms", "balanced accuracy %", "Pareto front"),
        rows,
    )
