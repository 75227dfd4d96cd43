"""What timm's and torchvision's networks need changed before one loop can train all of them, as
students or teachers; their names and numbers stay.
"""

from typing import Any

from torch import Tensor, nn

from mobilekd.support.errors import UserError


def timms_classifier(model: nn.Module) -> nn.Module | None:
    """The layer that timm says gives the logits; None of a network that is not timm's."""
    asked = getattr(model, "get_classifier", None)
    head = asked() if callable(asked) else None
    return head if isinstance(head, nn.Module) else None


def shrink_classifier(model: nn.Module) -> None:
    """Start timm's classifier near zero: for mobile networks its logits begin with a deviation of
    3, to be unlearnt first.
    """
    head = timms_classifier(model)
    if isinstance(head, nn.Linear):
        nn.init.normal_(head.weight, std=0.01)


def replace_head(model: nn.Module, what: str, classes: int) -> None:
    """Replace a torchvision network's last linear layer, or its last convolution where it has none
    (SqueezeNet).
    """
    layers = list(model.named_modules())
    ends = [
        item
        for kind in (nn.Linear, nn.Conv2d)
        for item in reversed(layers)
        if isinstance(item[1], kind)
    ]
    if not ends:
        raise UserError(f"{what}: ends in no layer that can be given other classes; choose another")
    name, last = ends[0]
    if isinstance(last, nn.Conv2d):
        # SqueezeNet's initial weights: a ReLU follows, and with the usual larger ones some classes
        # begin below it, for ever.
        head: nn.Module = nn.Conv2d(last.in_channels, classes, 1)
        nn.init.normal_(head.weight, std=0.01)  # type: ignore[arg-type]
        nn.init.zeros_(head.bias)  # type: ignore[arg-type]
    else:
        head = nn.Linear(last.in_features, classes)
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, head)


def drop_imagenet_parts(model: nn.Module, options: dict[str, Any]) -> None:
    """Drop what GoogLeNet and Inception have for ImageNet alone; their auxiliary heads make them
    answer a tuple in training.

    ``transform_input`` undoes ImageNet's normalisation, which is not ours. torchvision turns it on
    with its own weights only, so the taught network, opened again without them, would be another
    one.
    """
    if getattr(model, "aux_logits", False):
        model.aux_logits = False  # type: ignore[assignment]
        for name in ("aux1", "aux2", "AuxLogits"):
            if hasattr(model, name):
                setattr(model, name, None)
    if hasattr(model, "transform_input"):
        model.transform_input = options.get("transform_input", False)


def avoid_onednn_overflow(model: nn.Module) -> None:
    """Take the stride out of narrow 1 x 1 convolutions (RepVGG's and MobileOne's stems): every
    second pixel goes in instead.

    The result is the same. In channels_last on CPU, oneDNN's gradient of such a convolution of
    fewer than 16 channels writes beyond its memory and the process dies
    (github.com/uxlfoundation/oneDNN/issues/6035, torch 2.15).
    """
    for module in model.modules():
        if type(module) is not nn.Conv2d or module.kernel_size != (1, 1) or module.stride == (1, 1):
            continue
        if module.in_channels < 16 and module.groups == 1 and module.padding == (0, 0):
            module.register_forward_pre_hook(_Thinned(*module.stride))
            module.stride = (1, 1)


class _Thinned:
    """A hook that hands on every ``down``-th row and every ``across``-th column; a class, so that
    networks can be copied.
    """

    def __init__(self, down: int, across: int) -> None:
        self.down, self.across = down, across

    def __call__(self, module: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return inputs[0][:, :, :: self.down, :: self.across]
