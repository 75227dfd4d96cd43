"""What a report is made of, found below the paths given and recognised by content, never by
name.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilekd.formats.artifact import Artifact, open_artifact
from mobilekd.formats.measurement import Measurement, read_measurement
from mobilekd.formats.runs import Run, open_run
from mobilekd.metrics.entries import evaluation_folder
from mobilekd.support.errors import UserError
from mobilekd.support.files import read_json


@dataclass(frozen=True, eq=False)
class Trained:
    """A run with what it left beside its weights."""

    run: Run
    epochs: tuple[dict[str, Any], ...]  # lines of metrics.jsonl
    evaluation: dict[str, Any] | None  # of its own test split

    @property
    def name(self) -> str:
        """The run's name."""
        return self.run.info.name


@dataclass(eq=False)
class Material:
    """Everything found."""

    runs: list[Trained] = field(default_factory=list)
    artifacts: list[Artifact] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    # of artifacts, and of runs on other data
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    comparisons: list[dict[str, Any]] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)  # files that are none of these

    def empty(self) -> bool:
        """Nothing to report."""
        return not (
            self.runs or self.artifacts or self.measurements or self.evaluations or self.comparisons
        )


def collect(paths: Sequence[Path]) -> Material:
    """Look through files and folders; a path that does not exist, or holds nothing known, is a
    ``UserError``.
    """
    material = Material()
    seen: set[Path] = set()
    for path in map(Path, paths):
        if str(path).startswith("reference:"):
            _add_run(material, open_run(str(path)))
            continue
        if not path.exists():
            raise UserError(f"{path}: no such run, artifact, measurement or folder; check the path")
        if path.is_file() and not _add_file(material, path, seen):
            raise UserError(
                f"{path}: neither a measurement nor an evaluation or comparison; give those, runs,"
                " artifacts, or folders of them"
            )
        if path.is_dir():
            _add_folder(material, path, seen)
    if material.empty():
        raise UserError(
            f"{paths[0] if paths else 'report'}: no run, artifact, measurement, evaluation or"
            " comparison found; check the path"
        )
    material.runs.sort(key=lambda one: (one.run.info.is_control, one.name))
    material.artifacts.sort(
        key=lambda one: (one.manifest.name, one.manifest.backend, one.manifest.precision)
    )
    material.measurements.sort(
        key=lambda one: (one.device.id, one.via, one.artifact, one.started_utc)
    )
    return material


def _add_folder(material: Material, folder: Path, seen: set[Path]) -> None:
    if folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    if (folder / "run.json").is_file():
        _add_run(material, open_run(folder))
        for file in sorted(folder.glob("evaluation-*/metrics.json")):
            _add_file(material, file, seen)
        return
    if (folder / "manifest.json").is_file():
        material.artifacts.append(open_artifact(folder))
        return
    for child in _children(folder):
        if child.is_dir():
            _add_folder(material, child, seen)
        elif child.suffix == ".json" and not _add_file(material, child, seen):
            material.ignored.append(child.name)


def _children(folder: Path) -> Iterator[Path]:
    return (child for child in sorted(folder.iterdir()) if not child.name.startswith("."))


def _add_run(material: Material, run: Run) -> None:
    log, judged = run.folder / "metrics.jsonl", evaluation_folder(run) / "metrics.json"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    evaluation = read_json(judged, "evaluation") if judged.exists() else None
    if any(one.run.folder.resolve() == run.folder.resolve() for one in material.runs):
        return
    material.runs.append(Trained(run, tuple(json.loads(line) for line in lines), evaluation))
    # A student is always shown beside its control.
    control = run.folder.parent / run.info.control if run.info.control else None
    if control is not None and (control / "run.json").is_file():
        _add_run(material, open_run(control))


def _add_file(material: Material, path: Path, seen: set[Path]) -> bool:
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
        material.measurements.append(read_measurement(path))
    elif document.get("kind") == "evaluation":
        material.evaluations.append(document)
    elif document.get("kind") == "comparison":
        material.comparisons.append(document)
    else:
        return document.get("kind") == "report"  # an earlier page's figures are no input
    return True
