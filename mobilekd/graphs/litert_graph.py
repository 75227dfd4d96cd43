"""A converted graph in the form that LiteRT's converter takes for int8: weights in floating point
before a quantise of their own, and no clamp where saturation does the same.
"""

import copy
import math

import torch
from torch import fx

from mobilekd.graphs import torch_nodes
from mobilekd.graphs.saturation import saturates

aten = torch.ops.aten
ops = torch.ops.quantized_decomposed
#: A dequantise node, and the quantise that it undoes.
QUANTIZE = {
    ops.dequantize_per_tensor.default: ops.quantize_per_tensor.default,
    ops.dequantize_per_channel.default: ops.quantize_per_channel.default,
}


def unfolded(graph: fx.GraphModule) -> fx.GraphModule:
    """A copy of a graph that PT2E has converted, ready for the converter; it computes the same."""
    changed = copy.deepcopy(graph)
    _unfold_weights(changed)
    _drop_saturating_clamps(changed)
    changed.graph.eliminate_dead_code()
    changed.recompile()
    return changed


def _unfold_weights(graph: fx.GraphModule) -> None:
    """Whole numbers of weights become the values that they stand for, with a quantise behind them,
    which gives the same whole numbers.
    """
    for number, node in enumerate(list(graph.graph.nodes)):
        if node.target not in QUANTIZE or node.args[0].op != "get_attr":
            continue
        given = [
            torch_nodes.tensor_of(graph, each) if isinstance(each, fx.Node) else each
            for each in node.args
        ]
        name = f"unfolded_{number}"
        graph.register_buffer(name, node.target(*given))
        with graph.graph.inserting_before(node):
            values = graph.graph.get_attr(name)
            whole = graph.graph.call_function(QUANTIZE[node.target], (values, *node.args[1:]))
        node.replace_input_with(node.args[0], whole)


def _drop_saturating_clamps(graph: fx.GraphModule) -> None:
    """Take out clamps whose one reader is a quantise with lowest and highest levels at their
    bounds or within.
    """
    for node in list(graph.graph.nodes):
        low, high = _bounds(node)
        users = list(node.users)
        if (low, high) == (-math.inf, math.inf) or len(users) != 1:
            continue
        (quantise,) = users
        if quantise.target is not ops.quantize_per_tensor.default:
            continue
        step, zero_point = torch_nodes.range_of(quantise)
        lowest, highest = (torch_nodes.argument(quantise, place, 0) for place in (3, 4))
        if saturates(low, high, step, zero_point, lowest, highest):
            node.replace_all_uses_with(node.args[0])
            graph.graph.erase_node(node)


def _bounds(node: fx.Node) -> tuple[float, float]:
    if node.target is aten.relu.default:
        return 0.0, math.inf
    if node.target is aten.hardtanh.default:
        low, high = (torch_nodes.argument(node, place, side) for place, side in ((1, -1), (2, 1)))
        return float(low), float(high)
    return -math.inf, math.inf
