"""The ops that the interpreter knows: each a torch function with MIL's own argument names.

Definitions follow the MIL op reference (apple.github.io/coremltools,
``coremltools.converters.mil.mil.ops.defs``). Tensors arrive as float32 whose values the program's
type can hold; :mod:`program` rounds each result to that type. All other arguments are constants and
arrive as plain Python values.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from mobilekd.graphs.mil.values import MilError


@dataclass(frozen=True)
class Op:
    """One op: its function, and which arguments are tensors (all of one floating type, as is the
    result).
    """

    function: Callable[..., Any]
    tensors: tuple[str, ...] = ("x",)
    retypes: bool = False  # the result's type is the op's own business, not its inputs'


OPS: dict[str, Op] = {}


def op(*tensors: str, retypes: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function under its own name."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        OPS[function.__name__] = Op(function, tensors or ("x",), retypes)
        return function

    return register


# --- element by element, two tensors
# -------------------------------------------------------------------------------
for _name, _binary in {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "real_div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "pow": torch.pow,
}.items():
    OPS[_name] = Op(lambda x, y, _f=_binary: _f(x, y), ("x", "y"))

# --- element by element, one tensor
# ------------------------------------------------------------
for _name, _unary in {
    "relu": F.relu,
    "relu6": F.relu6,
    "sigmoid": torch.sigmoid,
    "silu": F.silu,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "abs": torch.abs,
    "erf": torch.erf,
    "identity": torch.clone,
}.items():
    OPS[_name] = Op(lambda x, _f=_unary: _f(x))


@op()
def clip(x: Tensor, alpha: float, beta: float) -> Tensor:
    """Between ``alpha`` and ``beta``."""
    return x.clamp(alpha, beta)


@op()
def sigmoid_hard(x: Tensor, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    """``min(max(alpha x + beta, 0), 1)``."""
    return (alpha * x + beta).clamp(0, 1)


@op()
def thresholded_relu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """``x`` from ``alpha`` on, else 0."""
    return torch.where(x >= alpha, x, torch.zeros_like(x))


@op()
def leaky_relu(x: Tensor, alpha: float = 0.01) -> Tensor:
    """``alpha x`` below zero."""
    return F.leaky_relu(x, alpha)


@op()
def gelu(x: Tensor, mode: str = "EXACT") -> Tensor:
    """arXiv 1606.08415, with MIL's three modes."""
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    kinds = {"EXACT": "none", "TANH_APPROXIMATION": "tanh"}
    if mode not in kinds:
        raise MilError(f"gelu: mode {mode} is not known to the interpreter")
    return F.gelu(x, approximate=kinds[mode])


@op()
def softmax(x: Tensor, axis: int = -1) -> Tensor:
    """Over ``axis``."""
    return torch.softmax(x, axis)


@op("x", "mean", "variance", "gamma", "beta")
def batch_norm(
    x: Tensor,
    mean: Tensor,
    variance: Tensor,
    gamma: Tensor | None = None,
    beta: Tensor | None = None,
    epsilon: float = 1e-5,
) -> Tensor:
    """Inference only: over axis 1."""
    return F.batch_norm(x, mean, variance, gamma, beta, eps=epsilon)


# --- convolution and matrix products
# -------------------------------------------------------------------------------
@op("x", "weight", "bias")
def conv(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    strides: Sequence[int] | None = None,
    pad_type: str = "valid",
    pad: Sequence[int] | None = None,
    dilations: Sequence[int] | None = None,
    groups: int = 1,
) -> Tensor:
    """Two dimensions, ``[N, C, H, W]``."""
    if weight.dim() != 4:
        raise MilError(
            f"conv: a weight with {weight.dim()} dimensions is not known to the interpreter"
        )
    strides, dilations = strides or [1, 1], dilations or [1, 1]
    padded = F.pad(x, _padding(x, pad_type, pad, weight.shape[2:], strides, dilations))
    return F.conv2d(padded, weight, bias, tuple(strides), 0, tuple(dilations), groups)


