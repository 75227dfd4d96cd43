"""Finds what a report is made of below the paths given, and recognises it by content, never by
name.

What was named itself and is broken is refused; what merely lies in a folder is left out and said,
on the terminal and on the page.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from mobilekd.formats.artifact import Artifact, open_artifact
from mobilekd.formats.comparison import Comparison
from mobilekd.formats.evaluation import Evaluation, read_evaluation
from mobilekd.formats.layer_errors import LayerErrors, read_layer_errors
from mobilekd.formats.measurement import Measurement
from mobilekd.formats.results import Result, read_result
from mobilekd.formats.runs import Run, on_command_line, open_run
from mobilekd.formats.training_log import read_training_log
from mobilekd.page.comparisons import comparisons
from mobilekd.page.inputs import Inputs, TrainedRun
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say
from mobilekd.support.text import listed, visible

Opened = TypeVar("Opened")
#: Folders nest no deeper than this; a deeper one is a mistake.
DEEPEST = 40


@dataclass(eq=False)
class _Places:
    """Where things lie; each path with whether it was named itself."""

    runs: dict[str, bool] = field(default_factory=dict)
    artifacts: dict[Path, bool] = field(default_factory=dict)
    files: dict[Path, bool] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)


def collect(paths: Sequence[Path]) -> Inputs:
    """Look through files and folders; a path that does not exist, or holds nothing known, is a
    ``UserError``.
    """
    places = _Places()
    for path in map(Path, paths):
        _look(places, path)
    runs = _runs(places)
    artifacts = _artifacts(places)
    results, ignored = _results(places)
    if not (runs or artifacts or results):
        broken = f"; {places.left_out[0]}" if places.left_out else ""
        raise UserError(
            f"{paths[0] if paths else 'report'}: no run, artifact, measurement, evaluation or"
            f" comparison found{broken}; check the path"
        )
    measurements = [one for one in results if isinstance(one, Measurement)]
    evaluations = [one for one in results if isinstance(one, Evaluation)]
    given = [one for one in results if isinstance(one, Comparison)]
    shown = comparisons(runs, given, places.left_out)
    for line in places.left_out:
        say(f"report: left out: {visible(line)}")
    if ignored:
        say(f"report: {len(ignored)} other JSON files left aside: {visible(', '.join(ignored))}")
    return Inputs(
        runs=tuple(sorted(runs, key=lambda one: (one.run.info.is_control, one.name))),
        artifacts=tuple(
            sorted(
                artifacts,
                key=lambda one: (one.manifest.name, one.manifest.backend, one.manifest.precision),
            )
        ),
        layer_errors=_layer_errors(places, artifacts),
        measurements=tuple(
            sorted(
                measurements,
                key=lambda one: (one.device.id, one.via, one.artifact, one.started_utc),
            )
        ),
        evaluations=tuple(evaluations),
        comparisons=tuple(shown),
        ignored=tuple(ignored),
        left_out=tuple(places.left_out),
    )


def _look(places: _Places, path: Path) -> None:
    """Note what a path given by the user is, or holds."""
    if str(path).startswith("reference:"):
        places.runs.setdefault(str(path), True)
        return
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise UserError(f"{path}: cannot be looked at ({error.strerror}); check the path") from None
    if not exists:
        raise UserError(f"{path}: no such run, artifact, measurement or folder; check the path")
    if is_folder:
        _look_into(places, path, named=True)
    else:
        places.files[path] = True


def _look_into(places: _Places, folder: Path, *, named: bool = False, depth: int = 0) -> None:
    if folder.resolve() in places.seen:
        return
    places.seen.add(folder.resolve())
    if (folder / "run.json").is_file():
        places.runs.setdefault(str(folder), named)
        for file in sorted(folder.glob("evaluation-*/metrics.json")):
            places.files.setdefault(file, False)
        return
    if (folder / "manifest.json").is_file():
        places.artifacts.setdefault(folder, named)
        return
    if (folder / "checkpoint.pt").is_file():
        places.left_out.append(
            f"{folder}: a run that is not finished; mobilekd distill {on_command_line(folder)}"
            " --resume goes on with it"
        )
        return
    try:
        children = sorted(child for child in folder.iterdir() if not child.name.startswith("."))
    except OSError as error:
        places.left_out.append(f"{folder}: cannot be read ({error.strerror}); allow reading it")
        return
    if depth > DEEPEST:
        places.left_out.append(f"{folder}: nested over {DEEPEST} folders deep; name it itself")
        return
    for child in children:
        if child.is_dir():
            _look_into(places, child, depth=depth + 1)
        elif child.suffix.lower() == ".json":
            places.files.setdefault(child, False)


def _attempt(read: Callable[[], Opened], named: bool, left_out: list[str]) -> Opened | None:
    """What ``read`` gives; a refusal stands where the thing was named itself, else it is noted."""
    try:
        return read()
    except UserError as error:
        if named:
            raise
        left_out.append(str(error))
        return None


def _artifacts(places: _Places) -> list[Artifact]:
    attempts = (
        _attempt(partial(open_artifact, folder), named, places.left_out)
        for folder, named in places.artifacts.items()
    )
    return [artifact for artifact in attempts if artifact is not None]


def _layer_errors(places: _Places, artifacts: Sequence[Artifact]) -> dict[Path, LayerErrors]:
    """Tables of layers' errors, of the artifacts that have one."""
    attempts = {
        one.folder: _attempt(
            partial(read_layer_errors, one.folder), places.artifacts[one.folder], places.left_out
        )
        for one in artifacts
    }
    return {folder: found for folder, found in attempts.items() if found is not None}


