"""A strict interpreter of a saved Core AI model's program, beside Apple's runtime.

Apple's reader turns the bytes into operations. They are run here one by one with torch; every
result must have the type that the file declares, and what the interpreter does not know is an error
that names it, never a guess.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mobilekd.graphs.coreai_file import CoreAIError, open_asset, quiet

TYPES = {"f32": torch.float32, "f16": torch.float16}
#: How large constants lie in bytes.
STORED = {"f32": "<f4", "f16": "<f2"}
#: A binary operation of the file, and torch's.
BINARY = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "divide": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "batch_matmul": torch.matmul,
}
UNARY = {
    "relu": torch.relu,
    "sigmoid": torch.sigmoid,
    "silu": nn.functional.silu,
    "sqrt": torch.sqrt,
    "rsqrt": torch.rsqrt,
    "exp": torch.exp,
    "erf": torch.erf,
}
REDUCTIONS = {
    "reduce_mean": torch.mean,
    "reduce_sum": torch.sum,
    "reduce_max": torch.amax,
    "reduce_min": torch.amin,
}
HEAVY = ("conv2d", "batch_matmul")


@dataclass(frozen=True)
class Step:
    """One operation: its kind, its operands and result by number, the result's declared type, and
    its attributes as text.
    """

    kind: str
    operands: tuple[int, ...]
    result: int
    shape: tuple[int, ...]
    dtype: str
    attributes: dict[str, str]


@dataclass
class Program:
    """A model's function ``main``, those that it calls put in line, read from its folder."""

    path: Path
    steps: list[Step] = field(default_factory=list)
    constants: dict[int, torch.Tensor] = field(default_factory=dict)
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    values: int = 0

    @classmethod
    def read(cls, path: Path) -> "Program":
        """Raises ``CoreAIError`` where the folder is no Core AI model with a function ``main``."""
        with quiet():
            module = open_asset(
                path
            ).program._module  # the public API has no way into the operations
            blobs = _blobs(module.as_string())
            blocks = {
                one.attributes["sym_name"].value: one.regions[0].blocks
                for one in module._mlir_module.body.operations
            }
            if "main" not in blocks or any(len(each) != 1 for each in blocks.values()):
                raise CoreAIError(f"{path}: has no function main of one block")
            program = cls(path)
            main = blocks["main"][0]
            program.inputs = tuple(program._new() for _ in main.arguments)
            program.outputs = program._take(
                main, program.inputs, {name: each[0] for name, each in blocks.items()}, blobs
            )
        return program

    def _new(self) -> int:
        self.values += 1
        return self.values

    def _take(
        self,
        block: Any,
        arguments: tuple[int, ...],
        functions: dict[str, Any],
        blobs: dict[str, bytes],
    ) -> tuple[int, ...]:
        """Put a function's operations in line, and those of the functions that it calls; returns
        its results by number.
        """
        numbers = dict(zip(block.arguments, arguments, strict=True))
        for operation in block.operations:
            raw = operation.operation
            kind = raw.name.removeprefix("coreai.").removeprefix("decomposable.broadcasting_")
            operands = tuple(numbers[each] for each in raw.operands)
            named = {each.name: each.attr for each in raw.attributes}
            if kind == "output":
                return operands
            if kind == "invoke":
                name = re.search(r"@(\w+)", str(named["callee"]))
                if name is None or name[1] not in functions:
                    raise CoreAIError(f"{self.path}: calls a function that it does not have")
                results = self._take(functions[name[1]], operands, functions, blobs)
                numbers.update(zip(raw.results, results, strict=True))
                continue
            if len(raw.results) != 1:
                raise CoreAIError(f"{self.path}: {raw.name} has {len(raw.results)} results")
            shape, dtype = _type(str(raw.results[0].type))
            result = numbers[raw.results[0]] = self._new()
            if kind == "constant":
                self.constants[result] = _tensor(named["value"], shape, dtype, blobs)
            else:
                texts = {name: str(value) for name, value in named.items()}
                self.steps.append(Step(kind, operands, result, shape, dtype, texts))
        raise CoreAIError(f"{self.path}: a function gives no result")

    def kinds(self) -> Counter[str]:
        """How often each kind of operation stands in the file."""
        return Counter(step.kind for step in self.steps)

    def heavy(self) -> list[str]:
        """Kinds of the convolutions and linear layers, in order."""
        return [step.kind for step in self.steps if step.kind in HEAVY]

    def answers(
        self, x: torch.Tensor, trace: dict[int, torch.Tensor] | None = None
    ) -> list[np.ndarray]:
        """Outputs, float32, for float32 ``[1, 3, H, W]``; ``trace`` collects every value by its
        number.
        """
        values = trace if trace is not None else {}
        values.update(self.constants)
        values.update(zip(self.inputs, (x,), strict=True))
        with torch.inference_mode():
            for step in self.steps:
                known = OPERATIONS.get(step.kind)
                if known is None:
                    raise CoreAIError(f"{self.path}: the interpreter does not know {step.kind}")
                result = known(step, *(values[each] for each in step.operands))
                wanted = (step.shape, TYPES.get(step.dtype))
                if (tuple(result.shape), result.dtype) != wanted:
                    raise CoreAIError(
                        f"{self.path}: {step.kind} gives {tuple(result.shape)} {result.dtype}, and"
                        f" the file declares {step.shape} {step.dtype}"
                    )
                values[step.result] = result
        return [values[each].float().numpy() for each in self.outputs]

    def layers(self, x: np.ndarray) -> list[np.ndarray]:
        """Outputs of the convolutions and linear layers in order, bias and all, for float32
        ``[1, 3, H, W]``.
        """
        trace: dict[int, torch.Tensor] = {}
        self.answers(torch.from_numpy(np.ascontiguousarray(x)), trace)
        biased = {
            operand: step.result
            for step in self.steps
            if step.kind == "add" and step.operands[1] in self.constants
            for operand in step.operands[:1]
        }
        return [
            trace[biased.get(step.result, step.result)].float().numpy()
            for step in self.steps
            if step.kind in HEAVY
        ]


