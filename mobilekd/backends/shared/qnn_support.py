"""Which layers Qualcomm's partitioner leaves outside the delegate, by the names that the student
gives them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import fx

from mobilekd.graphs import torch_nodes

#: What ExecuTorch says of a layer that it can neither delegate nor take apart.
OUTSIDE = "was not decomposed or delegated"


@contextmanager
def refused(names: list[str]) -> Iterator[None]:
    """Add to ``names`` each layer with a module of its own that the partitioner refuses inside the
    ``with`` block.
    """
    from executorch.backends.qualcomm.partition.qnn_partitioner import QnnOperatorSupport

    supported = QnnOperatorSupport.is_node_supported

    def is_node_supported(self: Any, modules: Any, node: fx.Node) -> bool:
        taken = bool(supported(self, modules, node))
        if not taken and node.op == "call_function" and (name := torch_nodes.layer_name(node)):
            names.append(name)
        return taken

    QnnOperatorSupport.is_node_supported = is_node_supported
    try:
        yield
    finally:
        QnnOperatorSupport.is_node_supported = supported
