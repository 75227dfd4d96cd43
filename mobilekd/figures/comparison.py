"""Pictures that put things side by side: estimates with intervals on rows, and accuracy against
cost.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mobilekd.figures.svg import CHARACTER, Chart, label_room, shorten
from mobilekd.formats.artifact import Interval


@dataclass(frozen=True)
class Row:
    """One estimate on a forest plot; ``series`` gives colour and marker."""

    name: str
    figure: Interval
    series: int = 0


@dataclass(frozen=True)
class Point:
    """One model in the plane of cost and accuracy."""

    name: str
    cost: float
    accuracy: Interval
    series: int = 0
    front: bool = False


def forest(
    title: str,
    label: str,
    rows: Sequence[Row],
    *,
    zero: bool = False,
    margin: float | None = None,
    names: Sequence[str] = (),
    percent: bool = True,
    pitch: float = 22,
) -> Chart:
    """Estimates with their 95% intervals, one row each; ``zero`` and ``margin`` draw the lines that
    a claim must clear.

    A row without a name belongs to the one above it; ``pitch`` is the height of a row.
    """
    rows = [row for row in rows if row.figure.value is not None]
    words = "; ".join(f"{row.name} {_said(row.figure, percent)}".strip() for row in rows)
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
    ends += [0.0] * zero + ([margin] if margin is not None else [])
    pad = (max(ends) - min(ends)) * 0.06 or 0.02
    x = chart.scale_x(min(ends) - pad, max(ends) + pad)
    ticks = [(tick, f"{100 * tick:g}" if percent else f"{tick:g}") for tick in x.ticks()]
    chart.axis_x(x, label, words=ticks)
    floor = chart.height - chart.bottom
    for line, wanted in ((0.0, zero), (margin, margin is not None)):
        if wanted and line is not None:
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
            hover=f"{row.name}: {_said(row.figure, percent)}",
        )
    return chart


def pareto(points: Sequence[Point], label: str, groups: Sequence[str]) -> Chart:
    """Balanced accuracy against cost on a logarithmic axis; models that nothing beats on both are
    joined and named.
    """
    front = sorted((point for point in points if point.front), key=lambda point: point.cost)
    words = ", ".join(point.name for point in front)
    chart = Chart(
        "Accuracy against latency", f"Not beaten on both axes: {words}.", height=290, top=22
    )
    if len(groups) > 1:
        chart.legend(groups)
    costs = [point.cost for point in points]
    ends = [
        end
        for point in points
        for end in (point.accuracy.low, point.accuracy.value, point.accuracy.high)
        if end is not None
    ]
    pad = (max(ends) - min(ends)) * 0.08 or 0.02
    x = chart.scale_x(min(costs) / 1.25, max(costs) * 1.25, log=True)
    y = chart.scale_y(min(ends) - pad, max(ends) + pad)
    chart.axis_x(x, label)
    chart.axis_y(y, "balanced accuracy, %", words=[(tick, f"{100 * tick:g}") for tick in y.ticks()])
    places = [(x(point.cost), y(point.accuracy.value or 0)) for point in front]
    if len(front) > 1:
        chart.marks.append(
            f'<path d="M{"L".join(f"{px:.1f} {py:.1f}" for px, py in places)}" class="guide"/>'
        )
    for point in points:
        assert point.accuracy.value is not None
        px, py = x(point.cost), y(point.accuracy.value)
        if point.accuracy.low is not None and point.accuracy.high is not None:
            chart.segment(
                px,
                y(point.accuracy.low),
                px,
                y(point.accuracy.high),
                css=f"s{point.series % 6}",
                width=1,
            )
        chart.marker(
            px,
            py,
            series=point.series,
            size=5,
            hover=f"{point.name}: {point.cost:.3g}, {_said(point.accuracy, True)}",
        )
        if point.front:
            name = shorten(point.name, max(px, chart.width - px) - 8)
            right = px + 8 + len(name) * CHARACTER < chart.width
            chart.text(px + (8 if right else -8), py - 6, name, css="" if right else "end")
    return chart


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[bool]:
    """For each model: nothing else is at most as costly and at least as good, and better in one of
    the two.
    """
    pairs = list(zip(costs, values, strict=True))
    return [
        not any(c <= cost and v >= value and (c, v) != (cost, value) for c, v in pairs)
        for cost, value in pairs
    ]


def _said(figure: Interval, percent: bool) -> str:
    factor, digits = (100, 1) if percent else (1, 3)
    value = f"{factor * (figure.value or 0):.{digits}f}"
    if figure.low is None or figure.high is None:
        return value
    return f"{value} ({factor * figure.low:.{digits}f} to {factor * figure.high:.{digits}f})"
