"""Any classifier as a student: one of timm or torchvision by name, or a function of the user's own.

Adaptations find layers by their type, whatever a network calls them; what fits no layer is refused.
"""

import copy
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import timm
import torchvision
from timm.layers import activations, activations_me, squeeze_excite
from timm.models import reparameterize_model
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import nn

from mobilekd.formats.own_code import is_own, own_function
from mobilekd.formats.training_tables import StudentTable
from mobilekd.students.bounds import bound_bottlenecks, bound_inverted_residuals
from mobilekd.students.libraries import ELSEWHERE, check_name, library_and_name
from mobilekd.students.mobilenet import Relu6Gate
from mobilekd.students.surgery import (
    avoid_onednn_overflow,
    drop_imagenet_parts,
    replace_head,
    timms_classifier,
)
from mobilekd.support.errors import UserError
from mobilekd.support.words import unknown

#: Modules that weigh channels by a global mean.
SQUEEZES = (
    SqueezeExcite,
    squeeze_excite.SEModule,
    squeeze_excite.EffectiveSEModule,
    squeeze_excite.SqueezeExciteCl,
    torchvision.ops.SqueezeExcitation,
)
#: Activations that int8 kernels do not have, or that cost a pass in floating point.
SMOOTH = (
    nn.Hardswish,
    nn.SiLU,
    nn.GELU,
    nn.Mish,
    nn.ELU,
    nn.CELU,
    activations.HardSwish,
    activations.Swish,
    activations.GELU,
    activations.GELUTanh,
    activations.QuickGELU,
    activations.Mish,
    activations.HardMish,
    activations_me.HardSwishMe,
    activations_me.SwishMe,
    activations_me.MishMe,
    activations_me.HardMishMe,
)
GATES = (
    nn.Sigmoid,
    nn.Hardsigmoid,
    activations.Sigmoid,
    activations.HardSigmoid,
    activations_me.HardSigmoidMe,
)

#: What an own student's function takes and gives, for messages.
CALLED_AS = "a student is a function (classes, **options) that returns a torch.nn.Module"


def is_known_elsewhere(model: str) -> bool:
    """Whether a student's name asks for a library's network or an own function."""
    return is_own(model) or model.startswith(("timm:", "torchvision:", *ELSEWHERE))


def check_network(table: StudentTable) -> None:
    """A ``UserError`` where there is no such network or adaptation; builds nothing."""
    if is_own(table.model):
        _function(table)
    else:
        check_name(f"student.model {table.model}", table.model)
    for name in table.adapt:
        if name not in ADAPTATIONS:
            raise UserError(unknown(f"student.adapt {name} of {table.model}", name, ADAPTATIONS))


def build_network(table: StudentTable, classes: int) -> nn.Module:
    """Normalised float ``[B, 3, H, W]`` -> logits ``[B, classes]``; with a hub's weights where the
    table asks for them, adapted afterwards.
    """
    check_network(table)
    hub = table.weights == "hub"
    if is_own(table.model):
        model = _own(table, classes)
    else:
        library, name = library_and_name(table.model)
        options = dict(table.options)
        try:
            if library == "torchvision":
                model = torchvision.models.get_model(
                    name, weights="DEFAULT" if hub else None, **options
                )
                replace_head(model, f"student {table.model}", classes)
                drop_imagenet_parts(model, options)
            else:
                if table.dropout and "drop_rate" not in options:
                    options["drop_rate"] = table.dropout
                model = timm.create_model(name, pretrained=hub, num_classes=classes, **options)
        except UserError:
            raise
        except Exception as error:  # what constructors raise is as varied as their authors
            raise _not_made(table, error) from None
    avoid_onednn_overflow(model)
    for name in table.adapt:
        ADAPTATIONS[name](model, table)
    return model


def classifier_name(model: nn.Module) -> str:
    """The name of the layer that gives the logits: what timm says it is, else the last linear
    layer, else the last convolution.
    """
    layers = {id(module): name for name, module in model.named_modules()}
    head = timms_classifier(model)
    if head is not None and layers.get(id(head)):
        return layers[id(head)]
    for kind in (nn.Linear, nn.Conv2d):
        found = [name for name, module in model.named_modules() if isinstance(module, kind)]
        if found:
            return found[-1]
    return ""


def deployed(student: nn.Module) -> nn.Module:
    """The student as it is deployed: networks that are trained in one form and run in another
    (RepVGG, MobileOne, FastViT) fused; any other as it is.

    An own module takes part with a method ``reparameterize()`` that changes it in place, or with
    ``fuse()`` that returns another.
    """
    if not any(
        hasattr(module, word)
        for module in student.modules()
        for word in ("fuse", "reparameterize", "switch_to_deploy")
    ):
        return student
    # timm fuses what lies inside a module, and the student may have the method itself
    outside = nn.Sequential(copy.deepcopy(student).eval())
    reparameterize_model(outside, inplace=True)
    return outside[0].eval()


