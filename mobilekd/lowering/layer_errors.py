"""Which layer's rounding is to blame: each layer rounded alone, and each layer's output in the
file, against fp32.

Rounded alone, a layer takes the scales of its input and output and the numbers of its weights and
bias from the rounded graph, and everything else is computed by the graph in floating point. So what
is found is that layer's own doing, for every backend alike: int8 of PT2E (XNNPACK, ONNX Runtime,
Hexagon), and files that hold rounded weights alone (Core ML). What layers do alone does not sum up
to what they do together, as errors may cancel.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, fx

from mobilekd.backends.base import Run, one_thread
from mobilekd.formats.layer_errors import LayerError, LayerErrors
from mobilekd.graphs import torch_nodes
from mobilekd.lowering.parity import decibels

aten = torch.ops.aten

#: Photographs that are looked at; each costs about as many passes as the network has layers.
PHOTOGRAPHS = 16
#: Photographs in one pass: all values of a pass are kept meanwhile.
BATCH = 4
#: Activations that are rounded together with the layer before them.
_FUSED = (aten.relu.default, aten.hardtanh.default)
#: The least probability whose logarithm counts.
_LEAST = 1e-12


@dataclass(frozen=True)
class _Range:
    """How a tensor is rounded."""

    scale: float
    zero_point: int
    low: int
    high: int

    @classmethod
    def of(cls, node: fx.Node) -> "_Range":
        """Of a per-tensor quantise or dequantise node."""
        scale, zero_point = torch_nodes.range_of(node)
        low, high = node.args[3:5]
        assert isinstance(low, int)
        assert isinstance(high, int)
        return cls(scale, zero_point, low, high)

    def rounded(self, x: Tensor) -> Tensor:
        """The nearest values that there are levels for."""
        levels = torch.round(x / self.scale) + self.zero_point
        return (levels.clamp(self.low, self.high) - self.zero_point) * self.scale


@dataclass(frozen=True, eq=False)
class _Layer:
    """A layer in both graphs: its node in fp32, the node whose value is rounded, the node behind
    its activations, which is read next, and its rounding. Where a range of levels stands in for a
    clamp, the value is rounded before the clamp and only behind it means what it means in fp32.
    """

    name: str
    node: fx.Node
    end: fx.Node
    seen: fx.Node
    behind: frozenset[fx.Node]  # what depends on it, itself included
    weight: Tensor
    bias: Tensor | None
    input: _Range | None
    output: _Range | None

    def rounds(self, plain: fx.GraphModule) -> bool:
        """Whether the rounded graph computes it otherwise."""
        ranges = (self.input, self.output)
        own = torch_nodes.weights_of(plain, self.node)
        return any(ranges) or not torch.equal(self.weight, own.float())


def measured(
    plain: fx.GraphModule,
    rounded: fx.GraphModule,
    answers: Run,
    photographs: np.ndarray,
    of: Literal["training", "golden"],
    *,
    saved_layers: Callable[[np.ndarray], list[np.ndarray]] | None = None,
    source: str,
    in_float: frozenset[str] = frozenset(),
) -> LayerErrors | None:
    """Measure every layer; None where none is rounded.

    Args:
        plain: the graph in floating point.
        rounded: the same with its rounding, converted or with rounded weights.
        answers: what ``rounded`` answers.
        photographs: uint8 ``[N, 3, H, W]``.
        of: what they are.
        saved_layers: outputs of the saved file's layers for one photograph; those of ``rounded``
            stand for them where it cannot be looked into.
        source: where the outputs in the file are read, in words.
        in_float: layers that were left in floating point.
    """
    layers, missing = _layers(plain, rounded)
    if not any(layer.rounds(plain) for layer in layers):
        return None
    sums = {layer.name: _Sums() for layer in layers}
    margins, changes = [], []
    with torch.no_grad(), one_thread():
        for start in range(0, len(photographs), BATCH):
            batch = photographs[start : start + BATCH].astype(np.float32)
            whole = fx.Interpreter(plain, garbage_collect_values=False)
            margin = _Margin(_first(whole.run(torch.from_numpy(batch))))
            inside = _in_file(rounded, batch, saved_layers)
            margins.append(margin.plain)
            changes.append(margin.change(torch.from_numpy(answers(batch)[0])))
            for layer in layers:
                alone = _Alone(plain, layer)
                given = _first(
                    alone.run(torch.from_numpy(batch), initial_env=_before(whole, layer))
                )
                one = sums[layer.name]
                one.changes.append(margin.change(given))
                one.alone.add(alone.made, whole.env[layer.seen])
                if layer.name in inside:
                    one.in_file.add(torch.from_numpy(inside[layer.name]), whole.env[layer.node])
    found = {name: float(torch.cat(one.changes).mean()) for name, one in sums.items()}
    total = sum(found.values())
    return LayerErrors(
        photographs=len(photographs),
        of=of,
        source=source,
        margin=float(torch.cat(margins).mean()),
        change=float(torch.cat(changes).mean()),
        layers=tuple(
            LayerError(
                layer=name,
                sqnr_db=one.alone.decibels,
                file_sqnr_db=one.in_file.decibels if one.in_file.signal else None,
                change=found[name],
                share=min(1.0, found[name] / total) if total else 0.0,
            )
            for name, one in sums.items()
        ),
        in_float=tuple(sorted(in_float)),
        not_compared=missing,
    )


class _Sums:
    """What one layer showed so far."""

    def __init__(self) -> None:
        self.alone, self.in_file = _Noise(), _Noise()
        self.changes: list[Tensor] = []


class _Noise:
    """Energies of a signal and of what was added to it."""

    def __init__(self) -> None:
        self.signal, self.noise = 0.0, 0.0

    def add(self, given: Tensor, wanted: Tensor) -> None:
        """One batch of outputs."""
        wanted = wanted.double()
        self.signal += float(wanted.square().sum())
        self.noise += float((given.double() - wanted).square().sum())

    @property
    def decibels(self) -> float:
        """Signal over noise."""
        return decibels(self.signal, self.noise)


class _Margin:
    """How far the likeliest class of fp32 is ahead of the second, ``ln p`` less ``ln p``."""

    def __init__(self, probabilities: Tensor):
        self._classes = probabilities.topk(min(2, probabilities.shape[1]), 1).indices
        self.plain = self._of(probabilities)

    def _of(self, probabilities: Tensor) -> Tensor:
        both = probabilities.double().clamp(min=_LEAST).log().gather(1, self._classes)
        return both[:, 0] - both[:, -1]

    def change(self, probabilities: Tensor) -> Tensor:
        """How far other probabilities ``[N, C]`` move it, absolute, ``[N]``."""
        return (self._of(probabilities) - self.plain).abs()


class _Alone(fx.Interpreter):
    """The graph in floating point, but for one layer."""

    def __init__(self, plain: fx.GraphModule, layer: _Layer):
        super().__init__(plain)
        self.layer, self.made = layer, torch.empty(0)

    def run_node(self, n: fx.Node) -> Any:
        """One node; the layer's with its rounding."""
        layer = self.layer
        if n is layer.node:
            x, _, *rest = self.fetch_args_kwargs_from_env(n)[0]
            x = x if layer.input is None else layer.input.rounded(x)
            value = n.target(x, layer.weight, layer.bias, *rest[1:])  # type: ignore[operator]
        else:
            value = super().run_node(n)
        if n is layer.end:
            value = value if layer.output is None else layer.output.rounded(value)
        if n is layer.seen:
            self.made = value
        return value


