"""Which operators stay in floating point when some layers do.

An operator without weights (an addition, squeeze-and-excitation's product, a pooling) gains nothing
from int8 by itself: among layers in floating point it would only round, and pay for going there and
back. So it follows the layers around it.
"""

from collections.abc import Iterator

from torch import Tensor, fx

from mobilekd.graphs import torch_nodes


def left_in_float(graph: fx.GraphModule, float_layers: frozenset[str]) -> set[fx.Node]:
    """Nodes of a captured graph, with observers or without, that are not rounded: ``float_layers``,
    and what has none but them around it.

    Around an operator of two tensors lie the nearest layers on each side, looked for as far as the
    next such operator; where there are only such operators around it, it follows those. One of a
    single tensor (a pooling) goes on with what it is given.
    """
    left = {
        node
        for node in torch_nodes.heavy_nodes(graph)
        if torch_nodes.layer_name(node) in float_layers
    }
    around = {
        node: list(_around(node))
        for node in graph.graph.nodes
        if node.op == "call_function" and node.target not in torch_nodes.HEAVY
    }
    growing = bool(left)
    while growing:
        growing = False
        for node, near in around.items():
            decisive = [other for other in near if other.target in torch_nodes.HEAVY] or near
            if node not in left and decisive and left.issuperset(decisive):
                left.add(node)
                growing = True
    return left


def _around(node: fx.Node) -> Iterator[fx.Node]:
    """The nearest layers and operators of two tensors: before and behind one of two tensors, before
    any other where there are some.
    """
    before = [near for source in node.all_input_nodes for near in _beyond(source, backwards=True)]
    yield from before
    if not before or _joins(node):
        for user in node.users:
            yield from _beyond(user, backwards=False)


def _beyond(node: fx.Node, *, backwards: bool) -> Iterator[fx.Node]:
    if node.target in torch_nodes.HEAVY or _joins(node):
        yield node
    elif node.op in ("call_function", "call_module"):
        for further in node.all_input_nodes if backwards else node.users:
            yield from _beyond(further, backwards=backwards)


def _joins(node: fx.Node) -> bool:
    """Whether it computes something from two tensors, constants apart."""
    return (
        node.op == "call_function"
        and sum(_is_tensor(torch_nodes.unobserved(source)) for source in node.all_input_nodes) > 1
    )


def _is_tensor(node: fx.Node) -> bool:
    """A constant is none that counts, nor is a batch's size."""
    return node.op != "get_attr" and isinstance(node.meta.get("val", Tensor()), Tensor)
