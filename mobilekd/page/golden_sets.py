"""Is it right on each device: the golden set comes before any latency."""

from mobilekd.figures.tables import Cell, table
from mobilekd.page.blocks import Section, Text, section_of
from mobilekd.page.devices import way
from mobilekd.page.inputs import Inputs


def section(inputs: Inputs) -> Section | None:
    """Parity per device: the golden set comes before any latency."""
    if not inputs.measurements:
        return None
    rows = [
        [
            Cell(one.artifact, one.artifact_sha256[:12]),
            Cell(way(one), "emulated, no latency" if one.device.emulated else one.device.abi),
            (
                Cell("right", mark="good")
                if one.golden.passed
                else Cell("wrong", one.golden.detail, mark="bad")
            ),
            str(one.golden.samples),
            "–" if one.golden.max_error is None else f"{one.golden.max_error:.2g}",
            f"{one.golden.limit:.2g}",
            "–" if one.golden.agreement is None else f"{100 * one.golden.agreement:.0f}",
        ]
        for one in inputs.measurements
    ]
    header = (
        "artifact",
        "device",
        "answers",
        "pictures",
        "largest error",
        "limit",
        "same answer %",
    )
    words = (
        "Before anything is timed, every device answers the artifact's golden set. One that answers"
        " wrongly gets no latency."
    )
    return section_of(
        "answers",
        "Is it right on each device",
        [Text(words), table("Golden set by device", header, rows)],
    )
