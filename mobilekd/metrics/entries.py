"""An evaluated run as an entry of a comparison: what ``compare`` and ``report`` both read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from mobilekd.formats.comparison import Facts, Loss
from mobilekd.formats.runs import Run
from mobilekd.metrics.predictions import Predictions, read_predictions
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


def recipe_group(run: Run) -> str:
    """The same text for runs that differ in their seed and name alone."""
    document = {key: value for key, value in run.recipe.to_dict().items() if key not in PERSONAL}
    document["train"] = {key: value for key, value in document["train"].items() if key not in PACE}
    document["taught_by"] = [teacher.weights_sha256 for teacher in run.info.teachers]
    document["shares"] = [table.weight for table in run.recipe.teachers]
    return sha256_json(document)


def read_entry(run: Run) -> Entry:
    """Read an evaluated run; ``UserError`` when its evaluation is missing or broken."""
    folder, recipe, info = run.evaluation_folder, run.recipe, run.info
    teacher = folder / "teacher_predictions.csv"
    predictions = read_predictions(folder / "predictions.csv")
    strangers = [] if run.split is None else sorted(set(predictions.ids) - set(run.split.test))
    if strangers:
        raise UserError(
            f"{folder / 'predictions.csv'}: {len(strangers)} photographs are not in the run's test"
            f" split: {listed(strangers)}; evaluate {info.name} again"
        )
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
