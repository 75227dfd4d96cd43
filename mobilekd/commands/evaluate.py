"""``mobilekd evaluate``: the same numbers for an eager student and for an artifact, through one
code path.

On its own test split, or on any other labelled data: there classes are mapped explicitly, and
photographs that trained or calibrated the student are left out and counted.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd import figures
from mobilekd.data import pictures
from mobilekd.formats.data_tables import DataTable, as_data_table
from mobilekd.formats.evaluation import Evaluation, parse_evaluation
from mobilekd.formats.guard import OUTSIDE
from mobilekd.formats.integrity import file_hashes, sealed
from mobilekd.formats.interval import Interval
from mobilekd.formats.runs import newest_run
from mobilekd.inference.evaluation_set import EvaluationSet
from mobilekd.inference.other_data import (
    EvaluatedPhotographs,
    check_named,
    load_named,
    other_data,
    own_data,
)
from mobilekd.inference.predictor import Predictor, open_predictor
from mobilekd.metrics import metrics
from mobilekd.metrics.calibrate import softmax
from mobilekd.metrics.guard import refused_share
from mobilekd.metrics.predictions import TABLES, Predictions, write_origins, write_predictions
from mobilekd.metrics.shapes import (
    by_origin,
    confusion_matrix,
    coverage_by_class,
    reliability_bins,
    risk_coverage_points,
    subgroups,
)
from mobilekd.metrics.skin_tone import skin_tones
from mobilekd.support.errors import UserError
from mobilekd.support.files import check_replaced, new_folder, write_json, write_text
from mobilekd.support.lock import locked
from mobilekd.support.progress import say
from mobilekd.support.provenance import commit, utc_now, versions
from mobilekd.support.words import counted

#: The teachers' answers to the test split, in a run's folder.
TEACHER_LOGITS = "teacher_logits.safetensors"


def evaluate(
    target: str | Path | None = None,
    *,
    data: DataTable | Mapping[str, Any] | None = None,
    root: str | Path | None = None,
    mapping: Mapping[str, str] | None = None,
    output: Path | None = None,
    runs: Path = Path("runs"),
) -> dict[str, Any]:
    """Judge a run, ``reference:NAME`` or an artifact; returns what ``metrics.json`` holds. None
    takes the newest run, else the default reference, and says so.

    Without ``data`` on the test split of the recipe, whose photographs may lie below another
    ``root`` by now; else on all labelled photographs of ``data`` with classes mapped by
    ``mapping`` (theirs to ours); ``data`` is a recipe's table, or its keys as a dictionary:
    ``{"kind": "folder", "root": "photographs"}``. Data that prove to be its own, by what they hold,
    are its own wherever they lie: then the test split alone judges. Writes metrics.json,
    predictions.csv and figures to ``output``: by default inside a run, and below
    ``results/evaluations`` for what is not to be written to. A run is held until the end, so that
    nobody trains in it meanwhile.
    """
    if target is None:
        target = newest_run(runs).name
        say(f"evaluate: the newest run, {target}")
    if output is not None:
        check_replaced(output, "metrics.json")
    if data is not None:
        data = as_data_table(data)
        check_named(data)
    predictor = open_predictor(target, runs)
    with _held(predictor, writes=output is None):
        return _evaluate(predictor, data, root, mapping, output)


def _held(predictor: Predictor, *, writes: bool) -> AbstractContextManager[None]:
    """A run's lock; artifacts and references are only read, by whomever."""
    if predictor.kind != "run":
        return nullcontext()
    return locked(predictor.folder, f"evaluate {predictor.name}", shared=not writes)


