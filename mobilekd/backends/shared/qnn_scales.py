"""What Qualcomm's compiler is given, held against the rounded graph: each scale must be one of the
graph's.

The compiled graph cannot be read back, so the scales are looked at on their way in.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import fx

from mobilekd.graphs import torch_nodes

#: Two float32 numbers that are the same but for their last digits.
SAME = 1e-5


@contextmanager
def watched() -> Iterator[dict[str, tuple[str, float]]]:
    """Layer and scale by tensor, of every tensor with one scale that ExecuTorch describes to the
    compiler inside the ``with`` block.
    """
    from executorch.backends.qualcomm.builders.node_visitor import NodeVisitor

    found: dict[str, tuple[str, float]] = {}
    define = NodeVisitor.define_tensor

    def define_tensor(self: Any, source: fx.Node, target: fx.Node, *rest: Any, **more: Any) -> Any:
        scale = self.get_quant_encoding_conf(source, target)[1].get("scale")
        if isinstance(scale, (float, torch.Tensor)):
            found[source.name] = (torch_nodes.layer_name(source), float(scale))
        return define(self, source, target, *rest, **more)

    NodeVisitor.define_tensor = define_tensor
    try:
        yield found
    finally:
        NodeVisitor.define_tensor = define


def strange(found: dict[str, tuple[str, float]], graph: fx.GraphModule) -> list[str]:
    """Tensors whose scale is none of the rounded graph's, in words."""
    known = torch.tensor([scale for scale, _ in torch_nodes.ranges(graph).values()]).double()
    return [
        f"{layer} has {scale:.6g} in {name}"
        for name, (layer, scale) in found.items()
        if not bool(((known - scale).abs() <= SAME * known).any())
    ]
