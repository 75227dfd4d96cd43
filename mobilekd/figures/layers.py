"""What each layer of a network does, one layer a row in the order of execution."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mobilekd.figures.svg import Chart, label_room, shorten

#: Height of a row.
PITCH = 14


@dataclass(frozen=True)
class LayerBar:
    """A layer, its share of something, and a remark behind its bar."""

    name: str
    share: float
    remark: str = ""


def layer_shares(
    title: str,
    label: str,
    bars: Sequence[LayerBar],
    marked: Collection[str] = (),
    legend: tuple[str, str] = ("", ""),
) -> Chart:
    """A bar of each layer's share, 0 to 1 and drawn in per cent; ``marked`` layers have the second
    colour of ``legend``.
    """
    most = max((bar.share for bar in bars), default=0.0) or 1.0
    words = ", ".join(
        f"{bar.name} {100 * bar.share:.1f}%{f' ({bar.remark})' if bar.remark else ''}"
        for bar in sorted(bars, key=lambda bar: -bar.share)[:5]
    )
    chart = Chart(
        title,
        f"{label}, {len(bars)} layers in the order of execution; the largest are {words}.",
        left=label_room([bar.name for bar in bars]),
        right=64,
        top=8,
    )
    chart.height = 46 + PITCH * max(1, len(bars))
    chart.legend(legend)
    x = chart.scale_x(0, 100 * most)
    chart.axis_x(x, label)
    for number, bar in enumerate(bars):
        top = chart.top + PITCH * number + 3
        end = x(100 * bar.share)
        chart.text(chart.left - 6, top + 8, shorten(bar.name, chart.left), css="end")
        series = int(bar.name in marked)
        chart.rectangle(chart.left, top, max(0.5, end - chart.left), PITCH - 5, series=series)
        chart.text(end + 5, top + 8, bar.remark, css="soft")
    return chart
