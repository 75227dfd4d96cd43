"""The licences of everything that a student learned from; the student carries the terms of all."""

import re
from collections.abc import Iterable

from mobilekd.data.dataset import NOT_STATED
from mobilekd.formats.runs import TeacherSummary, open_run
from mobilekd.students.weights import REFERENCE
from mobilekd.training.experiment import Experiment


def licence_of_student(
    experiment: Experiment, weights: str | None, teachers: Iterable[TeacherSummary]
) -> str:
    """The licence of the labelled photographs, and beside it every other one: of the shipped
    student whose ``weights`` it starts from, of its ``teachers``, and of the photographs without
    labels that they answered.
    """
    others = []
    if weights and weights.startswith(REFERENCE):
        others.append((f"starting weights ({weights})", open_run(weights).info.data_licence))
    for teacher in teachers:
        others.append((f"teacher {teacher.model}", teacher.data_licence))
        others += [
            ("unlabelled photographs", extra.licence)
            for extra, more in experiment.unlabelled
            if more
        ]
    return joined(experiment.dataset.licence, others)


def joined(photographs: str, others: Iterable[tuple[str, str]]) -> str:
    """The licence of the photographs and those of ``others``, (what, licence), in one line, each of
    them once. An empty one is not stated.
    """
    line = photographs or NOT_STATED
    for what, licence in others:
        stated = licence or NOT_STATED
        # as a whole: CC BY is none of what CC BY-NC says
        if not re.search(rf"(^|: |; ){re.escape(stated)}($|; |: )", line):
            line += f"; {what}: {stated}"
    return line
