"""A saved ``.tflite`` file: run by LiteRT, its operators counted, its metadata read and written.
The extra ``litert`` brings the libraries.

The file's format is ``schema.fbs`` of github.com/google-ai-edge/LiteRT.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.formats.constants import PREFIX, Constants, from_texts, to_texts
from mobilekd.formats.gates import Delegation
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_bytes
from mobilekd.support.progress import without_native_errors

#: Operators with weights.
HEAVY = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")
MAGIC = b"TFL3"
#: Kernels read weights where they lie in the file, so they lie as vector instructions want them.
ALIGNMENT = 16
#: What the interpreter calls what it has handed to XNNPACK.
DELEGATE = "DELEGATE"


def library(name: str) -> Any:
    """``interpreter`` or ``schema_py_generated`` of LiteRT; a ``UserError`` where the extra is not
    installed.
    """
    try:
        return import_module(f"ai_edge_litert.{name}")
    except ImportError:
        raise missing() from None


def missing() -> UserError:
    """What to say where the extra is not installed."""
    return UserError(
        "litert: the package ai-edge-litert is not installed; pip install 'mobilekd[litert]'"
    )


def read(path: Path) -> Any:
    """The file's ``ModelT``; a file that is none is a ``UserError``."""
    schema = library("schema_py_generated")
    if not path.is_file():
        raise UserError(f"{path}: no such model file; check the path")
    data = path.read_bytes()
    try:
        if data[4:8] != MAGIC:
            raise ValueError("not a LiteRT file")
        model = schema.ModelT.InitFromPackedBuf(data, 0)
        _check(model)
    except Exception as error:  # a damaged offset ends in a dozen types
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise UserError(
            f"{path}: not a readable .tflite file ({reason}); export again or copy it whole"
        ) from None
    return model


def _check(model: Any) -> None:
    """Raise ``ValueError`` where a ``ModelT`` has not one graph of operators, or points at a part
    that it does not have.
    """
    if len(model.subgraphs or []) != 1 or not model.subgraphs[0].operators:
        raise ValueError("not one graph of operators")
    graph = model.subgraphs[0]
    tensors, buffers = graph.tensors or [], model.buffers or []
    pointers = [(one.buffer, buffers) for one in (*tensors, *(model.metadata or []))]
    for one in graph.operators:
        if one.inputs is None or one.outputs is None or not len(one.outputs):
            raise ValueError("an operator without inputs or outputs")
        pointers.append((one.opcodeIndex, model.operatorCodes or []))
        # -1 stands for an input that is left out
        pointers += [(end, tensors) for end in (*one.inputs, *one.outputs) if end != -1]
    if any(not 0 <= place < len(there) for place, there in pointers):
        raise ValueError("it points at a part that it does not have")
    for kind, one in zip(kinds(model), graph.operators, strict=True):
        if kind in HEAVY and (len(one.inputs) < 2 or one.inputs[1] < 0):
            raise ValueError(f"an operator {kind} without weights")


def packed(model: Any) -> bytes:
    """The bytes of a ``ModelT``."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    model.buffers = [_Aligned(buffer) for buffer in model.buffers]
    builder.Finish(model.Pack(builder), file_identifier=MAGIC)
    return bytes(builder.Output())


class _Aligned:
    """A buffer that is packed on a boundary of ``ALIGNMENT`` bytes, which the generated code
    forgets.
    """

    def __init__(self, buffer: Any) -> None:
        self.data, self.offset, self.size = buffer.data, buffer.offset, buffer.size

    def Pack(self, builder: Any) -> int:  # noqa: N802, the generated code's name
        """Write it; where it begins."""
        schema = library("schema_py_generated")
        where = None
        if self.data is not None:
            data = bytes(bytearray(self.data))
            builder.StartVector(1, len(data), ALIGNMENT)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            where = builder.EndVector()
        schema.BufferStart(builder)
        if where is not None:
            schema.BufferAddData(builder, where)
        schema.BufferAddOffset(builder, self.offset)
        schema.BufferAddSize(builder, self.size)
        return int(schema.BufferEnd(builder))


def interpreter(path: Path) -> Any:
    """A LiteRT ``Interpreter`` on one thread of this processor, with XNNPACK, as phones run it."""
    runtime = library("interpreter")
    if not path.is_file():
        raise UserError(f"{path}: no such model file; check the path")
    try:
        with without_native_errors():  # it tells of its delegate
            opened = runtime.Interpreter(model_content=path.read_bytes(), num_threads=1)
            opened.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path}: LiteRT does not open it ({reason}); export again or copy it whole"
        ) from None
    return opened


def run(path: Path, x: np.ndarray) -> list[np.ndarray]:
    """float32 or uint8 ``[N, 3, H, W]`` -> the outputs, each ``[N, ...]``, one photograph at a time
    on one thread of this host.
    """
    opened = interpreter(path)
    places = [given["index"] for given in opened.get_output_details()]
    (given,) = opened.get_input_details()
    found: list[list[np.ndarray]] = []
    try:
        for one in x:
            opened.set_tensor(given["index"], np.ascontiguousarray(one[None], np.float32))
            opened.invoke()
            found.append([np.array(opened.get_tensor(place)) for place in places])
    except (RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path}: LiteRT refused it ({reason}); check the input's shape, or export again"
        ) from None
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def constants(path: Path) -> Constants:
    """What the file's metadata say, as ``mobilekd.formats.constants`` names it."""
    model = read(path)
    try:
        fields = {
            _name(entry): bytes(bytearray(model.buffers[entry.buffer].data)).decode()
            for entry in model.metadata or []
            if _name(entry).startswith(PREFIX)
        }
    except (IndexError, TypeError, ValueError) as error:
        raise UserError(f"{path}: metadata not readable ({error}); export again") from None
    return from_texts(fields, str(path))


