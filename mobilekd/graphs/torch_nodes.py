"""Reading a captured graph: its layers, their weights and names, the ranges of its rounding, and
what its layers answer.
"""

import copy
import math
import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from mobilekd.graphs import int8_arithmetic

aten = torch.ops.aten

CONVOLUTIONS = (aten.conv2d.default, aten.conv1d.default, aten.conv2d.padding)

HEAVY = (*CONVOLUTIONS, aten.linear.default)


def tensor_of(graph: nn.Module, node: fx.Node) -> Tensor:
    """The parameter or buffer that a ``get_attr`` node names."""
    value = operator.attrgetter(str(node.target))(graph)
    assert isinstance(value, Tensor)
    return value.detach()


def unobserved(node: Any) -> fx.Node:
    """The node behind the observers around a constant."""
    while isinstance(node, fx.Node) and node.op == "call_module":
        node = node.args[0]
    assert isinstance(node, fx.Node)
    return node


def set_tensor(graph: nn.Module, name: str, value: Tensor) -> None:
    """Make or replace a parameter by its dotted name."""
    *path, last = name.split(".")
    owner = operator.attrgetter(".".join(path))(graph) if path else graph
    setattr(
        owner, last, nn.Parameter(value.detach().clone(), requires_grad=value.is_floating_point())
    )


def heavy_nodes(graph: fx.GraphModule) -> Iterator[fx.Node]:
    """Convolutions and linear layers in execution order."""
    return (
        node for node in graph.graph.nodes if node.op == "call_function" and node.target in HEAVY
    )


def ranged(graph: fx.GraphModule) -> list[fx.Node]:
    """Per-tensor quantise and dequantise nodes of a converted graph; their scale and zero point are
    literals in it.
    """
    wanted = (
        "quantized_decomposed::quantize_per_tensor",
        "quantized_decomposed::dequantize_per_tensor",
    )
    return [
        node
        for node in graph.graph.nodes
        if node.op == "call_function"
        and getattr(node.target, "_schema", None)
        and node.target._schema.name in wanted
    ]


def range_of(node: fx.Node) -> tuple[float, int]:
    """Scale and zero point of one of those nodes."""
    scale, zero_point = node.args[1:3]
    assert isinstance(scale, float)
    assert isinstance(zero_point, int)
    return scale, zero_point


def ranges(graph: fx.GraphModule) -> dict[str, tuple[float, int]]:
    """Scale and zero point of those nodes by their name."""
    return {node.name: range_of(node) for node in ranged(graph)}


def argument(node: fx.Node, place: int, default: Any) -> Any:
    """A positional argument, which the exporter leaves out where it is the operator's default."""
    return node.args[place] if len(node.args) > place else default


def groups(node: fx.Node) -> int:
    """Groups of a convolution, 1 of a linear layer."""
    return int(argument(node, 6, 1)) if node.target in CONVOLUTIONS else 1


def is_depthwise(graph: fx.GraphModule, node: fx.Node) -> bool:
    """One filter for each channel."""
    weight = weights_of(graph, node)
    return groups(node) == len(weight) > 1 and weight.shape[1] == 1


def weights_of(graph: fx.GraphModule, node: fx.Node) -> Tensor:
    """A layer's weights as they are stored: int8 in a quantised graph, else float32."""
    source = node.args[1]
    while isinstance(source, fx.Node) and source.op == "call_function":
        source = source.args[0]
    assert isinstance(source, fx.Node)
    return tensor_of(graph, source)


def layer_name(node: fx.Node) -> str:
    """The student's module that a node came from (``blocks.1.0.conv_dw``), else the node's own
    name.
    """
    stack = list(node.meta.get("nn_module_stack", {}).values())
    name = stack[-1][0].removeprefix("student.") if stack else ""
    return name or str(node.name)


def guard_nodes(graph: fx.GraphModule) -> Iterator[fx.Node]:
    """Nodes of the deployable's guard, which stays in floating point."""
    for node in graph.graph.nodes:
        stack = node.meta.get("nn_module_stack", {}).values()
        if any(name == "guard" or name.startswith("guard.") for name, _ in stack):
            yield node


def without_guard(graph: fx.GraphModule) -> fx.GraphModule:
    """A copy of the deployable's graph whose last output is not the guard's score but once more its
    first; the same graph where it has no guard.
    """
    if not any(guard_nodes(graph)):
        return graph
    plain = copy.deepcopy(graph)
    output = plain.graph.output_node()
    (answers,) = output.args
    assert isinstance(answers, (tuple, list))
    output.args = ((*answers[:-1], answers[0]),)
    plain.graph.eliminate_dead_code()
    plain.recompile()
    return plain


def layer_costs(graph: fx.GraphModule) -> list[dict[str, Any]]:
    """Every convolution and linear layer in order: name, kind, output without the batch,
    multiply-adds, parameters.
    """
    rows = []
    for node in heavy_nodes(graph):
        weights = weights_of(graph, node)
        output = [int(size) for size in node.meta["val"].shape[1:]]
        kind = (
            "Linear"
            if node.target not in CONVOLUTIONS
            else "DepthwiseConv2d"
            if is_depthwise(graph, node)
            else "Conv2d"
        )
        macs = math.prod(output) * weights[0].numel()
        bias = weights.shape[0] if argument(node, 2, None) is not None else 0
        rows.append(
            {
                "layer": layer_name(node),
                "kind": kind,
                "output": output,
                "macs": macs,
                "parameters": weights.numel() + bias,
            }
        )
    return rows


def layer_outputs(graph: fx.GraphModule, x: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of every convolution and linear layer by layer name, float32, for one batch ``[N, 3,
    H, W]``.
    """
    outputs: dict[str, np.ndarray] = {}

    class Listener(int8_arithmetic.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            value = super().run_node(node)
            if node.op == "call_function" and node.target in HEAVY:
                outputs[layer_name(node)] = int8_arithmetic.floating(value).detach().float().numpy()
            return value

    with torch.no_grad():
        Listener(graph).run(torch.from_numpy(x))
    return outputs