def _runs(places: _Places) -> list[TrainedRun]:
    """The runs with what lies beside their weights, and the controls that they name: a student is
    always shown beside its control.
    """
    opened: dict[Path, TrainedRun | None] = {}
    waiting = list(places.runs.items())
    for name, named in waiting:  # grows as controls are found
        run = _attempt(partial(open_run, name), named, places.left_out)
        if run is None or run.folder.resolve() in opened:
            continue
        trained = _attempt(partial(_trained, run), named, places.left_out)
        opened[run.folder.resolve()] = trained
        control = run.info.control
        if trained is not None and control and (run.folder.parent / control / "run.json").is_file():
            waiting.append((str(run.folder.parent / control), False))
    runs = [trained for trained in opened.values() if trained is not None]
    here = {one.name for one in runs}
    alone = [one.name for one in runs if one.run.info.control and one.run.info.control not in here]
    if alone:
        places.left_out.append(
            f"the controls of {len(alone)} students are not here, so no difference to them is"
            f" shown: {listed(alone)}"
        )
    return runs


def _trained(run: Run) -> TrainedRun:
    metrics = run.evaluation_folder / "metrics.json"
    evaluation = read_evaluation(metrics) if metrics.exists() else None
    if evaluation is not None and evaluation.data.split_hash != run.info.split_hash:
        raise UserError(
            f"{metrics}: judged on split {evaluation.data.split_hash[:12]}, the run has"
            f" {run.info.split_hash[:12]}; evaluate again"
        )
    return TrainedRun(run, read_training_log(run.folder / "metrics.jsonl"), evaluation)


def _results(places: _Places) -> tuple[list[Result], list[str]]:
    """Every result file once, and the names of the JSON files that are none."""
    results: dict[Path, Result] = {}
    ignored = []
    for path, named in places.files.items():
        if path.resolve() in results:
            continue
        before = len(places.left_out)
        result = _attempt(partial(read_result, path), named, places.left_out)
        if result is not None and not isinstance(result, str):
            if result in results.values():
                places.left_out.append(f"{path}: the same result as in another file here")
            else:
                results[path.resolve()] = result
        elif named:
            raise UserError(
                f"{path}: neither a measurement nor an evaluation or comparison; give those, runs,"
                " artifacts, or folders of them"
            )
        elif result != "report" and len(places.left_out) == before:
            ignored.append(path.name)  # an earlier page's figures are no input and no surprise
    return list(results.values()), ignored