@op("x", "weight", "bias")
def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x weight^T + bias``."""
    return F.linear(x, weight, bias)


@op("x", "y")
def matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    """Of the last two axes."""
    return torch.matmul(x.mT if transpose_x else x, y.mT if transpose_y else y)


# --- pooling and reductions
# ------------------------------------------------------------
@op()
def max_pool(
    x: Tensor,
    kernel_sizes: Sequence[int],
    strides: Sequence[int] | None = None,
    pad_type: str = "valid",
    pad: Sequence[int] | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """Two dimensions, ``[N, C, H, W]``."""
    strides = strides or [1, 1]
    padding = _pooling_padding("max_pool", x, pad_type, pad, kernel_sizes, strides, ceil_mode)
    return F.max_pool2d(F.pad(x, padding, value=-math.inf), tuple(kernel_sizes), tuple(strides))


@op()
def avg_pool(
    x: Tensor,
    kernel_sizes: Sequence[int],
    strides: Sequence[int] | None = None,
    pad_type: str = "valid",
    pad: Sequence[int] | None = None,
    exclude_padding_from_average: bool = False,
    ceil_mode: bool = False,
) -> Tensor:
    """Two dimensions, ``[N, C, H, W]``; padding counts as zeros unless it is excluded."""
    strides = strides or [1, 1]
    padding = _pooling_padding("avg_pool", x, pad_type, pad, kernel_sizes, strides, ceil_mode)
    mean = F.avg_pool2d(F.pad(x, padding), tuple(kernel_sizes), tuple(strides))
    if not exclude_padding_from_average:
        return mean
    return mean / F.avg_pool2d(
        F.pad(torch.ones_like(x), padding), tuple(kernel_sizes), tuple(strides)
    )


for _name, _reduction in {
    "reduce_mean": torch.mean,
    "reduce_sum": torch.sum,
    "reduce_max": torch.amax,
    "reduce_min": torch.amin,
}.items():
    OPS[_name] = Op(
        lambda x, axes=None, keep_dims=False, _f=_reduction: _f(
            x, axes or list(range(x.dim())), keep_dims
        )
    )


# --- shape
# ------------------------------------------------------------
@op()
def reshape(x: Tensor, shape: Sequence[int]) -> Tensor:
    """A 0 keeps that axis and needs the rank to stay, one -1 takes what is left."""
    if 0 in shape and len(shape) != x.dim():
        raise MilError(
            f"reshape: {list(shape)} keeps an axis, so it must have the input's rank of {x.dim()}"
        )
    return x.reshape([x.shape[axis] if size == 0 else size for axis, size in enumerate(shape)])


@op()
def transpose(x: Tensor, perm: Sequence[int]) -> Tensor:
    """Axes in the order of ``perm``."""
    return x.permute(tuple(perm))


@op()
def expand_dims(x: Tensor, axes: Sequence[int]) -> Tensor:
    """New axes of size 1, named by their place in the result."""
    rank = x.dim() + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


@op()
def squeeze(x: Tensor, axes: Sequence[int] | None = None) -> Tensor:
    """Drop axes of size 1."""
    return x.squeeze() if axes is None else x.squeeze(tuple(axes))


@op("values")
def concat(values: Sequence[Tensor], axis: int, interleave: bool = False) -> Tensor:
    """Along ``axis``."""
    if interleave:
        raise MilError("concat: interleave is not known to the interpreter")
    return torch.cat(list(values), axis)


@op()
def split(
    x: Tensor, axis: int, num_splits: int | None = None, split_sizes: Sequence[int] | None = None
) -> list[Tensor]:
    """Into ``num_splits`` equal parts or parts of ``split_sizes``."""
    if split_sizes is not None:
        return list(torch.split(x, list(split_sizes), axis))
    if num_splits is None or x.shape[axis] % num_splits:
        raise MilError(f"split: {x.shape[axis]} cannot be parted into {num_splits} equal parts")
    return list(torch.split(x, x.shape[axis] // num_splits, axis))


# --- types and answers
# ------------------------------------------------------------
@op(retypes=True)
def cast(x: Tensor, dtype: str) -> Tensor:
    """Between the floating types; :mod:`program` rounds to the declared one, which must be this."""
    kinds = {"fp16": torch.float16, "fp32": torch.float32}
    if dtype not in kinds:
        raise MilError(f"cast: dtype {dtype} is not known to the interpreter")
    return x.to(kinds[dtype])


@op("probabilities", retypes=True)
def classify(probabilities: Tensor, classes: Sequence[str]) -> list[Any]:
    """The likeliest class, and every class with its probability."""
    flat = probabilities.reshape(-1).tolist()
    if len(flat) != len(classes) or len(set(classes)) != len(classes):
        raise MilError(
            f"classify: {len(flat)} probabilities for {len(set(classes))} different classes"
        )
    return [classes[flat.index(max(flat))], dict(zip(classes, flat, strict=True))]


# --- padding
# ------------------------------------------------------------
def _padding(
    x: Tensor,
    pad_type: str,
    pad: Sequence[int] | None,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[int]:
    """MIL's padding (before, after, first axis first) in torch's order (last axis first)."""
    if pad_type == "valid":
        pairs = [(0, 0)] * len(kernel)
    elif pad_type == "custom" and pad is not None and len(pad) == 2 * len(kernel):
        pairs = list(zip(pad[::2], pad[1::2], strict=True))
    elif pad_type in ("same", "same_lower"):
        pairs = []
        for size, width, stride, dilation in zip(
            x.shape[2:], kernel, strides, dilations, strict=True
        ):
            total = max(
                (math.ceil(size / stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0
            )
            small, large = total // 2, total - total // 2
            pairs.append((large, small) if pad_type == "same_lower" else (small, large))
    else:
        raise MilError(f"pad_type {pad_type} with pad {pad}: not known to the interpreter")
    return [side for pair in reversed(pairs) for side in pair]


def _pooling_padding(
    name: str,
    x: Tensor,
    pad_type: str,
    pad: Sequence[int] | None,
    kernel: Sequence[int],
    strides: Sequence[int],
    ceil_mode: bool,
) -> list[int]:
    if ceil_mode or len(kernel) != 2:
        raise MilError(
            f"{name}: ceil_mode {ceil_mode} over {len(kernel)} axes is not known to the interpreter"
        )
    return _padding(x, pad_type, pad, kernel, strides, [1, 1])
