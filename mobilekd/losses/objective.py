"""The objective: a recipe's losses, weighted and scheduled, with the projectors that feature losses
train.

Every loss stays a pure function; what has state lives here and is never exported. Photographs
without a label (target -1) take part in every loss but the supervised ones.
"""

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.recipe import LossTable
from mobilekd.losses.projectors import Projector
from mobilekd.losses.registry import FEATURE_LOSSES, LOSSES, SUPERVISED_LOSSES
from mobilekd.losses.taps import Outputs, Taps
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say
from mobilekd.support.words import unknown

#: Losses between logits that look at the target as well, so that a photograph without a label is
#: left out.
NEED_A_LABEL = frozenset({"dkd"})


def weight_at(table: LossTable, progress: float) -> float:
    """A term's weight at ``progress`` 0..1 of training; ``warmup`` rises over the first tenth and
    stays.
    """
    factor = {
        "constant": 1.0,
        "linear_down": 1 - progress,
        "linear_up": progress,
        "warmup": min(1.0, progress / 0.1),
    }[table.schedule]
    return table.weight * factor


class Objective(nn.Module):
    """Student and teacher outputs -> one value per example, ``(B,)``, and each term's mean for the
    log.
    """

    def __init__(
        self,
        tables: Sequence[LossTable],
        *,
        classes: int,
        student: nn.Module | None = None,
        teacher: nn.Module | None = None,
        preprocess: Preprocess | None = None,
        class_weights: Tensor | None = None,
        log_priors: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.tables, self.classes = tuple(tables), classes
        self.class_weights: Tensor | None
        self.log_priors: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.register_buffer("log_priors", log_priors, persistent=False)
        for table in self.tables:
            check_loss(table)
        names = [table.name for table in self.tables]
        self.terms = tuple(
            name if names.count(name) == 1 else f"{name}.{names[:i].count(name)}"
            for i, name in enumerate(names)
        )
        self._feature_tables = [table for table in self.tables if table.name in FEATURE_LOSSES]
        self.student_layers = tuple(
            dict.fromkeys(str(table.student_layer) for table in self._feature_tables)
        )
        self.teacher_layers = tuple(
            dict.fromkeys(str(table.teacher_layer) for table in self._feature_tables)
        )
        self.needs_teacher = any(table.name not in SUPERVISED_LOSSES for table in self.tables)
        self.projectors = nn.ModuleDict()
        if self._feature_tables:
            self._match(student, teacher, preprocess)

    def forward(
        self, student: Outputs, teacher: Outputs | None, target: Tensor, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``target`` is int64 ``[B]`` (-1: no label) or probabilities ``[B, C]``; ``progress`` is
        0..1.
        """
        total = torch.zeros(len(student.logits), device=student.logits.device)
        parts: dict[str, Tensor] = {}
        for index, table in enumerate(self.tables):
            if table.name in SUPERVISED_LOSSES:
                value = self._supervised(table, student.logits, target)
            elif table.name in FEATURE_LOSSES:
                value = self._features(index, table, student, teacher)
            else:
                value = self._distilled(table, student.logits, teacher, target)
            total = total + weight_at(table, progress) * value
            parts[self.terms[index]] = value.detach().mean()
        return total, parts

    def _supervised(self, table: LossTable, logits: Tensor, target: Tensor) -> Tensor:
        """Imbalance is handled here: weights on the loss, or priors on the logits (arXiv
        2007.07314).
        """
        if self.log_priors is not None:
            logits = logits + self.log_priors
        # a mixture counts by its labelled share, which is 1 unless an unlabelled photograph is in
        # it
        if target.ndim == 2:
            share = target.sum(1)
            value = LOSSES[table.name](
                logits, None, target / share.clamp_min(1e-6)[:, None], **table.options
            )
            return value * (share if self.class_weights is None else target @ self.class_weights)
        labelled = target >= 0
        known = target.clamp_min(0)
        value = LOSSES[table.name](logits, None, known, **table.options) * labelled
        return value * self.class_weights[known] if self.class_weights is not None else value

    def _distilled(
        self, table: LossTable, logits: Tensor, teacher: Outputs | None, target: Tensor
    ) -> Tensor:
        if teacher is None:
            raise UserError(
                f"losses: {table.name} needs a teacher; add [[teachers]] or drop the loss"
            )
        value = LOSSES[table.name](logits, teacher.logits, target.clamp_min(0), **table.options)
        if table.name not in NEED_A_LABEL:
            return value
        return value * (target >= 0 if target.ndim == 1 else target.sum(1) > 0)

    def _features(
        self, index: int, table: LossTable, student: Outputs, teacher: Outputs | None
    ) -> Tensor:
        if teacher is None:
            raise UserError(
                f"losses: {table.name} needs a teacher; add [[teachers]] or drop the loss"
            )
        own, theirs = (
            student.features[str(table.student_layer)],
            teacher.features[str(table.teacher_layer)],
        )
        own, theirs = self.projectors[str(index)](own.float(), theirs.float())
        return LOSSES[table.name](own, theirs, None, **table.options)

    def _match(
        self, student: nn.Module | None, teacher: nn.Module | None, preprocess: Preprocess | None
    ) -> None:
        """Find the layers' shapes with one blank photograph, make the projectors, and say what was
        matched.
        """
        if student is None or teacher is None or preprocess is None:
            raise UserError(
                "losses: feature losses look at layers inside one teacher; give the recipe exactly"
                " one, with its weights"
            )
        blank = torch.zeros(2, 3, preprocess.height, preprocess.width)
        shapes = []
        for network, layers in ((student, self.student_layers), (teacher, self.teacher_layers)):
            training = network.training
            device = next(network.parameters()).device
            with torch.no_grad(), Taps(network.eval(), layers) as taps:
                network(blank.to(device))
            network.train(training)
            shapes.append({name: tuple(value.shape[1:]) for name, value in taps.features.items()})
        for index, table in enumerate(self.tables):
            if table not in self._feature_tables:
                continue
            own, theirs = shapes[0][str(table.student_layer)], shapes[1][str(table.teacher_layer)]
            self.projectors[str(index)] = Projector(FEATURE_LOSSES[table.name][1], own, theirs)
            say(
                f"losses: {table.name} matches student {table.student_layer} {own} with teacher"
                f" {table.teacher_layer} {theirs}"
            )


def check_loss(table: LossTable) -> None:
    """A loss or option that does not exist is named with its nearest neighbour."""
    if table.name not in LOSSES:
        raise UserError(unknown(f"loss {table.name}", table.name, LOSSES))
    known = list(inspect.signature(LOSSES[table.name]).parameters)[3:]
    for option, value in table.options.items():
        if option not in known:
            raise UserError(unknown(f"option {option} of loss {table.name}", option, known))
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UserError(
                f"losses: {table.name}: {option} is {value!r}, not a number; write for example"
                f" {option} = 1.0"
            )
        if option == "temperature" and value <= 0:
            raise UserError(f"losses: {table.name}: temperature is {value:g}; it must be above 0")
    if table.name in FEATURE_LOSSES and not (table.student_layer and table.teacher_layer):
        raise UserError(
            f"losses: {table.name} compares layers; give student_layer and teacher_layer"
        )
