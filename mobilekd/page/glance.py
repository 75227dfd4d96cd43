"""The first screen: one sentence and the figures that a reader looks for first, from whatever there
is.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from mobilekd.figures.comparison import PRIMARY, claim_verdict
from mobilekd.figures.tables import count, duration, milliseconds, percent, points, signed, size
from mobilekd.formats.artifact import Artifact
from mobilekd.formats.comparison import Comparison, Group
from mobilekd.formats.measurement import Measurement, thread_words
from mobilekd.page import sustained_load
from mobilekd.page.blocks import Section, Text, Tile, Tiles, section_of
from mobilekd.page.devices import device_name
from mobilekd.page.inputs import Inputs
from mobilekd.page.latency_samples import latency_samples, timed, trusted
from mobilekd.support.words import counted

#: Seconds under load before a drift is worth a place on the first screen: a device has to have had
#: the time to get warm.
WARM = 60.0

#: What the first screen says of its own words.
READING = (
    "How to read it: a control is the same student, trained for as many steps on the photographs"
    " with labels, but without a teacher; the difference to it is what the teacher is worth."
    " Brackets hold a 95% interval: where the figure would lie, 95 times in 100, had other"
    " photographs of the same kind judged. A difference whose interval holds zero may be luck."
    " Chance is what guessing gets."
)


def best_student(comparisons: Sequence[Comparison]) -> tuple[Group, Comparison] | None:
    """The student with the highest balanced accuracy on the first split that is not leaky, and its
    comparison.
    """
    for comparison in sorted(comparisons, key=lambda comparison: comparison.leaky):
        students = [group for group in comparison.groups if not group.is_control]
        if students:
            return (
                max(students, key=lambda group: group.metrics[PRIMARY].value or 0),
                comparison,
            )
    return None


def title(inputs: Inputs) -> str:
    """What the page is about: the best student, else what was measured, else what was exported."""
    best = best_student(inputs.comparisons)
    if best is not None:
        names = {one.run for one in best[0].seeds}
        titles = {one.run.title for one in inputs.runs if one.name in names}
        return titles.pop() if len(titles) == 1 else best[0].name
    times = [one for one in inputs.measurements if timed(one)]
    if inputs.measurements:
        return (
            f"Measured on {_where(times)}"
            if times
            else f"Answers checked on {_where(inputs.measurements)}"
        )
    return inputs.artifacts[0].title if inputs.artifacts else "Runs and evaluations"


def lead(inputs: Inputs) -> str:
    """What came out, in a sentence or two."""
    sentences = []
    best = best_student(inputs.comparisons)
    if best is not None:
        student, comparison = best
        score = percent(student.metrics[PRIMARY])
        where = (
            f"{comparison.photographs} {'' if comparison.folds else 'test '}"
            f"photographs{', none of whose lesions it was trained on' if comparison.folds else ''}"
            f"{', on a leaky split' if comparison.leaky else ''}"
        )
        words = (
            f"{_taught(student, inputs)}{student.name} reaches a balanced accuracy of"
            f" {score.text}% {score.minor} on {where}, where guessing gets"
            f" {100 * comparison.chance:.1f}%"
        )
        if student.control:
            gain = points(student.difference[PRIMARY])
            words += (
                f"; against its control, the same student trained as long without a teacher, that"
                f" is {gain.text} points {gain.minor}:"
                f" {_verdict(student, comparison)}"
            )
        sentences.append(words + ".")
    fast = _fastest(inputs.measurements)
    if fast is not None:
        measurement, threads, median = fast
        where = f"{device_name(measurement.device)} with {thread_words(threads)}"
        sentences.append(
            f"The fastest file here, {measurement.artifact}, takes {milliseconds(median)} ms on"
            f" {where}."
        )
    elif any(timed(one) for one in inputs.measurements):
        sentences.append(
            "No latency here may be relied on: every measurement of it is marked invalid."
        )
    return " ".join(sentences) or "Artifacts and measurements, as they were found."


def _taught(student: Group, inputs: Inputs) -> str:
    """Why its teachers can be worth something, where that is known: they answered photographs that
    nobody labelled.
    """
    names = {one.run for one in student.seeds}
    runs = [one.run for one in inputs.runs if one.name in names]
    counts = {run.recipe.data.without_labels for run in runs}
    given = counts.pop() if len(counts) == 1 else 0
    return f"Taught by answers to {given:,} photographs that nobody labelled, " if given else ""


def _verdict(student: Group, comparison: Comparison) -> str:
    """The table of claims' word on balanced accuracy, so that the first screen never says more."""
    claims = (
        one for one in comparison.claims if one.metric == PRIMARY and one.student == student.name
    )
    return claim_verdict(next(claims)).text