def _evaluate(
    predictor: Predictor,
    data: DataTable | None,
    root: str | Path | None,
    mapping: Mapping[str, str] | None,
    output: Path | None,
) -> dict[str, Any]:
    if data is None and root is not None:
        data = moved(predictor.recipe.data, Path(root))
    judged = _test_split(predictor) if data is None else _given(predictor, data, mapping or {})
    count = counted(len(judged.ids), "photograph")
    say(f"evaluate: {predictor.name} on {count} of {judged.dataset.kind}")
    rows = judged.dataset.rows(judged.ids)
    photographs = pictures(judged.dataset, judged.ids, predictor.preprocess)
    given = predictor.answers(photographs)
    answers = Predictions(
        keys=tuple(label.key for label in predictor.labels),
        ids=judged.ids,
        lesions=tuple(judged.dataset.lesions[row] for row in rows),
        truth=judged.dataset.targets[rows],
        probabilities=given.probabilities,
    )
    missing = _no_teacher(predictor, judged)
    teacher = None if missing else _teacher(predictor, judged, answers)
    document = _document(predictor, judged, answers, teacher, skin_tones(photographs))
    if given.outside is not None:
        say(
            f"evaluate: the guard refuses {int(given.outside.sum())} of {len(given.outside)}"
            f" photographs ({OUTSIDE}); the figures count them all"
        )
        refused = refused_share(given.outside, answers.lesions)
        document["metrics"]["outside"] = refused.model_dump()
    if missing:
        document["metrics"]["teacher_agreement"] = Interval(value=None, reason=missing).model_dump()
    with new_folder(output or _place(predictor, judged), replace=True) as folder:
        write_predictions(folder / "predictions.csv", answers)
        if any(origins := [judged.dataset.origins[row] for row in rows]):
            write_origins(folder / "origins.csv", answers.ids, origins)
        if teacher is not None:
            write_predictions(folder / "teacher_predictions.csv", teacher)
        for name, chart in _charts(parse_evaluation(document, "evaluate")).items():
            write_text(folder / f"{name}.svg", chart.svg(alone=True))
        tables = file_hashes(folder, TABLES)
        document = sealed({**document, "files": tables})
        write_json(folder / "metrics.json", document)
    return document


def _place(predictor: Predictor, judged: EvaluatedPhotographs) -> Path:
    """Inside a run, but nowhere inside an artifact or the installed package."""
    ending = "" if judged.role == "test" else f"-{judged.dataset.kind}"
    if predictor.kind == "run":
        return predictor.folder / f"evaluation{ending}"
    return Path("results") / "evaluations" / f"{predictor.folder.name}{ending}"


def _test_split(predictor: Predictor) -> EvaluatedPhotographs:
    """The recipe's own test photographs. A split that is not at hand is made again and must have
    the recorded hash.
    """
    try:
        own = own_data(predictor)
    except UserError as error:
        problem, _, last = str(error).rpartition("; ")
        if not problem or "data." not in last:  # what a recipe would do about it is no remedy here
            problem = str(error)
        raise UserError(
            f"{problem}; --root says where they lie now, --data names other photographs"
        ) from None
    return _of_split(predictor, own, overlap=0)


def _of_split(predictor: Predictor, own: EvaluationSet, overlap: int) -> EvaluatedPhotographs:
    """Its own test split, of which it has seen nothing; ``overlap`` photographs were left out."""
    rows = own.dataset.rows(own.split.test)
    ids = tuple(
        name
        for name, row in zip(own.split.test, rows, strict=True)
        if own.dataset.targets[row] >= 0
    )
    if not ids:
        raise UserError(
            f"{predictor.name}: its test split is empty; evaluate on other photographs with --data"
        )
    left_out = {
        "unlabelled": len(own.split.test) - len(ids),
        "unmapped": {},
        "overlap": overlap,
    }
    leaky = predictor.recipe.split.by == "photograph"
    return EvaluatedPhotographs(own.dataset, ids, "test", left_out, leaky)


