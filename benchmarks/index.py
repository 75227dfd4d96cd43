"""Make ``benchmarks/README.md`` from the results as data: ``python benchmarks/index.py
[--check]``.
"""

import argparse
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.formats.measurement import Measurement, Series, read_measurement, thread_words
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
LEAKY = ", LEAKY (split by photograph)"
HEAD = """# Benchmarks

Made by `python benchmarks/index.py` from [`results/`](results) and [studies.toml](studies.toml); do
not edit. How it is measured: [protocol.md](protocol.md). How you add your phone:
[phone.md](phone.md). LesionNet's design has [a page of its own](student_design/README.md).
"""
LATENCY = """## Latency by device

Medians in milliseconds over all processes of a setting; all percentiles, cold starts and doubts are
in the files and in `mobilekd report benchmarks/results/DEVICE`. Two devices ran the same model only
where the first digits of its SHA-256 (in brackets) are the same.

| device | measured | artifacts |
|---|---|---|"""
STUDIES = """## Studies

| study | what it is | what came out | files | made by |
|---|---|---|---|---|"""


@dataclass(frozen=True)
class Study:
    """One row of the second table."""

    title: str
    files: tuple[str, ...]
    page: str = ""


def measurements() -> dict[Path, Measurement]:
    """Every measurement below ``results``; an emulated one is refused."""
    read = {}
    for path in sorted(RESULTS.glob("*/*.json")):
        if "golden" not in read_json(path, "result"):
            continue
        measurement = read_measurement(path)
        if measurement.device.emulated:
            raise UserError(
                f"{path}: measured under emulation, which is no latency; take it out of"
                " benchmarks/results"
            )
        read[path] = measurement
    return read


def settings(measurement: Measurement) -> dict[tuple[int, str], list[Series]]:
    """Series by threads and cores, over the rounds."""
    groups: dict[tuple[int, str], list[Series]] = {}
    for series in measurement.series:
        groups.setdefault((series.threads_asked, series.cores), []).append(series)
    return groups


def device_row(members: dict[Path, Measurement]) -> str:
    """A device's line: its artifacts with the median of every setting."""
    device = next(iter(members.values())).device
    names = [device.maker, device.model, "" if device.soc == device.model else device.soc]
    facts = (" ".join(filter(None, names)), f"{device.cores} cores", device.os, device.abi)
    days = sorted({measurement.started_utc[:10] for measurement in members.values()})
    artifacts = "<br>".join(artifact_cell(path, one) for path, one in members.items())
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    return f"| {', '.join(filter(None, facts))} | {when} | {artifacts} |"


def artifact_cell(path: Path, measurement: Measurement) -> str:
    """An artifact's name, model and medians; what is invalid has its reasons instead."""
    medians = [
        f"{median(group)} ({thread_words(threads)}{'' if cores == 'all' else f' on cores {cores}'})"
        for (threads, cores), group in sorted(settings(measurement).items())
    ]
    reasons = dict.fromkeys(
        (*measurement.reasons, *(why for series in measurement.series for why in series.reasons))
    )
    link = f"[{measurement.artifact}]({path.relative_to(HERE).as_posix()})"
    doubts = f"; not valid: {'; '.join(reasons)}" if reasons else ""
    return (
        f"{link} (`{measurement.artifact_sha256[:8]}`, {measurement.via}): {', '.join(medians)}"
        f"{doubts}"
    )


def median(group: list[Series]) -> str:
    """Milliseconds over the valid processes of a setting."""
    samples = [sample for series in group if series.valid for sample in series.samples_ns]
    return f"{np.median(samples) / 1e6:.2f}" if samples else "none"


def studies() -> list[Study]:
    """What ``studies.toml`` lists."""
    document = tomllib.loads((HERE / "studies.toml").read_text(encoding="utf-8"))
    return [
        Study(entry["title"], tuple(entry["files"]), entry.get("page", ""))
        for entry in document.get("study", ())
    ]


def assigned(plan: list[Study], files: list[Path]) -> dict[str, list[Path]]:
    """Each study's files, in the order of its patterns.

    Raises:
        UserError: where a file belongs to no study or to two, or a study has none.
    """
    owner: dict[Path, str] = {}
    members: dict[str, list[Path]] = {}
    for study in plan:
        chosen = dict.fromkeys(
            path
            for pattern in study.files
            for path in files
            if fnmatch(path.relative_to(RESULTS).as_posix(), pattern)
        )
        if not chosen:
            raise UserError(f"studies.toml: {study.title}: no result has such a name")
        for path in chosen:
            if path in owner:
                raise UserError(f"{path}: belongs to two studies, {owner[path]} and {study.title}")
            owner[path] = study.title
        members[study.title] = list(chosen)
    without = [path for path in files if path not in owner]
    if without:
        raise UserError(
            f"{without[0]}: belongs to no study ({len(without)} such files); list it in"
            " benchmarks/studies.toml"
        )
    return members


def study_row(study: Study, files: list[Path]) -> str:
    """A study's line."""
    documents = [read_json(path, "result") for path in files]
    title = f"[{study.title}]({study.page})" if study.page else study.title
    first = documents[0]
    command = f"`{first['command']}`" if first.get("command") else ""
    link = f"[{files[0].relative_to(RESULTS).as_posix()}]({files[0].relative_to(HERE).as_posix()})"
    count = f"{link}{f' and {len(files) - 1} more' if len(files) > 1 else ''}"
    # A bar would end the cell.
    cells = (title, about(first), outcome(documents), count, command)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def about(document: dict[str, Any]) -> str:
    """A result in its own words, or what can be told from what it is."""
    if "what" in document:
        return str(document["what"])
    if document.get("kind") == "comparison":
        return f"students beside their controls, paired, {document['photographs']} photographs"
    if "weights_sha256" in document and "labels" in document:
        return "teachers as they were trained"
    return ""


def outcome(documents: list[dict[str, Any]]) -> str:
    """The range of balanced accuracy over the runs, marked where the split leaks."""
    scores, leaky = [], False
    for document in documents:
        if isinstance(document.get("test"), dict) and "metrics" in document["test"]:
            scores.append(document["test"]["metrics"]["balanced_accuracy"]["value"])
            leaky |= document["run"]["split_by"] == "photograph"
        leaky |= document.get("split_by") == "photograph" or document.get("leaky") is True
    if not scores:
        return LEAKY.removeprefix(", ") if leaky else ""
    runs = f"{len(scores)} run{'' if len(scores) == 1 else 's'}"
    spread = " to ".join(dict.fromkeys(f"{score:.3f}" for score in (min(scores), max(scores))))
    return f"{runs}, balanced accuracy {spread}{LEAKY * leaky}"


def page() -> str:
    """The whole page."""
    measured = measurements()
    by_device: dict[str, dict[Path, Measurement]] = {}
    for path, measurement in measured.items():
        by_device.setdefault(measurement.device.id, {})[path] = measurement
    parts = [HEAD, LATENCY, *map(device_row, by_device.values())]
    if not by_device:
        parts.append("| none yet | | |")
    others = [path for path in sorted(RESULTS.rglob("*.json")) if path not in measured]
    plan = studies()
    members = assigned(plan, others)
    parts += ["", STUDIES, *(study_row(study, members[study.title]) for study in plan)]
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