def rewrite(path: Path, constants: Constants) -> None:
    """Put ``constants`` among the file's metadata and change nothing else."""
    model = read(path)
    describe(model, constants)
    write_bytes(path, packed(model))


def describe(model: Any, constants: Constants) -> None:
    """Put ``constants`` into a ``ModelT``'s metadata, in place of those of the same names."""
    schema = library("schema_py_generated")
    entries = {_name(entry): entry for entry in model.metadata or []}
    model.metadata = list(model.metadata or [])
    for name, text in to_texts(constants).items():
        if name not in entries:
            entries[name] = schema.MetadataT(name=name.encode(), buffer=len(model.buffers))
            model.metadata.append(entries[name])
            model.buffers.append(schema.BufferT())
        model.buffers[entries[name].buffer].data = np.frombuffer(text.encode(), np.uint8)


def network_hash(path: Path) -> str:
    """Hex SHA-256 over the file without what it says of itself."""
    model = read(path)
    for entry in model.metadata or []:
        if _name(entry).startswith(PREFIX):
            model.buffers[entry.buffer].data = None
    model.metadata = [
        entry for entry in model.metadata or [] if not _name(entry).startswith(PREFIX)
    ]
    while model.buffers and model.buffers[-1].data is None:
        model.buffers.pop()  # those of metadata stand last
    return hashlib.sha256(packed(model)).hexdigest()


def _name(entry: Any) -> str:
    return bytes(entry.name or b"").decode(errors="replace")


def kinds(model: Any) -> list[str]:
    """Each operator's name (``CONV_2D``), in order."""
    schema = library("schema_py_generated")
    names = {
        number: name
        for name, number in vars(schema.BuiltinOperator).items()
        if isinstance(number, int)
    }
    codes = [
        max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes or []
    ]
    return [names.get(codes[one.opcodeIndex], "?") for one in model.subgraphs[0].operators]


def heavy_operators(model: Any) -> Iterator[Any]:
    """Operators with weights of their own, in order; a product of two activations is none."""
    tensors = model.subgraphs[0].tensors
    for kind, operator in zip(kinds(model), model.subgraphs[0].operators, strict=True):
        if kind in HEAVY and model.buffers[tensors[operator.inputs[1]].buffer].data is not None:
            yield operator


def delegation(path: Path, heavy_total: int) -> Delegation:
    """Operators inside and outside XNNPACK, as LiteRT on this host divides them; a layer counts as
    int8 where input, weights and output are.
    """
    model = read(path)
    graph, eight = model.subgraphs[0], library("schema_py_generated").TensorType.INT8
    inside, partitions = _delegated(path, graph)
    names = kinds(model)
    heavy = {id(operator) for operator in heavy_operators(model)}

    def quantised(operator: Any) -> bool:
        ends = (*operator.inputs[:2], *operator.outputs)
        return all(graph.tensors[end].type == eight for end in ends)

    taken = [operator for number, operator in enumerate(graph.operators) if number in inside]
    return Delegation(
        delegated=dict(Counter(names[number] for number in sorted(inside))),
        portable=dict(Counter(name for number, name in enumerate(names) if number not in inside)),
        heavy_total=heavy_total,
        heavy_delegated=sum(id(operator) in heavy for operator in taken),
        heavy_quantized=sum(
            id(operator) in heavy and quantised(operator) for operator in graph.operators
        ),
        partitions=partitions,
    )


def _delegated(path: Path, graph: Any) -> tuple[set[int], int]:
    """Numbers of the operators that XNNPACK has taken, and in how many pieces: from what each piece
    gives back to what it is given.
    """
    made = {int(end): number for number, one in enumerate(graph.operators) for end in one.outputs}
    # the only account that the interpreter gives of its plan
    pieces = [one for one in interpreter(path)._get_ops_details() if one["op_name"] == DELEGATE]
    inside: set[int] = set()
    for piece in pieces:
        given = {int(end) for end in piece["inputs"]}
        waiting = [int(end) for end in piece["outputs"]]
        while waiting:
            end = waiting.pop()
            number = made.get(end)
            if end in given or number is None or number in inside:
                continue
            inside.add(number)
            waiting += [int(source) for source in graph.operators[number].inputs if source >= 0]
    return inside, len(pieces)


def byte_table(path: Path) -> dict[str, int]:
    """Where the file's bytes are; they sum to its size."""
    model = read(path)
    described = {entry.buffer for entry in model.metadata or [] if _name(entry).startswith(PREFIX)}
    sizes = [0 if buffer.data is None else len(buffer.data) for buffer in model.buffers]
    metadata = sum(sizes[number] for number in described)
    weights = sum(sizes) - metadata
    return {
        "weights": weights,
        "metadata": metadata,
        "graph": path.stat().st_size - weights - metadata,
    }
