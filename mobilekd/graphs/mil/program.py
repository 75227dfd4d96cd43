"""Run one function of an ML program: constants decoded once, then op by op, types and shapes
checked at every step.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mobilekd.graphs.mil.compressed import decompress
from mobilekd.graphs.mil.ops import OPS, Op
from mobilekd.graphs.mil.values import (
    FLOATS,
    MilError,
    Type,
    Value,
    constant,
    declared_type,
    the_one,
)

#: Operation sets, with the least iOS that runs them.
OPSETS = {"CoreML5": 15, "CoreML6": 16, "CoreML7": 17, "CoreML8": 18}
HEAVY = ("conv", "linear", "matmul")
TORCH_TYPES = {torch.float16: "FLOAT16", torch.float32: "FLOAT32"}


@dataclass(frozen=True)
class Step:
    """One operation: arguments by MIL's names, each a list of value names or constants; results
    with declared types.
    """

    kind: str
    op: Op
    arguments: Mapping[str, tuple[str | Value, ...]]
    results: tuple[tuple[str, Type], ...]


class Program:
    """The function ``main`` of a decoded ``mlProgram``; ``files`` holds the weight files by
    name.
    """

    def __init__(self, proto: Any, files: Mapping[str, bytes]) -> None:
        if list(proto.functions) != ["main"]:
            raise MilError(f"functions {sorted(proto.functions)}: the interpreter knows one, main")
        function = proto.functions["main"]
        if function.opset not in OPSETS or list(function.block_specializations) != [function.opset]:
            raise MilError(
                f"opset {function.opset}: not known to the interpreter (known: {', '.join(OPSETS)})"
            )
        block = function.block_specializations[function.opset]
        if block.inputs:
            raise MilError("the main block has inputs of its own; not known to the interpreter")
        self.least_ios = OPSETS[function.opset]
        self.inputs = {item.name: declared_type(item.type) for item in function.inputs}
        self.outputs = tuple(block.outputs)
        self.constants: dict[str, Value] = {}
        self.compressed: dict[str, str] = {}  # decompressed constants, with the op that held them
        self.steps: list[Step] = []
        self.types: dict[str, Type] = dict(self.inputs)
        for operation in block.operations:
            self._read(operation, files)
        for name in self.outputs:
            if name not in self.types:
                raise MilError(f"output {name}: no operation computes it")

    def kinds(self) -> dict[str, int]:
        """How often each op occurs, constants left out."""
        counts: dict[str, int] = {}
        for step in self.steps:
            counts[step.kind] = counts.get(step.kind, 0) + 1
        return dict(sorted(counts.items()))

    def heavy(self) -> list[str | None]:
        """Convolutions and matrix products in order: the ``constexpr_*`` op that holds each one's
        weights, None where they are plain.
        """
        weights = [
            step.arguments["y" if step.kind == "matmul" else "weight"][0]
            for step in self.steps
            if step.kind in HEAVY
        ]
        return [self.compressed.get(name) if isinstance(name, str) else None for name in weights]

    @torch.inference_mode()
    def run(
        self, inputs: Mapping[str, Tensor], trace: dict[str, Tensor] | None = None
    ) -> dict[str, Any]:
        """Inputs by name -> outputs by name. ``trace`` collects every tensor on the way, for
        finding where numbers part.
        """
        values = dict(self.constants)
        for name, declared in self.inputs.items():
            values[name] = _checked(name, declared, inputs[name].to(torch.float32))
        for step in self.steps:
            results = self._apply(step, values)
            if len(results) != len(step.results):
                raise MilError(
                    f"op {step.kind}: declares {len(step.results)} results, computes {len(results)}"
                )
            for (name, declared), result in zip(step.results, results, strict=True):
                values[name] = _checked(name, declared, result)
                if trace is not None and isinstance(result, Tensor):
                    trace[name] = values[name].data
        return {name: values[name].data for name in self.outputs}

    def _read(self, operation: Any, files: Mapping[str, bytes]) -> None:
        kind = operation.type
        if operation.blocks:
            raise MilError(f"op {kind}: nested blocks are not known to the interpreter")
        results = tuple((item.name, declared_type(item.type)) for item in operation.outputs)
        for name, declared in results:
            if name in self.types:
                raise MilError(f"value {name}: computed twice")
            self.types[name] = declared
        attributes = {
            key: constant(value, files)
            for key, value in operation.attributes.items()
            if key != "name"
        }
        if kind == "const":
            if set(attributes) != {"val"}:
                raise MilError(f"op const: attributes {sorted(attributes)}, expected val")
            self._define(results, attributes["val"])
        elif kind.startswith("constexpr_"):
            bound = {
                key: self._constant_argument(kind, key, item, files)
                for key, item in operation.inputs.items()
            }
            self._define(results, decompress(kind, {**attributes, **bound}))
            self.compressed[results[0][0]] = kind
        else:
            self.steps.append(self._step(operation, attributes, results, files))

    def _define(self, results: tuple[tuple[str, Type], ...], value: Value) -> None:
        name, declared = the_one(results, "results of a constant")
        if value.dtype != "LIST" and (
            declared.dtype != value.dtype
            or (value.dtype != "STRING" and declared.shape != value.shape)
        ):
            raise MilError(
                f"constant {name}: declared {declared.dtype} {declared.shape}, holds {value.dtype}"
                f" {value.shape}"
            )
        self.constants[name] = value

    def _constant_argument(
        self, kind: str, key: str, argument: Any, files: Mapping[str, bytes]
    ) -> Value:
        bound = the_one(argument.arguments, f"op {kind}: arguments of {key}")
        if bound.WhichOneof("binding") == "value":
            return constant(bound.value, files)
        if bound.name not in self.constants:
            raise MilError(f"op {kind}: {key} is {bound.name}, which is no constant")
        return self.constants[bound.name]

    def _step(
        self,
        operation: Any,
        attributes: Mapping[str, Value],
        results: tuple[tuple[str, Type], ...],
        files: Mapping[str, bytes],
    ) -> Step:
        kind = operation.type
        if kind not in OPS:
            raise MilError(f"op {kind}: not known to the interpreter")
        if not results:
            raise MilError(f"op {kind}: has no result")
        if attributes:
            raise MilError(
                f"op {kind}: attributes {sorted(attributes)} are not known to the interpreter"
            )
        arguments: dict[str, tuple[str | Value, ...]] = {}
        for key, argument in operation.inputs.items():
            bound = tuple(
                (
                    constant(item.value, files)
                    if item.WhichOneof("binding") == "value"
                    else str(item.name)
                )
                for item in argument.arguments
            )
            for item in bound:
                if isinstance(item, str) and item not in self.types:
                    raise MilError(
                        f"op {kind}: {key} is {item}, which no operation before it computes"
                    )
            if len(bound) != 1 and key != "values":
                raise MilError(f"op {kind}: {key} is bound {len(bound)} times")
            arguments[key] = bound
        try:
            inspect.signature(OPS[kind].function).bind(**dict.fromkeys(arguments))
        except TypeError as error:
            raise MilError(
                f"op {kind}: parameters {sorted(arguments)} are not the known ones ({error})"
            ) from None
        return Step(kind, OPS[kind], arguments, results)

    def _apply(self, step: Step, values: Mapping[str, Value]) -> list[Any]:
        """Call the op; all its tensors share one floating type, which must be the declared type of
        its results.
        """
        arguments: dict[str, Any] = {}
        types: set[str] = set()
        for key, bound in step.arguments.items():
            given = [values[item] if isinstance(item, str) else item for item in bound]
            if key in step.op.tensors:
                types.update(value.dtype for value in given)
                arguments[key] = (
                    [value.data for value in given] if key == "values" else given[0].data
                )
            else:
                if isinstance(bound[0], str) and bound[0] not in self.constants:
                    raise MilError(
                        f"op {step.kind}: {key} is computed, the interpreter knows it as a constant"
                        " only"
                    )
                arguments[key] = _plain(given[0])
        if len(types) != 1 or not types <= set(FLOATS):
            raise MilError(
                f"op {step.kind} ({step.results[0][0]}): tensors of types {sorted(types)}, expected"
                " one floating type"
            )
        if not step.op.retypes:
            (common,) = types
            for name, declared in step.results:
                if declared.dtype != common:
                    raise MilError(
                        f"op {step.kind}: {name} is declared {declared.dtype}, its inputs are"
                        f" {common}"
                    )
        try:
            result = step.op.function(**arguments)
        except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise MilError(f"op {step.kind} ({step.results[0][0]}): {reason}") from None
        return result if isinstance(result, list) else [result]


def _plain(value: Value) -> Any:
    return value.data.tolist() if hasattr(value.data, "tolist") else value.data


def _checked(name: str, declared: Type, result: Any) -> Value:
    """Compare with the declaration and round to the declared type."""
    if isinstance(result, str):
        return _named(name, declared, "STRING", result)
    if isinstance(result, dict):
        return _named(name, declared, "dictionaryType", result)
    if len(declared.shape) != result.dim() or any(
        want not in (None, got) for want, got in zip(declared.shape, result.shape, strict=True)
    ):
        raise MilError(
            f"value {name}: declared shape {declared.shape}, computed {tuple(result.shape)}"
        )
    if declared.dtype == "FLOAT16":
        return Value("FLOAT16", result.to(torch.float16).to(torch.float32))
    if declared.dtype == "FLOAT32" and result.dtype == torch.float32:
        return Value("FLOAT32", result)
    computed = TORCH_TYPES.get(result.dtype, str(result.dtype))
    raise MilError(f"value {name}: declared {declared.dtype}, computed {computed}")


def _named(name: str, declared: Type, dtype: str, result: Any) -> Value:
    if declared.dtype != dtype:
        raise MilError(f"value {name}: declared {declared.dtype}, computed {dtype}")
    return Value(dtype, result)