def moved(table: DataTable, root: Path) -> DataTable:
    """The same data below another root; files of it that lay below the old one, or beside it and
    are no longer there, have moved, too. Several sources have moved together, from the folder that
    held them all.
    """
    if table.sources:
        try:
            old = Path(
                os.path.commonpath([place for one in table.sources if (place := _base(one))])
            )
        except ValueError:  # none, or on different drives
            raise UserError(
                f"--root {root}: the data come from several folders that have none in common; name"
                " photographs with --data"
            ) from None
        sources = [
            moved(source, root / Path(place).relative_to(old))
            if (place := _base(source))
            else source
            for source in table.sources
        ]
        return table.model_copy(
            update={"sources": tuple(sources), **_moved_files(table, str(old), root)}
        )
    return table.model_copy(update={"root": str(root), **_moved_files(table, _base(table), root)})


def _base(table: DataTable) -> str | None:
    """The folder of a source's photographs; those of a table without a root lie beside it."""
    return table.root or (str(Path(table.labels).parent) if table.labels else None)


def _moved_files(table: DataTable, base: str | None, root: Path) -> dict[str, str]:
    """Where the table's own files lie now that ``base`` is ``root``, by key."""
    files = {key: getattr(table, key) for key in ("labels", "metadata", "duplicates", "exclude")}
    return {
        key: _moved_file(Path(file), Path(base), root, certain=bool(table.root))
        for key, file in files.items()
        if isinstance(file, str) and file and base is not None
    }


def _moved_file(file: Path, old: Path, root: Path, *, certain: bool) -> str:
    """Where a file of the data lies now that its folder ``old`` is ``root``: as far from it as
    before, where it is no longer in its place. ``certain``: what was below ``old`` has moved.
    """
    if file.is_relative_to(old):
        there = root / file.relative_to(old)
        return str(there if certain or there.exists() or not file.exists() else file)
    if file.exists():
        return str(file)
    places = (Path(os.path.normpath(root / os.path.relpath(file, old))), root / file.name)
    return str(next((place for place in places if place.exists()), file))


def _given(
    predictor: Predictor, data: DataTable, mapping: Mapping[str, str]
) -> EvaluatedPhotographs:
    """``data``: where it proves to be what it was trained on, its test split; else all labelled
    photographs whose class has a place, without those that it has seen.
    """
    dataset = load_named(data)
    if dataset.hash == predictor.data_hash and not mapping:
        try:
            own = own_data(predictor, dataset=dataset)
        except UserError as error:
            say(f"evaluate: {error}")
        else:
            say("evaluate: this is the data that it was trained on, so its test split judges")
            seen = len(own.split.train) + len(own.split.validation)
            return _of_split(predictor, own, overlap=seen)
    return other_data(predictor, dataset, mapping, "evaluate")


def _no_teacher(predictor: Predictor, judged: EvaluatedPhotographs) -> str | None:
    """Why the teachers' answers to the judged photographs are not at hand; None where they are."""
    if not predictor.recipe.teachers:
        return "no teacher taught it"
    if judged.role != "test":
        return "the teachers answered only the recipe's own test split"
    if predictor.split is None or not (predictor.folder / TEACHER_LOGITS).exists():
        return "the teachers' answers are not here; distill keeps them in the run's own folder"
    return None


def _teacher(
    predictor: Predictor, judged: EvaluatedPhotographs, answers: Predictions
) -> Predictions:
    """The teachers' answers on the test split, as the run kept them: ``test`` ``[N, C]`` logits in
    the split's order.
    """
    from safetensors.numpy import load_file

    assert predictor.split is not None, "_no_teacher was asked first"
    path = predictor.folder / TEACHER_LOGITS
    kept = load_file(path).get("test")
    if kept is None or kept.shape != (len(predictor.split.test), len(answers.keys)):
        raise UserError(
            f"{path}: does not hold one row of logits per test photograph; distil again"
        )
    place = {name: row for row, name in enumerate(predictor.split.test)}
    logits = kept[[place[name] for name in judged.ids]].astype(np.float64)
    return Predictions(answers.keys, answers.ids, answers.lesions, answers.truth, softmax(logits))


