"""Look at layers inside a network by name while it runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from mobilekd.support.errors import UserError
from mobilekd.support.words import unknown


@dataclass(frozen=True)
class Outputs:
    """What a network gave for a batch: logits ``[B, C]`` and the features that were asked for, by
    layer name.
    """

    logits: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)


class Taps:
    """``with Taps(model, ["blocks.3"]) as taps: model(x)`` leaves each layer's output in
    ``taps.features``.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str]) -> None:
        self.features: dict[str, Tensor] = {}
        self._hooks: list[Any] = []
        known = dict(model.named_modules())
        for name in layers:
            if name not in known:
                layer = f"layer {name} of {type(model).__name__}"
                raise UserError(unknown(layer, name, filter(None, known)))
        self._layers = {name: known[name] for name in layers}

    def __enter__(self) -> "Taps":
        for name, module in self._layers.items():
            self._hooks.append(module.register_forward_hook(self._keep(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _keep(self, name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
            self.features[name] = output

        return hook
