"""Pictures of measured time: whole distributions, threads, cold starts and drift, never a bar of
means. Times in milliseconds.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mobilekd.figures.svg import Chart, Scale, label_room, one_line, shorten
from mobilekd.figures.tables import signed
from mobilekd.formats.measurement import thread_words

#: Height of one further quantity below latency against time, units.
PANEL = 70


def distribution(series: Mapping[str, np.ndarray]) -> Chart:
    """Share of inferences that took at most so long, one curve per name; the slowest hundredth is
    cut off and said.
    """
    middle = ", ".join(
        f"{one_line(name)} {np.median(samples):.3g} ms" for name, samples in series.items()
    )
    chart = Chart(
        "Distribution of latency",
        f"Cumulative share of inferences by duration; medians: {middle}.",
        top=22,
    )
    chart.legend(list(series), lines=True)
    low = min(float(samples.min()) for samples in series.values())
    high = max(float(np.percentile(samples, 99)) for samples in series.values())
    x, y = chart.scale_x(low * 0.97, max(high, low * 1.02), log=high > 4 * low), chart.scale_y(0, 1)
    chart.axis_x(x, "milliseconds (up to the slowest series' p99)")
    chart.axis_y(
        y,
        "share at most this long",
        words=[(tick, f"{tick:.0%}") for tick in (0, 0.25, 0.5, 0.75, 1)],
    )
    for index, samples in enumerate(series.values()):
        shares = np.linspace(0, 1, 101)
        times = np.quantile(samples, shares)
        chart.polyline(
            [(x(time), y(share)) for time, share in zip(times, shares, strict=True)], series=index
        )
    return chart


def strips(series: Mapping[str, np.ndarray]) -> Chart:
    """Every sample as a dot on its row, in the order of time from top to bottom of the row; median
    and p95 as ticks.

    A name may have a second line.
    """
    rows = ", ".join(
        f"{one_line(name)} {np.median(samples):.3g} ms" for name, samples in series.items()
    )
    room = label_room([line for name in series for line in name.splitlines()])
    chart = Chart(
        "Every sample", f"One dot per inference; medians: {rows}.", left=room, right=14, top=8
    )
    chart.height = 50 + 34 * len(series)
    low = min(float(samples.min()) for samples in series.values())
    high = max(float(samples.max()) for samples in series.values())
    x = chart.scale_x(low * 0.97, high * 1.03, log=high > 4 * low)
    chart.axis_x(x, "milliseconds per inference")
    for index, (name, samples) in enumerate(series.items()):
        top = chart.top + 34 * index + 4
        lines = name.splitlines()
        for number, line in enumerate(lines):
            chart.text(
                chart.left - 8,
                top + 22 - 6 * len(lines) + 13 * number,
                shorten(line, chart.left),
                css="soft end" if number else "end",
            )
        shown = samples[:: max(1, len(samples) // 250)]
        for place, sample in zip(np.linspace(0, 24, len(shown)), shown, strict=True):
            chart.marks.append(
                f'<circle cx="{x(sample):.1f}" cy="{top + place:.1f}" r="1.5" class="f{index % 6}"'
                ' fill-opacity=".45"/>'
            )
        for q, width in ((50, 2.5), (95, 1)):
            place = x(float(np.percentile(samples, q)))
            chart.marks.append(
                f'<path d="M{place:.1f} {top - 3:.1f}v30" class="axis"'
                f' style="stroke:var(--ink);stroke-width:{width}"/>'
            )
    return chart


def threads(series: Mapping[str, Sequence[tuple[int, float, float, float]]]) -> Chart:
    """Median with p10 and p90 by thread count: ``name -> [(threads, p10, p50, p90)]``."""
    words = "; ".join(
        f"{one_line(name)}: " + ", ".join(f"{p50:.3g} ms with {n}" for n, _, p50, _ in rows)
        for name, rows in series.items()
    )
    chart = Chart("Latency by threads", f"{words}.", top=22)
    chart.legend(list(series), lines=True)
    counts = sorted({n for rows in series.values() for n, *_ in rows})
    x = chart.scale_x(min(counts) - 0.4, max(counts) + 0.4)
    y = chart.scale_y(0, max(p90 for rows in series.values() for *_, p90 in rows) * 1.08)
    chart.axis_x(x, "threads", words=[(n, str(n)) for n in counts], grid=False)
    chart.axis_y(y, "milliseconds: median, p10 to p90")
    for index, rows in enumerate(series.values()):
        shift = (index - (len(series) - 1) / 2) * 7
        chart.polyline([(x(n) + shift, y(p50)) for n, _, p50, _ in rows], series=index)
        for n, p10, p50, p90 in rows:
            chart.segment(x(n) + shift, y(p10), x(n) + shift, y(p90), css=f"s{index % 6}")
            chart.marker(
                x(n) + shift, y(p50), series=index, hover=f"{thread_words(n)}: {p50:.3f} ms"
            )
    return chart


def cold(series: Mapping[str, Mapping[str, Sequence[float]]]) -> Chart:
    """Cold starts, one dot per fresh process, phases on rows, on a logarithmic axis: ``name ->
    phase -> milliseconds``.
    """
    phases = list(next(iter(series.values())))
    words = "; ".join(
        f"{one_line(name)}: "
        + ", ".join(f"{phase} {np.median(values):.3g} ms" for phase, values in rows.items())
        for name, rows in series.items()
    )
    chart = Chart(
        "Cold against warm",
        f"Medians over fresh processes: {words}.",
        left=label_room(phases),
        top=8,
    )
    pitch = 14 + 10 * len(series)
    chart.height = 50 + pitch * len(phases)
    chart.legend(list(series))
    every = [
        max(value, 1e-4) for rows in series.values() for values in rows.values() for value in values
    ]
    x = chart.scale_x(min(every) / 1.3, max(every) * 1.3, log=True)
    chart.axis_x(x, "milliseconds, logarithmic")
    for row, phase in enumerate(phases):
        top = chart.top + pitch * row + 10
        chart.text(chart.left - 8, top + 5 * len(series) + 1, phase, css="end")
        for index, (name, rows) in enumerate(series.items()):
            for value in rows[phase]:
                chart.marker(
                    x(max(value, 1e-4)),
                    top + 10 * index,
                    series=index,
                    opacity=0.75,
                    hover=f"{one_line(name)}, {phase}: {value:.3f} ms",
                )
    return chart


def sustained(
    seconds: np.ndarray,
    bands: np.ndarray,
    change: float,
    celsius: Sequence[tuple[float, float]] = (),
    megahertz: Sequence[tuple[float, float]] = (),
) -> Chart:
    """Latency against time under load: each block's median, in a band from its 10th to its
    90th percentile; below it temperature and frequency.

    Args:
        seconds: float [N], when each block of inferences begins.
        bands: float [N, 3], its 10th percentile, median and 90th percentile in milliseconds.
        change: how far latency drifts, as the tables say it.
        celsius, megahertz: (second, value).
    """
    words = [
        f"Median latency changes by {signed(change)} from the first to the last tenth of the time."
    ]
    words += [f"Temperature from {celsius[0][1]:g} to {celsius[-1][1]:g} °C."] if celsius else []
    words += (
        [f"Frequency of the fastest core from {megahertz[0][1]:g} to {megahertz[-1][1]:g} MHz."]
        if megahertz
        else []
    )
    chart = Chart("Sustained load", " ".join(words), top=22)
    panels = [(unit, rows) for unit, rows in (("°C", celsius), ("MHz", megahertz)) if rows]
    below = PANEL * len(panels)
    chart.height += below
    x = chart.scale_x(0, float(seconds.max()) or 1)
    chart.axis_x(x, "seconds under load")
    chart.bottom += below
    y = chart.scale_y(0, float(bands.max()) * 1.15)
    chart.axis_y(y, "milliseconds")
    low, middle, high = (
        [(x(second), y(time)) for second, time in zip(seconds, column, strict=True)]
        for column in bands.T
    )
    chart.polygon([*low, *reversed(high)], series=0)
    chart.polyline(middle, series=0)
    for number, (unit, rows) in enumerate(panels):
        _panel(
            chart, x, rows, unit, chart.height - chart.bottom + PANEL * number, series=number + 1
        )
    return chart


def _panel(
    chart: Chart,
    x: Scale,
    rows: Sequence[tuple[float, float]],
    unit: str,
    top: float,
    *,
    series: int,
) -> None:
    """A second quantity on an axis of its own, from ``top`` down; only its extremes are
    labelled.
    """
    low, high = min(value for _, value in rows), max(value for _, value in rows)
    slack = 0.15 * (high - low) or 1
    place = Scale(low - slack, high + slack, top + PANEL - 4, top + 24)
    chart.text(4, top + 16, unit, css="soft")
    for value in dict.fromkeys((low, high)):
        chart.text(chart.left - 6, place(value) + 4, f"{value:.5g}", css="soft end")
        chart.segment(chart.left, place(value), chart.width - chart.right, place(value), css="grid")
    chart.polyline([(x(second), place(value)) for second, value in rows], series=series)
    if len(rows) == 1:  # a single look is a point, not a line
        chart.marker(x(rows[0][0]), place(rows[0][1]), series=series)
