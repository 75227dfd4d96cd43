"""Students: ``build`` makes one from a recipe's table, ``load`` brings back a trained one,
``Deployable`` is what a phone gets.

A new student is one new file, registered in ``NAMES``; any network of timm and torchvision is one
by its name, and so is a function of the user's own. Never imports data, losses or backends.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import timm
from torch import Tensor, nn

from mobilekd.formats.labels import Label
from mobilekd.formats.own_code import is_own
from mobilekd.formats.runs import Run, open_run, references
from mobilekd.formats.training_tables import StudentTable
from mobilekd.students.any_network import (
    build_network,
    check_network,
    classifier_name,
    deployed,
    is_known_elsewhere,
)
from mobilekd.students.bounds import scale_bottlenecks
from mobilekd.students.checkpoint import fitted, read_state
from mobilekd.students.deployable import Deployable
from mobilekd.students.lesionnet import LesionNet
from mobilekd.students.mobilenet import SPECS, Spec, adapt
from mobilekd.students.weights import REFERENCE, check_weights, hub_state, keep_what_fits
from mobilekd.support.errors import UserError
from mobilekd.support.progress import say
from mobilekd.support.words import unknown

__all__ = ["NAMES", "Deployable", "build", "check_student", "deployed", "load"]

NAMES = (*SPECS, "lesionnet")


def check_student(table: StudentTable) -> None:
    """A ``UserError`` where the table asks for a student or weights that cannot be; reads no
    weights.
    """
    if is_known_elsewhere(table.model):
        check_network(table)
    else:
        _untrained(table, classes=2)
    if _names_reference(table):
        _reference(table)
    else:
        check_weights(table.weights)


def _untrained(table: StudentTable, classes: int) -> tuple[nn.Module, str | None]:
    """The network, and timm's name of its weights where the table asks for a hub's."""
    if table.model not in NAMES:
        given = f"student.model {table.model}"
        if timm.is_model(table.model):
            raise UserError(f"{given}: not one of ours; write timm:{table.model}")
        known = (*NAMES, "timm:NAME", "torchvision:NAME", "file.py:function")
        raise UserError(unknown(given, table.model, known))
    if table.options:
        raise UserError(f"student.options: {table.model} takes none; use width, dropout and adapt")
    if table.model == "lesionnet":
        strange = [name for name in table.adapt if not name.startswith("depth:")]
        if strange or table.weights == "hub":
            given = f"student.adapt {strange[0]}" if strange else "student.weights hub"
            raise UserError(
                f"{given}: lesionnet takes no adapt but depth:NUMBER, and has no weights on a hub;"
                " remove it"
            )
        depth = adapt(SPECS["mobilenetv2"], table.adapt).depth  # the same words and bounds
        return LesionNet(classes, table.width, table.dropout, depth), None
    spec = adapt(replace(SPECS[table.model], width=table.width), table.adapt)
    hub = _hub_name(table, spec) if table.weights == "hub" else None
    return spec.build(classes, table.dropout), hub


def build(table: StudentTable, classes: int, labels: Sequence[Label] = ()) -> nn.Module:
    """A student that maps normalised float ``[B, 3, H, W]`` to logits ``[B, classes]``, with
    starting weights if asked for.

    Of a shipped student's weights the classifier is kept only where ``labels`` are its own classes.
    """
    if is_known_elsewhere(table.model):
        student = build_network(table, classes)
        name = classifier_name(student)
        head = student.get_submodule(name) if name else None
        if not is_own(table.model) and isinstance(head, nn.Linear):
            nn.init.normal_(head.weight, std=0.01)
        if _names_reference(table):
            _reference(table)
        if table.weights and table.weights != "hub":
            keep_what_fits(student, _state(student, table.weights), table.weights, head=name)
        return student
    student, hub = _untrained(table, classes)
    # timm starts a classifier with logits of deviation 3 (its fan-in counts as 0): confident
    # nonsense to unlearn first.
    nn.init.normal_(student.get_submodule("classifier").weight, std=0.01)  # type: ignore[arg-type]
    if hub:
        keep_what_fits(student, hub_state(hub), f"hub {hub}")
    elif _names_reference(table):
        _start_from_reference(student, table, labels)
        return student  # its bottlenecks are within their bounds already
    elif table.weights:
        keep_what_fits(student, _state(student, table.weights), table.weights)
    if table.weights and "bounded" in table.adapt:
        scale_bottlenecks(student)
    return student


def _state(student: nn.Module, weights: str) -> dict[str, Tensor]:
    """The tensors of a weights file under the student's names."""
    path = Path(weights)
    return fitted(path, read_state(path), student)


def _names_reference(table: StudentTable) -> bool:
    return bool(table.weights and table.weights.startswith(REFERENCE))


def _reference(table: StudentTable) -> Run:
    """The shipped student whose weights the table asks for; ``UserError`` where it is another
    network than the table's.
    """
    assert table.weights is not None
    run = open_run(table.weights)
    theirs = run.recipe.student
    wanted = {
        name: getattr(theirs, name)
        for name in ("model", "width", "adapt")
        if getattr(theirs, name) != getattr(table, name)
    }
    if wanted:
        settings = " ".join(
            f"--set 'student.{name}={json.dumps(value)}'" for name, value in wanted.items()
        )
        raise UserError(
            f"student.weights {table.weights}: is a {theirs.model} x{theirs.width:g}"
            f"{', ' + ' '.join(theirs.adapt) if theirs.adapt else ''}, the student here is another"
            f" network; {settings} makes it the same"
        )
    return run


def _start_from_reference(student: nn.Module, table: StudentTable, labels: Sequence[Label]) -> None:
    run = _reference(table)
    state = {
        name: value.float() if value.is_floating_point() else value
        for name, value in read_state(run.weights).items()
    }
    theirs, ours = ([label.key for label in one] for one in (run.info.labels, labels))
    keep_what_fits(student, state, str(table.weights), same_classes=theirs == ours)
    if theirs != ours:
        say(
            f"student weights from {table.weights}: its classifier knows {', '.join(theirs)}; the"
            f" classes here are {', '.join(ours) or 'others'}, so that layer starts afresh"
        )


def load(run: Run) -> nn.Module:
    """A run's trained student in eval mode, float32 (a reference may store float16)."""
    if not run.weights.is_file():
        raise UserError(
            f"{run.weights}: missing from the run; copy its folder whole, or distil it again"
        )
    student = build(run.recipe.student.model_copy(update={"weights": None}), len(run.info.labels))
    state = {
        name: value.float() if value.is_floating_point() else value
        for name, value in read_state(run.weights).items()
    }
    try:
        student.load_state_dict(state)
    except RuntimeError:
        raise UserError(
            f"{run.weights}: does not fit the student of {run.folder / 'recipe.json'}; distil it"
            " again"
        ) from None
    return student.eval()


def _hub_name(table: StudentTable, spec: Spec) -> str:
    if table.width not in spec.hub:
        widths = ", ".join(f"{width:g}" for width in spec.hub)
        shipped = [
            f"{REFERENCE}{name}"
            for name in references()
            if (theirs := open_run(f"{REFERENCE}{name}").recipe.student).model == table.model
            and theirs.width == table.width
        ]
        raise UserError(
            f"student.weights hub: {table.model} has them at width {widths}, not {table.width:g};"
            f" give {' or '.join([*shipped, 'a local weights file'])}"
        )
    return spec.hub[table.width]
