"""Pictures of an evaluation: confusion matrix, reliability diagram, risk-coverage curve, training
curve.
"""

from collections.abc import Mapping, Sequence

from mobilekd.figures.svg import CHARACTER, Chart, chance_words, label_room, shorten
from mobilekd.formats.evaluation import ReliabilityBin


def confusion(
    matrix: Sequence[Sequence[int]], keys: Sequence[str], names: Sequence[str] | None = None
) -> Chart:
    """Counts ``[truth][answer]``, shaded by the share of the true class. ``names`` are the classes
    in words: they name the rows, the keys the columns.
    """
    rows = [
        key if name in (key, key.replace("_", " ")) else f"{name} ({key})"
        for key, name in zip(keys, names or keys, strict=True)
    ]
    right = sum(matrix[i][i] for i in range(len(keys)))
    total = sum(map(sum, matrix))
    left = label_room(rows) + 40
    chart = Chart(
        "Confusion matrix",
        f"{right} of {total} photographs on the diagonal, the right answer.",
        left=left,
        right=8,
        top=34,
    )
    cell = (chart.width - left - 8) / len(keys)
    height = min(cell, 34.0)
    chart.height = chart.top + height * len(keys) + 22
    for i, (key, name, row) in enumerate(zip(keys, rows, matrix, strict=True)):
        y = chart.top + i * height
        chart.text(left - 36, y + height / 2 + 4, shorten(name, left - 40), css="end")
        chart.text(left - 6, y + height / 2 + 4, str(sum(row)), css="soft end")
        chart.text(
            left + (i + 0.5) * cell, chart.top - 6, key[: max(3, int(cell / CHARACTER))], css="mid"
        )
        for j, count in enumerate(row):
            share = count / sum(row) if sum(row) else 0.0
            chart.rectangle(
                left + j * cell + 1,
                y + 1,
                cell - 2,
                height - 2,
                series=0,
                opacity=0.05 + 0.9 * share,
            )
            if count:
                chart.text(
                    left + (j + 0.5) * cell,
                    y + height / 2 + 4,
                    str(count),
                    css="mid over" if share > 0.5 else "mid",
                )
    chart.text(left - 6, chart.top - 6, "n", css="soft end")
    chart.text(left + cell * len(keys) / 2, 11, "answer", css="soft mid")
    chart.text(left - 36, chart.top - 6, "truth", css="soft end")
    chart.text(chart.width - 8, chart.height - 6, "shade: share of the true class", css="soft end")
    return chart


def reliability(bins: Sequence[ReliabilityBin], ece: float | None) -> Chart:
    """Accuracy against confidence in bins of equal mass; the diagonal is perfect."""
    words = f"Expected calibration error {ece:.3f}. " if ece is not None else ""
    chart = Chart(
        "Reliability diagram",
        words + "Points on the diagonal: as often right as it is sure.",
        top=22,
    )
    x, y = chart.scale_x(0, 1), chart.scale_y(0, 1)
    chart.axis_x(x, "confidence (top probability)")
    chart.axis_y(y, "accuracy")
    chart.segment(x(0), y(0), x(1), y(1), css="guide")
    for one in bins:
        chart.segment(
            x(one.confidence),
            y(one.confidence),
            x(one.confidence),
            y(one.accuracy),
            css="s1",
        )
    chart.polyline([(x(one.confidence), y(one.accuracy)) for one in bins], series=0)
    for one in bins:
        hover = f"{one.n} photographs: {one.confidence:.1%} sure, {one.accuracy:.1%} right"
        chart.marker(x(one.confidence), y(one.accuracy), series=0, hover=hover)
    return chart


def risk_coverage(points: Sequence[Sequence[float]], kept: float | None) -> Chart:
    """Error rate among the surest share of photographs; ``kept`` marks the share that the threshold
    answers here.
    """
    everything = points[-1][1]
    chart = Chart(
        "Risk and coverage",
        f"Error rate {everything:.1%} when every photograph gets an answer.",
        top=22,
    )
    highest = max(0.05, max(risk for _, risk in points) * 1.1)
    x, y = chart.scale_x(0, 1), chart.scale_y(0, highest)
    percent = [(tick, f"{tick:.0%}") for tick in x.ticks()]
    chart.axis_x(x, "share answered, surest first", words=percent)
    chart.axis_y(y, "error rate", words=[(tick, f"{100 * tick:g}%") for tick in y.ticks()])
    if kept is not None:
        chart.segment(x(kept), chart.top, x(kept), chart.height - chart.bottom, css="guide")
        side, css = (-5, "soft end") if kept > 0.5 else (5, "soft")
        chart.text(x(kept) + side, chart.top + 12, f"“not sure” beyond {kept:.0%}", css=css)
    chart.polyline([(x(coverage), y(risk)) for coverage, risk in points], series=0)
    return chart


def curve(
    title: str,
    label: str,
    series: Mapping[str, Sequence[tuple[float, float]]],
    chance: float | None = None,
) -> Chart:
    """Lines over epochs, one per name; ``chance``, a share, marks what guessing gets in per
    cent.
    """
    label += chance_words(chance)
    last = ", ".join(f"{name} ends at {points[-1][1]:.3g}" for name, points in series.items())
    chart = Chart(title, f"{label} by epoch: {last}.", top=22)
    if len(series) > 1:
        chart.legend(list(series), lines=True)
    values = [value for points in series.values() for _, value in points]
    values += [] if chance is None else [100 * chance]
    pad = (max(values) - min(values)) * 0.08 or 0.05
    x = chart.scale_x(0, max(epoch for points in series.values() for epoch, _ in points))
    y = chart.scale_y(min(values) - pad, max(values) + pad)
    chart.axis_x(x, "epoch", words=[(tick, f"{tick:g}") for tick in x.ticks() if tick == int(tick)])
    chart.axis_y(y, label)
    if chance is not None:
        line = y(100 * chance)
        chart.segment(chart.left, line, chart.width - chart.right, line, css="guide")
    for index, points in enumerate(series.values()):
        chart.polyline([(x(epoch), y(value)) for epoch, value in points], series=index)
    return chart
