"""What is checked and said of a recipe before an epoch is spent."""

from pathlib import Path

from mobilekd.data import overlapping
from mobilekd.data.dataset import some
from mobilekd.formats.artifact import TrainingHashes
from mobilekd.formats.document import read_document
from mobilekd.formats.own_code import is_own
from mobilekd.formats.recipe import Recipe
from mobilekd.formats.runs import open_run
from mobilekd.formats.teacher import PROGRAMS, read_teacher, teacher_folder
from mobilekd.losses import check_loss, find
from mobilekd.students import check_student
from mobilekd.students.any_network import is_known_elsewhere
from mobilekd.students.libraries import say_other_statistics
from mobilekd.students.mobilenet import SPECS
from mobilekd.students.weights import REFERENCE
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say
from mobilekd.teachers.same_teacher import refuse_another
from mobilekd.training.experiment import Experiment
from mobilekd.training.schedule import check_batch
from mobilekd.training.summary import few_steps


def warn_of_few_steps(recipe: Recipe, experiment: Experiment) -> None:
    """Say before an epoch is spent where there are too few steps to learn much."""
    count = len(experiment.training_images.ids)
    if (words := few_steps(recipe, count, experiment.classes)) is not None:
        say(words)


def seen_before(recipe: Recipe, experiment: Experiment) -> tuple[str, ...]:
    """A doubt where the shipped student that this one starts from was trained on photographs that
    are to judge: then the judgement is too good.
    """
    weights = recipe.student.weights or ""
    if not weights.startswith(REFERENCE):
        return ()
    known = read_document(
        open_run(weights).folder / "training_hashes.json",
        TrainingHashes,
        "list of training hashes",
    )
    ids = (*experiment.split.validation, *experiment.split.test)
    seen = overlapping(experiment.dataset, ids, known.hashes, known.salt)
    names = [name for name, was_seen in zip(ids, seen, strict=True) if was_seen]
    if not names:
        return ()
    note = (
        f"{weights} was trained on {some(names, 'photograph')} of {len(ids)} that choose and judge"
        " here, so results on them are too good; start from other weights to be judged fairly"
    )
    return (note,)


def check_recipe(recipe: Recipe, runs: Path) -> None:
    """What can be told from the recipe alone, before photographs are read."""
    for table in recipe.losses:
        check_loss(table)
        if find(table).looks_at != "target" and not recipe.teachers:
            raise UserError(
                f"{recipe.name}: the loss {table.name} needs a teacher and the recipe has none; add"
                " [[teachers]] or drop the loss"
            )
        if find(table).looks_at == "features":
            _refuse_program(recipe, 0, f"the loss {table.name}")
    if recipe.pretrain.epochs and recipe.pretrain.teacher >= len(recipe.teachers):
        raise UserError(
            f"{recipe.name}: pretrain.teacher is {recipe.pretrain.teacher} and the recipe has"
            f" {len(recipe.teachers)} teachers, counted from 0; pretraining needs one of them"
        )
    if recipe.pretrain.epochs:
        _refuse_program(recipe, recipe.pretrain.teacher, "pretraining")
    check_student(recipe.student)
    _say_statistics(recipe)
    check_batch("train", recipe.train)
    for index, teacher in enumerate(recipe.teachers):
        place = teacher_folder(teacher, runs / recipe.name, index)
        record = read_teacher(place, teacher.model)
        refuse_another(place, record, teacher, index, recipe.teach.epochs)


def _refuse_program(recipe: Recipe, index: int, what: str) -> None:
    """A program answers, and has no layers to look at."""
    model = recipe.teachers[index].model
    if model in PROGRAMS:
        raise UserError(
            f"{recipe.name}: {what} looks at layers inside a teacher, and teacher {index} is a"
            f" program ({model}) that has none; take a loss of logits (mobilekd recipes losses), or"
            " bring its network and weights"
        )


def _say_statistics(recipe: Recipe) -> None:
    """Pretrained weights of a student, where the recipe normalises otherwise than they are used
    to.
    """
    student = recipe.student
    if student.weights and is_known_elsewhere(student.model) and not is_own(student.model):
        name = student.model
    elif student.weights == "hub":
        name = f"timm:{SPECS[student.model].hub[student.width]}"
    else:
        return
    say_other_statistics(
        "student",
        name,
        recipe.preprocess.mean,
        recipe.preprocess.std,
        "that is allowed, and costs epochs; set preprocess.mean and preprocess.std to keep them",
    )
