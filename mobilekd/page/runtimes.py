"""The same student for several runtimes, measured in turn in one session: which runtime for this
file, and why.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mobilekd import backends
from mobilekd.figures.tables import Cell, between, milliseconds, percent, size, table
from mobilekd.formats.artifact import Artifact
from mobilekd.formats.interval import Interval
from mobilekd.formats.measurement import Measurement, thread_words
from mobilekd.page.blocks import Block, Heading, Points, Section, Text, section_of
from mobilekd.page.devices import by_way
from mobilekd.page.inputs import Inputs
from mobilekd.page.latency_ratios import LatencyRatio, ratios_between
from mobilekd.page.latency_samples import LatencySamples, latency_samples, trusted
from mobilekd.page.tradeoff import accuracies
from mobilekd.runners.runtimes import RUNTIMES
from mobilekd.support.text import listed

#: Precisions that stand beside int8: of a processor that has no int8 of XNNPACK's kind.
BESIDE = {"w8a16": "int8", "w8a8": "int8"}
#: The package whose version runs a backend's file, where that is not ExecuTorch.
PACKAGES = {one.backend: one.package for one in RUNTIMES.values()}


@dataclass(frozen=True, eq=False)
class Rivals:
    """One student, rounded alike, on one device, for several runtimes, the latest of each in one
    session.
    """

    student: str
    members: tuple[Measurement, ...]

    @property
    def precisions(self) -> str:
        """Of its members, in words."""
        return listed(list(dict.fromkeys(one.precision for one in self.members)))

    def name(self, member: Measurement) -> str:
        """What ran a member; with its precision where that tells it from another."""
        alike = len({one.precision for one in self.members}) == 1
        return runtime(member) if alike else f"{runtime(member)} {member.precision}"

    def settings(self) -> list[list[LatencySamples]]:
        """By threads on all cores: one entry for each member, where all of them have it."""
        each = [
            {one.threads: one for one in latency_samples(member) if one.cores == "all"}
            for member in self.members
        ]
        shared = sorted(set.intersection(*(set(one) for one in each)))
        return [[one[threads] for one in each] for threads in shared]


def rivals(
    members: Sequence[Measurement], exported: Mapping[str, Artifact] | None = None
) -> list[Rivals]:
    """Of one device and way. What was not measured in one session is not set side by side, nor what
    the artifacts (by SHA-256 of their model files) say is made of other weights.
    """
    found: dict[tuple[str, str, str], dict[tuple[str, str], Measurement]] = {}
    for one in sorted(members, key=lambda one: one.started_utc):
        if trusted(one):
            rounded = BESIDE.get(one.precision, one.precision)
            kinds = found.setdefault((one.student, rounded, one.session), {})
            kinds[one.backend, one.precision] = one
    latest = {
        (student, rounded, weights): Rivals(student, same)
        for (student, rounded, _), each in found.items()
        for weights, same in _of_one_student(each.values(), exported or {}).items()
        if len({one.backend for one in same}) > 1
    }
    return [one for one in latest.values() if one.settings()]


def _of_one_student(
    members: Iterable[Measurement], exported: Mapping[str, Artifact]
) -> dict[str, tuple[Measurement, ...]]:
    """By the hash of the weights, as students may share a name. A member whose artifact is not
    given goes with the others where they have one student's weights, and nowhere else.
    """
    found: dict[str, list[Measurement]] = {}
    for one in members:
        artifact = exported.get(one.artifact_sha256)
        weights = artifact.manifest.provenance.source_sha256 if artifact else ""
        found.setdefault(weights, []).append(one)
    known = [weights for weights in found if weights]
    if len(known) > 1:
        return {weights: tuple(found[weights]) for weights in known}
    return {"".join(known): tuple(one for each in found.values() for one in each)}


def section(inputs: Inputs) -> Section | None:
    """A table, an answer and its reasons for each student and precision that has several
    runtimes.
    """
    blocks: list[Block | None] = []
    exported = {
        one.manifest.files.get(one.manifest.model_file, ""): one for one in inputs.artifacts
    }
    groups = {
        name: found
        for name, members in by_way(inputs.measurements).items()
        if (found := rivals(members, exported))
    }
    known = accuracies(inputs)
    for name, found in groups.items():
        for one in found:
            where = f", {name}" if len(groups) > 1 else ""
            blocks.append(Heading(f"{one.student}, {one.precisions}{where}"))
            blocks.append(_table(one, known, exported))
            blocks.append(Text(f"Which runtime for this file? {answer(one)}"))
            blocks.append(_why(one, exported))
    if blocks:
        blocks.append(
            Text(
                "Every runtime ran in fresh processes, in turn, in one session, after it had"
                " answered the golden set, with its input in place beforehand. Each is called from"
                " C++, but for ONNX Runtime and LiteRT on a computer, which are called from Python."
                " Another processor may order them otherwise: measure on the phone that it is for."
            )
        )
    return section_of("runtimes", "Which runtime for this file", blocks)


def runtime(measurement: Measurement) -> str:
    """What ran it, in words; by its backend's name where this version does not know that."""
    name = measurement.backend
    return backends.get(name).on_device if name in backends.names() else name


