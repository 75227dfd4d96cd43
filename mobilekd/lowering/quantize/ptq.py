"""Post-training quantisation: prepare the graph, let observers see photographs, correct what
rounding moved, convert.

Two corrections are tried, alone and together, and what measures best on photographs that they have
not seen is kept: weights rounded by what they do to their layer's output
(:mod:`mobilekd.lowering.quantize.rounding`), and biases (1906.04721).
"""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torchao.quantization.pt2e import (
    DerivedObserverOrFakeQuantize,
    MinMaxObserver,
    PerChannelMinMaxObserver,
)
from torchao.quantization.pt2e.observer import HistogramObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from mobilekd.graphs import torch_graph, torch_nodes
from mobilekd.lowering.quantize.rounding import gptq_weights
from mobilekd.lowering.quantize.simulate import Simulation, answers, batches

#: Photographs that show what a layer's inputs are like; each gives thousands of positions.
SEEN = 64


def prepare(graph: fx.GraphModule, quantizer: Any, observer: str = "histogram") -> fx.GraphModule:
    """A copy of a captured graph with observers where ``quantizer`` asks for them.

    ``observer``: ``histogram`` searches the range with the least squared error, ``minmax`` keeps
    every value seen.
    """
    prepared = prepare_pt2e(copy.deepcopy(graph), quantizer)
    if observer == "minmax":
        # one observer may stand at both ends of an operator that must not rescale (pooling,
        # flatten)
        for module in list(prepared.modules()):
            if isinstance(module, HistogramObserver):
                _replace(prepared, module, _minmax(module))
    return prepared


def _replace(prepared: fx.GraphModule, old: nn.Module, new: nn.Module) -> None:
    """Another observer wherever ``old`` stands, also where a bias' step is derived from its."""
    for name, module in list(prepared.named_modules(remove_duplicate=False)):
        if module is old:
            setattr(prepared, name, new)
        elif isinstance(module, DerivedObserverOrFakeQuantize):
            module.obs_or_fqs = [new if one is old else one for one in module.obs_or_fqs]


def _minmax(module: HistogramObserver, eps: float | None = None) -> MinMaxObserver:
    """``eps`` is the smallest step; None for the one of ``module``."""
    step = float(module.eps) if eps is None else eps
    observer: MinMaxObserver = MinMaxObserver(
        dtype=module.dtype,
        qscheme=module.qscheme,
        quant_min=module.quant_min,
        quant_max=module.quant_max,
        eps=step,
    )
    return observer


def calibrate(prepared: fx.GraphModule, photographs: np.ndarray) -> None:
    """Let the observers see uint8 ``[N, 3, H, W]``; what lies before the first layer is known
    without looking.
    """
    with torch.no_grad():
        _span_pixels(prepared)
        for batch in batches(photographs):
            prepared(batch)
    _saturate_at_clamps(prepared)


def _saturate_at_clamps(prepared: fx.GraphModule) -> None:
    """Where a layer and the clamp behind it are rounded each, the layer takes the clamp's range.

    Rounding saturates there, so nothing is lost, and the steps are as fine as the clamp's. A chip
    that computes both at once rounds once, at the clamp's steps, whatever range lies between: so
    the values of Hexagon's simulator lie.
    """
    for clamp in prepared.graph.nodes:
        if clamp.target not in (torch.ops.aten.hardtanh.default, torch.ops.aten.relu.default):
            continue
        before, after = clamp.args[0], next(iter(clamp.users), None)
        ranges = [_activation_observer(prepared, node) for node in (before, after)]
        if None in ranges or len(before.users) != 1 or len(clamp.users) != 1:
            continue
        low, high = torch_nodes.argument(clamp, 1, -1.0), torch_nodes.argument(clamp, 2, 1.0)
        if clamp.target is torch.ops.aten.relu.default:
            low, high = 0.0, float("inf")
        scale, zero_point = (float(value) for value in ranges[1].calculate_qparams())
        lowest, highest = (
            (edge - zero_point) * scale for edge in (ranges[1].quant_min, ranges[1].quant_max)
        )
        if low - scale <= lowest and highest <= high + scale:
            setattr(prepared, before.target, ranges[1])


