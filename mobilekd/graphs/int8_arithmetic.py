"""What int8 kernels compute, in whole numbers: a quantised graph run as XNNPACK runs it, spelt out
in torch.

PT2E writes a quantised operator as dequantise, the operator in floating point, quantise. Run like
that, float32's own rounding decides ties that kernels decide otherwise, and each such level moves
others: after fifty layers two *torch* runs, in float32 and in float64, give visibly other
probabilities. Kernels add whole numbers and round once, so here the pattern is computed like that,
and a file that holds the graph answers the same to the last digit.

Arithmetic after XNNPACK's reference (github.com/google/XNNPACK, ``src/microparams-init.c`` and the
``fp32`` requantisation of ``qs8`` kernels): int32 sums, times one float32 factor for each output
channel, rounded half to even; additions in fixed point. ONNX Runtime's kernels differ in additions
alone (:class:`OnnxRuntimeInterpreter`). Operators that are not quantised, or not known here, are
computed in floating point on dequantised values, as the graph says.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx

aten = torch.ops.aten

#: From a level of int8 to the same one of uint8.
UNSIGNED = 128


@dataclass(frozen=True, eq=False)
class Levels:
    """A dequantised tensor before it becomes one: whole numbers (kept in float64, exact), float32
    step, zero point.
    """

    numbers: Tensor
    step: Tensor  # [] or [C]
    zero_point: int

    def centred(self) -> Tensor:
        """The numbers less the zero point."""
        return self.numbers - self.zero_point

    def floating(self) -> Tensor:
        """The values, float32."""
        step = (
            self.step.reshape(-1, *[1] * (self.numbers.dim() - 1)) if self.step.dim() else self.step
        )
        return (self.centred() * step.double()).float()


@dataclass(frozen=True, eq=False)
class Sums:
    """What a kernel holds before it rounds: whole numbers, the float32 value of one, and the clamp
    that it applies.
    """

    numbers: Tensor
    unit: Tensor  # broadcasts over numbers
    low: float = -math.inf
    high: float = math.inf

    def floating(self) -> Tensor:
        """The values, float32."""
        return (self.numbers * self.unit.double()).float().clamp(self.low, self.high)


@dataclass(frozen=True, eq=False)
class Addition:
    """Two quantised tensors about to be added, by kernels that add in fixed point or float32."""

    a: Levels
    b: Levels
    in_fixed_point: bool = True

    def floating(self) -> Tensor:
        """The values, float32."""
        return self.a.floating() + self.b.floating()


Pending = Levels | Sums | Addition


def floating(value: Any) -> Any:
    """What is pending as a float32 tensor; anything else as it is."""
    return value.floating() if isinstance(value, (Levels, Sums, Addition)) else value


class Interpreter(fx.Interpreter):
    """Runs a PT2E-converted graph, or its lowered form, in whole numbers; a graph in floating point
    as torch does.
    """

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One operator; tensors between dequantise and quantise stay pending."""
        schema = getattr(target, "_schema", None)
        handler = _HANDLERS.get(schema.name.split("::")[-1]) if schema is not None else None
        # memory that is planned already waits for the floating-point operator
        if handler is not None and "out" not in kwargs:
            value = handler(target, *args, **kwargs)
            if value is not None:
                return value
        plain: Any = [fx.node.map_aggregate(given, floating) for given in (args, kwargs)]
        return super().call_function(target, *plain)

    def output(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Nothing pending leaves the graph."""
        return fx.node.map_aggregate(super().output(target, args, kwargs), floating)


class OnnxRuntimeInterpreter(Interpreter):
    """The same as ONNX Runtime's kernels for x86 with AVX2 compute it, to the last level. Those for
    other processors round an addition's ties otherwise.
    """

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """One operator; additions are float32's."""
        value = super().call_function(target, args, kwargs)
        return replace(value, in_fixed_point=False) if isinstance(value, Addition) else value


def _dequantize(
    _: Any, numbers: Tensor, step: float, zero_point: int, *rest: Any, **more: Any
) -> Pending:
    return Levels(numbers.double(), torch.tensor(step, dtype=torch.float32), int(zero_point))


def _dequantize_channels(
    _: Any,
    numbers: Tensor,
    steps: Tensor,
    zero_points: Tensor | None,
    axis: int,
    *rest: Any,
    **more: Any,
) -> Any:
    if axis != 0 or (zero_points is not None and zero_points.any()):
        return None
    return Levels(numbers.double(), steps.float(), 0)


def quantize(
    _: Any, value: Any, step: float, zero_point: int, low: int, high: int, dtype: torch.dtype
) -> Tensor:
    """``quantize_per_tensor``: what is pending rounded once, half to even, to ``low`` .. ``high``
    (integers of ``dtype``); the arguments are the ATen operator's.
    """
    if isinstance(value, Levels) and (float(value.step), value.zero_point) == (
        _float32(step),
        zero_point,
    ):
        return value.numbers.to(dtype)  # these very levels
    one = torch.tensor(step, dtype=torch.float32)
    if isinstance(value, Addition):
        add = _add_in_fixed_point if value.in_fixed_point else _add_in_float32
        return add(value, one, zero_point).clamp(low, high).to(dtype)
    if isinstance(value, Sums):
        # a clamp is applied to levels, so its bounds are levels too
        low = max(low, zero_point + round(value.low / step)) if math.isfinite(value.low) else low
        high = (
            min(high, zero_point + round(value.high / step)) if math.isfinite(value.high) else high
        )
        return (
            (torch.round(value.numbers.float() * (value.unit / one)) + zero_point)
            .clamp(low, high)
            .to(dtype)
        )
    return (torch.round(floating(value) / one) + zero_point).clamp(low, high).to(dtype)


def _add_in_fixed_point(value: Addition, step: Tensor, zero_point: int) -> Tensor:
    """Both steps as multiples of the output's with 20 binary digits, halves rounded up
    (``xnn_init_qs8_add_minmax_params``).
    """
    ratios = [float(side.step / step) for side in (value.a, value.b)]
    shift = 20 - (math.frexp(max(ratios))[1] - 1)
    factors = [round(ratio * 2.0**shift) for ratio in ratios]
    total = value.a.centred() * factors[0] + value.b.centred() * factors[1] + 2 ** (shift - 1)
    return torch.floor(total / 2.0**shift) + zero_point


def _add_in_float32(value: Addition, step: Tensor, zero_point: int) -> Tensor:
    """Levels counted from 0, as uint8 holds them, with fused multiplications: ``a r + (z - (r_a z_a
    + r_b z_b))``, then ``b r`` (``MlasQLinearAdd`` for AVX2, github.com/microsoft/onnxruntime).
    """

    def once(exact: Tensor) -> Tensor:  # a fused operation rounds its result once
        return exact.float().double()

    ratios = [(side.step / step).double() for side in (value.a, value.b)]
    zeros = [side.zero_point + UNSIGNED for side in (value.a, value.b)]
    a, b = (side.numbers + UNSIGNED for side in (value.a, value.b))
    rest = once(ratios[0] * zeros[0] + once(ratios[1] * zeros[1]))
    total = once(a * ratios[0] + once(zero_point + UNSIGNED - rest))
    return torch.round(once(b * ratios[1] + total)) - UNSIGNED


def _weighted(compute: Callable[..., Tensor], channel_axis: int) -> Callable[..., Any]:
    """A convolution or linear layer whose input and weights are quantised: exact sums, the bias on
    their grid.
    """

    def handler(target: Any, x: Any, weight: Any, bias: Any = None, *rest: Any) -> Any:
        if not (isinstance(x, Levels) and isinstance(weight, Levels)):
            return None
        unit = x.step * weight.step
        shape = [1] * x.numbers.dim()
        shape[channel_axis] = -1
        sums = compute(target, x.centred(), weight.numbers, *rest)
        if bias is not None:
            sums = sums + torch.round(floating(bias).double() / unit.double()).reshape(shape)
        return Sums(sums, unit.reshape(shape) if unit.dim() else unit)

    return handler


def _convolve(target: Any, x: Tensor, weight: Tensor, *rest: Any) -> Tensor:
    operator = (
        aten.convolution.default if "convolution" in target._schema.name else aten.conv2d.default
    )
    return operator(x, weight, None, *rest)


def clamp(_: Any, value: Any, low: float = -1.0, high: float = 1.0) -> Any:
    """``hardtanh`` of pending sums, kept as bounds until they are rounded; None for anything
    else.
    """
    return (
        replace(value, low=max(low, value.low), high=min(high, value.high))
        if isinstance(value, Sums)
        else None
    )


def _relu(_: Any, value: Any) -> Any:
    return clamp(_, value, 0.0, math.inf)


def _add(_: Any, a: Any, b: Any, alpha: float = 1) -> Any:
    return (
        Addition(a, b) if isinstance(a, Levels) and isinstance(b, Levels) and alpha == 1 else None
    )


def _multiply(_: Any, a: Any, b: Any) -> Any:
    return (
        Sums(a.centred() * b.centred(), a.step * b.step)
        if isinstance(a, Levels) and isinstance(b, Levels)
        else None
    )


def _average(_: Any, value: Any, where: Any, *rest: Any) -> Any:
    """``adaptive_avg_pool2d`` to one place, or ``mean`` over both places: the sum, with a unit so
    much smaller.
    """
    if (
        not isinstance(value, Levels)
        or value.numbers.dim() != 4
        or sorted(where) not in ([1, 1], [-2, -1], [2, 3])
    ):
        return None
    places = value.numbers.shape[2] * value.numbers.shape[3]
    keep = True if sorted(where) == [1, 1] else bool(rest and rest[0])
    return Sums(value.centred().sum((2, 3), keepdim=keep), value.step / places)


def _reshape(target: Any, value: Any, *rest: Any) -> Any:
    """An operator that moves numbers and changes none."""
    return (
        replace(value, numbers=target(value.numbers, *rest)) if isinstance(value, Levels) else None
    )


def _pass(_: Any, value: Any, *rest: Any) -> Any:
    """Dropout in a graph for inference."""
    return value if isinstance(value, Levels) else None


def _float32(value: float) -> float:
    return float(torch.tensor(value, dtype=torch.float32))


_HANDLERS: dict[str, Callable[..., Any]] = {
    "dequantize_per_tensor": _dequantize,
    "dequantize_per_channel": _dequantize_channels,
    "quantize_per_tensor": quantize,
    "conv2d": _weighted(_convolve, 1),
    "convolution": _weighted(_convolve, 1),
    "linear": _weighted(lambda _, x, weight: torch.nn.functional.linear(x, weight), -1),
    "hardtanh": clamp,
    "relu": _relu,
    "add": _add,
    "mul": _multiply,
    "adaptive_avg_pool2d": _average,
    "mean": _average,
    "flatten": _reshape,
    "view": _reshape,
    "view_copy": _reshape,
    "dropout": _pass,
}
