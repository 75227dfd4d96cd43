"""One teacher of a run, opened: refused where it was made for another split or input, or knows
nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.teacher import PROGRAMS, TeacherRecord, file_of, read_teacher
from mobilekd.formats.training_tables import TeacherTable
from mobilekd.support.errors import UserError
from mobilekd.teachers.network import ChosenClasses, Teacher, build_teacher, load_teacher
from mobilekd.teachers.stored_logits import StoredLogits, read_stored_logits
from mobilekd.training.experiment import Experiment
from mobilekd.training.pixels import predict_logits
from mobilekd.training.views import Views

#: Batch size of a teacher that fills a cache or judges; the lowered engine is made for it.
BATCH = 64

#: Photographs that tell whether a teacher's answers depend on the photograph at all.
SAMPLE = 16


@dataclass
class Member:
    """One teacher with what ``teach`` wrote about it: its network, or only answers that
    were kept.
    """

    table: TeacherTable
    record: TeacherRecord
    network: Teacher | None
    preprocess: Preprocess
    stored: StoredLogits | None = None


def open_member(
    table: TeacherTable, place: Path, index: int, experiment: Experiment, device: torch.device
) -> Member:
    """The teacher that ``table`` names, from its folder ``place``; ``index`` is its number in the
    recipe. A ``UserError`` where it must not teach this experiment's student.
    """
    record = read_teacher(place, table.model)
    if record.split_hash != experiment.split.hash():
        if record.is_finished:
            raise UserError(
                f"{place}: was measured under another split; measure it under this one (mobilekd"
                " teach, with --set name=... for another name)"
            )
        raise UserError(
            f"{place}: trained under another split, so it may know the test photographs; teach it"
            " under this one"
        )
    preprocess = own_preprocess(place, record, table)
    _refuse_chance(place, record, index, experiment)
    stored = read_stored_logits(place)
    if stored:
        return Member(table, record, None, preprocess, stored)
    program = record.model in PROGRAMS
    network = build_teacher(
        table.model_copy(
            update={
                "model": record.model,
                "options": record.options,
                "weights": None,
                "trained": str(place / file_of(record.model)) if program else None,
                "classes": record.classes,
                "code": record.code,
            }
        ),
        experiment.classes,
    )
    if not program:
        load_teacher(network, place / file_of(record.model))
    elif isinstance(network, ChosenClasses):
        network.choose(record.classes, [label.key for label in record.labels])
    teacher = Teacher(network.to(device))
    remedy = remedy_of_finished(index) if record.is_finished else "teach it again"
    refuse_one_answer(place, teacher, preprocess, experiment, device, remedy)
    return Member(table, record, teacher, preprocess)


def own_preprocess(place: Path, record: TeacherRecord, table: TeacherTable) -> Preprocess:
    """What the teacher was trained for; where the recipe says otherwise, it is another teacher."""
    own = Preprocess(**record.preprocess)
    for key in ("width", "height", "mean", "std"):
        asked, is_so = getattr(table, key), getattr(own, key)
        if asked is not None and asked != is_so:
            raise UserError(
                f"{place}: {'measured' if record.is_finished else 'trained'} for {key} {is_so}, and"
                f" the recipe asks for {asked}; teach it for this one, or leave {key} out"
            )
    return own


def remedy_of_finished(index: int) -> str:
    """What mends a finished teacher that knows nothing: training is none of it."""
    return (
        f"check its file, teachers.{index}.classes (the order of its answers), and the mean, std,"
        " width and height that it was trained with, or take another"
    )


def _refuse_chance(place: Path, record: TeacherRecord, index: int, experiment: Experiment) -> None:
    """A teacher no better than guessing teaches noise: its balanced accuracy must lie two standard
    errors above 1/C. Where even a perfect one would not, validation is too small to tell.
    """
    counts = np.bincount(experiment.targets(experiment.validation_ids))
    present = counts[counts > 0]
    chance = 1 / experiment.classes
    error = float(np.sqrt((chance * (1 - chance) / present).sum()) / len(present))
    value = record.validation["balanced_accuracy"].value
    if chance + 2 * error >= 1:
        raise UserError(
            f"{place}: validation is too small to tell whether this teacher knows anything"
            f" ({present.sum()} photographs of {len(present)} classes, {present.min()} of the"
            " rarest, so that a perfect one could be luck); raise split.validation, or add"
            " photographs"
        )
    if value is None or not value > chance + 2 * error:
        remedy = (
            remedy_of_finished(index) if record.is_finished else "train it longer before it teaches"
        )
        raise UserError(
            f"{place}: its balanced accuracy on validation is {value or 0:.3f}, and luck alone"
            f" comes to {chance + 2 * error:.3f} on so many photographs (chance is {chance:.3f});"
            f" {remedy}"
        )


def refuse_one_answer(
    place: Path | str,
    teacher: nn.Module,
    preprocess: Preprocess,
    experiment: Experiment,
    device: torch.device,
    remedy: str,
) -> None:
    """Whatever its record says, a network whose answers do not depend on the photograph teaches
    nothing; a few photographs tell. ``place`` names it.
    """
    inputs = experiment.inputs(experiment.split.validation[:SAMPLE], preprocess)[:]
    views = Views(experiment.augment, preprocess)
    logits = predict_logits(teacher, views, inputs, device, BATCH)
    if not np.isfinite(logits).all():
        raise UserError(f"{place}: its answers are not finite numbers; {remedy}")
    if len(logits) > 1 and not np.ptp(logits, axis=0).any() and np.ptp(inputs, axis=0).any():
        raise UserError(f"{place}: gives one answer to every photograph; {remedy}")
