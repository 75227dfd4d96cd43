"""The operators of a network as a phone runs them: kind and size of each, counted without lowering
it.

A network answers one blank picture while its operators are written down: a hundredth of a second,
where lowering takes seconds. Batch norms are folded into the layer before them, and a clamp behind
a layer runs inside it, as XNNPACK does it; everything else is an operator.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mobilekd.formats.document import Document

#: Operators that XNNPACK folds into the layer before them.
FOLDED = ("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm")
#: Clamps, which are free behind a layer with weights.
CLAMPS = ("hardtanh", "hardtanh_", "relu", "relu_", "relu6", "relu6_", "clamp", "clamp_")
#: Operators that change no number: views and copies of what has a name already.
FREE = ("view", "_unsafe_view", "reshape", "t", "detach", "dropout", "clone", "permute")
FREE_TOO = ("expand", "alias", "native_dropout", "unsqueeze", "squeeze", "empty", "zeros")

#: Operators that read much more than they write.
REDUCTIONS = ("mean", "sum", "amax", "_adaptive_avg_pool2d", "avg_pool2d")


class Operator(Document):
    """One operator of a network: what it is and how much of it there is."""

    kind: str
    macs: int = 0
    inputs: int = 0  # values read
    outputs: int = 0  # values written
    weights: int = 0
    channels: int = 0  # of its output; 0 where kernels do not work on channels


def operators(network: nn.Module, height: int, width: int) -> tuple[Operator, ...]:
    """The operators of a network for float32 ``[1, 3, H, W]``, its normalisation and softmax
    included.
    """
    x = torch.zeros(1, 3, height, width)
    with torch.no_grad(), _Counter() as counter:
        torch.softmax(network.eval()(x), 1)
    # x - mean, times scale, and the change of layout, for every value of the picture
    first = Operator(kind="input", inputs=x.numel(), outputs=x.numel())
    return (first, *counter.found)


def at_side(
    small: Sequence[Operator], large: Sequence[Operator], sides: tuple[int, int], side: int
) -> tuple[Operator, ...]:
    """The operators of a network at a square input of ``side`` pixels, from those at the two
    ``sides``. Where all three are multiples of the network's stride, what an operator reads, writes
    and computes grows linearly with the number of pixels, so two sizes tell every other.
    """
    share = (side**2 - sides[0] ** 2) / (sides[1] ** 2 - sides[0] ** 2)

    def between(one: int, other: int) -> int:
        return round(one + share * (other - one))

    return tuple(
        one.model_copy(
            update={
                "macs": between(one.macs, other.macs),
                "inputs": between(one.inputs, other.inputs),
                "outputs": between(one.outputs, other.outputs),
            }
        )
        for one, other in zip(small, large, strict=True)
    )


class _Counter(TorchDispatchMode):
    """Writes down every operator that runs."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[Operator] = []
        self.behind_layer = False

    def __torch_dispatch__(
        self,
        function: Any,
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        answer = function(*arguments, **(options or {}))
        name = function._schema.name.partition("::")[2]
        if name in FOLDED or name in FREE or name in FREE_TOO:
            return answer
        if name in CLAMPS and self.behind_layer:
            return answer
        output = answer[0] if isinstance(answer, (tuple, list)) else answer
        self.found.append(_operator(name, arguments, output))
        self.behind_layer = name in ("convolution", "addmm", "mm")
        return answer


def _operator(name: str, arguments: Sequence[Any], output: torch.Tensor) -> Operator:
    tensors = [one for one in arguments if isinstance(one, torch.Tensor)]
    read, written = sum(one.numel() for one in tensors[:1]), output.numel()
    if name == "convolution":
        weight = tensors[1]
        taps = math.prod(weight.shape[1:])  # products for one output value
        depthwise = arguments[8] > 1
        dense = not depthwise and math.prod(weight.shape[2:]) > 1
        kind = "depthwise" if depthwise else "convolution" if dense else "pointwise"
        macs, weights = written * taps, weight.numel()
        return Operator(
            kind=kind,
            macs=macs,
            inputs=read,
            outputs=written,
            weights=weights,
            channels=output.shape[1],
        )
    if name in ("addmm", "mm"):
        weight = tensors[-1]
        macs = written * weight.shape[0]
        read = macs // weight.shape[1]
        return Operator(
            kind="pointwise",
            macs=macs,
            inputs=read,
            outputs=written,
            weights=weight.numel(),
            channels=output.shape[1],
        )
    if name in REDUCTIONS:
        return Operator(kind="reduction", inputs=read, outputs=written)
    return Operator(kind="elementwise", inputs=read, outputs=written)
