"""Cross-layer equalisation of linear bottlenecks (1906.04721): the same answers, with channels of one tensor alike in range.

A bottleneck's output has no activation, or a ReLU, so its channels can be scaled freely: rows of the convolutions that write
it, the inverse on columns of the convolutions that read it, the same scales all along a chain of residual additions. In int8 one
step serves all channels of a tensor, and a quiet channel beside a loud one is rounded away; evened out, it keeps its bits.
Weights have a step per output channel, so writers pay nothing; readers do, and the scales are the geometric middle.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx

from mobilekd import graphs
from mobilekd.quantize.simulate import batches

aten = torch.ops.aten
_ADDITIONS = (aten.add.Tensor, aten.add_.Tensor)
#: A channel is scaled by at most this: a dead one must not blow its weights up.
LARGEST_SCALE = 100.0


@dataclass
class Chain:
    """Tensors that share their channels' scales: ``writers`` make them, ``readers`` take them, additions join them."""

    writers: list[fx.Node] = field(default_factory=list)
    readers: list[fx.Node] = field(default_factory=list)
    tensors: list[fx.Node] = field(default_factory=list)


def equalize(graph: fx.GraphModule, photographs: np.ndarray) -> tuple[fx.GraphModule, int]:
    """A copy of a captured graph with every chain evened out on uint8 ``[N, 3, H, W]``, and how many chains that were."""
    even = copy.deepcopy(graph)
    found = chains(even)
    watched = {node.name for chain in found for node in chain.tensors}
    largest = _largest(even, photographs, watched)
    for chain in found:
        loud = torch.stack([largest[node.name] for node in chain.tensors]).amax(0)
        heavy = torch.stack([_reading(even, node) for node in chain.readers]).amax(0)
        scale = (heavy.clamp_min(1e-8) / loud.clamp_min(1e-8)).sqrt()
        scale = (scale / scale.log().mean().exp()).clamp(1 / LARGEST_SCALE, LARGEST_SCALE)
        for node in chain.writers:
            _scale(even, node, 1, scale, 0)
            if len(node.args) > 2 and isinstance(node.args[2], fx.Node):
                _scale(even, node, 2, scale, 0)
        for node in chain.readers:
            _scale(even, node, 1, 1 / scale, 0 if graphs.is_depthwise(even, node) else 1)
    return even, len(found)


def chains(graph: fx.GraphModule) -> list[Chain]:
    """Every set of tensors that only convolutions write and read, with nothing between but additions and ReLU.

    ReLU6 is no such thing: it would clip a scaled channel elsewhere.
    """
    found = []
    seen: set[fx.Node] = set()
    for node in graphs.heavy_nodes(graph):
        if node not in seen:
            chain, whole = Chain(), True
            waiting = [node]
            while waiting:
                tensor = waiting.pop()
                if tensor in seen:
                    continue
                seen.add(tensor)
                chain.tensors.append(tensor)
                if tensor.target in graphs.CONVOLUTIONS:
                    chain.writers.append(tensor)
                elif tensor.target in _ADDITIONS and all(isinstance(end, fx.Node) for end in tensor.args[:2]):
                    waiting += [end for end in tensor.args[:2] if isinstance(end, fx.Node)]
                elif tensor.target is aten.relu.default and isinstance(tensor.args[0], fx.Node):
                    waiting.append(tensor.args[0])
                else:
                    whole = False
                for user in tensor.users:
                    if (
                        user.target in graphs.CONVOLUTIONS
                        and user.args[0] is tensor
                        and (graphs.groups(user) == 1 or graphs.is_depthwise(graph, user))
                    ):
                        chain.readers.append(user)
                    else:
                        waiting.append(user)
            if whole and chain.readers:
                found.append(chain)
    return found


def _largest(graph: fx.GraphModule, photographs: np.ndarray, names: set[str]) -> dict[str, Tensor]:
    """The largest absolute value of each channel of the named nodes."""
    found: dict[str, Tensor] = {}

    class Listener(fx.Interpreter):
        def run_node(self, node: fx.Node) -> Any:
            value = super().run_node(node)
            if node.name in names:
                loud = value.detach().abs().amax((0, 2, 3))
                found[node.name] = torch.maximum(found.get(node.name, loud), loud)
            return value

    with torch.no_grad():
        for batch in batches(photographs):
            Listener(graph).run(batch)
    return found


def _reading(graph: fx.GraphModule, node: fx.Node) -> Tensor:
    """How heavily a convolution weighs each of its input channels, in units of its rows' largest weight: ``[C]``."""
    weight = graphs.weights_of(graph, node)
    relative = (weight / weight.flatten(1).abs().amax(1).clamp_min(1e-9).view(-1, 1, 1, 1)).abs()
    return relative.flatten(1).amax(1) if graphs.is_depthwise(graph, node) else relative.amax((0, 2, 3))


def _scale(graph: fx.GraphModule, node: fx.Node, argument: int, scale: Tensor, axis: int) -> None:
    source = node.args[argument]
    assert isinstance(source, fx.Node)
    value = graphs.tensor_of(graph, source)
    shape = [1] * value.dim()
    shape[axis] = -1
    graphs.set_tensor(graph, str(source.target), value * scale.view(shape))