def _document(
    predictor: Predictor,
    judged: EvaluatedPhotographs,
    answers: Predictions,
    teacher: Predictions | None,
    tones: Sequence[str | None],
) -> dict[str, Any]:
    calibration = predictor.calibration
    truth, probabilities = answers.truth, answers.probabilities
    found = metrics(
        truth,
        probabilities,
        answers.lesions,
        predictor.labels,
        calibration=calibration,
        teacher=None if teacher is None else teacher.probabilities,
    )
    rows = judged.dataset.rows(judged.ids)
    columns = {
        name: [column[row] for row in rows]
        for name, column in judged.dataset.metadata.items()
        if name != "confirmed"  # counted with the data; no group of people
    }
    columns["skin tone"] = list(tones)
    origins = [judged.dataset.origins[row] for row in rows]
    found_by_origin = by_origin(answers, origins, predictor.labels, calibration)
    document: dict[str, Any] = {
        "schema_version": 1,
        "kind": "evaluation",
        "target": {"name": predictor.name, "kind": predictor.kind, **predictor.facts},
        "data": _data(predictor, judged, answers),
        "labels": [label.model_dump() for label in predictor.labels],
        "calibration": calibration.model_dump(mode="json"),
        "metrics": {name: figure.model_dump() for name, figure in found.items()},
        "coverage_by_class": coverage_by_class(
            truth, probabilities, answers.keys, calibration.threshold
        ),
        "subgroups": subgroups(answers, columns),
        **({"origins": found_by_origin} if found_by_origin else {}),
        "confusion": confusion_matrix(truth, probabilities),
        "reliability": reliability_bins(truth, probabilities),
        "risk_coverage": risk_coverage_points(truth, probabilities),
        "created_utc": utc_now(),
        "commit": commit(),
        "versions": versions(),
    }
    if teacher is not None:
        scores = metrics(truth, teacher.probabilities, answers.lesions, predictor.labels)
        document["teacher"] = {
            "metrics": {name: figure.model_dump() for name, figure in scores.items()}
        }
    return document


def _data(
    predictor: Predictor, judged: EvaluatedPhotographs, answers: Predictions
) -> dict[str, Any]:
    """Which photographs judged, by what split, and which were left out."""
    dataset = judged.dataset
    confirmed = dataset.confirmed(dataset.rows(judged.ids))
    return {
        "kind": dataset.kind,
        "role": judged.role,
        "photographs": len(judged.ids),
        "lesions": len(set(answers.lesions)),
        "by_class": {key: int((answers.truth == i).sum()) for i, key in enumerate(answers.keys)},
        "left_out": judged.left_out,
        "split_by": predictor.split_by,
        "split_hash": predictor.split_hash,
        **_protocol(predictor, judged),
        "leaky": judged.leaky,
        "hash": dataset.hash,
        "licence": dataset.licence,
        **({"confirmed": confirmed} if confirmed else {}),
        "notes": list(dataset.notes),
    }


def _protocol(predictor: Predictor, judged: EvaluatedPhotographs) -> dict[str, Any]:
    """Who judges, where that is a fold or an origin left out of training."""
    table = predictor.recipe.split
    if judged.role != "test":
        return {}
    if table.folds:
        return {"folds": table.folds, "fold": table.fold}
    return {"test_origin": table.test_origin} if table.test_origin else {}


def _charts(evaluation: Evaluation) -> dict[str, figures.Chart]:
    keys = [label.key for label in evaluation.labels]
    return {
        "confusion": figures.confusion(evaluation.confusion, keys),
        "reliability": figures.reliability(evaluation.reliability, evaluation.metric("ece").value),
        "risk_coverage": figures.risk_coverage(
            evaluation.risk_coverage, evaluation.metric("coverage").value
        ),
    }