def _activation_observer(prepared: fx.GraphModule, node: Any) -> Any:
    """The observer that a node calls; None for another node, and for a weight's or a bias'."""
    if not isinstance(node, fx.Node) or node.op != "call_module":
        return None
    module = getattr(prepared, str(node.target), None)
    return module if isinstance(module, (HistogramObserver, MinMaxObserver)) else None


def _span_pixels(prepared: fx.GraphModule) -> None:
    """Steps before the first layer become pixel levels, where the recipe's mean lets them.

    A photograph has 256 levels and int8 has 256 steps. Where the mean is a whole level the two fall
    together, so pixels pass unrounded; observers would find a step near a level, which rounds every
    pixel. Any other mean is left to them: with 127.5 each pixel would lie half way between two
    steps, where XNNPACK and torch need not round alike.
    """
    known: dict[fx.Node, Tensor] = {}
    for node in prepared.graph.nodes:
        if node.op == "placeholder":
            known[node] = torch.arange(256.0).view(256, 1, 1, 1)
        elif node.op == "get_attr":
            known[node] = torch_nodes.tensor_of(prepared, node)
        elif node.op == "call_module" and node.args[0] in known:
            known[node] = known[node.args[0]]
            observer = getattr(prepared, node.target)
            if isinstance(observer, HistogramObserver):
                # XNNPACK's quantizer asks for steps of at least 2^-12, which holds the factor 1 /
                # 127.5 to half a percent only
                exact = _minmax(observer, torch.finfo(torch.float32).eps)
                exact(known[node])
                if not _on_steps(known[node], exact):
                    return
                _replace(prepared, observer, exact)
        elif (
            node.op == "call_function"
            and node.target not in torch_nodes.HEAVY
            and known.keys() >= set(node.all_input_nodes)
        ):
            known[node] = node.target(*fx.map_arg(node.args, known.__getitem__), **node.kwargs)


def _on_steps(values: Tensor, observer: MinMaxObserver) -> bool:
    steps = values / observer.calculate_qparams()[0]
    return bool((steps - steps.round()).abs().max() < 0.01)


def convert(prepared: fx.GraphModule) -> fx.GraphModule:
    """Observers become quantise and dequantise nodes, weights int8. ``prepared`` is used up;
    weights are observed afresh.
    """
    for node in prepared.graph.nodes:
        if node.op == "call_module":
            module = getattr(prepared, node.target, None)
            if isinstance(module, PerChannelMinMaxObserver) and node.args[0].op == "get_attr":
                module.reset_min_max_vals()
                if hasattr(module, "calibrated"):  # ExecuTorch's for Hexagon looks once
                    module.calibrated = False
                module(torch_nodes.tensor_of(prepared, node.args[0]))
    converted: fx.GraphModule = convert_pt2e(prepared)
    torch_graph.drop_saturated_clamps(converted)
    _round_biases(converted)
    return converted


def _round_biases(converted: fx.GraphModule) -> None:
    """Biases on the grid on which int8 kernels add them, int32 in steps of input step times weight
    step.

    Then the graph in torch computes what the file does; off the grid, one value in a thousand is
    rounded to another level in every layer, and after twenty layers half of them are.
    """
    for node in torch_nodes.heavy_nodes(converted):
        x, weight, bias = node.args[0], node.args[1], torch_nodes.argument(node, 2, None)
        if not (
            isinstance(x, fx.Node) and isinstance(weight, fx.Node) and isinstance(bias, fx.Node)
        ):
            continue
        if (
            "dequantize_per_tensor" in str(x.target)
            and "dequantize_per_channel" in str(weight.target)
            and bias.op == "get_attr"
        ):
            input_step, weight_steps = x.args[1], weight.args[1]
            assert isinstance(input_step, float)
            assert isinstance(weight_steps, fx.Node)
            step = input_step * torch_nodes.tensor_of(converted, weight_steps)
            torch_nodes.set_tensor(
                converted,
                str(bias.target),
                (torch_nodes.tensor_of(converted, bias) / step).round() * step,
            )


