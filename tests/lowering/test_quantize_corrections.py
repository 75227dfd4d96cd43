"""Weights rounded by what they do to their layer's output, against the properties that make that
worth it.
"""

import re

import numpy as np
import pytest
import torch
from fixtures.quantize import smooth_photographs
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from mobilekd.backends import get
from mobilekd.graphs import torch_graph, torch_nodes
from mobilekd.lowering import quantize
from mobilekd.lowering.quantize.rounding import LARGEST, gptq, gptq_weights
from mobilekd.lowering.quantize.simulate import answers, rounded_weight


class Bottlenecks(nn.Module):
    """A stem, a linear bottleneck with a residual, two plain convolutions and a classifier; one
    channel is 50 times too loud.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, padding=1)
        self.expand, self.depthwise, self.project = (
            nn.Conv2d(8, 24, 1),
            nn.Conv2d(24, 24, 3, padding=1, groups=24),
            nn.Conv2d(24, 8, 1),
        )
        self.wide, self.narrow = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 8, 1)
        self.classifier = nn.Linear(8, 5)
        self.register_buffer("mean", torch.full((1, 3, 1, 1), 127.5))
        self.register_buffer("scale", torch.full((1, 3, 1, 1), 1 / 127.5))
        with torch.no_grad():
            for writer, reader in ((self.stem, self.expand), (self.wide, self.narrow)):
                writer.weight[2] *= 50
                writer.bias[2] *= 50
                reader.weight[:, 2] /= 50

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem((x - self.mean) * self.scale)
        y = nn.functional.relu6(self.expand(x))
        x = x + self.project(nn.functional.relu6(self.depthwise(y)))
        x = self.narrow(nn.functional.relu(self.wide(x)))
        return (4 * self.classifier(x.mean((2, 3)))).softmax(1)


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(1)
    return torch_graph.capture(Bottlenecks().eval(), torch.zeros(1, 3, 24, 24))


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    return smooth_photographs(4, 24)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 5), st.integers(2, 12))
@example(2665, 1, 1, 11)  # column by column alone errs a quarter more than rounding to nearest here
def test_gptq_stays_on_the_grid_and_beats_rounding_to_nearest(seed, groups, rows, inputs):
    random = np.random.default_rng(seed)
    weight = torch.from_numpy(random.normal(size=(groups, rows, inputs))).float()
    samples = torch.from_numpy(
        random.normal(size=(groups, inputs, 400)) + 3 * random.normal(size=(groups, 1, 400))
    ).float()
    covariance = torch.stack([torch.cov(one) for one in samples])
    step = weight.abs().amax(2, keepdim=True) / LARGEST
    found, nearest = gptq(weight, covariance), (weight / step).round() * step

    def lost(rounded: torch.Tensor) -> torch.Tensor:
        error = (rounded - weight).double()
        return torch.einsum("gri,gij,grj->gr", error, covariance.double(), error)

    levels = found / step
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    assert torch.allclose(found.abs().amax(2), weight.abs().amax(2)), "the grid itself moved"
    # float64 sums of D^2 products, in two orders
    assert (lost(found) <= lost(nearest) * (1 + 1e-9) + 1e-15).all()
    # e^T C e <= n^T C n with |n_i| <= step / 2, so |e|^2 <= (largest / least eigenvalue) D step^2/4
    spectrum = torch.linalg.eigvalsh(covariance.double())  # ascending
    spread = (spectrum[:, -1] / spectrum[:, 0])[:, None]
    assert ((found - weight).norm(dim=2) <= (spread * inputs).sqrt() * 0.51 * step[..., 0]).all()


def test_gptq_of_independent_inputs_is_rounding_to_nearest():
    weight = torch.randn(1, 4, 6)
    step = weight.abs().amax(2, keepdim=True) / LARGEST
    assert torch.allclose(
        gptq(weight, torch.eye(6)[None]), (weight / step).round() * step, atol=1e-6
    )


def test_dead_inputs_do_no_harm():
    weight, covariance = torch.randn(1, 3, 4), torch.zeros(1, 4, 4)
    covariance[0, 0, 0] = 1.0
    assert torch.isfinite(gptq(weight, covariance)).all()
    assert torch.isfinite(gptq(weight, torch.zeros(1, 4, 4))).all()


def test_inputs_that_hardly_vary_beside_their_mean_are_rounded_too(photographs):
    """An untrained network's features: a large constant and next to nothing on it."""

    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 24, 1), nn.Conv2d(24, 8, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x) * 1e-6 + 50).mean((2, 3))

    graph = torch_graph.capture(Constant().eval(), torch.zeros(1, 3, 24, 24))
    prepared = quantize.prepare(graph, get("xnnpack").quantizer("int8", frozenset()))
    quantize.calibrate(prepared, photographs)
    rounded, _ = gptq_weights(graph, prepared, photographs)
    assert all(torch.isfinite(value).all() for value in rounded.parameters())


