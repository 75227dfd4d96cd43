"""The program of a ``.pte`` file, run in torch instruction by instruction, for delegates that no
machine at hand has.

Kernels outside the delegates are torch's operators of the same name; what is inside a delegate is
run by an interpreter of its own. A kernel that torch does not have, or an answer of another shape
than the file says, is refused.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mobilekd.graphs.pte import PteFile, read
from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.words import in_one_line

#: A delegate's graph and the file's named data -> a function of its inputs.
Delegated = Callable[[bytes, Mapping[str, bytes]], Callable[[Sequence[Tensor]], list[Tensor]]]

#: ExecuTorch's names of types.
TYPES = {
    "BYTE": torch.uint8,
    "CHAR": torch.int8,
    "INT": torch.int32,
    "LONG": torch.int64,
    "HALF": torch.float16,
    "FLOAT": torch.float32,
    "BOOL": torch.bool,
}


def interpret(path: Path, x: np.ndarray, delegates: Mapping[str, Delegated]) -> list[np.ndarray]:
    """float32 or uint8 ``[N, 3, H, W]`` -> outputs of ``forward``, each ``[N, ...]``, one
    photograph at a time (that batch is compiled in). ``delegates`` are interpreters by the
    delegate's name.

    Raises:
        CannotRunHere: something in the file is not known here.
        UserError: the file is damaged, or the input has another shape.
    """
    import torch.ao.quantization.fx._decomposed

    file = read(path)
    try:
        program = _Program(file, delegates)
        with torch.inference_mode():
            answers = [
                program(torch.from_numpy(np.ascontiguousarray(one[None], np.float32))) for one in x
            ]
    except CannotRunHere as error:
        raise CannotRunHere(
            # artifacts keep the reason, and no place of this machine
            f"{path.name}: {error}; let a phone answer it (mobilekd bench --device adb)"
        ) from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    # what operators raise on a damaged file's arguments is as varied as they are
    except Exception as error:
        reason = in_one_line(error)[:200]
        raise UserError(
            f"{path}: its program cannot be followed ({type(error).__name__}: {reason}); export"
            " again or copy it whole"
        ) from None
    return [np.concatenate([one[i].numpy() for one in answers]) for i in range(len(answers[0]))]


class _Program:
    def __init__(self, file: PteFile, delegates: Mapping[str, Delegated]) -> None:
        self.plan = file.forward
        self.values = [value.val for value in self.plan.values]
        self.operators = [_operator(one.name, one.overload) for one in self.plan.operators]
        self.delegates = []
        for delegate in file.delegates:
            if delegate.id not in delegates:
                raise CannotRunHere(f"no interpreter of ours reads the delegate {delegate.id}")
            self.delegates.append(delegates[delegate.id](delegate.data, file.blobs))
        self.steps = [step.instr_args for chain in self.plan.chains for step in chain.instructions]
        self.constants = {
            number: torch.frombuffer(
                bytearray(file.storage[value.data_buffer_idx]),
                dtype=TYPES[value.scalar_type.name],
                count=math.prod(value.sizes),  # what follows is alignment
            ).reshape(value.sizes)
            for number, value in enumerate(self.values)
            if hasattr(value, "data_buffer_idx") and value.data_buffer_idx > 0
        }

    def __call__(self, x: Tensor) -> list[Tensor]:
        (place,) = self.plan.inputs
        if list(x.shape) != list(self.values[place].sizes):
            raise UserError(
                f"the input's shape is {list(x.shape)}, the file takes"
                f" {list(self.values[place].sizes)}; export again for another size"
            )
        held = {**self.constants, place: x}
        for step in self.steps:
            if hasattr(step, "op_index"):
                self._kernel(step, held)
            elif hasattr(step, "delegate_index"):
                self._delegate(step, held)
            elif not hasattr(step, "value_index"):  # memory that is freed
                raise CannotRunHere(f"no interpreter of ours knows {type(step).__name__}")
        return [held[number] for number in self.plan.outputs]

    def _kernel(self, step: Any, held: dict[int, Tensor]) -> None:
        operator = self.operators[step.op_index]
        plain, named, results = [], {}, []
        # behind the schema's arguments the results are named once more
        for parameter, number in zip(operator._schema.arguments, step.args, strict=False):
            if parameter.is_out:
                results.append(number)
                kind = TYPES[self.values[number].scalar_type.name]
                named[parameter.name] = torch.empty(0, dtype=kind)
            elif parameter.kwarg_only:
                named[parameter.name] = self._value(number, held)
            else:
                plain.append(self._value(number, held))
        found = operator(*plain, **named)
        self._keep(results, [found] if isinstance(found, Tensor) else list(found), held)

    def _delegate(self, step: Any, held: dict[int, Tensor]) -> None:
        run = self.delegates[step.delegate_index]
        given = [number for number in step.args if number in held]
        results = [number for number in step.args if number not in held]
        self._keep(results, run([held[number] for number in given]), held)

    def _keep(self, places: list[int], found: list[Tensor], held: dict[int, Tensor]) -> None:
        for number, value in zip(places, found, strict=True):
            if list(value.shape) != list(self.values[number].sizes):
                raise CannotRunHere(
                    f"an answer of shape {list(value.shape)} where the file says"
                    f" {list(self.values[number].sizes)}"
                )
            held[number] = value

    def _value(self, number: int, held: Mapping[int, Tensor]) -> Any:
        if number in held:
            return held[number]
        value = self.values[number]
        kind = type(value).__name__
        if kind in ("IntList", "TensorList", "OptionalTensorList"):  # of other values' numbers
            return [None if one < 0 else self._value(one, held) for one in value.items]
        if kind in ("DoubleList", "BoolList"):
            return list(value.items)
        if kind == "Null":
            return None
        if kind == "Double":
            return float(value.double_val)
        return next(iter(vars(value).values()))


def _operator(name: str, overload: str) -> Any:
    """torch's operator ``aten::mean`` ``out``."""
    space, _, plain = name.partition("::")
    found = getattr(getattr(getattr(torch.ops, space), plain, None), overload or "default", None)
    if found is None:
        raise CannotRunHere(f"no interpreter of ours knows {name}.{overload}")
    return found
