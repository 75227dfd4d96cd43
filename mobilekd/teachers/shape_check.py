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
from mobilekd.teachers.network import build_teacher

#: Sides in pixels that networks of a fixed size are made for; one of them is the remedy where no
#: option makes another.
USUAL_SIDES = (224, 256, 299, 384)


def check_output_shape(
    model: nn.Module, table: TeacherTable, index: int, classes: int, preprocess: Preprocess
) -> None:
    """A ``UserError`` with a remedy that was tried, unless ``model`` maps ``[B, 3, H, W]`` to one
    tensor ``[B, classes]``.
    """
    height, width = preprocess.height, preprocess.width
    wrong = shape_error(model, classes, height, width)
    if wrong is not None:
        remedy = _remedy(model, table, index, classes, height, width)
        raise UserError(
            f"teacher {table.model}: cannot learn from photographs of {width}x{height} ({wrong});"
            f" {remedy}"
        )


def shape_error(model: nn.Module, classes: int, height: int, width: int) -> str | None:
    """What is wrong with ``model``'s answers to a blank batch, in training and after it; None where
    nothing is.

    A copy is asked, because a batch changes the statistics of a network in training; the random
    state stays as it is.
    """
    trial, blank = copy.deepcopy(model), torch.zeros(2, 3, height, width)
    try:
        trial.to(memory_format=torch.channels_last)  # as Trainer trains it
        for training in (True, False):
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                answer = trial.train(training)(blank)
            if not isinstance(answer, Tensor):
                return f"its answer is a {type(answer).__name__}, not a tensor"
            if answer.shape != (2, classes):
                return f"2 photographs give {list(answer.shape)}, not [2, {classes}]"
    except Exception as error:  # what networks raise is as varied as their authors
        return str(error).partition("\n")[0] or type(error).__name__
    return None


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
    if finished_file(table) is not None:
        return f"name its classes in the order of its answers in teachers.{index}.classes"
    return "choose another"
