"""An evaluated run as an entry of a comparison: what ``compare`` and ``report`` both read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from mobilekd.formats.comparison import Facts, Loss
from mobilekd.formats.evaluation import read_evaluation
from mobilekd.formats.integrity import check_files
from mobilekd.formats.labels import Label
from mobilekd.formats.recipe import shape
from mobilekd.formats.runs import Run
from mobilekd.metrics.predictions import Predictions, read_origins, read_predictions
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_json
from mobilekd.support.text import listed

#: What may differ between seeds of one recipe; teachers count by their weights, not by how those
#: were come by.
PERSONAL = ("name", "seed", "title", "cost", "smoke", "teach", "teachers")
#: What decides how fast a run trains and not what comes out.
PACE = ("threads", "compile")


@dataclass(frozen=True, eq=False)
class Entry:
    """One evaluated run."""

    name: str
    recipe: str  # the same for all seeds of one recipe
    seed: int
    is_control: bool
    control: str | None  # name of the run without a teacher
    split_hash: str
    leaky: bool
    predictions: Predictions
    teacher_predictions: Predictions | None = None
    facts: Facts = field(default_factory=Facts)
    data_hash: str = ""
    folds: int = 0  # of so many folds it is one, or all of them pooled
    fold: int = 0
    pooled: bool = False
    test_origin: str = ""
    origins: tuple[str, ...] = ()  # of predictions.ids, "" where one is not known
    labels: tuple[Label, ...] = ()  # of the predictions' keys, with their roles


def recipe_group(run: Run) -> str:
    """A hash that is equal for runs that differ in nothing but seed, fold and name."""
    document = {key: value for key, value in run.recipe.to_dict().items() if key not in PERSONAL}
    document["train"] = {key: value for key, value in document["train"].items() if key not in PACE}
    if run.recipe.split.folds:  # each fold has teachers of its own, trained alike
        document["split"] = {**document["split"], "fold": 0}
        document["taught_by"] = [shape(table) for table in run.recipe.teachers]
        document["teach"] = shape(run.recipe.teach) if run.recipe.teachers else None
    else:
        document["taught_by"] = [teacher.weights_sha256 for teacher in run.info.teachers]
    document["shares"] = [table.weight for table in run.recipe.teachers]
    return sha256_json(document)


def judged_together(run: Run) -> str:
    """A hash that is equal for runs that one comparison can hold: those of one split, and all folds
    of one data set.
    """
    table = run.recipe.split
    if not table.folds:
        return run.info.split_hash
    return sha256_json([table.folds, table.by, table.seed, run.info.data_hash])


def read_entry(run: Run) -> Entry:
    """Read an evaluated run; ``UserError`` when its evaluation is missing or broken."""
    folder, recipe, info = run.evaluation_folder, run.recipe, run.info
    if (folder / "metrics.json").is_file():
        tables = read_evaluation(folder / "metrics.json").files
        check_files(folder, tables, f"evaluate {info.name} again")
    teacher = folder / "teacher_predictions.csv"
    predictions = read_predictions(folder / "predictions.csv")
    strangers = [] if run.split is None else sorted(set(predictions.ids) - set(run.split.test))
    if strangers:
        raise UserError(
            f"{folder / 'predictions.csv'}: {len(strangers)} photographs are not in the run's test"
            f" split: {listed(strangers)}; evaluate {info.name} again"
        )
    table = recipe.split
    return Entry(
        name=info.name,
        recipe=recipe_group(run),
        seed=recipe.seed,
        is_control=info.is_control,
        control=info.control,
        split_hash=info.split_hash,
        leaky=info.split_by == "photograph",
        predictions=predictions,
        teacher_predictions=read_predictions(teacher) if teacher.exists() else None,
        data_hash=info.data_hash,
        folds=table.folds,
        fold=table.fold,
        test_origin=table.test_origin,
        origins=read_origins(folder / "origins.csv", predictions.ids),
        labels=info.labels,
        facts=Facts(
            model=recipe.student.model,
            width=recipe.student.width,
            parameters=info.parameters,
            macs=info.macs,
            losses=tuple(Loss(name=loss.name, weight=loss.weight) for loss in recipe.losses),
        ),
    )


def group_name(names: Sequence[str]) -> str:
    """What the runs of one recipe are called together: their name without the seed, wherever it
    stands, else the beginning they share.
    """
    if len(names) == 1:
        return names[0]
    bare = {re.sub(r"[-_.]?(seed|s)?\d+$", "", name) for name in names}
    shared = bare.pop() if len(bare) == 1 else ""
    words = [re.findall(r"[-_.]?[^-_.]+", name) for name in names]
    start = _shared(words)
    end = _shared([list(reversed(one[len(start) :])) for one in words])[::-1]
    return shared or "".join(start + end) or "".join(_shared(names)) or names[0]


def _shared(names: Sequence[Sequence[str]]) -> list[str]:
    """The beginning that all share, part by part."""
    return [
        parts[0]
        for parts in takewhile(lambda parts: len(set(parts)) == 1, zip(*names, strict=False))
    ]
