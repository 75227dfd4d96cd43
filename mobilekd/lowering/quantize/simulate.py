"""The calibrated graph with rounding simulated in floating point: for training, for sensitivity,
for bias correction.

Inside the ``with`` block every observer stands aside for a rounding module whose range is what
calibration found; each can be switched off, so one layer's rounding can be studied alone. Gradients
pass straight through the rounding.
"""

from collections.abc import Iterator
from types import TracebackType

import numpy as np
import torch
from torch import Tensor, fx, nn
from torchao.quantization.pt2e import DerivedObserverOrFakeQuantize
from torchao.quantization.pt2e.observer import ObserverBase, PerChannelMinMaxObserver

from mobilekd.graphs import torch_nodes
from mobilekd.graphs.float_operators import left_in_float

aten = torch.ops.aten
_ACTIVATIONS = (aten.relu.default, aten.hardtanh.default)

BATCH = 32


class Rounding(nn.Module):
    """Fake quantisation with fixed activation ranges; a weight's ranges follow the weight."""

    def __init__(self, observer: ObserverBase, weight: bool) -> None:
        super().__init__()
        self.weight, self.enabled = weight, True
        self.low, self.high = observer.quant_min, observer.quant_max
        if weight:
            self.eps = float(observer.eps)
        else:
            scale, zero_point = observer.calculate_qparams()
            self.scale, self.zero_point = float(scale), int(zero_point)

    def forward(self, x: Tensor) -> Tensor:
        """Any float tensor; a weight's first axis holds its channels."""
        if not self.enabled:
            return x
        if not self.weight:
            return torch.fake_quantize_per_tensor_affine(
                x, self.scale, self.zero_point, self.low, self.high
            )
        largest = x.detach().abs().flatten(1).amax(1)
        scale = (largest / ((self.high - self.low) / 2)).clamp(min=self.eps)
        return torch.fake_quantize_per_channel_affine(
            x, scale, torch.zeros_like(scale, dtype=torch.int32), 0, self.low, self.high
        )


class Simulation:
    """``with Simulation(prepared) as s:`` s.graph rounds; on leaving, the observers are back and
    weights stay as they are.
    """

    def __init__(self, prepared: fx.GraphModule) -> None:
        self.graph = prepared
        self.observers: dict[str, ObserverBase] = {}
        self.roundings: dict[str, Rounding] = {}

    def __enter__(self) -> "Simulation":
        for node in self.graph.graph.nodes:
            module = getattr(self.graph, node.target, None) if node.op == "call_module" else None
            # a bias' step follows from those of input and weights, too fine to matter here
            derived = isinstance(module, DerivedObserverOrFakeQuantize)
            if isinstance(module, ObserverBase) and not derived:
                self.observers[node.target] = module
                self.roundings[node.target] = Rounding(
                    module, isinstance(module, PerChannelMinMaxObserver)
                )
                setattr(self.graph, node.target, self.roundings[node.target])
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name, observer in self.observers.items():
            setattr(self.graph, name, observer)

    def answers(self, photographs: np.ndarray) -> np.ndarray:
        """Probabilities float32 ``[N, C]`` for uint8 ``[N, 3, H, W]``."""
        return answers(self.graph, photographs)

    def layers(self) -> list[str]:
        """Layers whose weights are rounded, in execution order."""
        return list(
            dict.fromkeys(
                torch_nodes.layer_name(node)
                for node in torch_nodes.heavy_nodes(self.graph)
                if self._weight_rounding(node)
            )
        )

    def only(self, layer: str) -> None:
        """Round this layer's weights, input and output, and nothing else."""
        for name, rounding in self.roundings.items():
            rounding.enabled = any(
                end.target in torch_nodes.HEAVY and torch_nodes.layer_name(end) == layer
                for end in self._ends(name)
            )

    def all_but(self, float_layers: frozenset[str]) -> None:
        """Round everything that is rounded when ``float_layers`` are left in floating point."""
        left = left_in_float(self.graph, float_layers)
        for name, rounding in self.roundings.items():
            rounding.enabled = not left.issuperset(self._ends(name))

    def _weight_rounding(self, node: fx.Node) -> str | None:
        weight = node.args[1]
        return (
            weight.target
            if isinstance(weight, fx.Node)
            and weight.op == "call_module"
            and weight.target in self.roundings
            else None
        )

    def _ends(self, name: str) -> list[fx.Node]:
        """Quantised operators that produce or read what this module rounds; before an activation,
        the one that it is fused into.
        """
        operators: list[fx.Node] = []
        for node in self.graph.graph.nodes:
            if node.op != "call_module" or node.target != name:
                continue
            source = node.args[0]
            while source.op == "call_function" and source.target in _ACTIVATIONS:
                source = source.args[0]
            ends = (end for end in (source, *node.users) if end.op == "call_function")
            operators += [end for end in ends if end.meta.get("quantization_annotation")]
        return operators


def answers(graph: nn.Module, photographs: np.ndarray) -> np.ndarray:
    """First output of a graph for uint8 photographs, float32 ``[N, C]``."""
    with torch.no_grad():
        outputs = [graph(batch) for batch in batches(photographs)]
    return np.concatenate(
        [(one[0] if isinstance(one, (tuple, list)) else one).numpy() for one in outputs]
    )


def batches(photographs: np.ndarray, size: int = BATCH) -> Iterator[Tensor]:
    """uint8 ``[N, 3, H, W]`` as float32 batches, the values kept."""
    for start in range(0, len(photographs), size):
        yield torch.from_numpy(photographs[start : start + size]).float()


def rounded_weight(node: fx.Node) -> fx.Node | None:
    """The ``get_attr`` node behind a layer's weight observer; None where the layer stays in
    floating point.
    """
    weight = torch_nodes.unobserved(node.args[1])
    return weight if weight is not node.args[1] and weight.op == "get_attr" else None
