"""The graph inside a Vulkan delegate, run operator by operator where no graphics processor is.

It reads the saved file alone: operators, their arguments, and constants in the layout that the
phone's runtime reads. An operator that it does not know, or an output of another shape than the
file says, is refused. What it cannot prove is what Vulkan's own kernels answer on a phone's
processor, which sum in another order and in float16 where the file says so.

int8 operators after ExecuTorch's ``backends/vulkan/patterns/quantized_convolution.py``: whole sums,
times one float32 factor for each output channel, plus a float32 bias, rounded half to even;
additions in float32. A convolution's weights lie as ``[out, height, width, in]``, rows padded to
four; those of a depthwise one as ``[height, width, out]``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mobilekd.graphs import vulkan_delegate
from mobilekd.graphs.vulkan_delegate import Call, Several
from mobilekd.support.errors import CannotRunHere

TYPES = {
    "BOOL": torch.bool,
    "UINT8": torch.uint8,
    "INT8": torch.int8,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "FLOAT16": torch.float16,
    "FLOAT32": torch.float32,
}
LOWEST, HIGHEST = -128, 127  # of int8


def quantise(
    x: Tensor, step: float, zero_point: int, lowest: int = LOWEST, highest: int = HIGHEST, *_: None
) -> Tensor:
    """float32 -> int8."""
    return (torch.round(x / step) + zero_point).clamp(lowest, highest).to(torch.int8)


def dequantise(x: Tensor, step: float, zero_point: int, *_: Any) -> Tensor:
    """int8 -> float32."""
    return (x.float() - zero_point) * step


def _layer(
    x: Tensor,
    step: float,
    zero_point: int,
    weights: Tensor,
    weight_sums: Tensor,
    weight_steps: Tensor,
    out_step: float,
    out_zero_point: int,
    bias: Tensor | None,
    *rest: Any,
) -> Tensor:
    """A convolution, int8 ``[1, C, H, W]`` -> int8, or a linear layer, int8 ``[N, C]`` -> int8.

    The kernels take the zero point from the inputs by the sums of weights that the file holds, so
    wrong ones there are wrong answers here, too. What belongs to outputs is padded to four.
    """
    *geometry, activation = rest
    stored = (_filters(weights, x, *geometry) if geometry else weights[:, : x.shape[-1]]).double()
    centred = x.double() - zero_point  # whole numbers far below 2^53: what follows is exact
    sums = (
        nn.functional.conv2d(centred, stored, None, *geometry[1:])
        if geometry
        else nn.functional.linear(centred, stored)
    )
    out, spread = len(stored), [-1, *[1] * (sums.dim() - 2)]
    astray = stored.flatten(1).sum(1) - weight_sums[:out]
    sums = sums + zero_point * astray.reshape(spread)
    found = sums.float() * (weight_steps[:out] * step).reshape(spread)
    if bias is not None:
        found = found + bias[:out].reshape(spread)
    if activation not in ("none", "relu"):
        raise CannotRunHere(f"the interpreter does not know the activation {activation}")
    return quantise(found.relu() if activation == "relu" else found, out_step, out_zero_point)


def _filters(
    weights: Tensor,
    x: Tensor,
    kernel: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
) -> Tensor:
    """Weights as ``conv2d`` takes them, ``[out, in, height, width]``."""
    if weights.dim() == 3:  # depthwise
        return weights.permute(2, 0, 1).unsqueeze(1)
    channels = x.shape[1] // groups
    rows = weights[:, : kernel[0] * kernel[1] * channels]
    return rows.reshape(-1, *kernel, channels).permute(0, 3, 1, 2)


def _addition(
    a: Tensor,
    b: Tensor,
    a_step: float,
    a_zero_point: int,
    b_step: float,
    b_zero_point: int,
    out_step: float,
    out_zero_point: int,
    alpha: float,
) -> Tensor:
    """int8 + int8 -> int8."""
    found = dequantise(a, a_step, a_zero_point) + alpha * dequantise(b, b_step, b_zero_point)
    return quantise(found, out_step, out_zero_point)


def _relu(x: Tensor, step: float, zero_point: int, out_step: float, out_zero: int) -> Tensor:
    return quantise(dequantise(x, step, zero_point).relu(), out_step, out_zero)


def _clamped(*arguments: Any) -> Tensor:
    """A convolution in floating point, then a clamp; float64's largest number is no bound."""
    *convolution, low, high = arguments
    bounds = torch.tensor([low, high], dtype=torch.float64).float()
    return torch.ops.aten.convolution.default(*convolution).clamp(*bounds)


