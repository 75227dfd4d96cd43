"""How fast, and does it stay so: whole distributions, threads, cold starts, drift, memory."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from mobilekd import figures
from mobilekd.figures.tables import Cell, between, milliseconds, size, table
from mobilekd.formats.interval import Interval
from mobilekd.formats.measurement import Measurement
from mobilekd.page import sustained_load
from mobilekd.page.blocks import Block, Charts, Heading, Notice, Section, Text, section_of
from mobilekd.page.devices import by_way, device_name
from mobilekd.page.inputs import Inputs
from mobilekd.page.latency_ratios import latency_ratios
from mobilekd.page.latency_samples import LatencySamples, latency_samples, ranges, spread, timed
from mobilekd.support.text import listed

INVALID = "invalid"
#: Curves in one picture: as many as there are dashes and colours.
CURVES = len(figures.DASHES)
#: Rows in the picture of all devices.
STRIPS = 24


def section(inputs: Inputs) -> Section | None:
    """Latency by device."""
    shown = [one for one in inputs.measurements if timed(one)]
    if not shown:
        return None
    blocks: list[Block | None] = [_without(inputs.measurements), _doubts(shown)]
    groups = by_way(shown)
    blocks += _side_by_side(groups)
    for name, members in groups.items():
        if len(groups) > 1:
            blocks.append(Heading(name))
        blocks += [
            Charts(_charts(members)),
            _percentiles(members),
            _differences(members),
            sustained_load.sustained(members, partial(_name, members)),
            _cold(members),
            _memory(members),
            sustained_load.energy(members, partial(_name, members)),
        ]
    return section_of("latency", "How fast, and does it stay so", blocks)


def _without(measurements: Sequence[Measurement]) -> Block | None:
    """Measurements that have no latency to show, and why."""
    why = [
        f"{one.artifact} on {device_name(one.device)} ({_no_latency(one)})"
        for one in measurements
        if not timed(one)
    ]
    if not why:
        return None
    return Text(f"Without latency, {len(why)} of {len(measurements)}: {listed(why)}.")


def _no_latency(one: Measurement) -> str:
    if one.device.emulated:
        return "emulated"
    return "no samples" if one.golden.passed else "answers wrongly"


def _doubts(shown: Sequence[Measurement]) -> Block | None:
    reasons = [
        f"{one.artifact} on {device_name(one.device)}:"
        f" {'; '.join(one.reasons) or 'no reason given'}."
        for one in shown
        if not one.valid
    ]
    if not reasons:
        return None
    return Notice(
        "Invalid measurements.",
        f"{len(reasons)} of {len(shown)}, kept and marked; no verdict rests on them. "
        + " ".join(reasons),
    )


def _side_by_side(groups: Mapping[str, Sequence[Measurement]]) -> list[Block | None]:
    """All devices in one picture and one table, the latest valid measurement of each artifact at
    its fewest threads.
    """
    if len(groups) < 2:
        return []
    series, rows = {}, []
    everyone = [one for members in groups.values() for one in members]
    ways = {(one.device.id, one.via) for members in groups.values() for one in members}
    both = len(ways) > len({device for device, _ in ways})
    for name, members in groups.items():
        for one in {
            one.artifact: one
            for one in sorted(members, key=lambda one: (one.valid, one.started_utc))
        }.values():
            setting = latency_samples(one)[0]
            device = name if both else name.replace(f", via {one.via}", "")
            series[f"{device}{'' if one.valid else f' ({INVALID})'}\n{_short(one, everyone)}"] = (
                setting.samples
            )
            figure = [_interval(setting.percentile(q)) for q in (50, 95)]
            remark = setting.name if one.valid else f"{setting.name}, {INVALID}"
            rows.append(
                [Cell(name), Cell(one.artifact, remark, mark="" if one.valid else "bad"), *figure]
            )
    words = (
        "Shell and app are different ways onto a device, so no verdict crosses from one to the"
        " other."
    )
    if len(series) > STRIPS:
        words = f"The picture has the first {STRIPS} of {len(series)}, the table all. {words}"
    return [
        Heading("Devices side by side"),
        Charts((figures.strips(dict(list(series.items())[:STRIPS])),)),
        table("Latency by device, ms", ("device", "artifact", "p50", "p95"), rows),
        Text(words),
    ]


def label(measurement: Measurement, members: Sequence[Measurement]) -> str:
    """As short as is still clear beside the others: precision alone where they differ in nothing
    else.
    """
    date = _date(measurement, members)
    return (
        _short(measurement, members)
        + (f", {date}" if date else "")
        + ("" if measurement.valid else f" ({INVALID})")
    )


def _row(measurement: Measurement, members: Sequence[Measurement]) -> str:
    """The same in two lines, as pictures have little room."""
    remark = ", ".join(
        filter(None, (_date(measurement, members), "" if measurement.valid else INVALID))
    )
    return _short(measurement, members) + (f"\n{remark}" if remark else "")


def _short(measurement: Measurement, members: Sequence[Measurement]) -> str:
    """Precision alone where the members differ in nothing else, else behind the student's name, and
    the backend's if there are several.
    """
    if len({(one.student, one.backend) for one in members}) == 1:
        return measurement.precision
    backend = "" if len({one.backend for one in members}) == 1 else f" {measurement.backend}"
    return f"{measurement.student}{backend} {measurement.precision}"


def _in_parts(
    draw: Callable[[dict[str, Any]], figures.Chart], series: Mapping[str, Any], remark: str = ""
) -> list[figures.Chart]:
    """As many pictures as it takes to tell every curve from its neighbours."""
    names, charts = list(series), []
    parts = [names[start : start + CURVES] for start in range(0, len(names), CURVES)]
    for number, part in enumerate(parts, 1):
        charts.append(draw({name: series[name] for name in part}))
        charts[-1].title += remark + (f", {number} of {len(parts)}" if len(parts) > 1 else "")
    return charts


def _charts(members: Sequence[Measurement]) -> tuple[figures.Chart, ...]:
    each = [(one, setting) for one in members for setting in latency_samples(one)]
    fewest = min(
        (setting for _, setting in each if setting.cores == "all"),
        key=lambda setting: setting.threads,
        default=each[0][1],
    )
    first = [(one, setting.samples) for one, setting in each if setting.name == fewest.name]
    charts = _in_parts(
        figures.distribution,
        {_row(one, members): samples for one, samples in first},
        f", {fewest.name}",
    )
    charts.append(figures.strips({_row(one, members): samples for one, samples in first}))
    charts[-1].title += f", {fewest.name}"
    threads: dict[str, list[tuple[int, float, float, float]]] = {}
    for one, setting in each:
        bound = "" if setting.cores == "all" else f", cores {ranges(setting.cores)}"
        threads.setdefault(_row(one, members) + bound, []).append(_band(setting))
    if any(len(rows) > 1 for rows in threads.values()):
        charts += _in_parts(figures.threads, threads)
    starts = {_row(one, members): _phases(one) for one in members if one.cold}
    charts += _in_parts(figures.cold, starts)
    charts += [made for one in members if (made := sustained_load.chart(one, label(one, members)))]
    return tuple(charts)


def _phases(measurement: Measurement) -> dict[str, list[float]]:
    """Milliseconds of every fresh process by phase, and the steady median beside them."""
    return {
        "map the file": [cold.file_load_ns / 1e6 for cold in measurement.cold],
        "load the method": [cold.method_load_ns / 1e6 for cold in measurement.cold],
        "first inference": [cold.first_inference_ns / 1e6 for cold in measurement.cold],
        "steady (median)": [float(np.median(latency_samples(measurement)[0].samples))],
    }


def _band(setting: LatencySamples) -> tuple[int, float, float, float]:
    p10, p50, p90 = np.percentile(setting.samples, [10, 50, 90])
    return setting.threads, float(p10), float(p50), float(p90)


def _percentiles(members: Sequence[Measurement]) -> Block:
    rows = []
    for one in members:
        for setting in latency_samples(one):
            figure = spread(setting.samples)
            # Why a whole measurement is invalid stands above, once; here only what concerns this
            # setting alone.
            reasons = setting.reasons if one.valid else (INVALID,)
            rows.append(
                [
                    Cell(
                        one.artifact,
                        _remark(one, setting, members, reasons),
                        mark="bad" if reasons else "",
                    ),
                    f"{len(setting.samples)} / {len(setting.processes)}",
                    milliseconds(figure["min"]),
                    *(_interval(setting.percentile(q)) for q in (50, 90, 95, 99)),
                    milliseconds(figure["max"]),
                    Cell(
                        milliseconds(figure["mean"]),
                        f"trimmed {milliseconds(figure['trimmed_mean'])}",
                    ),
                    f"{100 * figure['coefficient_of_variation']:.1f}",
                ]
            )
    header = (
        "artifact",
        "samples / processes",
        "min",
        "p50",
        "p90",
        "p95",
        "p99",
        "max",
        "mean",
        "variation %",
    )
    note = (
        "Milliseconds per inference after warm-up. In brackets: 95% intervals, bootstrap over"
        " blocks of neighbouring samples."
    )
    return table("Steady latency, ms", header, rows, note)


def _date(one: Measurement, members: Sequence[Measurement]) -> str:
    """When it was measured, where the artifact was measured more than once; to the second where a
    minute is not enough.
    """
    times = [other.started_utc for other in members if other.artifact == one.artifact]
    if len(times) < 2:
        return ""
    minutes = 16 if sum(time[:16] == one.started_utc[:16] for time in times) == 1 else 19
    return one.started_utc[:minutes].replace("T", " ")


def _name(members: Sequence[Measurement], one: Measurement) -> Cell:
    return Cell(
        one.artifact,
        "; ".join(filter(None, (_date(one, members), "" if one.valid else INVALID))),
        mark="" if one.valid else "bad",
    )


def _remark(
    one: Measurement,
    setting: LatencySamples,
    members: Sequence[Measurement],
    reasons: Sequence[str],
) -> str:
    date = _date(one, members)
    return (
        setting.name
        + (f", {date}" if date else "")
        + (f"; {'; '.join(reasons)}" if reasons else "")
    )


def _interval(figure: Interval) -> Cell:
    if figure.value is None:
        return Cell("–", figure.reason or "")
    if figure.low is None or figure.high is None:
        return Cell(milliseconds(figure.value))
    return Cell(
        milliseconds(figure.value), between(milliseconds(figure.low), milliseconds(figure.high))
    )


def _differences(members: Sequence[Measurement]) -> Block | None:
    rows = [
        [
            Cell(label(one.new, members), one.ours.name),
            _verdict(one.verdict),
            _ratio(one.ratio),
            Cell(
                label(one.old, members),
                (
                    "interleaved"
                    if one.interleaved
                    else "not interleaved: drift between sessions counts too"
                ),
            ),
        ]
        for one in latency_ratios(members)
    ]
    if not rows:
        return None
    note = (
        "Ratio of medians with its own 95% interval; below 1 is faster. A verdict is given where"
        " luck does not explain the difference, all settings of a pair tested together (Holm), as"
        " bench --fail-above does. “No difference shown” is not a proof of equality."
    )
    return table("Differences", ("measured", "verdict", "ratio", "against"), rows, note)


def _ratio(figure: Interval) -> Cell:
    if figure.value is None or figure.low is None or figure.high is None:
        return Cell("–", figure.reason or "")
    return Cell(f"{figure.value:.2f}", between(f"{figure.low:.2f}", f"{figure.high:.2f}"))


def _verdict(words: str) -> Cell:
    text, bracket, span = words.partition(" (")
    return Cell(
        text,
        (bracket + span).strip(),
        mark="good" if text.startswith("faster") else "bad" if text.startswith("slower") else "",
    )


def _cold(members: Sequence[Measurement]) -> Block | None:
    rows = []
    for one in members:
        if not one.cold:
            continue
        cells = []
        for name in ("file_load_ns", "method_load_ns", "first_inference_ns"):
            times = [getattr(cold, name) / 1e6 for cold in one.cold]
            cells.append(
                Cell(
                    milliseconds(float(np.median(times))),
                    between(milliseconds(min(times)), milliseconds(max(times))),
                )
            )
        rows.append([_name(members, one), str(len(one.cold)), *cells])
    if not rows:
        return None
    header = ("artifact", "fresh processes", "map the file", "load the method", "first inference")
    return table(
        "Cold starts, ms", header, rows, "Median, in brackets the range over fresh processes."
    )


def _memory(members: Sequence[Measurement]) -> Block | None:
    rows = [
        [
            _name(members, one),
            *map(
                _bytes,
                (one.memory.peak_rss_bytes, one.memory.pss_bytes, one.memory.baseline_rss_bytes),
            ),
        ]
        for one in members
        if one.memory is not None
    ]
    if not rows:
        return None
    return table(
        "Memory, in a pass of its own",
        ("artifact", "peak resident", "proportional", "before loading"),
        rows,
    )


def _bytes(value: int | None) -> str:
    """A size that a line does not break."""
    return size(value).replace(" ", "\u00a0")
