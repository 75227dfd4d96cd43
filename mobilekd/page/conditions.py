"""From photograph to answer as a user of the app waits for it, and the state of the device around
each measurement.
"""

from collections.abc import Sequence

import numpy as np

from mobilekd.figures.tables import Cell, milliseconds, table
from mobilekd.formats.measurement import Conditions, Measurement
from mobilekd.page.blocks import Block, Section, section_of
from mobilekd.page.devices import device_name, way
from mobilekd.page.inputs import Inputs
from mobilekd.page.latency_samples import timed


def section(inputs: Inputs) -> Section | None:
    """What a user of the app waits for, and the device's state before and after."""
    shown = [one for one in inputs.measurements if timed(one)]
    rows = []
    for one in shown:
        parts = one.pipeline
        if parts is None or not parts.execute_ns:
            continue
        each = (parts.decode_ns, parts.resize_ns, parts.execute_ns, parts.post_ns)
        rows.append(
            [
                Cell(one.artifact, way(one)),
                *(milliseconds(float(np.median(part)) / 1e6) if part else "–" for part in each),
            ]
        )
    split = (
        table(
            "From photograph to answer, median ms",
            ("artifact", "decode", "resize", "execute", "post"),
            rows,
        )
        if rows
        else None
    )
    return (
        section_of("conditions", "Under which conditions", [split, _conditions(shown)])
        if shown
        else None
    )


def _conditions(shown: Sequence[Measurement]) -> Block:
    rows = []
    for one in shown:
        for when, state in (("before", one.before), ("after", one.after)):
            rows.append([Cell(one.artifact, f"{device_name(one.device)}, {when}"), *_state(state)])
    header = (
        "measurement",
        "battery °C",
        "charging",
        "thermal status",
        "SoC °C",
        "governor",
        "frequency, MHz",
        "screen",
        "load",
    )
    return table("State of the device", header, rows, "A dash: the platform does not tell.")


def _state(state: Conditions) -> list[str]:
    def word(value: object) -> str:
        return (
            "–"
            if value is None
            else (
                {True: "yes", False: "no"}.get(value, str(value))
                if isinstance(value, bool)
                else f"{value}"
            )
        )

    megahertz = sorted({round(khz / 1000) for khz in state.frequency_khz})
    frequency = (
        "–"
        if not megahertz
        else str(megahertz[0])
        if len(megahertz) == 1
        else f"{megahertz[0]} to {megahertz[-1]}"
    )
    screen = {True: "on", False: "off", None: "–"}[state.screen_on]
    load = "–" if state.load is None else f"{state.load:.2f}"
    cells = [
        word(state.battery_celsius),
        word(state.charging),
        word(state.thermal_status),
        word(state.soc_celsius),
        state.governor or "–",
    ]
    return [*cells, frequency, screen, load]
