"""Pixels survive quantisation whole: a photograph has 256 levels and int8 has 256 steps, if they are laid over each other.

Left to observers, the step comes out near a pixel's level but not at it, and a mean of 127.5 puts every pixel half way
between two steps. Both together cost more than any layer of the network (measured on HAM10000: over a third of all noise).
"""

import copy

import torch
from torch import Tensor, fx
from torchao.quantization.pt2e import MinMaxObserver
from torchao.quantization.pt2e.observer import HistogramObserver

from mobilekd import graphs

aten = torch.ops.aten


def whole_means(graph: fx.GraphModule) -> fx.GraphModule:
    """A copy of a captured graph that subtracts whole numbers; what that leaves over goes into the first layer's bias.

    The answers stay the same but where the first layer pads: there the padding stands for at most half a level more.
    A graph that does not begin with ``(x - mean) * scale`` and a convolution comes back as it is.
    """
    even = copy.deepcopy(graph)
    for subtraction in even.graph.nodes:
        if subtraction.target is not aten.sub.Tensor or subtraction.args[0].op != "placeholder":
            continue
        product = next(iter(subtraction.users))
        layer = next(iter(product.users))
        if product.target is not aten.mul.Tensor or layer.target not in graphs.CONVOLUTIONS or len(layer.args) < 3:
            return graph
        mean, scale = graphs.tensor_of(even, subtraction.args[1]), graphs.tensor_of(even, product.args[1])
        if graphs.groups(layer) != 1 or layer.args[2] is None:
            return graph
        weight, bias = graphs.tensor_of(even, layer.args[1]), graphs.tensor_of(even, layer.args[2])
        left = (mean.round() - mean) * scale  # [1, 3, 1, 1]
        graphs.set_tensor(even, subtraction.args[1].target, mean.round())
        graphs.set_tensor(even, layer.args[2].target, bias + (weight * left).sum((1, 2, 3)))
    return even


def lay_over(prepared: fx.GraphModule) -> None:
    """Ranges in front of the first layer are known, not observed: what a black and a white photograph become there. In place."""
    entry = next(node for node in prepared.graph.nodes if node.op == "placeholder")
    height, width = (int(side) for side in entry.meta["val"].shape[2:])
    known = {entry: torch.tensor([0.0, 255.0]).view(2, 1, 1, 1).expand(2, 3, height, width)}
    for node in prepared.graph.nodes:
        source = node.args[0] if node.args else None
        if not isinstance(source, fx.Node):
            continue
        if source.op == "get_attr" and isinstance(getattr(prepared, str(node.target), None), HistogramObserver):
            known[source] = graphs.tensor_of(prepared, source)  # a constant: a histogram of one value misses it by a little
        if source not in known:
            continue
        if node.op == "call_module":
            observer = getattr(prepared, node.target)
            if isinstance(observer, (HistogramObserver, MinMaxObserver)):
                setattr(prepared, node.target, knowing(observer, known[source]))
            known[node] = known[source]
        elif node.op == "call_function" and node.target in (aten.sub.Tensor, aten.mul.Tensor):
            known[node] = node.target(known[source], graphs.tensor_of(prepared, graphs.unobserved(node.args[1])))


def knowing(observer: HistogramObserver | MinMaxObserver, values: Tensor | None = None) -> MinMaxObserver:
    """An observer for the same place that keeps every value seen, and has seen ``values``."""
    fresh = MinMaxObserver(
        dtype=observer.dtype,
        qscheme=observer.qscheme,
        quant_min=observer.quant_min,
        quant_max=observer.quant_max,
        eps=float(observer.eps),
    )
    if values is not None:
        fresh(values)
    return fresh
