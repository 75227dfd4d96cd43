"""What a ``.pte`` file holds, read from the file alone: operators, delegates, the bytes, the
constants; and running it.

Nothing here knows the exporter, so a count made from the file cannot repeat the exporter's mistake.
"""

import functools
import hashlib
import json
import struct
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.graphs import vulkan_delegate, xnnpack_delegate
from mobilekd.graphs.delegate_node import Node
from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.files import write_bytes
from mobilekd.support.progress import without_native_errors

#: Delegate -> how its own graph is read.
READERS = {"XnnpackBackend": xnnpack_delegate.nodes, "VulkanBackend": vulkan_delegate.nodes}


@dataclass(frozen=True)
class Delegate:
    """One partition handed to a backend."""

    id: str
    data: bytes  # its own graph
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True)
class PteFile:
    """The parsed file."""

    operators: dict[str, int]  # kernel calls of forward outside the delegates
    delegates: tuple[Delegate, ...]
    methods: tuple[str, ...]
    planned: int  # bytes of memory planned for forward outside the delegates
    total: int
    program: int  # bytes of the program: instructions, names, constant methods
    blobs: dict[str, bytes]  # weights by their key
    storage: tuple[bytes, ...]  # constants that operators outside the delegates read
    forward: Any  # ExecuTorch's own ExecutionPlan

    @property
    def constants(self) -> int:
        """Bytes of the constants that operators outside the delegates read."""
        return sum(map(len, self.storage))

    @functools.cached_property
    def heavy(self) -> tuple[Node, ...]:
        """Convolutions and linear layers inside delegates, in order."""
        return tuple(node for delegate in self.delegates for node in delegate.nodes if node.heavy)

    def delegated(self) -> dict[str, int]:
        """Operators inside the delegates by name."""
        return dict(
            Counter(
                node.kind for delegate in self.delegates for node in delegate.nodes
            ).most_common()
        )

    def left_in_float(self) -> dict[str, int]:
        """Operators inside the delegates that compute in floating point, by name; conversions to
        and from int8 not counted.
        """
        nodes = (node for delegate in self.delegates for node in delegate.nodes)
        return dict(
            Counter(
                node.kind for node in nodes if node.floating and not node.conversion
            ).most_common()
        )

    def byte_table(self) -> dict[str, int]:
        """Where every byte of the file goes; the parts add up to its size."""
        weights = {node.weight_key for node in self.heavy}
        biases = {node.bias_key for node in self.heavy} - {""}
        parts: Counter[str] = Counter()
        for key, blob in self.blobs.items():
            parts[
                (
                    "weights"
                    if key in weights
                    else "biases"
                    if key in biases
                    else "scales and other constants"
                )
            ] += len(blob)
        if self.constants:
            parts["weights outside the delegates"] = self.constants
        parts["delegate graphs"] = sum(len(delegate.data) for delegate in self.delegates)
        parts["program, labels and card"] = self.program
        parts["alignment"] = self.total - sum(parts.values())
        return dict(parts)

    def memory(self) -> dict[str, int]:
        """The manifest's figures in bytes."""
        weights = self.constants + sum(map(len, self.blobs.values()))
        return {
            "weights": weights,
            "program": self.program,
            "planned": self.planned,
            "file": self.total,
        }


def read(path: Path) -> PteFile:
    """Parse ``path``; a file that is none, or is cut, is a ``UserError``."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    data = path.read_bytes()
    try:
        return _file(deserialize_pte_binary(data), data)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    # the readers assert, index and decode: any of it means a damaged file
    except Exception as error:
        raise UserError(
            f"{path}: not a readable .pte ({type(error).__name__}); export again or copy it whole"
        ) from None


def _file(parsed: Any, data: bytes) -> PteFile:
    """What ExecuTorch's reader found in ``data``."""
    plans = {plan.name: plan for plan in parsed.program.execution_plan}
    forward, named = plans["forward"], parsed.named_data
    calls = [
        i.instr_args.op_index
        for chain in forward.chains
        for i in chain.instructions
        if hasattr(i.instr_args, "op_index")
    ]
    names = [f"{operator.name}.{operator.overload}" for operator in forward.operators]
    return PteFile(
        operators=dict(Counter(names[index] for index in calls).most_common()),
        delegates=tuple(_delegate(parsed.program, one) for one in forward.delegates),
        methods=tuple(plans),
        planned=sum(forward.non_const_buffer_sizes),
        total=len(data),
        program=_program_bytes(data),
        blobs={
            key: bytes(_buffer(named.buffers[entry.buffer_index]))
            for key, entry in (named.pte_data if named else {}).items()
        },
        storage=tuple(bytes(buffer.storage) for buffer in parsed.program.constant_buffer),
        forward=forward,
    )


def _delegate(program: Any, one: Any) -> Delegate:
    blob = bytes(program.backend_delegate_data[one.processed.index].data)
    reader = READERS.get(one.id)
    return Delegate(one.id, blob, reader(blob) if reader else ())


def _buffer(entry: Any) -> bytes:
    return entry if isinstance(entry, bytes) else entry.buffer


def _program_bytes(data: bytes) -> int:
    """Bytes of the program's flatbuffer, from the extended header ``eh00`` behind its first eight
    bytes.
    """
    magic, _, size = struct.unpack_from("<4sIQ", data, 8)
    return int(size) if magic == b"eh00" else len(data)