def _first(answer: Any) -> Tensor:
    """The probabilities among a graph's outputs."""
    first = answer[0] if isinstance(answer, (tuple, list)) else answer
    assert isinstance(first, Tensor)
    return first


def _before(whole: fx.Interpreter, layer: _Layer) -> dict[fx.Node, Any]:
    """Every value that does not depend on the layer."""
    return {node: value for node, value in whole.env.items() if node not in layer.behind}


def _in_file(
    rounded: fx.GraphModule,
    batch: np.ndarray,
    saved_layers: Callable[[np.ndarray], list[np.ndarray]] | None,
) -> Mapping[str, np.ndarray]:
    """Outputs of the file's layers by name."""
    if saved_layers is None:
        return torch_nodes.layer_outputs(rounded, batch)
    names = [torch_nodes.layer_name(node) for node in torch_nodes.heavy_nodes(rounded)]
    each = [saved_layers(batch[place : place + 1]) for place in range(len(batch))]
    if any(len(one) != len(names) for one in each):
        return {}
    return dict(zip(names, map(np.concatenate, zip(*each, strict=True)), strict=True))


def _layers(plain: fx.GraphModule, rounded: fx.GraphModule) -> tuple[list[_Layer], tuple[str, ...]]:
    """Layers that both graphs have in one form, and the names of the others. One that runs twice
    is found by its last run, as ``layer_outputs`` has it.
    """
    nodes = {torch_nodes.layer_name(node): node for node in torch_nodes.heavy_nodes(plain)}
    others = {torch_nodes.layer_name(node): node for node in torch_nodes.heavy_nodes(rounded)}
    found, missing = [], []
    for name, node in nodes.items():
        other = others.get(name)
        weight = None if other is None else _constant(rounded, other.args[1])
        if (
            other is None
            or weight is None
            or other.target is not node.target
            or weight.shape != torch_nodes.weights_of(plain, node).shape
        ):
            missing.append(name)
            continue
        bias = torch_nodes.argument(other, 2, None)
        clamps, output = _output(other)
        source = other.args[1]
        # what a layer in floating point reads and gives is rounded for those before and behind it
        in_float = isinstance(source, fx.Node) and source.op == "get_attr"
        activations = _activations(node)
        found.append(
            _Layer(
                name=name,
                node=node,
                end=[node, *activations][min(clamps, len(activations))],
                seen=[node, *activations][-1],
                behind=_behind(node),
                weight=weight.float(),
                bias=None if bias is None else _constant(rounded, bias),
                input=None if in_float else _input(other),
                output=None if in_float else output,
            )
        )
    return found, tuple(missing)


