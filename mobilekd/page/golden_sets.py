"""Is it right on each device: the golden set comes before any latency."""

from mobilekd.figures.tables import Cell, table
from mobilekd.formats.measurement import Measurement
from mobilekd.page.blocks import Section, Text, section_of
from mobilekd.page.devices import chip, processor, way
from mobilekd.page.inputs import Inputs
from mobilekd.support.words import counted


def section(inputs: Inputs) -> Section | None:
    """Parity per device: the golden set comes before any latency."""
    if not inputs.measurements:
        return None
    rows = [
        [
            Cell(one.artifact, one.artifact_sha256[:12]),
            Cell(way(one), "emulated, no latency" if one.device.emulated else one.device.abi),
            Cell(chip(one.device), processor(one)),
            (
                Cell("right", mark="good")
                if one.golden.passed
                else Cell("wrong", one.golden.detail, mark="bad")
            ),
            Cell(str(one.golden.samples), _passes(one)),
            "–" if one.golden.max_error is None else f"{one.golden.max_error:.2g}",
            f"{one.golden.limit:.2g}",
            "–" if one.golden.agreement is None else f"{100 * one.golden.agreement:.0f}",
            "–" if one.golden.pass_difference is None else f"{one.golden.pass_difference:.2g}",
        ]
        for one in sorted(inputs.measurements, key=lambda one: (chip(one.device), processor(one)))
    ]
    header = (
        "artifact",
        "device",
        "chip",
        "answers",
        "pictures",
        "largest error",
        "limit",
        "same answer %",
        "between passes",
    )
    words = (
        "Before anything is timed, every device answers the artifact's golden set with each number"
        " of threads, and once more afterwards, when it is hot. One that answers wrongly, or"
        " otherwise from pass to pass, gets no latency."
    )
    return section_of(
        "answers",
        "Is it right on each device",
        [Text(words), table("Golden set by device", header, rows)],
    )


def _passes(one: Measurement) -> str:
    """``3 passes``; nothing for a file from before there was more than one."""
    count = len(one.golden.passes)
    return counted(count, "pass") if count else ""