def section(inputs: Inputs) -> Section | None:
    """Accuracy, gain, size, agreement, latency: those that are known."""
    best = best_student(inputs.comparisons)
    found = [
        *(_student(*best) if best else ()),
        *_smallest_file(inputs.artifacts),
        *_latency(inputs.measurements),
        *_devices(inputs.measurements),
    ]
    reading = Text(READING) if best is not None else None
    return section_of("glance", "At a glance", [Tiles(tuple(found)), reading] if found else [])


def _student(student: Group, comparison: Comparison) -> Iterator[Tile]:
    """How right the best student is, what its teacher was worth, and how large it is."""
    score = percent(student.metrics[PRIMARY])
    yield Tile("balanced accuracy", score.text, "%", f"{score.minor} {student.name}")
    if student.control:
        gain = points(student.difference[PRIMARY])
        verdict = f"{gain.minor} {_verdict(student, comparison)}"
        yield Tile("against its control", gain.text, " points", verdict)
    if student.facts.parameters:
        yield Tile("parameters", count(student.facts.parameters), "", student.facts.model)


def _smallest_file(artifacts: Sequence[Artifact]) -> Iterator[Tile]:
    """Its size, and how often it answers as the student that it was made from."""
    smallest = min(artifacts, key=lambda artifact: artifact.manifest.bytes, default=None)
    if smallest is None:
        return
    yield Tile("smallest file", size(smallest.manifest.bytes), "", smallest.title)
    agreement = _agreement(smallest)
    if agreement is not None:
        remark = "the file against the student it was made from"
        yield Tile("same answer as fp32", f"{100 * agreement:.1f}", "%", remark)


def _latency(measurements: Sequence[Measurement]) -> Iterator[Tile]:
    """That of the fastest file."""
    fast = _fastest(measurements)
    if fast is not None:
        measurement, threads, median = fast
        where = f"{device_name(measurement.device)}, {thread_words(threads)}"
        yield Tile("median latency", milliseconds(median), " ms", where)


def _devices(measurements: Sequence[Measurement]) -> list[Tile]:
    """Whether devices answer rightly, and how far latency drifts under load."""
    if not measurements:
        return []
    right, asked = sum(one.golden.passed for one in measurements), len(measurements)
    found = [
        Tile(
            "right answers",
            f"{right} of {asked}",
            "",
            f"golden sets answered rightly, on {_where(measurements)}",
        )
    ]
    drifts = [
        (drift, one)
        for one in measurements
        if trusted(one) and (drift := sustained_load.drift(one.sustained))
    ]
    drifts = [(drift, one) for drift, one in drifts if drift.seconds >= WARM]
    if drifts:
        drift, one = max(drifts, key=lambda item: item[0].change)
        most = ", the most" if len(drifts) > 1 else ""
        remark = (
            f"after {duration(drift.seconds)} under load{most}: {one.artifact},"
            f" {device_name(one.device)}"
        )
        found.append(
            Tile("latency drifts by", signed(drift.change, 0).removesuffix("%"), "%", remark)
        )
    return found


def _where(measurements: Sequence[Measurement]) -> str:
    """The device's name, or how many there are; what was emulated is never counted as a device."""
    names = {one.device.id: device_name(one.device) for one in measurements}
    if len(names) == 1:
        return next(iter(names.values()))
    emulated = len({one.device.id for one in measurements if one.device.emulated})
    kinds = ((len(names) - emulated, "device"), (emulated, "emulated processor"))
    return " and ".join(counted(number, kind) for number, kind in kinds if number)


def _agreement(artifact: Artifact) -> float | None:
    known = [stage.agreement for stage in artifact.manifest.parity if stage.agreement is not None]
    return min(known) if known else None


def _fastest(measurements: Sequence[Measurement]) -> tuple[Measurement, int, float] | None:
    """The lowest median among valid measurements at their fewest threads."""
    found = [
        (one, each[0].threads, float(np.median(each[0].samples)))
        for one in measurements
        if trusted(one) and (each := latency_samples(one))
    ]
    return min(found, key=lambda item: item[2]) if found else None
