"""Estimates with their intervals, one a row: the forest plot."""

from collections.abc import Sequence
from dataclasses import dataclass

from mobilekd.figures.svg import Chart, chance_words, label_room, shorten
from mobilekd.figures.tables import interval_words
from mobilekd.formats.interval import Interval


@dataclass(frozen=True)
class Row:
    """One estimate on a forest plot; ``series`` gives colour and marker."""

    name: str
    figure: Interval
    series: int = 0


def forest(
    title: str,
    label: str,
    rows: Sequence[Row],
    *,
    zero: bool = False,
    margin: float | None = None,
    chance: float | None = None,
    names: Sequence[str] = (),
    percent: bool = True,
    pitch: float = 22,
) -> Chart:
    """Estimates with their 95% intervals, one row each; ``zero`` and ``margin`` draw the lines that
    a claim must clear, ``chance`` what guessing gets.

    A row without a name belongs to the one above it; ``pitch`` is the height of a row.
    """
    rows = [row for row in rows if row.figure.value is not None]
    label += chance_words(chance)
    words = "; ".join(f"{row.name} {interval_words(row.figure, percent)}".strip() for row in rows)
    chart = Chart(
        title,
        f"{label}, with 95% intervals: {words}.",
        left=label_room([row.name for row in rows]),
        right=14,
        top=8,
    )
    groups = sum(bool(row.name) for row in rows) if any(not row.name for row in rows) else 0
    chart.height = 46 + pitch * max(1, len(rows)) + (8 * groups + 12 if groups else 0)
    if names:
        chart.legend(names)
    ends = [
        end
        for row in rows
        for end in (row.figure.low, row.figure.value, row.figure.high)
        if end is not None
    ]
    ends += [0.0] * zero + [line for line in (margin, chance) if line is not None]
    pad = (max(ends) - min(ends)) * 0.06 or 0.02
    x = chart.scale_x(min(ends) - pad, max(ends) + pad)
    ticks = [(tick, f"{100 * tick:g}" if percent else f"{tick:g}") for tick in x.ticks()]
    chart.axis_x(x, label, words=ticks)
    floor = chart.height - chart.bottom
    for line in (0.0 if zero else None, margin, chance):
        if line is not None:
            chart.segment(x(line), chart.top, x(line), floor, css="axis" if line == 0 else "guide")
    y = chart.top + 12 - pitch
    for row in rows:
        y += pitch + (8 if groups and row.name else 0)
        assert row.figure.value is not None
        if row.name:
            chart.text(chart.left - 8, y + 4, shorten(row.name, chart.left), css="end")
        if row.figure.low is not None and row.figure.high is not None:
            chart.segment(x(row.figure.low), y, x(row.figure.high), y, css=f"s{row.series % 6}")
        chart.marker(
            x(row.figure.value),
            y,
            series=row.series,
            size=4 if pitch >= 22 else 3,
            hover=f"{row.name}: {interval_words(row.figure, percent)}",
        )
    return chart
