"""The losses by name, by what they look at. A new loss is one function and one line here; a user's
own needs none.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from torch import Tensor

from mobilekd.formats.own_code import is_own, own_function
from mobilekd.formats.training_tables import LossTable
from mobilekd.losses.features import (
    attention_transfer,
    crd_in_batch,
    embedding,
    fitnets,
    rkd,
)
from mobilekd.losses.logits import (
    cross_entropy,
    dist,
    dkd,
    hard_label,
    hinton,
    logit_standardisation,
    multi_level,
)
from mobilekd.losses.projectors import Kind
from mobilekd.support.errors import UserError
from mobilekd.support.words import unknown

SUPERVISED_LOSSES: dict[str, Callable[..., Tensor]] = {"cross_entropy": cross_entropy}

LOGIT_LOSSES: dict[str, Callable[..., Tensor]] = {
    "hinton": hinton,
    "hard_label": hard_label,
    "dkd": dkd,
    "dist": dist,
    "logit_standardisation": logit_standardisation,
    "multi_level": multi_level,
}

FEATURE_LOSSES: dict[str, tuple[Callable[..., Tensor], Kind]] = {
    "fitnets": (fitnets, "map"),
    "embedding": (embedding, "vector"),
    "attention_transfer": (attention_transfer, "attention"),
    "rkd": (rkd, "embedding"),
    "crd_in_batch": (crd_in_batch, "contrast"),
}

LOSSES: dict[str, Callable[..., Tensor]] = {
    **SUPERVISED_LOSSES,
    **LOGIT_LOSSES,
    **{name: function for name, (function, _) in FEATURE_LOSSES.items()},
}

#: Losses between logits that look at the target as well, so that a photograph without a label is
#: left out.
NEED_A_LABEL = frozenset({"dkd"})


@dataclass(frozen=True)
class Loss:
    """A loss that a recipe names, with what it looks at.

    A user's own function ``(student, teacher, target, **options) -> (B,)`` looks at features where
    its table names layers, at the target alone where its teacher has a default (``teacher=None``),
    and at logits elsewhere. Features reach it as its attribute ``projector`` says, else as ``map``.
    """

    function: Callable[..., Tensor]
    looks_at: Literal["target", "logits", "features"]
    options: tuple[str, ...] | None  # None: any
    required: tuple[str, ...] = ()
    projector: Kind = "map"
    own: bool = False


def find(table: LossTable) -> Loss:
    """The loss of a recipe's table; a name that stands for none is a ``UserError``."""
    name = table.name
    if is_own(name):
        return _own(table)
    if name not in LOSSES:
        raise UserError(
            f"{unknown(f'loss {name}', name, LOSSES)}; one of your own is file.py:function"
        )
    options = tuple(inspect.signature(LOSSES[name]).parameters)[3:]
    if name in FEATURE_LOSSES:
        return Loss(LOSSES[name], "features", options, projector=FEATURE_LOSSES[name][1])
    return Loss(LOSSES[name], "target" if name in SUPERVISED_LOSSES else "logits", options)


#: How an own loss is called; for messages.
CALLED_AS = "a loss is a function (student, teacher, target, **options) -> (B,)"


def _own(table: LossTable) -> Loss:
    function = own_function(table.name, table.code)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise UserError(f"losses: {table.name}: has no readable signature; {CALLED_AS}") from None
    positional = [
        one for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    if inspect.isclass(function) or len(positional) < 3:
        what = "is a class" if inspect.isclass(function) else f"takes {len(positional)} arguments"
        raise UserError(f"losses: {table.name}: {what}; {CALLED_AS}")
    options = [*positional[3:], *(one for one in parameters if one.kind is one.KEYWORD_ONLY)]
    projector: Any = getattr(function, "projector", "map")
    if projector not in get_args(Kind):
        raise UserError(
            unknown(f"losses: {table.name}: its projector {projector}", projector, get_args(Kind))
        )
    looks_at: Literal["target", "logits", "features"] = "logits"
    if table.student_layer or table.teacher_layer:
        looks_at = "features"
    elif positional[1].default is not positional[1].empty:
        looks_at = "target"
    return Loss(
        function,
        looks_at,
        None
        if any(one.kind is one.VAR_KEYWORD for one in parameters)
        else tuple(one.name for one in options),
        tuple(one.name for one in options if one.default is one.empty),
        projector,
        own=True,
    )