def interpret(path: Path, x: np.ndarray) -> list[np.ndarray]:
    """float32 or uint8 ``[N, 3, H, W]`` -> outputs by the interpreter, one photograph at a time."""
    program = Program.read(path)
    answers = [
        program.answers(torch.from_numpy(np.ascontiguousarray(one[None], np.float32))) for one in x
    ]
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


def _whole(values: torch.Tensor) -> list[int]:
    return [int(each) for each in values.reshape(-1)]


def _conv2d(
    step: Step,
    x: torch.Tensor,
    weight: torch.Tensor,
    stride: torch.Tensor,
    dilation: torch.Tensor,
    groups: torch.Tensor,
) -> torch.Tensor:
    """Without padding and bias, which are operations of their own."""
    return nn.functional.conv2d(
        x, weight, None, _whole(stride), 0, _whole(dilation), int(groups.item())
    )


def _pad(step: Step, x: torch.Tensor, amounts: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """``amounts``: before and after each dimension, the first dimension first."""
    if (mode := step.attributes.get("padding_mode")) != "#coreai.padding_mode<constant>":
        raise CoreAIError(f"pad: the interpreter does not know {mode}")
    pairs = [_whole(amounts)[at : at + 2] for at in range(0, amounts.numel(), 2)]
    last_first = [each for pair in reversed(pairs) for each in pair]
    return nn.functional.pad(x, last_first, value=float(value.item()))


OPERATIONS: dict[str, Callable[..., torch.Tensor]] = {
    **{kind: lambda step, a, b, do=do: do(a, b) for kind, do in BINARY.items()},
    **{kind: lambda step, x, do=do: do(x) for kind, do in UNARY.items()},
    **{
        kind: lambda step, x, axes, do=do: do(x, dim=_whole(axes), keepdim=True)
        for kind, do in REDUCTIONS.items()
    },
    "conv2d": _conv2d,
    "pad": _pad,
    "cast": lambda step, x: x.to(TYPES[step.dtype]),
    "reshape": lambda step, x, shape: x.reshape(_whole(shape)),
    "transpose": lambda step, x, order: x.permute(_whole(order)),
    "concat": lambda step, axis, *parts: torch.cat(parts, int(axis.item())),
    "softmax": lambda step, x, axis: torch.softmax(x, int(axis.item())),
}


def _type(text: str) -> tuple[tuple[int, ...], str]:
    """``tensor<1x3x128x128xf32>`` -> shape and type."""
    found = re.fullmatch(r"tensor<((?:\d+x)*)(\w+)>", text)
    if not found:
        raise CoreAIError(f"the interpreter does not know the type {text}")
    return tuple(int(each) for each in found[1].split("x")[:-1]), found[2]


def _blobs(text: str) -> dict[str, bytes]:
    """The module's large constants by name, from its text: four bytes of alignment, then the
    values.
    """
    found = re.finditer(r"(resource_\d+): \"0x([0-9A-F]+)\"", text)
    return {each[1]: bytes.fromhex(each[2])[4:] for each in found}


def _tensor(
    value: Any, shape: tuple[int, ...], dtype: str, blobs: dict[str, bytes]
) -> torch.Tensor:
    from coreai._compiler.ir import DenseElementsAttr

    large = re.match(r"dense_resource<(\w+)>", str(value)[:80])
    if large:
        if dtype not in STORED or large[1] not in blobs:
            raise CoreAIError(f"the interpreter does not know a constant of {dtype} stored so")
        array = np.frombuffer(blobs[large[1]], STORED[dtype]).reshape(shape)
    else:
        array = np.array(DenseElementsAttr(value)).reshape(shape)
    kept = array.astype(np.int64) if array.dtype.kind in "iu" else array
    return torch.from_numpy(np.array(kept))
