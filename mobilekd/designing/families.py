"""Candidates: one family of students at many widths, depths and input sizes."""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mobilekd.backends.base import one_thread
from mobilekd.designing.operators import Operator, at_side, operators
from mobilekd.formats.own_code import is_own, own_function
from mobilekd.formats.training_tables import StudentTable
from mobilekd.students import NAMES, build
from mobilekd.students.mobilenet import SPECS
from mobilekd.support.errors import UserError
from mobilekd.support.progress import track
from mobilekd.support.words import unknown

#: Widths that are tried; those that round to the same channels are one candidate.
WIDTHS = tuple(round(float(width), 2) for width in np.arange(0.1, 2.001, 0.02))
#: Factors on the blocks of every stage.
DEPTHS = (0.5, 1.0, 1.5)
#: Sides of the square input in pixels: the networks halve it five times.
SIDES = (64, 96, 128, 160, 192, 224)
#: What int8 needs of a MobileNet, where a recipe does not say otherwise.
ADAPTATIONS = {
    "mobilenetv2": ("bounded",),
    "mobilenetv3_small": ("no_se", "relu6", "bounded"),
    "mobilenetv3_large": ("no_se", "relu6", "bounded"),
}
#: Sides at which operators are counted; what they do at others follows.
COUNTED = (64, 96)
#: Classes of a candidate's last layer; their number is no matter for latency.
CLASSES = 7


@dataclass(frozen=True)
class Candidate:
    """A student and its input size; ``operators`` is what it costs."""

    student: StudentTable
    side: int
    operators: tuple[Operator, ...]
    parameters: int

    @property
    def depth(self) -> str:
        """The adaptation that sets the depth; empty where blocks are as they are."""
        return next((one for one in self.student.adapt if one.startswith("depth:")), "")

    @property
    def group(self) -> tuple[str, int]:
        """Candidates of a group differ in width alone."""
        return self.depth, self.side

    @property
    def macs(self) -> int:
        """Multiply-adds of one inference."""
        return sum(one.macs for one in self.operators)

    @property
    def name(self) -> str:
        """``lesionnet x0.75 depth:0.5 at 128``."""
        return " ".join([self.student.title, *self.student.adapt, "at", str(self.side)])


def check_family(table: StudentTable) -> None:
    """A ``UserError`` where a student has no width to choose."""
    if table.model not in NAMES and not is_own(table.model):
        known = (*NAMES, "file.py:function")
        raise UserError(
            f"{unknown(f'--student {table.model}', table.model, known)}; a student of a library has"
            " one width"
        )
    if is_own(table.model):
        takes = inspect.signature(own_function(table.model, table.code)).parameters
        if "width" not in takes or "width" in table.options:
            why = "its recipe sets it in student.options" if "width" in takes else "it takes none"
            raise UserError(
                f"--student {table.model}: a family has a width, and {why}; let the function take"
                " (classes, width)"
            )


def members(
    table: StudentTable, sides: Sequence[int], depths: Sequence[float] | None = None
) -> list[Candidate]:
    """Every width, depth and side of the family of ``table``, which gives what is not varied: its
    model, adaptations, dropout and options. ``depths`` are factors on its blocks, by default
    ``DEPTHS``.
    """
    found: list[Candidate] = []
    seen = set()
    with one_thread():
        for student in track(list(_tables(table, depths or DEPTHS)), "design: counting operators"):
            network = build(student, CLASSES)
            shapes = tuple(one.shape for one in network.parameters())
            if shapes in seen:  # another width that rounds to the same channels
                continue
            seen.add(shapes)
            parameters = sum(one.numel() for one in network.parameters())
            small, large = (operators(network, side, side) for side in COUNTED)
            for side in sides:
                counted = at_side(small, large, COUNTED, side)
                found.append(Candidate(student, side, counted, parameters))
    return found


def _tables(table: StudentTable, depths: Sequence[float]) -> Iterator[StudentTable]:
    scaled = table.model in SPECS or table.model == "lesionnet"
    others = tuple(one for one in table.adapt if not one.startswith("depth:"))
    for depth in depths if scaled else (1.0,):
        adapt = others if depth == 1 else (*others, f"depth:{depth:g}")
        for width in WIDTHS:
            update = {"width": width, "adapt": adapt, "weights": None}
            yield table.model_copy(update=update)
