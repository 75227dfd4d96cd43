"""An evaluated run folder as a contestant: what ``compare`` and ``report`` both read."""

from pathlib import Path

from mobilekd.formats.runs import Run
from mobilekd.metrics.comparison import Contestant
from mobilekd.metrics.predictions import read_predictions
from mobilekd.support.files import sha256_json

#: What may differ between seeds of one recipe; teachers count by their weights, not by how those
#: were come by.
PERSONAL = ("name", "seed", "title", "cost", "smoke", "teach", "teachers")
#: What decides how fast a run trains and not what comes out.
PACE = ("threads", "compile")


def evaluation_folder(run: Run) -> Path:
    """Where ``evaluate`` puts a run's judgement of its own test split."""
    return (
        Path("results") / "evaluations" / run.folder.name
        if run.reference
        else run.folder / "evaluation"
    )


def recipe_group(run: Run) -> str:
    """The same text for runs that differ in their seed and name alone."""
    document = {key: value for key, value in run.recipe.to_dict().items() if key not in PERSONAL}
    document["train"] = {key: value for key, value in document["train"].items() if key not in PACE}
    document["taught_by"] = [known["weights_sha256"] for known in run.info.teachers]
    document["shares"] = [table.weight for table in run.recipe.teachers]
    return sha256_json(document)


def contestant(run: Run) -> Contestant:
    """Read an evaluated run; ``UserError`` when its evaluation is missing or broken."""
    folder, recipe, info = evaluation_folder(run), run.recipe, run.info
    teacher = folder / "teacher_predictions.csv"
    return Contestant(
        name=info.name,
        recipe=recipe_group(run),
        seed=recipe.seed,
        is_control=info.is_control,
        control=info.control,
        split_hash=info.split_hash,
        leaky=info.split_by == "photograph",
        judged=read_predictions(folder / "predictions.csv"),
        teacher=read_predictions(teacher) if teacher.exists() else None,
        facts={
            "model": recipe.student.model,
            "width": recipe.student.width,
            "parameters": info.parameters,
            "macs": info.macs,
            "losses": [{"name": loss.name, "weight": loss.weight} for loss in recipe.losses],
        },
    )
