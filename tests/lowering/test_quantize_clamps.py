"""What Hexagon's quantizer asks for and XNNPACK's does not: a range of its own for a layer and for
the clamp behind it, and biases whose step follows from those of input and weights.
"""

import numpy as np
import pytest
import torch
from torch import fx, nn
from torchao.quantization.pt2e import HistogramObserver, MinMaxObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import (
    DerivedQuantizationSpec,
    QuantizationAnnotation,
    QuantizationSpec,
    Quantizer,
)

from mobilekd.graphs import torch_graph, torch_nodes
from mobilekd.lowering import quantize

aten = torch.ops.aten
PHOTOGRAPHS = np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8), np.uint8)


class EachOutput(Quantizer):
    """Rounds what every convolution and every clamp gives to 8 bits."""

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        spec = QuantizationSpec(
            dtype=torch.uint8,
            observer_or_fake_quant_ctr=MinMaxObserver,
            quant_min=0,
            quant_max=255,
            qscheme=torch.per_tensor_affine,
        )
        for node in model.graph.nodes:
            if node.target in (aten.conv2d.default, aten.hardtanh.default, aten.relu.default):
                node.meta["quantization_annotation"] = QuantizationAnnotation(
                    output_qspec=spec, _annotated=True
                )
        return model

    def validate(self, model: fx.GraphModule) -> None:
        """Nothing to look at."""


class Clamped(nn.Module):
    """Values far beyond what the clamp lets through."""

    def __init__(self, clamp: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.clamp = nn.Conv2d(3, 4, 3), clamp

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.clamp(self.conv(x / 4))


def rounded(network: nn.Module) -> tuple[fx.GraphModule, np.ndarray, np.ndarray]:
    """The converted graph, its answers, and those in floating point."""
    graph = torch_graph.capture(network.eval(), torch.zeros(1, 3, 8, 8))
    prepared = quantize.prepare(graph, EachOutput())
    quantize.calibrate(prepared, PHOTOGRAPHS)
    converted = quantize.convert(prepared)
    x = torch.from_numpy(PHOTOGRAPHS).float()
    with torch.no_grad():
        return converted, converted(x).numpy(), graph(x).numpy()


@pytest.mark.parametrize("clamp", [nn.ReLU6(), nn.ReLU(), nn.Hardtanh(-2, 3)])
def test_a_value_is_rounded_once_and_at_the_clamps_steps(clamp):
    converted, given, wanted = rounded(Clamped(clamp))
    steps = {scale for scale, _ in torch_nodes.ranges(converted).values()}
    assert len(steps) == 1
    assert np.abs(given - wanted).max() < 0.51 * steps.pop()


def test_a_layer_that_others_read_keeps_its_own_range():
    class Both(Clamped):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            features = self.conv(x / 4)
            return self.clamp(features) + features

    converted, _, _ = rounded(Both(nn.ReLU6()))
    assert len({scale for scale, _ in torch_nodes.ranges(converted).values()}) == 2


class WithBias(Quantizer):
    """Rounds a convolution's input, its weights by channel, and its bias in steps of both."""

    def annotate(self, model: fx.GraphModule) -> fx.GraphModule:
        [conv] = [node for node in model.graph.nodes if node.target is aten.conv2d.default]
        x, weight, bias = conv.args[:3]
        pixels = QuantizationSpec(
            dtype=torch.uint8,
            observer_or_fake_quant_ctr=HistogramObserver,
            quant_min=0,
            quant_max=255,
            qscheme=torch.per_tensor_affine,
        )
        channels = QuantizationSpec(
            dtype=torch.int8,
            observer_or_fake_quant_ctr=PerChannelMinMaxObserver,
            quant_min=-127,
            quant_max=127,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
        )
        derived = DerivedQuantizationSpec(
            derived_from=[(x, conv), (weight, conv)],
            derive_qparams_fn=product,
            dtype=torch.int32,
            quant_min=-(2**31),
            quant_max=2**31 - 1,
            qscheme=torch.per_channel_symmetric,
            ch_axis=0,
        )
        x.meta["quantization_annotation"] = QuantizationAnnotation(
            output_qspec=pixels, _annotated=True
        )
        conv.meta["quantization_annotation"] = QuantizationAnnotation(
            input_qspec_map={x: pixels, weight: channels, bias: derived}, _annotated=True
        )
        return model

    def validate(self, model: fx.GraphModule) -> None:
        """Nothing to look at."""


def product(observers: list[nn.Module]) -> tuple[torch.Tensor, torch.Tensor]:
    """Step and zero point of a bias, as ExecuTorch's quantizer for Hexagon derives them."""
    (step, _), (steps, zeros) = (observer.calculate_qparams() for observer in observers)
    return step * steps, zeros.to(torch.int32)


@pytest.mark.parametrize("observer", ["histogram", "minmax"])
def test_a_bias_has_the_step_of_the_input_that_is_rounded(observer):
    """Kernels add it in steps of input step times weight step, whatever the graph says: where both
    differ, the first layer of a file is wrong and no layer behind it.
    """
    graph = torch_graph.capture(Clamped(nn.Identity()).eval(), torch.zeros(1, 3, 8, 8))
    prepared = quantize.prepare(graph, WithBias(), observer)
    quantize.calibrate(prepared, PHOTOGRAPHS)
    converted = quantize.convert(prepared)
    [step] = {scale for scale, _ in torch_nodes.ranges(converted).values()}
    steps = {
        value.dtype: torch_nodes.tensor_of(converted, node.args[1])
        for node in converted.graph.nodes
        if "dequantize_per_channel" in str(node.target)
        for value in [torch_nodes.tensor_of(converted, node.args[0])]
    }
    assert torch.allclose(steps[torch.int32], step * steps[torch.int8])