def test_conversion_keeps_the_weights_that_were_rounded_by_effect(graph, photographs):
    prepared = quantize.prepare(graph, get("xnnpack").quantizer("int8", frozenset()))
    quantize.calibrate(prepared, photographs)
    chosen, layers = gptq_weights(graph, prepared, photographs[:36])
    assert layers == 7
    wanted = {
        torch_nodes.layer_name(node): torch_nodes.tensor_of(chosen, rounded_weight(node))
        for node in torch_nodes.heavy_nodes(chosen)
    }
    converted = quantize.convert(chosen)
    for node in torch_nodes.heavy_nodes(converted):
        steps = torch_nodes.tensor_of(converted, node.args[1].args[1])
        kept = torch_nodes.weights_of(converted, node) * steps.view(
            -1, *(1,) * (wanted[torch_nodes.layer_name(node)].dim() - 1)
        )
        assert torch.allclose(kept, wanted[torch_nodes.layer_name(node)], atol=1e-6), (
            torch_nodes.layer_name(node)
        )


def test_every_correction_is_tried_alone_and_with_the_other(graph, photographs):
    prepared = quantize.prepare(graph, get("xnnpack").quantizer("int8", frozenset()))
    quantize.calibrate(prepared, photographs)
    chosen, note = quantize.correct(graph, prepared, photographs)
    tried = [float(number) for number in re.findall(r" ([0-9.e+-]+)[;)]", note)]
    assert len(tried) == 4
    held = photographs[36:]
    with quantize.Simulation(chosen) as simulation:
        kept = float(np.mean((simulation.answers(held) - answers(graph, held)) ** 2))
    assert kept == pytest.approx(min(tried), rel=0.01)


def test_pixels_reach_the_first_layer_unrounded_where_the_mean_is_a_whole_level():
    """Calibrated on dull photographs, so that observers alone would have found narrower ranges and
    other steps.
    """
    model = Bottlenecks().eval()
    model.mean.fill_(128.0)
    graph = torch_graph.capture(model, torch.zeros(1, 3, 24, 24))
    prepared = quantize.prepare(graph, get("xnnpack").quantizer("int8", frozenset()))
    quantize.calibrate(
        prepared, np.random.default_rng(0).integers(90, 140, (8, 3, 24, 24), np.uint8)
    )
    levels = torch.arange(256.0).repeat(7)[: 3 * 24 * 24].view(1, 3, 24, 24)
    seen: list[torch.Tensor] = []

    class Listener(torch.fx.Interpreter):
        def run_node(self, node: torch.fx.Node) -> object:
            if node.op == "call_function" and node.target in torch_nodes.HEAVY and not seen:
                seen.append(self.fetch_args_kwargs_from_env(node)[0][0])
            return super().run_node(node)

    Listener(quantize.convert(prepared)).run(levels)
    torch.testing.assert_close(seen[0] * 127.5 + 128, levels, atol=1e-3, rtol=0)
