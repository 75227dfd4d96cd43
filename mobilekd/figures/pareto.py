"""Accuracy against cost, and the models that nothing beats on both."""

from collections.abc import Sequence
from dataclasses import dataclass

from mobilekd.figures.svg import CHARACTER, Chart, chance_words, shorten
from mobilekd.figures.tables import interval_words
from mobilekd.formats.interval import Interval


@dataclass(frozen=True)
class Point:
    """One model in the plane of cost and accuracy."""

    name: str
    cost: float
    accuracy: Interval
    series: int = 0
    front: bool = False


def pareto(
    points: Sequence[Point], label: str, groups: Sequence[str], chance: float | None = None
) -> Chart:
    """Balanced accuracy against cost on a logarithmic axis; models that nothing beats on both are
    joined and named. ``chance`` marks what guessing gets.
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
    ends += [] if chance is None else [chance]
    pad = (max(ends) - min(ends)) * 0.08 or 0.02
    x = chart.scale_x(min(costs) / 1.25, max(costs) * 1.25, log=True)
    y = chart.scale_y(min(ends) - pad, max(ends) + pad)
    chart.axis_x(x, label)
    label = f"balanced accuracy, %{chance_words(chance)}"
    chart.axis_y(y, label, words=[(tick, f"{100 * tick:g}") for tick in y.ticks()])
    if chance is not None:
        chart.segment(chart.left, y(chance), chart.width - chart.right, y(chance), css="guide")
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
            hover=f"{point.name}: {point.cost:.3g}, {interval_words(point.accuracy, True)}",
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
