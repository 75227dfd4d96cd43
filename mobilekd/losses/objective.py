"""The objective: a recipe's losses, weighted and scheduled, with the projectors that feature losses
train.

Every loss stays a pure function; what has state lives here and is never exported. Photographs
without a label (target -1) take part in every loss but the supervised ones.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.training_tables import LossTable
from mobilekd.losses.projectors import Projector
from mobilekd.losses.registry import CALLED_AS, NEED_A_LABEL, find
from mobilekd.losses.taps import Outputs, Taps
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say
from mobilekd.support.words import unknown


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
        teacher_preprocess: Preprocess | None = None,
        class_weights: Tensor | None = None,
        log_priors: Tensor | None = None,
        mixed: bool = False,
    ) -> None:
        """``mixed`` says that targets may be probabilities. Every loss is tried on random outputs
        of a few examples before an epoch is spent.
        """
        super().__init__()
        self.tables, self.classes = tuple(tables), classes
        self.class_weights: Tensor | None
        self.log_priors: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.register_buffer("log_priors", log_priors, persistent=False)
        for table in self.tables:
            check_loss(table)
        self.losses = tuple(map(find, self.tables))
        names = [table.name for table in self.tables]
        self.terms = tuple(
            name if names.count(name) == 1 else f"{name}.{names[:i].count(name)}"
            for i, name in enumerate(names)
        )
        self._feature_tables = [
            table
            for table, loss in zip(self.tables, self.losses, strict=True)
            if loss.looks_at == "features"
        ]
        self.student_layers = tuple(
            dict.fromkeys(str(table.student_layer) for table in self._feature_tables)
        )
        self.teacher_layers = tuple(
            dict.fromkeys(str(table.teacher_layer) for table in self._feature_tables)
        )
        self.needs_teacher = any(loss.looks_at != "target" for loss in self.losses)
        self.projectors = nn.ModuleDict()
        shapes = (
            self._match(student, teacher, preprocess, teacher_preprocess or preprocess)
            if self._feature_tables
            else {}
        )
        #: terms from which a photograph without a label is left out
        self.need_a_label = frozenset(
            index
            for index, table in enumerate(self.tables)
            if self._tried(index, shapes.get(index), mixed=mixed) or table.name in NEED_A_LABEL
        )

    def forward(
        self, student: Outputs, teacher: Outputs | None, target: Tensor, progress: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """``target`` is int64 ``[B]`` (-1: no label) or probabilities ``[B, C]``; ``progress`` is
        0..1.
        """
        total = torch.zeros(len(student.logits), device=student.logits.device)
        parts: dict[str, Tensor] = {}
        for index, (table, loss) in enumerate(zip(self.tables, self.losses, strict=True)):
            if loss.looks_at == "target":
                value = self._supervised(index, student.logits, target)
            elif loss.looks_at == "features":
                value = self._features(index, student, teacher)
            else:
                value = self._distilled(index, student.logits, teacher, target)
            total = total + weight_at(table, progress) * value
            parts[self.terms[index]] = value.detach().mean()
        return total, parts

    def _value(
        self, index: int, student: Tensor, teacher: Tensor | None, target: Tensor | None
    ) -> Tensor:
        return self.losses[index].function(student, teacher, target, **self.tables[index].options)

    def _supervised(self, index: int, logits: Tensor, target: Tensor) -> Tensor:
        """Imbalance is handled here: weights on the loss, or priors on the logits (arXiv
        2007.07314).
        """
        if self.log_priors is not None:
            logits = logits + self.log_priors
        # a mixture counts by its labelled share, which is 1 unless an unlabelled photograph is in
        # it
        if target.ndim == 2:
            share = target.sum(1)
            value = self._value(index, logits, None, target / share.clamp_min(1e-6)[:, None])
            return value * (share if self.class_weights is None else target @ self.class_weights)
        labelled = target >= 0
        known = target.clamp_min(0)
        value = self._value(index, logits, None, known) * labelled
        return value * self.class_weights[known] if self.class_weights is not None else value

    def _distilled(
        self, index: int, logits: Tensor, teacher: Outputs | None, target: Tensor
    ) -> Tensor:
        if teacher is None:
            raise _needs_a_teacher(self.tables[index])
        value = self._value(index, logits, teacher.logits, target.clamp_min(0))
        if index not in self.need_a_label:
            return value
        return value * (target >= 0 if target.ndim == 1 else target.sum(1) > 0)

    def _features(self, index: int, student: Outputs, teacher: Outputs | None) -> Tensor:
        table = self.tables[index]
        if teacher is None:
            raise _needs_a_teacher(table)
        own, theirs = (
            student.features[str(table.student_layer)],
            teacher.features[str(table.teacher_layer)],
        )
        own, theirs = self.projectors[str(index)](own.float(), theirs.float())
        return self._value(index, own, theirs, None)

    def _tried(
        self, index: int, shapes: tuple[tuple[int, ...], ...] | None, *, mixed: bool
    ) -> bool:
        """Try a loss on random outputs: a ``UserError`` unless it gives one finite value for each
        example, with a gradient. Returns whether a loss of logits looks at the target.
        """
        table, loss = self.tables[index], self.losses[index]
        count = self.classes + 2  # no other side has this length, so a wrong axis shows
        random = torch.Generator().manual_seed(0)

        def drawn(*shape: int) -> Tensor:
            return torch.randn(count, *shape, generator=random)

        labels = torch.arange(count) % self.classes
        targets: list[Tensor | None] = [labels, (labels + 1) % self.classes]
        teacher: Tensor | None = None
        if shapes is not None:
            student, teacher, targets = drawn(*shapes[0]), drawn(*shapes[1]), [None]
        else:
            student = drawn(self.classes)
            teacher = drawn(self.classes) if loss.looks_at == "logits" else None
            if mixed:
                targets.append(drawn(self.classes).softmax(1))
        student.requires_grad_()
        values = []
        for target in targets:
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                torch.manual_seed(0)
                one, two = student, teacher
                try:
                    if shapes is not None:
                        one, two = self.projectors[str(index)](one, two)
                    values.append(self._value(index, one, two, target))
                except Exception as error:  # whatever the user's own lines raise
                    if not loss.own:
                        raise
                    is_mixture = target is not None and target.ndim == 2
                    kind = " of mixed photographs, (B, C)" if is_mixture else ""
                    reason = str(error).partition("\n")[0]
                    raise UserError(
                        f"losses: {table.name}: fails on random outputs of {count} examples{kind}"
                        f" ({type(error).__name__}: {reason}); {CALLED_AS}"
                    ) from None
            _check_value(table, values[-1], count)
        return shapes is None and not torch.equal(values[0], values[1])

    def _match(
        self,
        student: nn.Module | None,
        teacher: nn.Module | None,
        preprocess: Preprocess | None,
        teacher_preprocess: Preprocess | None,
    ) -> dict[int, tuple[tuple[int, ...], ...]]:
        """Find the layers' shapes with one blank photograph, make the projectors, and say what was
        matched. Returns both shapes by the term's index.
        """
        if student is None or teacher is None or not (preprocess and teacher_preprocess):
            raise UserError(
                "losses: feature losses look at layers inside one teacher; give the recipe exactly"
                " one, with its weights"
            )
        shapes = []
        for network, layers, size in (
            (student, self.student_layers, preprocess),
            (teacher, self.teacher_layers, teacher_preprocess),
        ):
            blank = torch.zeros(2, 3, size.height, size.width)
            training = network.training
            device = next(network.parameters()).device
            with torch.no_grad(), Taps(network.eval(), layers) as taps:
                network(blank.to(device))
            network.train(training)
            shapes.append({name: tuple(value.shape[1:]) for name, value in taps.features.items()})
        matched: dict[int, tuple[tuple[int, ...], ...]] = {}
        for index, (table, loss) in enumerate(zip(self.tables, self.losses, strict=True)):
            if loss.looks_at != "features":
                continue
            own, theirs = shapes[0][str(table.student_layer)], shapes[1][str(table.teacher_layer)]
            matched[index] = own, theirs
            self.projectors[str(index)] = Projector(loss.projector, own, theirs)
            say(
                f"losses: {table.name} matches student {table.student_layer} {own} with teacher"
                f" {table.teacher_layer} {theirs}"
            )
        return matched


def _needs_a_teacher(table: LossTable) -> UserError:
    return UserError(f"losses: {table.name} needs a teacher; add [[teachers]] or drop the loss")


def _check_value(table: LossTable, value: object, count: int) -> None:
    """A ``UserError`` unless a loss's value for ``count`` random examples can be learnt from."""
    wanted = f"one value for each of {count} examples, ({count},)"
    if not isinstance(value, Tensor):
        raise UserError(
            f"losses: {table.name}: gives a {type(value).__name__}, not {wanted}; {CALLED_AS}"
        )
    if value.shape != (count,):
        given = f"one number for all {count}" if value.ndim == 0 else f"{tuple(value.shape)}"
        raise UserError(
            f"losses: {table.name}: gives {given}, not {wanted}; leave the mean over the batch"
            " to the training, and take it over all other axes"
        )
    if not value.isfinite().all():
        raise UserError(
            f"losses: {table.name}: gives {value[~value.isfinite()][0].item()} for random outputs;"
            " keep logarithms, roots and quotients off zero"
        )
    if not value.requires_grad:
        raise UserError(
            f"losses: {table.name}: has no gradient, so nothing can be learnt from it; compute it"
            " from the student's outputs without detach, item or argmax"
        )


def check_loss(table: LossTable) -> None:
    """A loss or option that does not exist is named with its nearest neighbour."""
    loss = find(table)
    for option, value in table.options.items():
        if loss.options is not None and option not in loss.options:
            raise UserError(unknown(f"option {option} of loss {table.name}", option, loss.options))
        if loss.own:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UserError(
                f"losses: {table.name}: {option} is {value!r}, not a number; write for example"
                f" {option} = 1.0"
            )
        if option == "temperature" and value <= 0:
            raise UserError(f"losses: {table.name}: temperature is {value:g}; it must be above 0")
        if option == "label_smoothing" and not 0 <= value <= 1:
            raise UserError(
                f"losses: {table.name}: label_smoothing is {value:g}; it must be from 0 to 1"
            )
    missing = [option for option in loss.required if option not in table.options]
    if missing:
        raise UserError(
            f"losses: {table.name}: needs the option {missing[0]}; write it into the loss's"
            f" options, for example options = {{{missing[0]} = 1.0}}"
        )
    if loss.looks_at == "features" and not (table.student_layer and table.teacher_layer):
        raise UserError(
            f"losses: {table.name} compares layers; give student_layer and teacher_layer"
        )
