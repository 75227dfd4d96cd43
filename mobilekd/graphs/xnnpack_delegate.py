"""The graph inside an XNNPACK delegate."""

from typing import Any

from mobilekd.graphs.delegate_node import Node
from mobilekd.graphs.flatc import as_json

#: Nodes with weights, by their name in the delegate's graph.
HEAVY = (
    "XNNConv2d",
    "XNNDepthwiseConv2d",
    "XNNFullyConnected",
    "XNNConvTranspose2d",
    "XNNBatchMatrixMultiply",
)
_FLOATS = ("xnn_datatype_fp32", "xnn_datatype_fp16")
_INT8_WEIGHTS = ("xnn_datatype_qcint8", "xnn_datatype_qint8")


def nodes(blob: bytes) -> tuple[Node, ...]:
    """Its operators in order."""
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader

    header = XNNHeader.from_bytes(blob[: XNNHeader.EXPECTED_LENGTH])
    begin = header.flatbuffer_offset
    graph = as_json(
        "backends/xnnpack/serialization/schema.fbs", blob[begin : begin + header.flatbuffer_size]
    )
    values = {}
    for value in graph["xvalues"]:
        union = value["xvalue_union"]
        tensor = union.get("tensor_value", union)
        values[tensor["id_out"]] = tensor
    keys = [entry.get("named_key", "") for entry in graph["constant_data"]]
    return tuple(_node(node, values, keys) for node in graph["xnodes"])


def _node(node: dict[str, Any], values: dict[int, dict[str, Any]], keys: list[str]) -> Node:
    kind, union = node["xnode_union_type"], node["xnode_union"]
    output = values.get(union.get("output_id", -1), {})
    weights = values.get(union.get("filter_id", -1), {})
    bias = values.get(union.get("bias_id", -1), {})
    return Node(
        kind=kind,
        output=tuple(output.get("dims", ())),
        weights=tuple(weights.get("dims", ())),
        weight_key=keys[weights.get("constant_buffer_idx", 0)],
        bias_key=keys[bias.get("constant_buffer_idx", 0)],
        groups=union.get("groups", 1),
        heavy=kind in HEAVY,
        quantized=weights.get("datatype", "") in _INT8_WEIGHTS,
        conversion=kind == "XNNConvert",
        floating=output.get("datatype", "") in _FLOATS,
    )
