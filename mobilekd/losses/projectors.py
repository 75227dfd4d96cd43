"""Projectors bring a student's and a teacher's features to one shape. Trained with the student,
never exported.
"""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

#: ``map``: a learnt 1 x 1 convolution onto the teacher's channels; ``attention``: channels stay,
#: places are matched; ``embedding``: global average pooling; ``vector``: pooled, then a learnt
#: linear map of the student's onto the teacher's length; ``contrast``: pooled, then a learnt
#: linear map of each onto 128 numbers.
Kind = Literal["map", "attention", "embedding", "vector", "contrast"]

CONTRAST_SIZE = 128


class Projector(nn.Module):
    """Features of student and teacher, ``[B, ...]`` each -> the pair that a loss of this kind
    compares.
    """

    def __init__(self, kind: Kind, student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
        super().__init__()
        self.kind = kind
        self.student: nn.Module = nn.Identity()
        self.teacher: nn.Module = nn.Identity()
        if kind == "map":
            self.student = (
                nn.Conv2d(student[0], teacher[0], 1, bias=False)
                if len(student) == 3
                else nn.Linear(student[0], teacher[0])
            )
        elif kind == "vector":
            self.student = nn.Linear(student[0], teacher[0])
        elif kind == "contrast":
            self.student, self.teacher = (
                nn.Linear(student[0], CONTRAST_SIZE),
                nn.Linear(teacher[0], CONTRAST_SIZE),
            )

    def forward(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        """The two features, made comparable."""
        if self.kind in ("map", "attention"):
            if student.ndim == 4 and student.shape[2:] != teacher.shape[2:]:
                size = (
                    min(student.shape[2], teacher.shape[2]),
                    min(student.shape[3], teacher.shape[3]),
                )
                student, teacher = (
                    F.adaptive_avg_pool2d(student, size),
                    F.adaptive_avg_pool2d(teacher, size),
                )
        else:
            student, teacher = (x.mean((2, 3)) if x.ndim == 4 else x for x in (student, teacher))
        return self.student(student), self.teacher(teacher)
