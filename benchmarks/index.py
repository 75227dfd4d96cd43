"""Make ``benchmarks/README.md`` from the results as data: ``python benchmarks/index.py
[--check]``.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from mobilekd.formats.measurement import Measurement, Series, read_measurement
from mobilekd.support.errors import UserError

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
LEAKY = ", LEAKY (split by photograph)"
HEAD = """# Benchmarks

Made by `python benchmarks/index.py` from [`results/`](results); do not edit. How it is measured: \
[protocol.md](protocol.md).
How you add your phone: [phone.md](phone.md). Two devices ran the same model only where the first
digits of its SHA-256 (model file) are the same.

"""


def measurements() -> dict[Path, Measurement]:
    """Every measurement below ``results``; an emulated one is refused."""
    found = {}
    for path in sorted(RESULTS.glob("*/*.json")):
        if "golden" not in json.loads(path.read_text(encoding="utf-8")):
            continue
        measurement = read_measurement(path)
        if measurement.device.emulated:
            raise UserError(
                f"{path}: measured under emulation, which is no latency; take it out of"
                " benchmarks/results"
            )
        found[path] = measurement
    return found


def settings(measurement: Measurement) -> dict[tuple[int, str], list[Series]]:
    """Series by threads and cores, over the rounds."""
    found: dict[tuple[int, str], list[Series]] = {}
    for series in measurement.series:
        found.setdefault((series.threads_asked, series.cores), []).append(series)
    return found


def row(path: Path, measurement: Measurement, setting: tuple[int, str], group: list[Series]) -> str:
    """One line of the table; percentiles are over all processes of the setting."""
    samples = (
        np.concatenate(
            [np.array(series.samples_ns) for series in group if series.valid] or [np.array([])]
        )
        / 1e6
    )
    figures = (
        [f"{np.percentile(samples, q):.2f}" for q in (50, 90, 99)] if len(samples) else ["none"] * 3
    )
    spread = [float(np.median(series.samples_ns)) / 1e6 for series in group if series.valid]
    threads, cores = setting
    where = f"{threads}" + ("" if cores == "all" else f" on cores {cores}")
    reasons = dict.fromkeys(
        (*measurement.reasons, *(reason for series in group for reason in series.reasons))
    )
    processes = f"{min(spread):.2f} to {max(spread):.2f}" if spread else "none"
    name = f"[{measurement.artifact}]({path.relative_to(HERE).as_posix()})"
    model, day = f"`{measurement.artifact_sha256[:8]}`", measurement.started_utc[:10]
    counts = f"{len(samples)} | {'; '.join(reasons) or 'yes'}"
    return (
        f"| {name} | {model} | {day} | {measurement.via} | {where} | {' | '.join(figures)} |"
        f" {processes} | {counts} |"
    )


def about(document: dict) -> str:
    """One line on another result: its own words, or what can be told from what it is."""
    if "what" in document:
        return str(document["what"])
    if document.get("kind") == "comparison":
        groups = ", ".join(dict.fromkeys(group["name"] for group in document["groups"]))
        return (
            f"students beside their controls, paired, {document['photographs']}"
            f" photographs{LEAKY * document['leaky']}: {groups}"
        )
    if isinstance(document.get("test"), dict) and "metrics" in document["test"]:
        score, leaky = (
            document["test"]["metrics"]["balanced_accuracy"],
            document["run"]["split_by"] == "photograph",
        )
        figure = f"{score['value']:.3f} ({score['low']:.3f} to {score['high']:.3f})"
        return f"a run, its recipe and its test split{LEAKY * leaky}: balanced accuracy {figure}"
    if "weights_sha256" in document and "labels" in document:
        return (
            f"a teacher, {document['model']}, as it was"
            f" trained{LEAKY * (document['split_by'] == 'photograph')}"
        )
    return ""


def page() -> str:
    """The whole page."""
    parts = [HEAD, "## Latency per device, milliseconds\n"]
    by_device: dict[str, list[tuple[Path, Measurement]]] = {}
    for path, measurement in measurements().items():
        by_device.setdefault(measurement.device.id, []).append((path, measurement))
    if not by_device:
        parts.append("Nothing measured yet.\n")
    for members in by_device.values():
        device = members[0][1].device
        names = [device.maker, device.model, "" if device.soc == device.model else device.soc]
        parts.append(
            f"### {' '.join(name for name in names if name)}, {device.cores} cores, {device.os},"
            f" {device.abi}\n"
        )
        parts.append(
            "| artifact | model file | measured | via | threads | p50 | p90 | p99 | medians of"
            " processes | samples | valid |\n|---|---|---|---|---|---|---|---|---|---|---|"
        )
        for path, measurement in members:
            parts += [
                row(path, measurement, setting, group)
                for setting, group in sorted(settings(measurement).items())
            ]
        parts.append("")
    parts.append("## Other results\n")
    for path in sorted(RESULTS.rglob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(document, dict) and "golden" in document:
            continue
        what = about(document) if isinstance(document, dict) else ""
        command = document.get("command", "") if isinstance(document, dict) else ""
        line = f"- [{path.relative_to(RESULTS).as_posix()}]({path.relative_to(HERE).as_posix()})"
        parts.append(line + (f": {what}" if what else "") + (f" (`{command}`)" if command else ""))
    return "\n".join(parts).rstrip() + "\n"


def main() -> None:
    """Write the page, or say whether it is what the results give."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check",
        action="store_true",
        help="exit with 1 where the page is not what the results give",
    )
    arguments = parser.parse_args()
    target = HERE / "README.md"
    if arguments.check:
        sys.exit(
            0
            if target.exists() and target.read_text(encoding="utf-8") == page()
            else "benchmarks/README.md: run benchmarks/index.py"
        )
    target.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
