"""What a finished student came to, in a few sentences: beside chance, its control and its teachers,
and what to change first. Judged on validation, since the test split is not read while choosing.
"""

from dataclasses import dataclass

from mobilekd.formats.interval import Interval
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import DEFAULT_REFERENCE, Run, Split, open_run, references
from mobilekd.support.errors import UserError
from mobilekd.support.words import counted

#: Steps of training below which a student hardly leaves chance: from random weights, and from
#: weights that know photographs.
FEW_STEPS, FEW_STEPS_STARTED = 300, 60


@dataclass(frozen=True)
class Summary:
    """Sentences about a student, and whether it is worth exporting."""

    sentences: tuple[str, ...]
    better_than_chance: bool


def count_steps(recipe: Recipe, photographs: int) -> int:
    """Steps that a student's training takes."""
    return recipe.train.epochs * max(1, photographs // recipe.train.batch_size)


def few_steps(recipe: Recipe, photographs: int, classes: int) -> str | None:
    """What to say before a training that is too short to learn much; None where it is not."""
    steps = count_steps(recipe, photographs)
    started = bool(recipe.student.weights)
    least = FEW_STEPS_STARTED if started else FEW_STEPS
    if steps >= least:
        return None
    start = "its starting weights" if started else "random weights"
    epochs = counted(recipe.train.epochs, "epoch")
    way = "" if started else _start(recipe)
    give = f"{way}, or " if way else ""
    return (
        f"{recipe.name}: few steps: {steps} in all ({epochs} of {photographs:,}"
        f" photographs in batches of {recipe.train.batch_size}). From {start} a student needs about"
        f" {least} to leave chance ({1 / classes:.3f}); {give}raise train.epochs"
    )


def _start(recipe: Recipe) -> str:
    """The advice to start from a shipped student; empty where none has this recipe's network."""
    for name in dict.fromkeys((DEFAULT_REFERENCE, *references())):
        if open_run(f"reference:{name}").recipe.student.model == recipe.student.model:
            return (
                f"start from a shipped student (--set student.weights=reference:{name}, or the"
                " recipe photographs)"
            )
    return ""


def summarise(run: Run) -> Summary:
    """A finished run beside chance, control and teachers, by balanced accuracy on validation."""
    own = run.info.validation.get("balanced_accuracy")
    if own is None or own.value is None:
        return Summary((), True)  # made before runs kept it
    chance, split = 1 / len(run.info.labels), run.split
    count = len(split.validation) if split else 0
    better = own.low is not None and own.low > chance
    verdict = "better than chance" if better else "not shown to be better than chance"
    said = [
        f"balanced accuracy {_words(own)} on {count} validation photographs; chance is"
        f" {chance:.3f}: {verdict}"
    ]
    control = _control(run)
    if control is not None and control.value is not None:
        said.append(f"its control has {_words(control)}: {own.value - control.value:+.3f}")
    teacher = _best_teacher(run)
    if teacher is not None:
        said.append(f"its best teacher has {teacher:.3f}: {own.value - teacher:+.3f}")
    if not run.info.teachers:
        said.append("it had no teacher, so it is its own control")
    said.extend(run.info.doubts)
    said.append(_first(run, own.value, better, control, teacher, split))
    return Summary(tuple(said), better)


def _words(figure: Interval) -> str:
    span = "" if figure.low is None else f" ({figure.low:.3f} to {figure.high:.3f})"
    return f"{figure.value:.3f}{span}"


def _control(run: Run) -> Interval | None:
    if run.info.control is None:
        return None
    try:
        control = open_run(run.folder.parent / run.info.control)
    except UserError:
        return None
    return control.info.validation.get("balanced_accuracy")


def _best_teacher(run: Run) -> float | None:
    known = [one.validation.get("balanced_accuracy") for one in run.info.teachers]
    values = [one.value for one in known if one is not None and one.value is not None]
    return max(values, default=None)


def _first(
    run: Run,
    own: float,
    better: bool,
    control: Interval | None,
    teacher: float | None,
    split: Split | None,
) -> str:
    """What to change first."""
    recipe, photographs = run.recipe, len(split.train) if split else 0
    short = photographs and few_steps(recipe, photographs, len(run.info.labels)) is not None
    if not better and not recipe.student.weights and (way := _start(recipe)):
        return f"change first: {way}"
    if not better and short:
        return "change first: raise train.epochs"
    if not better:
        return "change first: add photographs, of the rarest class most of all"
    if control is not None and control.value is not None and own < control.value:
        return (
            "change first: its teachers (teach them longer, or take others): without them it does"
            " as well"
        )
    if teacher is not None and own < teacher - 0.05:
        return (
            "change first: raise train.epochs, or give photographs without labels"
            " (data.unlabelled): its teachers know more than it has learnt"
        )
    return "nothing stands out to be changed; evaluate judges it on the test split"
