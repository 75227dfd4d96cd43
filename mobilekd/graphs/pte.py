"""What a ``.pte`` file holds, read from the file alone: operators, delegates, the bytes, the
constants; and running it.

Nothing here knows the exporter, so a count made from the file cannot repeat the exporter's mistake.
"""

import functools
import hashlib
import json
import math
import re
import struct
import subprocess
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.support.errors import CannotRunHere, UserError
from mobilekd.support.files import nearly_full, write_bytes
from mobilekd.support.process import printable
from mobilekd.support.progress import without_native_errors

#: XNNPACK's nodes with weights, by their name in the delegate's graph.
HEAVY = (
    "XNNConv2d",
    "XNNDepthwiseConv2d",
    "XNNFullyConnected",
    "XNNConvTranspose2d",
    "XNNBatchMatrixMultiply",
)
CONVERSION = "XNNConvert"
_FLOATS = ("xnn_datatype_fp32", "xnn_datatype_fp16")
_INT8_WEIGHTS = ("xnn_datatype_qcint8", "xnn_datatype_qint8")


@dataclass(frozen=True)
class Node:
    """One operator inside an XNNPACK delegate."""

    kind: str
    output: tuple[int, ...]
    output_type: str
    weights: tuple[int, ...] = ()
    weights_type: str = ""
    weight_key: str = ""
    bias_key: str = ""
    groups: int = 1

    @property
    def heavy(self) -> bool:
        """A convolution, a linear layer or a matrix product."""
        return self.kind in HEAVY

    @property
    def quantized(self) -> bool:
        """Its weights are int8."""
        return self.weights_type in _INT8_WEIGHTS

    @property
    def macs(self) -> int:
        """Multiply-adds of one inference; 0 for nodes without weights."""
        if not self.weights:
            return 0
        channels = self.output[-1]  # delegates compute in NHWC
        return math.prod(self.output) * math.prod(self.weights) // channels


@dataclass(frozen=True)
class Delegate:
    """One partition handed to a backend."""

    id: str
    bytes: int
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
    constants: int = 0  # bytes of tensors that operators outside the delegates read

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
                node.kind
                for node in nodes
                if node.output_type in _FLOATS and node.kind != CONVERSION
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
        parts["delegate graphs"] = sum(delegate.bytes for delegate in self.delegates)
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
        parsed = deserialize_pte_binary(data)
        plans = {plan.name: plan for plan in parsed.program.execution_plan}
        forward = plans["forward"]
    # the reader asserts, indexes and decodes: any of it means a damaged file
    except Exception as error:
        raise UserError(
            f"{path}: not a readable .pte ({type(error).__name__}); export again or copy it whole"
        ) from None
    named = parsed.named_data
    blobs = (
        {
            key: bytes(_buffer(named.buffers[entry.buffer_index]))
            for key, entry in named.pte_data.items()
        }
        if named
        else {}
    )
    delegates = []
    for delegate in forward.delegates:
        blob = bytes(parsed.program.backend_delegate_data[delegate.processed.index].data)
        nodes = _xnnpack_nodes(blob) if delegate.id == "XnnpackBackend" else ()
        delegates.append(Delegate(delegate.id, len(blob), nodes))
    calls = [
        i.instr_args.op_index
        for chain in forward.chains
        for i in chain.instructions
        if hasattr(i.instr_args, "op_index")
    ]
    names = [f"{operator.name}.{operator.overload}" for operator in forward.operators]
    return PteFile(
        operators=dict(Counter(names[index] for index in calls).most_common()),
        delegates=tuple(delegates),
        methods=tuple(plans),
        planned=sum(forward.non_const_buffer_sizes),
        total=len(data),
        program=_program_bytes(data),
        blobs=blobs,
        constants=sum(len(buffer.storage) for buffer in parsed.program.constant_buffer),
    )


def _buffer(entry: Any) -> bytes:
    return entry if isinstance(entry, bytes) else entry.buffer


def _program_bytes(data: bytes) -> int:
    """Bytes of the program's flatbuffer, from the extended header ``eh00`` behind its first eight
    bytes.
    """
    magic, _, size = struct.unpack_from("<4sIQ", data, 8)
    return int(size) if magic == b"eh00" else len(data)


def _xnnpack_nodes(blob: bytes) -> tuple[Node, ...]:
    """Nodes of the delegate's own graph, a flatbuffer that the wheel's ``flatc`` and schema turn
    into JSON.
    """
    import executorch
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader

    header = XNNHeader.from_bytes(blob[: XNNHeader.EXPECTED_LENGTH])
    root = Path(next(iter(executorch.__path__)))
    schema = root / "backends/xnnpack/serialization/schema.fbs"
    with tempfile.TemporaryDirectory() as work:
        binary = Path(work) / "graph.xnn"
        binary.write_bytes(
            blob[header.flatbuffer_offset : header.flatbuffer_offset + header.flatbuffer_size]
        )
        command = [
            str(root / "data/bin/flatc"),
            "--json",
            "--strict-json",
            "--defaults-json",
            "--raw-binary",
            "-o",
            work,
            str(schema),
            "--",
            str(binary),
        ]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            reason = printable(done.stderr or done.stdout) or f"exit code {done.returncode}"
            if little := nearly_full(Path(work)):
                raise UserError(f"{work}: flatc ended with an error ({reason}); {little}")
            raise UserError(
                f"flatc cannot read the delegate's graph ({reason}): the file is broken; export"
                " again or copy it whole"
            )
        text = (Path(work) / "graph.json").read_text(encoding="utf-8")
    # flatc writes infinity as C does
    graph = json.loads(re.sub(r"(:\s*-?)inf\b", r"\1Infinity", text))
    values = {}
    for value in graph["xvalues"]:
        union = value["xvalue_union"]
        tensor = union.get("tensor_value", union)
        values[tensor["id_out"]] = tensor
    keys = [entry.get("named_key", "") for entry in graph["constant_data"]]
    return tuple(_node(node, values, keys) for node in graph["xnodes"])


def _node(node: dict[str, Any], values: dict[int, dict[str, Any]], keys: list[str]) -> Node:
    union = node["xnode_union"]
    output = values.get(union.get("output_id", -1), {})
    weights = values.get(union.get("filter_id", -1), {})
    bias = values.get(union.get("bias_id", -1), {})
    return Node(
        kind=node["xnode_union_type"],
        output=tuple(output.get("dims", ())),
        output_type=output.get("datatype", ""),
        weights=tuple(weights.get("dims", ())),
        weights_type=weights.get("datatype", ""),
        weight_key=keys[weights.get("constant_buffer_idx", 0)],
        bias_key=keys[bias.get("constant_buffer_idx", 0)],
        groups=union.get("groups", 1),
    )


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
        _explain(path)
        raise UserError(
            f"{path}: the runtime refused it ({str(error).splitlines()[0]}); check the input's"
            " shape, or export again"
        ) from None
    return [
        np.concatenate([answer[i].clone().numpy() for answer in answers])
        for i in range(len(answers[0]))
    ]


def _explain(path: Path) -> None:
    """Raise ``CannotRunHere`` where the cause is a delegate that this machine's runtime was built
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
