"""Finds what a report is made of below the paths given, and recognises it by content, never by
name.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from mobilekd.formats.artifact import open_artifact
from mobilekd.formats.comparison import parse_comparison
from mobilekd.formats.evaluation import parse_evaluation, read_evaluation
from mobilekd.formats.measurement import read_measurement
from mobilekd.formats.runs import Run, open_run
from mobilekd.metrics.entries import evaluation_folder
from mobilekd.page.comparisons import comparisons
from mobilekd.page.inputs import Inputs, TrainedRun
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json


def collect(paths: Sequence[Path]) -> Inputs:
    """Look through files and folders; a path that does not exist, or holds nothing known, is a
    ``UserError``.
    """
    inputs = Inputs()
    seen: set[Path] = set()
    for path in map(Path, paths):
        if str(path).startswith("reference:"):
            _add_run(inputs, open_run(str(path)))
            continue
        if not path.exists():
            raise UserError(f"{path}: no such run, artifact, measurement or folder; check the path")
        if path.is_file() and not _add_file(inputs, path, seen):
            raise UserError(
                f"{path}: neither a measurement nor an evaluation or comparison; give those, runs,"
                " artifacts, or folders of them"
            )
        if path.is_dir():
            _add_folder(inputs, path, seen)
    if inputs.empty():
        raise UserError(
            f"{paths[0] if paths else 'report'}: no run, artifact, measurement, evaluation or"
            " comparison found; check the path"
        )
    inputs.runs.sort(key=lambda one: (one.run.info.is_control, one.name))
    inputs.artifacts.sort(
        key=lambda one: (one.manifest.name, one.manifest.backend, one.manifest.precision)
    )
    inputs.measurements.sort(
        key=lambda one: (one.device.id, one.via, one.artifact, one.started_utc)
    )
    inputs.comparisons = comparisons(inputs.runs, inputs.comparisons)
    return inputs


def _add_folder(inputs: Inputs, folder: Path, seen: set[Path]) -> None:
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    if (folder / "run.json").is_file():
        _add_run(inputs, open_run(folder))
        for file in sorted(folder.glob("evaluation-*/metrics.json")):
            _add_file(inputs, file, seen)
        return
    if (folder / "manifest.json").is_file():
        inputs.artifacts.append(open_artifact(folder))
        return
    for child in _children(folder):
        if child.is_dir():
            _add_folder(inputs, child, seen)
        elif child.suffix == ".json" and not _add_file(inputs, child, seen):
            inputs.ignored.append(child.name)


def _children(folder: Path) -> Iterator[Path]:
    return (child for child in sorted(folder.iterdir()) if not child.name.startswith("."))


def _add_run(inputs: Inputs, run: Run) -> None:
    log, metrics = run.folder / "metrics.jsonl", evaluation_folder(run) / "metrics.json"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    evaluation = read_evaluation(metrics) if metrics.exists() else None
    if any(one.run.folder.resolve() == run.folder.resolve() for one in inputs.runs):
        return
    inputs.runs.append(TrainedRun(run, tuple(json.loads(line) for line in lines), evaluation))
    # A student is always shown beside its control.
    control = run.folder.parent / run.info.control if run.info.control else None
    if control is not None and (control / "run.json").is_file():
        _add_run(inputs, open_run(control))


def _add_file(inputs: Inputs, path: Path, seen: set[Path]) -> bool:
    """Add a JSON file if it is something known; a measurement that is broken is an error, not
    something else.
    """
    if path.resolve() in seen:
        return True
    seen.add(path.resolve())
    document = read_json(path, "JSON file")
    if not isinstance(document, dict):
        return False
    if {"artifact_sha256", "golden", "device"} <= document.keys():
        inputs.measurements.append(read_measurement(path))
    elif document.get("kind") == "evaluation":
        inputs.evaluations.append(parse_evaluation(document, str(path)))
    elif document.get("kind") == "comparison":
        inputs.comparisons.append(parse_comparison(document, str(path)))
    else:
        return document.get("kind") == "report"  # an earlier page's figures are no input
    return True
