"""Post-training quantisation: prepare the graph, let observers see photographs, correct biases where it helps, convert.

Weights get one scale per output channel, so evening channels out beforehand (cross-layer equalisation, 1906.04721) has
little left to do; and ReLU6 would not commute with it. Two corrections are tried in turn, each kept where it measures better:
sums of depthwise kernels, then biases (same paper).
"""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx
from torchao.quantization.pt2e import MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.observer import HistogramObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

from mobilekd import graphs
from mobilekd.quantize.simulate import Simulation, answers, batches

#: int8 weights are symmetric: -127 to 127 steps.
LARGEST = 127


def prepare(graph: fx.GraphModule, quantizer: Any, observer: str = "histogram") -> fx.GraphModule:
    """A copy of a captured graph with observers where ``quantizer`` asks for them.

    ``observer``: ``histogram`` searches the range with the least squared error, ``minmax`` keeps every value seen.
    """
    prepared = prepare_pt2e(copy.deepcopy(graph), quantizer)
    if observer == "minmax":
        for name, module in list(prepared.named_children()):
            if isinstance(module, HistogramObserver):
                setattr(prepared, name, _minmax(module))
    return prepared


def _minmax(module: HistogramObserver) -> MinMaxObserver:
    observer: MinMaxObserver = MinMaxObserver(
        dtype=module.dtype, qscheme=module.qscheme, quant_min=module.quant_min, quant_max=module.quant_max, eps=float(module.eps)
    )
    return observer


def calibrate(prepared: fx.GraphModule, photographs: np.ndarray) -> None:
    """Let the observers see uint8 ``[N, 3, H, W]``."""
    with torch.no_grad():
        for batch in batches(photographs):
            prepared(batch)


def convert(prepared: fx.GraphModule) -> fx.GraphModule:
    """Observers become quantise and dequantise nodes, weights int8. ``prepared`` is used up; weights are observed afresh."""
    for node in prepared.graph.nodes:
        if node.op == "call_module":
            module = getattr(prepared, node.target, None)
            if isinstance(module, PerChannelMinMaxObserver) and node.args[0].op == "get_attr":
                module.reset_min_max_vals()
                module(graphs.tensor_of(prepared, node.args[0]))
    converted: fx.GraphModule = convert_pt2e(prepared)
    return converted


def keep_sums(graph: fx.GraphModule, prepared: fx.GraphModule, photographs: np.ndarray) -> tuple[fx.GraphModule, str]:
    """Round each depthwise kernel so that its taps add up to what they did, if that brings held-out answers closer.

    A photograph is smooth, so a kernel sees nearly the same value at all its taps and answers with their sum. Rounding to
    nearest lets the errors of nine taps add up; here the taps nearest to the other side go there instead. Arguments as in
    :func:`correct_biases`.
    """
    held = _split(photographs)[1]
    rounded = copy.deepcopy(prepared)
    kernels = 0
    for node in rounded.graph.nodes:
        weight = _weight(node)
        if weight is None:
            continue
        value = graphs.tensor_of(rounded, weight)
        if value.dim() == 4 and value.shape[1] == 1 and value[0].numel() > 1:
            graphs.set_tensor(rounded, str(weight.target), round_keeping_sums(value))
            kernels += 1
    return _better(f"sums of {kernels} depthwise layers", graph, prepared, rounded, held)


def round_keeping_sums(weight: Tensor) -> Tensor:
    """``[C, 1, k, k]`` -> the same, each tap a multiple of its channel's int8 step, each channel's sum within half a step."""
    flat = weight.flatten(1)
    step = flat.abs().amax(1, keepdim=True).clamp_min(1e-9) / LARGEST
    levels = torch.round(flat / step)
    left = flat / step - levels
    for channel, missing in enumerate(torch.round(left.sum(1)).int().tolist()):
        direction = 1 if missing > 0 else -1
        nearest = torch.argsort(left[channel], descending=missing > 0).tolist()
        movable = [tap for tap in nearest if abs(float(levels[channel, tap])) < LARGEST]  # the largest tap holds the step
        levels[channel, movable[: abs(missing)]] += direction
    return (levels * step).view_as(weight)


def correct_biases(graph: fx.GraphModule, prepared: fx.GraphModule, photographs: np.ndarray) -> tuple[fx.GraphModule, str]:
    """Give back each channel's mean that rounding moved, layer after layer, if that brings held-out answers closer.

    ``graph`` is the captured original, ``prepared`` its calibrated copy. One pass corrects all layers in order, each one
    seeing its predecessors corrected. Three quarters of the photographs correct, one quarter decides.
    """
    seen, held = _split(photographs)
    wanted = {name: _channel_means(value) for name, value in _outputs(graph, seen).items()}
    corrected = copy.deepcopy(prepared)
    with Simulation(corrected) as simulation, torch.no_grad():
        _Corrector(simulation.graph, wanted).run(torch.from_numpy(seen).float())
    return _better("biases of every layer", graph, prepared, corrected, held)


def _better(
    what: str, graph: fx.GraphModule, prepared: fx.GraphModule, corrected: fx.GraphModule, held: np.ndarray
) -> tuple[fx.GraphModule, str]:
    """The candidate whose answers lie closer to the original's, and a word about both."""
    noise = [_noise(graph, candidate, held) for candidate in (prepared, corrected)]
    better = noise[1] < noise[0]
    return (corrected if better else prepared), (
        f"{what}: {'corrected' if better else 'left alone'} (squared error of probabilities on {len(held)} held-out training "
        f"photographs {noise[0]:.3g} without correction, {noise[1]:.3g} with)"
    )


def _split(photographs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Three quarters to correct by, one quarter to decide by; all of them twice where there are too few."""
    cut = max(1, len(photographs) * 3 // 4)
    return photographs[:cut], photographs[cut:] if cut < len(photographs) else photographs


def _weight(node: fx.Node) -> fx.Node | None:
    """The ``get_attr`` node behind a layer's weight observer."""
    if node.op != "call_function" or node.target not in graphs.HEAVY:
        return None
    weight = node.args[1]
    while isinstance(weight, fx.Node) and weight.op == "call_module":
        weight = weight.args[0]
    return weight if isinstance(weight, fx.Node) and weight.op == "get_attr" else None


def _outputs(graph: fx.GraphModule, photographs: np.ndarray) -> dict[str, np.ndarray]:
    return graphs.layer_outputs(graph, photographs.astype(np.float32))


def _channel_means(value: np.ndarray) -> Tensor:
    return torch.from_numpy(value.mean(tuple(axis for axis in range(value.ndim) if axis != 1)))


def _noise(graph: fx.GraphModule, prepared: fx.GraphModule, photographs: np.ndarray) -> float:
    with Simulation(prepared) as simulation:
        return float(np.mean((simulation.answers(photographs) - answers(graph, photographs)) ** 2))


class _Corrector(fx.Interpreter):
    """Runs the simulated graph and moves each layer's bias by what its mean output lacks."""

    def __init__(self, graph: fx.GraphModule, wanted: dict[str, Tensor]) -> None:
        super().__init__(graph)
        self.wanted = wanted

    def run_node(self, node: fx.Node) -> Any:
        value = super().run_node(node)
        bias = node.args[2] if node.op == "call_function" and node.target in graphs.HEAVY and len(node.args) > 2 else None
        if not isinstance(bias, fx.Node):
            return value
        lacking = self.wanted[graphs.layer_name(node)] - _channel_means(value.numpy())
        graphs.set_tensor(self.module, str(bias.target), graphs.tensor_of(self.module, bias) + lacking)
        return value + (lacking[:, None, None] if value.dim() == 4 else lacking)
