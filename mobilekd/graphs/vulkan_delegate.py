"""The graph inside a Vulkan delegate: operators in order, over numbered values."""

from dataclasses import dataclass
from typing import Any

from mobilekd.graphs.delegate_node import Node
from mobilekd.graphs.flatc import as_json


@dataclass(frozen=True)
class Tensor:
    """A value that is a tensor."""

    type: str  # FLOAT32, INT8, ...
    shape: tuple[int, ...]
    constant: int  # its place among the constants; negative for none


@dataclass(frozen=True)
class Several:
    """A value that is a list of others, by their numbers."""

    members: tuple[int, ...]


#: A value: a tensor, several, a number, a text, a list of numbers or None.
Value = Tensor | Several | float | str | list[Any] | None


@dataclass(frozen=True)
class Call:
    """One operator: values by their number, the last of which it writes."""

    name: str  # et_vk.q8ta_conv2d.default
    arguments: tuple[int, ...]


@dataclass(frozen=True)
class VulkanGraph:
    """What the phone's runtime reads."""

    calls: tuple[Call, ...]
    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    keys: tuple[str, ...]  # of constants, among the file's named data


def read(blob: bytes) -> VulkanGraph:
    """A delegate's own graph, its constants left where they are."""
    from executorch.backends.vulkan.serialization.vulkan_graph_serialize import (
        extract_vk_flatbuffer,
    )

    graph = as_json("backends/vulkan/serialization/schema.fbs", extract_vk_flatbuffer(blob))
    return VulkanGraph(
        calls=tuple(Call(call["name"], tuple(call["args"])) for call in graph["chain"]),
        values=tuple(_value(value["value_type"], value["value"]) for value in graph["values"]),
        inputs=tuple(graph["input_ids"]),
        outputs=tuple(graph["output_ids"]),
        keys=tuple(constant["named_key"] for constant in graph["constants"]),
    )


def nodes(blob: bytes) -> tuple[Node, ...]:
    """Its operators in order."""
    graph = read(blob)
    return tuple(_node(graph, call) for call in graph.calls)


def _value(kind: str, value: dict[str, Any]) -> Value:
    if kind == "VkTensor":
        return Tensor(value["datatype"], tuple(value["dims"]), value["constant_id"])
    if kind == "ValueList":
        return Several(tuple(value["items"]))
    return next(iter(value.values()), None)  # the one field of a number, a text or a list


def _node(graph: VulkanGraph, call: Call) -> Node:
    values = [graph.values[number] for number in call.arguments]
    output, base = values[-1], call.name.split(".")[1]
    assert isinstance(output, Tensor)
    heavy = any(word in base for word in ("conv", "linear", "mm"))
    tensors = [value for value in values[:-1] if isinstance(value, Tensor)]
    weights = next((one for one in tensors[1:] if len(one.shape) > 1), None) if heavy else None
    bias = tensors[-1] if heavy and len(tensors[-1].shape) == 1 else None
    return Node(
        kind=call.name,
        output=(*output.shape[:1], *output.shape[2:], *output.shape[1:2]),
        weights=weights.shape if weights else (),
        weight_key=_key(graph, weights),
        bias_key=_key(graph, bias),
        heavy=heavy,
        quantized=weights is not None and weights.type == "INT8",
        conversion="quantize_per" in base or base == "prepack",
        floating=output.type.startswith("FLOAT"),
    )


def _key(graph: VulkanGraph, tensor: Tensor | None) -> str:
    return graph.keys[tensor.constant] if tensor is not None and tensor.constant >= 0 else ""