@functools.cache
def runtime() -> Any:
    """ExecuTorch's runtime with its thread pool made, which in containers complains of five files
    that it cannot read.
    """
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    with without_native_errors():
        portable_lib._threadpool_get_thread_count()
    return Runtime.get()


def load(path: Path) -> Any:
    """The runtime's program; a damaged file is a ``UserError``."""
    if not path.is_file():
        raise UserError(f"{path}: no such model file; check the path")
    try:
        return runtime().load_program(path)
    except RuntimeError as error:
        raise UserError(
            f"{path}: the runtime does not load it ({error}); export again or copy it whole"
        ) from None


def constants(path: Path) -> dict[str, Any]:
    """Constant methods as ``mobilekd.formats.constants`` names them: a list where that module
    promises a list, else one value.
    """
    from mobilekd.formats.constants import LISTS, NAMES, OPTIONAL

    program = load(path)
    constant_methods = {}
    for name in sorted(program.method_names & {*NAMES, *OPTIONAL}):
        values = list(program.load_method(name).execute([]))
        constant_methods[name] = values if name in LISTS else values[0]
    return constant_methods


def rewrite(path: Path, constants: Mapping[str, Any]) -> None:
    """Give the file these constant methods, in place of its own of the same names or beside them;
    everything else stays.
    """
    from executorch.exir._serialize._program import deserialize_pte_binary, serialize_pte_binary

    try:
        parsed = deserialize_pte_binary(path.read_bytes())
    except Exception as error:  # as in read
        raise UserError(
            f"{path}: not a readable .pte ({type(error).__name__}); export again or copy it whole"
        ) from None
    plans = parsed.program.execution_plan
    place = {plan.name: index for index, plan in enumerate(plans)}
    for name, value in constants.items():
        plan = _constant_method(name, value)
        if name in place:
            plans[place[name]] = plan
        else:
            plans.append(plan)
    # as the exporter writes it: delegates in segments of their own
    write_bytes(path, bytes(serialize_pte_binary(parsed, extract_delegate_segments=True)))


def _constant_method(name: str, value: Any) -> Any:
    """A method without inputs that gives ``value``, as ExecuTorch's exporter makes one."""
    from executorch.exir import schema

    def entry(one: int | float | str) -> Any:
        kinds = {int: schema.Int, float: schema.Double, str: schema.String}
        return schema.EValue(kinds[type(one)](one))

    values = value if isinstance(value, list) else [value]
    leaf: dict[str, Any] = {"type": None, "context": None, "children_spec": []}
    listed = {"type": "builtins.list", "context": "null", "children_spec": [leaf] * len(values)}
    form = json.dumps([1, listed if isinstance(value, list) else leaf])
    return schema.ExecutionPlan(
        name=name,
        container_meta_type=schema.ContainerMetadata(encoded_inp_str="", encoded_out_str=form),
        values=[entry(one) for one in values],
        inputs=[],
        outputs=list(range(len(values))),
        chains=[schema.Chain(inputs=[], outputs=[], instructions=[], stacktrace=None)],
        operators=[],
        delegates=[],
        non_const_buffer_sizes=[0],
    )


def network_hash(path: Path) -> str:
    """Hex SHA-256 over what ``forward`` is: its instructions, delegates and weights."""
    from executorch.exir._serialize._program import deserialize_pte_binary

    parsed = deserialize_pte_binary(path.read_bytes())
    program, named = parsed.program, parsed.named_data
    forward = next(plan for plan in program.execution_plan if plan.name == "forward")
    found = hashlib.sha256(repr(forward).encode())
    for delegate in program.backend_delegate_data:
        found.update(bytes(delegate.data))
    for buffer in (*program.constant_buffer, *(parsed.mutable_data or ())):
        found.update(bytes(buffer.storage))
    if named:
        for key, where in sorted(named.pte_data.items()):
            found.update(key.encode())
            found.update(_buffer(named.buffers[where.buffer_index]))
    return found.hexdigest()


def run(path: Path, x: np.ndarray) -> list[np.ndarray]:
    """float32 or uint8 ``[N, 3, H, W]`` -> the outputs, each ``[N, ...]``, one photograph at a time
    on this host.
    """
    import torch

    program = load(path)
    try:
        forward = program.load_method("forward")
        # contiguous, because the runtime takes a channels_last tensor and silently reads it in the
        # wrong order
        answers = [
            forward.execute([torch.from_numpy(np.ascontiguousarray(one[None], np.float32))])
            for one in x
        ]
    except RuntimeError as error:
        refuse_missing_delegates(path)
        raise UserError(
            f"{path}: the runtime refused it ({str(error).splitlines()[0]}); check the input's"
            " shape, or export again"
        ) from None
    return [
        np.concatenate([answer[i].clone().numpy() for answer in answers])
        for i in range(len(answers[0]))
    ]


def refuse_missing_delegates(path: Path) -> None:
    """Raise ``CannotRunHere`` where the file has a delegate that this machine's runtime was built
    without.
    """
    registry = runtime().backend_registry
    missing = sorted(
        {delegate.id for delegate in read(path).delegates if not registry.is_available(delegate.id)}
    )
    if missing:
        raise CannotRunHere(
            f"{path.name}: this machine's ExecuTorch has no {', '.join(missing)}; run it on a"
            " device that has it"
        )