def correct(
    graph: fx.GraphModule, prepared: fx.GraphModule, photographs: np.ndarray
) -> tuple[fx.GraphModule, str]:
    """What rounding moved, given back as far as held-out photographs agree: the best of nothing,
    weights, biases, and both.

    ``graph`` is the captured original, ``prepared`` its calibrated copy, ``photographs`` uint8
    ``[N, 3, H, W]``: three quarters of them may correct, one quarter decides. Weights rounded by
    their outputs' error leave the mean error to the biases, so they may look worse alone than both
    together.
    """
    seen, held = split(photographs)
    seen = seen[:SEEN]
    by_effect, layers = gptq_weights(graph, prepared, seen)
    weights = f"weights of {layers} layers, rounded by their outputs' error"
    biases = "biases of every layer"
    candidates = {
        "nothing": prepared,
        weights: by_effect,
        biases: correct_biases(graph, prepared, seen),
        f"{weights}, then {biases}": correct_biases(graph, by_effect, seen),
    }
    return best(graph, candidates, held)


def correct_biases(
    graph: fx.GraphModule, prepared: fx.GraphModule, photographs: np.ndarray
) -> fx.GraphModule:
    """A copy of ``prepared`` where each layer has its channels' means back that rounding moved.

    One pass corrects all layers in order, each one seeing its predecessors corrected.
    """
    wanted = {name: _channel_means(value) for name, value in _outputs(graph, photographs).items()}
    corrected = copy.deepcopy(prepared)
    with Simulation(corrected) as simulation, torch.no_grad():
        _Corrector(simulation.graph, wanted).run(torch.from_numpy(photographs).float())
    return corrected


def best(
    graph: fx.GraphModule, candidates: dict[str, fx.GraphModule], held: np.ndarray
) -> tuple[fx.GraphModule, str]:
    """The candidate whose answers to ``held`` lie closest to the original's, and a word about all
    of them.
    """
    wanted = answers(graph, held)
    noise = {name: _noise(wanted, candidate, held) for name, candidate in candidates.items()}
    chosen = min(noise, key=noise.__getitem__)
    tried = "; ".join(f"{name} {value:.3g}" for name, value in noise.items())
    return (
        candidates[chosen],
        (
            f"corrected after rounding: {chosen} (squared error of probabilities on {len(held)}"
            f" held-out training photographs: {tried})"
        ),
    )


def split(photographs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Three quarters to correct by, one quarter to decide by; all of them twice where there are too
    few.
    """
    cut = max(1, len(photographs) * 3 // 4)
    return photographs[:cut], photographs[cut:] if cut < len(photographs) else photographs


def _outputs(graph: fx.GraphModule, photographs: np.ndarray) -> dict[str, np.ndarray]:
    return torch_nodes.layer_outputs(graph, photographs.astype(np.float32))


def _channel_means(value: np.ndarray) -> Tensor:
    return torch.from_numpy(value.mean(tuple(axis for axis in range(value.ndim) if axis != 1)))


def _noise(wanted: np.ndarray, prepared: fx.GraphModule, photographs: np.ndarray) -> float:
    with Simulation(prepared) as simulation:
        return float(np.mean((simulation.answers(photographs) - wanted) ** 2))


class _Corrector(fx.Interpreter):
    """Runs the simulated graph and moves each layer's bias by what its mean output lacks."""

    def __init__(self, graph: fx.GraphModule, wanted: dict[str, Tensor]) -> None:
        super().__init__(graph)
        self.wanted = wanted

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        bias = (
            node.args[2]
            if node.op == "call_function"
            and node.target in torch_nodes.HEAVY
            and len(node.args) > 2
            else None
        )
        if not isinstance(bias, fx.Node):
            return value
        bias = torch_nodes.unobserved(bias)
        lacking = self.wanted[torch_nodes.layer_name(node)] - _channel_means(value.numpy())
        torch_nodes.set_tensor(
            self.module, str(bias.target), torch_nodes.tensor_of(self.module, bias) + lacking
        )
        return value + (lacking[:, None, None] if value.dim() == 4 else lacking)
