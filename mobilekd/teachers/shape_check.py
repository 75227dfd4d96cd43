"""Does a teacher answer photographs of the recipe's size? A blank batch tells before an epoch is
spent.
"""

import copy

import torch
from torch import Tensor, nn

from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.teacher import finished_file
from mobilekd.formats.training_tables import TeacherTable
from mobilekd.support.errors import UserError
from mobilekd.teachers.network import ChosenClasses, build_teacher
from mobilekd.teachers.program import Program

#: Sides in pixels that networks of a fixed size are made for; one of them is the remedy where no
#: option makes another.
USUAL_SIDES = (224, 256, 299, 384)


def check_output_shape(
    model: nn.Module,
    table: TeacherTable,
    index: int,
    classes: int,
    preprocess: Preprocess,
    *,
    finished: bool = False,
) -> None:
    """A ``UserError`` with a remedy that was tried, unless ``model`` maps ``[B, 3, H, W]`` to one
    tensor ``[B, classes]``. A ``finished`` one may have classes in an order of its own.
    """
    height, width = preprocess.height, preprocess.width
    wrong = shape_error(model, classes, height, width)
    if wrong is not None:
        finished = finished or finished_file(table) is not None
        remedy = (
            _remedy_of_finished(model, table, index, classes, preprocess)
            if finished
            else _remedy(model, table, index, classes, height, width)
        )
        cannot = "cannot answer" if finished else "cannot learn from"
        raise UserError(
            f"teacher {table.model}: {cannot} photographs of {width}x{height} ({wrong}); {remedy}"
        )


def shape_error(model: nn.Module, classes: int, height: int, width: int) -> str | None:
    """What is wrong with ``model``'s answers to a blank batch, in training and after it; None where
    nothing is.

    A copy is asked, because a batch changes the statistics of a network in training; the random
    state stays as it is.
    """
    try:
        trial = copy.deepcopy(model)
    except Exception as error:  # what objects in a module raise is as varied as their authors
        return f"it cannot be copied: {str(error).partition(chr(10))[0] or type(error).__name__}"
    try:
        trial.to(memory_format=torch.channels_last)  # as Trainer trains it
        for training in (True, False):
            answer = _answer(trial.train(training), height, width)
            if not isinstance(answer, Tensor):
                return f"its answer is a {type(answer).__name__}, not a tensor"
            if answer.shape != (2, classes):
                return f"2 photographs give {list(answer.shape)}, not [2, {classes}]"
    except Exception as error:  # what networks raise is as varied as their authors
        return str(error).partition("\n")[0] or type(error).__name__
    return None


def _answer(model: nn.Module, height: int, width: int) -> object:
    """Its answer to two blank photographs; raises what it raises."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        return model(torch.zeros(2, 3, height, width))


def _remedy_of_finished(
    model: nn.Module, table: TeacherTable, index: int, classes: int, preprocess: Preprocess
) -> str:
    """What makes a finished teacher answer: its own size, the order of its classes where their
    number is another, or both.
    """
    height, width = preprocess.height, preprocess.width
    inner = model.network if isinstance(model, ChosenClasses) else model
    sizes = [(height, width), *_own_sizes(inner), *((side, side) for side in USUAL_SIDES)]
    for high, wide in dict.fromkeys(sizes):
        try:
            answer = _answer(copy.deepcopy(inner).eval(), high, wide)
        except Exception:  # what networks raise is as varied as their authors
            continue
        if not isinstance(answer, Tensor) or answer.dim() != 2 or len(answer) != 2:
            continue
        remedies = []
        if (high, wide) != (height, width):
            remedies = [f"set teachers.{index}.width={wide} and teachers.{index}.height={high}"]
        count = answer.shape[1]
        if count < classes:
            return f"it answers for {count} classes, and the data have {classes}; choose another"
        if count != (len(table.classes) or classes):
            remedies.append(
                f"name its {count} classes in the order of its answers in teachers.{index}.classes"
            )
        if remedies:
            return ", and ".join(remedies)
    return "choose another"


def _own_sizes(model: nn.Module) -> list[tuple[int, int]]:
    """The height and width that a program of a fixed size takes."""
    if not isinstance(model, Program):
        return []
    shape = model.opened[0].shape
    high, wide = shape[1:3] if model.channels_last else shape[2:4]
    return [(high, wide)] if high and wide else []


def _remedy(
    model: nn.Module, table: TeacherTable, index: int, classes: int, height: int, width: int
) -> str:
    """The first change under which the network answers."""
    key = "image_size" if table.model.startswith("torchvision:") else "img_size"
    size = height if height == width else [height, width]
    # a local file says nothing about sizes
    weights = table.weights if table.weights == "hub" else None
    other = table.model_copy(update={"options": {**table.options, key: size}, "weights": weights})
    try:
        if shape_error(build_teacher(other, classes), classes, height, width) is None:
            return f"set teachers.{index}.options.{key}={size}"
    except UserError:
        pass  # it takes no such option
    for side in USUAL_SIDES:
        if shape_error(model, classes, side, side) is None:
            return f"set teachers.{index}.width={side} and teachers.{index}.height={side}"
    return "choose another"