def _activations(node: fx.Node) -> list[fx.Node]:
    """Those that follow a layer, and read nothing else, in order."""
    found: list[fx.Node] = []
    while len(after := list([node, *found][-1].users)) == 1 and after[0].target in _FUSED:
        found.append(after[0])
    return found


def _behind(node: fx.Node) -> frozenset[fx.Node]:
    found, waiting = {node}, [node]
    while waiting:
        new = set(waiting.pop().users) - found
        found |= new
        waiting += new
    return frozenset(found)


def _constant(graph: fx.GraphModule, node: Any) -> Tensor:
    """A weight or bias as the rounded graph computes with it, float32."""
    if not isinstance(node, fx.Node):
        raise TypeError(f"{node}: not a constant of the graph")
    if node.op == "get_attr":
        return torch_nodes.tensor_of(graph, node)
    if node.op != "call_function":
        raise TypeError(f"{node}: not a constant of the graph")
    arguments = fx.node.map_arg((node.args, node.kwargs), lambda one: _constant(graph, one))
    given, named = arguments
    value: Any = node.target(*given, **named)  # type: ignore[operator]
    assert isinstance(value, Tensor)
    return value


def _is(node: Any, word: str) -> bool:
    schema = getattr(getattr(node, "target", None), "_schema", None)
    return schema is not None and schema.name == f"quantized_decomposed::{word}_per_tensor"


def _input(node: fx.Node) -> _Range | None:
    source = node.args[0]
    return _Range.of(source) if isinstance(source, fx.Node) and _is(source, "dequantize") else None


def _output(node: fx.Node) -> tuple[int, _Range | None]:
    """The rounding behind a layer, and how many activations lie between."""
    clamps, end = 0, node
    while True:
        after: Sequence[fx.Node] = list(end.users)
        rounding = next((one for one in after if _is(one, "quantize")), None)
        if rounding is not None:
            return clamps, _Range.of(rounding)
        if len(after) != 1 or after[0].target not in _FUSED:
            return 0, None
        clamps, end = clamps + 1, after[0]