def _table(
    one: Rivals,
    known: dict[str, tuple[Interval, str]],
    exported: dict[str, Artifact],
) -> Block:
    settings = one.settings()
    header = ["runtime", "file", "balanced accuracy %"]
    header += [f"p50 ms, {thread_words(each[0].threads)}" for each in settings]
    rows: list[list[Cell]] = []
    for place, member in enumerate(one.members):
        artifact = exported.get(member.artifact_sha256)
        judged = known.get(member.artifact_sha256)
        cells = [
            Cell(one.name(member), _version(member)),
            Cell(
                artifact.manifest.model_file if artifact else member.backend,
                size(artifact.manifest.bytes) if artifact else "not given",
            ),
            percent(judged[0]) if judged else Cell("–", "give the artifact or its evaluation"),
        ]
        for each in settings:
            figure = each[place].percentile(50)
            span = (
                between(milliseconds(figure.low), milliseconds(figure.high))
                if figure.low is not None and figure.high is not None
                else ""
            )
            cells.append(Cell(milliseconds(figure.value or 0.0), span))
        rows.append(cells)
    return table("The same student, measured in turn", header, rows)


def _version(member: Measurement) -> str:
    return member.versions.get(PACKAGES.get(member.backend, "executorch"), "")


def answer(one: Rivals) -> str:
    """By threads: the fastest, and by how much, or that none is shown to be."""
    said = []
    for each in one.settings():
        order = sorted(range(len(each)), key=lambda place: float(np.median(each[place].samples)))
        best, second = one.members[order[0]], one.members[order[1]]
        words = thread_words(each[0].threads)
        ratio = _between(second, best, each[0].threads)
        if ratio is not None and ratio.verdict.startswith("slower"):
            said.append(
                f"{words}: take {one.name(best)}; {one.name(second)} is"
                f" {ratio.verdict.replace('slower: ', 'slower by ').replace(' more time', '')}"
            )
        else:
            shown = f" ({ratio.verdict})" if ratio is not None else ""
            said.append(
                f"{words}: no difference shown between {one.name(best)} and {one.name(second)}, so"
                f" take the one that the app has{shown if 'luck' in shown else ''}"
            )
    return f"With {'; with '.join(said)}."


def _between(new: Measurement, old: Measurement, threads: int) -> LatencyRatio | None:
    return next(
        (
            one
            for one in ratios_between(new, old)
            if one.ours.threads == threads and one.ours.cores == "all"
        ),
        None,
    )


def _why(one: Rivals, exported: dict[str, Artifact]) -> Block:
    """What the files and the measurements say of the reasons: operators, threads, packing."""
    items = []
    files = [exported.get(member.artifact_sha256) for member in one.members]
    outputs = {file.manifest.outputs for file in files if file is not None}
    for place, (member, artifact) in enumerate(zip(one.members, files, strict=True)):
        parts = []
        if artifact is not None and artifact.manifest.delegation is not None:
            parts.append(_operators(artifact))
        if artifact is not None and len(outputs) > 1:  # a guard is work that the others may lack
            parts.append(f"gives {listed(list(artifact.manifest.outputs))}")
        settings = one.settings()
        if len(settings) > 1:
            first, last = settings[0][place], settings[-1][place]
            gain = float(np.median(first.samples)) / float(np.median(last.samples))
            parts.append(f"{thread_words(last.threads)} are {gain:.2f} times as fast as one")
        library = member.versions.get(f"{PACKAGES.get(member.backend, '')} library", "")
        if library:
            parts.append(f"run by {library}")
        if member.cold:
            load = float(np.median([cold.method_load_ns for cold in member.cold])) / 1e6
            parts.append(f"{milliseconds(load)} ms to load the network and pack its weights")
        items.append((one.name(member), "; ".join(parts)))
    return Points(tuple(items))


def _operators(artifact: Artifact) -> str:
    split = artifact.manifest.delegation
    assert split is not None
    layers = f"{split.heavy_total} layers with weights"
    if split.heavy_quantized:
        layers = f"{split.heavy_quantized} of {layers} in int8"
    inside, outside = sum(split.delegated.values()), sum(split.portable.values())
    if artifact.manifest.backend == "onnx":
        # those that quantise are part of the kernels once the runtime has fused them
        steps = sum(count for name, count in split.delegated.items() if name.endswith("izeLinear"))
        fused = f", {steps} more that say the steps of int8" if steps else ""
        return f"{layers}, {inside - steps} operators{fused}"
    if artifact.manifest.chip is not None:  # one graph, which cannot be looked into
        return f"{layers}, compiled for {artifact.manifest.chip.soc}; {outside} operators outside"
    return f"{layers}, {inside} operators in the delegate and {outside} outside"