def no_se(model: nn.Module, table: StudentTable) -> None:
    """Squeeze-and-excitation removed."""
    if not _replace(model, SQUEEZES, nn.Identity):
        raise _fits_nothing(table, "no_se", "no squeeze-and-excitation")


def relu6(model: nn.Module, table: StudentTable) -> None:
    """Smooth activations become ReLU6, and gates are spelt with ReLU6: XNNPACK quantises those."""
    smooth = _replace(model, SMOOTH, lambda: nn.ReLU6(inplace=True))
    if not smooth + _replace(model, GATES, Relu6Gate):
        raise _fits_nothing(table, "relu6", "no smooth activation or gate that is a module")


def bounded(model: nn.Module, table: StudentTable) -> None:
    """Linear bottlenecks of inverted residuals clamped."""
    if not bound_bottlenecks(model) + bound_inverted_residuals(model):
        raise _fits_nothing(table, "bounded", "no linear bottleneck")


#: name -> what it does to a network, in place; those with a number edit a MobileNet's description
ADAPTATIONS: dict[str, Callable[[nn.Module, StudentTable], None]] = {
    "no_se": no_se,
    "relu6": relu6,
    "bounded": bounded,
}


def fitting_adaptations(model: nn.Module) -> tuple[str, ...]:
    """Adaptations that mend what int8 kernels lack, as far as ``model`` has layers for them."""
    kinds = {"no_se": SQUEEZES, "relu6": (*SMOOTH, *GATES)}
    left = copy.deepcopy(model)
    found = []
    for name, types in kinds.items():
        if any(isinstance(module, types) for module in left.modules()):
            found.append(name)
            _replace(left, types, nn.Identity)
    return tuple(found)


def _replace(
    model: nn.Module, kinds: tuple[type[nn.Module], ...], make: Callable[[], nn.Module]
) -> int:
    found = list(_places(model, kinds))
    for parent, name in found:
        setattr(parent, name, make())
    return len(found)


def _places(
    model: nn.Module, kinds: tuple[type[nn.Module], ...]
) -> Iterator[tuple[nn.Module, str]]:
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, kinds):
                yield parent, name


def _fits_nothing(table: StudentTable, name: str, lacks: str) -> UserError:
    return UserError(
        f"student.adapt {name}: {table.model} has {lacks}; take {name} out of student.adapt"
    )


def _not_made(table: StudentTable, error: Exception) -> UserError:
    reason = str(error).partition("\n")[0] or type(error).__name__
    if table.weights == "hub":
        remedy = "give a local file in student.weights"
    elif isinstance(error, TypeError) and "drop_rate" in reason:
        remedy = "it takes no dropout: set student.dropout=0"
    elif is_own(table.model):
        remedy = f"mend it; {CALLED_AS}"
    else:
        remedy = "change student.options"
    return UserError(f"student {table.model}: cannot be made ({reason}); {remedy}")


def _function(table: StudentTable) -> Callable[..., Any]:
    """An own student's function, its options checked against its signature."""
    function = own_function(table.model, table.code)
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        raise UserError(f"student {table.model}: has no readable signature") from None
    first = parameters[0].name if parameters else ""
    if first != "classes":
        raise UserError(
            f"student {table.model}: its first argument is {first or 'missing'}; {CALLED_AS}"
        )
    if not any(one.kind is one.VAR_KEYWORD for one in parameters):
        known = [one.name for one in parameters[1:]]
        for option in table.options:
            if option not in known:
                raise UserError(unknown(f"option {option} of {table.model}", option, known))
    missing = [
        one.name
        for one in parameters[1:]
        if one.default is one.empty
        and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        and one.name not in (*table.options, "width", "dropout")
    ]
    if missing:
        raise UserError(
            f"student {table.model}: needs the option {missing[0]}; write it into student.options"
        )
    return function


def _own(table: StudentTable, classes: int) -> nn.Module:
    """What an own function builds. ``width`` and ``dropout`` reach it where it takes them."""
    function = _function(table)
    takes = inspect.signature(function).parameters
    given = {
        name: value
        for name, value in (("width", table.width), ("dropout", table.dropout))
        if name in takes and name not in table.options
    }
    if table.weights == "hub":
        raise UserError(f"student.weights hub: {table.model} has none; give a local weights file")
    try:
        model = function(classes, **given, **table.options)
    except Exception as error:  # whatever the user's own lines raise
        raise _not_made(table, error) from None
    if not isinstance(model, nn.Module):
        raise UserError(
            f"student {table.model}: returns a {type(model).__name__}; return a torch.nn.Module"
        )
    return model