#: Vulkan's own operators; aten's do what their name says.
OWN: dict[str, Callable[..., Tensor]] = {
    "et_vk.prepack.default": lambda x: x,
    "dim_order_ops._to_dim_order_copy.default": lambda x, *_: x,  # the type is its output's
    "et_vk.conv_with_clamp.default": _clamped,
    "et_vk.q8ta_conv2d.default": _layer,
    "et_vk.q8ta_conv2d_dw.default": _layer,
    "et_vk.q8ta_conv2d_pw.default": _layer,
    "et_vk.q8ta_linear.default": _layer,
    "et_vk.q8ta_linear_gemv.default": _layer,
    "et_vk.q8ta_add.default": _addition,
    "et_vk.q8ta_relu.default": _relu,
    "quantized_decomposed.quantize_per_tensor.default": quantise,
    "quantized_decomposed.dequantize_per_tensor.default": dequantise,
}


def _aten(name: str) -> Callable[..., Tensor] | None:
    """An operator of aten that takes a call's arguments by their place."""
    space, operator, overload = name.split(".")
    packet = getattr(torch.ops.aten, operator, None) if space == "aten" else None
    chosen = getattr(packet, overload, None)
    if chosen is None:
        return None
    parameters = chosen._schema.arguments

    def call(*arguments: Any) -> Tensor:
        pairs = [
            # the file holds some whole numbers as floating point
            (one, int(value) if str(one.type) == "int" else value)
            for one, value in zip(parameters, arguments, strict=True)
        ]
        by_name = {one.name: value for one, value in pairs if one.kwarg_only}
        found: Tensor = chosen(*(value for one, value in pairs if not one.kwarg_only), **by_name)
        return found

    return call


class Interpreter:
    """A delegate's graph with its constants, which lie in ``blobs`` by their key."""

    def __init__(self, data: bytes, blobs: Mapping[str, bytes]) -> None:
        self.graph = graph = vulkan_delegate.read(data)
        self.constants: dict[int, Tensor] = {}
        for number, value in enumerate(graph.values):
            if isinstance(value, vulkan_delegate.Tensor) and value.constant >= 0:
                raw = blobs[graph.keys[value.constant]]
                read = torch.frombuffer(bytearray(raw), dtype=TYPES[value.type])
                self.constants[number] = _widened(read.reshape(value.shape))
        self.operators = {call.name: self._operator(call.name) for call in graph.calls}

    def _operator(self, name: str) -> Callable[..., Tensor]:
        found = OWN.get(name) or _aten(name)
        if found is None:
            raise CannotRunHere(f"the interpreter does not know {name}")
        return found

    def __call__(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Inputs and outputs float32, as they cross the delegate's border."""
        held = dict(self.constants)
        for place, x in zip(self.graph.inputs, inputs, strict=True):
            wanted = self.graph.values[place]
            assert isinstance(wanted, vulkan_delegate.Tensor)
            held[place] = _stored(x, wanted)
        for call in self.graph.calls:
            held[call.arguments[-1]] = self._run(call, held)
        return [held[number].float() for number in self.graph.outputs]

    def _run(self, call: Call, held: Mapping[int, Tensor]) -> Tensor:
        def argument(number: int) -> Any:
            value = self.graph.values[number]
            if isinstance(value, Several):
                return [argument(member) for member in value.members]
            return held[number] if isinstance(value, vulkan_delegate.Tensor) else value

        *given, result = call.arguments
        found = self.operators[call.name](*map(argument, given))
        wanted = self.graph.values[result]
        assert isinstance(wanted, vulkan_delegate.Tensor)
        if tuple(found.shape) != wanted.shape:
            raise CannotRunHere(
                f"{call.name} gives {list(found.shape)} where the file says {list(wanted.shape)}"
            )
        return _stored(found, wanted)


def _widened(x: Tensor) -> Tensor:
    """float16 as float32: sums are kept in float32, what is stored between operators is not."""
    return x.float() if x.dtype is torch.float16 else x


def _stored(x: Tensor, like: vulkan_delegate.Tensor) -> Tensor:
    """``x`` as the file stores it between two operators."""
    return _widened(x.to(TYPES[like.type]))
