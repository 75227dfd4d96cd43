"""A saved ``.onnx`` file: run by ONNX Runtime, looked into layer by layer, its metadata read and
written. The extra ``onnx`` brings the libraries.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from mobilekd.formats.constants import Constants, from_texts, to_texts
from mobilekd.formats.gates import Delegation
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_bytes

#: Operators with weights.
HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")
#: What every session is told. On x86 without VNNI, ONNX Runtime's kernels add pairs of products of
#: int8 in 16 bits, which overflow; with this one they add in 32 bits. No other processor has the
#: fault, and none heeds the entry (``onnxruntime_session_options_config_keys.h``).
SESSION = {"session.x64quantprecision": "1"}


def library(name: str) -> Any:
    """``onnx``, ``onnxruntime`` or ``onnxscript``; a ``UserError`` where the extra is not
    installed.
    """
    try:
        return import_module(name)
    except ImportError:
        raise missing(name) from None


def missing(name: str) -> UserError:
    """What to say where a package of the extra is not installed."""
    return UserError(f"onnx: the package {name} is not installed; pip install 'mobilekd[onnx]'")


def read(path: Path) -> Any:
    """The file's ``ModelProto``; a file that is none is a ``UserError``."""
    onnx = library("onnx")
    if not path.is_file():
        raise UserError(f"{path}: no such model file; check the path")
    try:
        model = onnx.load_model_from_string(path.read_bytes())
        _check(model)
    except Exception as error:  # protobuf raises its own kinds
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{path}: not a readable ONNX file ({reason}); export again or copy it whole"
        ) from None
    return model


def _check(model: Any) -> None:
    """Raise ``ValueError`` where a graph lacks what is asked of it; protobuf takes names of any
    bytes and operators without inputs.
    """
    graph = model.graph
    if not graph.node:
        raise ValueError("no operators")
    fields = [text for field in model.metadata_props for text in (field.key, field.value)]
    names = [name for node in graph.node for name in (node.op_type, *node.input, *node.output)]
    for text in (*fields, *names, *(tensor.name for tensor in graph.initializer)):
        if not isinstance(text, str):  # not UTF-8
            raise ValueError(f"a name that is no text, {text!r:.40}")
    for node in graph.node:
        inputs = 2 if node.op_type in HEAVY else node.op_type == "DequantizeLinear"
        if len(node.input) < inputs or not node.output:
            raise ValueError(f"an operator {node.op_type:.40} without inputs or outputs")


def session(model: Path | bytes, *, threads: int = 1, optimised: bool = True) -> Any:
    """An ``InferenceSession`` on the processor. ``optimised=False`` runs every operator as it
    stands in the graph: quantised ones in floating point, between whole numbers.
    """
    runtime = library("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4  # its errors are raised as well
    for key, value in SESSION.items():
        options.add_session_config_entry(key, value)
    if not optimised:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    who = model if isinstance(model, Path) else "the graph"
    if isinstance(model, Path) and not model.is_file():
        raise UserError(f"{model}: no such model file; check the path")
    data = model.read_bytes() if isinstance(model, Path) else model
    try:
        return runtime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises a dozen types
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{who}: ONNX Runtime does not open it ({reason}); export again or copy it whole"
        ) from None


def run(path: Path, x: np.ndarray, *, optimised: bool = True) -> list[np.ndarray]:
    """float32 or uint8 ``[N, 3, H, W]`` -> the outputs, each ``[N, ...]``, one photograph at a time
    on one thread of this host.
    """
    return _answers(session(path, optimised=optimised), str(path), x)


def _answers(opened: Any, who: str, x: np.ndarray) -> list[np.ndarray]:
    given = opened.get_inputs()
    if len(given) != 1:
        raise UserError(f"{who}: it takes {len(given)} inputs, a student takes one; export again")
    try:
        answers = [
            opened.run(None, {given[0].name: np.ascontiguousarray(one[None], np.float32)})
            for one in x
        ]
    except Exception as error:  # as above
        reason = str(error).partition("\n")[0]
        raise UserError(
            f"{who}: ONNX Runtime refused it ({reason}); check the input's shape, or export again"
        ) from None
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]


def constants(path: Path) -> Constants:
    """What the file's metadata say, as ``mobilekd.formats.constants`` names it."""
    fields = {field.key: field.value for field in read(path).metadata_props}
    return from_texts(fields, str(path))


def rewrite(path: Path, constants: Constants) -> None:
    """Put ``constants`` among the file's metadata and change nothing else."""
    model = read(path)
    describe(model, constants)
    write_bytes(path, model.SerializeToString(deterministic=True))


def describe(model: Any, constants: Constants) -> None:
    """Put ``constants`` into a ``ModelProto``'s metadata, in place of those of the same names."""
    texts = {field.key: field.value for field in model.metadata_props} | to_texts(constants)
    del model.metadata_props[:]
    for key, value in texts.items():
        model.metadata_props.add(key=key, value=value)


def network_hash(path: Path) -> str:
    """Hex SHA-256 over the file without its metadata."""
    model = read(path)
    del model.metadata_props[:]
    return hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest()


def heavy_nodes(graph: Any) -> Iterator[Any]:
    """Operators with weights of their own, in order; a product of two activations is none."""
    constant = {tensor.name for tensor in graph.initializer}
    constant |= {
        node.output[0]
        for node in graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in constant
    }
    for node in graph.node:
        if node.op_type in HEAVY and node.input[1] in constant:
            yield node


def delegation(path: Path, heavy_total: int) -> Delegation:
    """Operators of the file by name. ONNX Runtime runs all of them, so none is outside; a layer
    counts as int8 where input, weights and output are quantised, which is what it fuses.
    """
    graph = read(path).graph
    made = {name: node for node in graph.node for name in node.output}
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)

    def quantised(node: Any) -> bool:
        sources = [made.get(name) for name in node.input[:2]]
        readers = users.get(node.output[0], [])
        return all(one is not None and one.op_type == "DequantizeLinear" for one in sources) and (
            bool(readers) and all(one.op_type == "QuantizeLinear" for one in readers)
        )

    heavy = list(heavy_nodes(graph))
    return Delegation(
        delegated=dict(Counter(node.op_type for node in graph.node)),
        portable={},
        heavy_total=heavy_total,
        heavy_delegated=len(heavy),
        heavy_quantized=sum(map(quantised, heavy)),
        partitions=1,
    )


def layer_outputs(path: Path, x: np.ndarray) -> list[np.ndarray]:
    """What every layer with weights gives for ``x`` (as in :func:`run`), in order."""
    onnx = library("onnx")
    model = read(path)
    names = [node.output[0] for node in heavy_nodes(model.graph)]
    kind = onnx.TensorProto.FLOAT
    del model.graph.output[:]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, kind, None) for name in names
    )
    opened = session(model.SerializeToString(), optimised=False)
    return _answers(opened, str(path), x)


def byte_table(path: Path) -> dict[str, int]:
    """Where the file's bytes are; they sum to its size."""
    model = read(path)
    weights = sum(len(tensor.raw_data) for tensor in model.graph.initializer)
    metadata = sum(len(field.key) + len(field.value.encode()) for field in model.metadata_props)
    return {
        "weights": weights,
        "metadata": metadata,
        "graph": path.stat().st_size - weights - metadata,
    }
