"""What ``bench`` prints: a table of latencies, and in words where there is none. Loaded by that
command alone, so that no other waits for it.
"""

import statistics
from collections.abc import Sequence

from mobilekd.cli.text import table
from mobilekd.figures.tables import milliseconds
from mobilekd.formats.measurement import Measurement
from mobilekd.page.latency_samples import latency_samples


def latencies(measurements: list[Measurement], not_measured: Sequence[tuple[str, str]] = ()) -> str:
    """A row per artifact and setting; in words where there is no latency to show, and a row for
    each phone that was not measured.
    """
    header = (
        "ARTIFACT",
        "DEVICE",
        "THREADS",
        "P50 MS",
        "95% INTERVAL",
        "P95 MS",
        "COLD MS",
        "SAMPLES",
        "",
    )
    several = len({item.device.id for item in measurements}) + len(not_measured) > 1
    rows, words = [], []
    for item in measurements:
        rows += _settings(item)
        if latency_samples(item):
            continue
        answers = _answers(item)
        if several:
            rows.append((item.artifact, item.device.id, *[""] * 6, answers))
        else:
            words.append(f"{item.artifact} on {item.device.id}: {answers}")
    rows += [("", name, *[""] * 6, f"NOT MEASURED: {why}") for name, why in not_measured]
    return "\n\n".join(
        part for part in (table(header, rows) if rows else "", "\n".join(words)) if part
    )


def _settings(item: Measurement) -> list[tuple[str, ...]]:
    """A row for every setting of one measurement."""
    rows = []
    for setting in latency_samples(item):
        middle, where = (
            setting.percentile(50),
            f"{setting.threads}" + ("" if setting.cores == "all" else f" on {setting.cores}"),
        )
        span = (
            f"{milliseconds(middle.low)} to {milliseconds(middle.high)}"
            if middle.low and middle.high
            else ""
        )
        times = [
            milliseconds(middle.value or 0),
            span,
            milliseconds(setting.percentile(95).value or 0),
        ]
        colds = [
            cold.file_load_ns + cold.method_load_ns + cold.first_inference_ns
            for cold in item.cold
            if cold.threads == setting.threads
        ]
        doubt = "; ".join(item.reasons or setting.reasons)
        counts = f"{len(setting.samples)} in {len(setting.processes)} processes"
        cold = milliseconds(statistics.median(colds) / 1e6) if colds else ""
        rows.append(
            (
                item.artifact,
                item.device.id,
                where,
                *times,
                cold,
                counts,
                f"INVALID: {doubt}" if doubt else "",
            )
        )
    return rows


def _answers(item: Measurement) -> str:
    """What a measurement without a latency says, in words."""
    golden = item.golden
    if not golden.passed:
        return f"WRONG ANSWERS: {golden.detail}"
    passes = f" in each of {len(golden.passes)} passes" if len(golden.passes) > 1 else ""
    right = (
        f"all {golden.samples} golden pictures answered rightly{passes} (largest error"
        f" {golden.max_error or 0:.2g})"
    )
    if not item.valid:
        return f"INVALID: {'; '.join(item.reasons)}"
    return f"{right}; emulated, so its times are no latency"
