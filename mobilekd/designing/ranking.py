"""Which of several students of one latency learns best: a short training of each, or a guess from
their size whose worth is told.
"""

from collections.abc import Sequence
from pathlib import Path

from mobilekd.designing.families import Candidate
from mobilekd.designing.search import NEAR, Found
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import Run
from mobilekd.formats.teacher import taught_before, teacher_folder
from mobilekd.support.words import counted

#: Without data, more multiply-adds in the same time count as better. The worth of that guess:
#: Spearman's rank correlation with balanced accuracy on validation, over LesionNet's variants in
#: benchmarks/student_design/accuracy.json, which a test holds against that file.
GUESS_CORRELATION, GUESS_P, GUESS_VARIANTS = 0.29, 0.33, 13

GUESS = (
    "multiply-adds at equal latency; their rank correlation with balanced accuracy on validation is"
    f" {GUESS_CORRELATION:.2f} over {GUESS_VARIANTS} variants of LesionNet at 128 x 128 (p"
    f" {GUESS_P:.2f}), which shows nothing, and is unknown between input sizes; --base RECIPE"
    " trains the candidates shortly instead"
)


def by_size(found: Sequence[Found], budget_ms: float) -> list[Found]:
    """The one with most multiply-adds first; those that leave time unused stand behind."""
    return sorted(found, key=lambda one: (one.measured_ms < NEAR * budget_ms, -one.candidate.macs))


def short_recipe(base: Recipe, runs: Path, one: Candidate, epochs: int) -> Recipe:
    """The base recipe for a candidate and a few epochs, under the base's own teachers."""
    teachers = tuple(
        table
        if taught_before(table)
        else table.model_copy(
            update={"trained": str(teacher_folder(table, runs / base.name, index))}
        )
        for index, table in enumerate(base.teachers)
    )
    name = "-".join(
        part.replace(":", "")
        for part in (
            "design",
            base.name,
            one.student.model.rpartition(":")[2],
            f"x{one.student.width:g}",
            one.depth,
            str(one.side),
            f"{epochs}epochs",
        )
        if part
    )
    return base.model_copy(
        update={
            "name": name,
            "title": f"{base.title or base.name}: {one.name}, tried for {counted(epochs, 'epoch')}",
            "student": one.student,
            "teachers": teachers,
            "preprocess": base.preprocess.model_copy(
                update={"width": one.side, "height": one.side}
            ),
            "train": base.train.model_copy(update={"epochs": epochs}),
        }
    )


def accuracy(run: Run) -> float:
    """Balanced accuracy on validation of a finished run."""
    value = run.info.validation["balanced_accuracy"].value
    return -1.0 if value is None else value
