"""What is done about rounding: channels evened out, pixels kept whole, weights rounded by their effect. Each against a property."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mobilekd import graphs, quantize
from mobilekd.backends import get
from mobilekd.quantize.equalize import chains
from mobilekd.quantize.rounding import LARGEST, gptq
from mobilekd.quantize.simulate import answers


class Bottlenecks(nn.Module):
    """Two linear bottlenecks with a residual, a ReLU6 inside, one ReLU between convolutions; one channel is 50 times too loud."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, padding=1)
        self.expand, self.depthwise, self.project = nn.Conv2d(8, 24, 1), nn.Conv2d(24, 24, 3, padding=1, groups=24), nn.Conv2d(24, 8, 1)
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
    return graphs.capture(Bottlenecks().eval(), torch.zeros(1, 3, 24, 24))


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    """Smooth ones, as photographs are."""
    small = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (48, 3, 4, 4), np.uint8)).float()
    return nn.functional.interpolate(small, size=24, mode="bicubic").clamp(0, 255).round().byte().numpy()


def noise(graph, original, photographs) -> float:
    prepared = quantize.prepare(graph, get("xnnpack").quantizer("int8", frozenset()))
    quantize.calibrate(prepared, photographs)
    return float(np.mean((answers(quantize.convert(prepared), photographs) - answers(original, photographs)) ** 2))


def test_chains_stop_at_relu6_and_pass_relu_and_additions(graph):
    found = [
        ({graphs.layer_name(node) for node in chain.writers}, {graphs.layer_name(node) for node in chain.readers})
        for chain in chains(graph)
    ]
    assert ({"stem", "project"}, {"expand", "wide"}) in found
    assert ({"wide"}, {"narrow"}) in found
    assert all("depthwise" not in writers and "expand" not in writers for writers, _ in found)


def test_evening_out_changes_no_answer_and_helps_int8(graph, photographs):
    even, count = quantize.equalize(graph, photographs)
    assert count == 2
    np.testing.assert_allclose(answers(even, photographs), answers(graph, photographs), atol=1e-5)
    assert noise(even, graph, photographs) < noise(graph, graph, photographs)


def test_whole_means_change_nothing_inside_and_little_at_the_border(graph, photographs):
    whole = quantize.whole_means(graph)
    x = torch.from_numpy(photographs[:4]).float()
    stems = [graphs.layer_outputs(one, x.numpy())["stem"] for one in (graph, whole)]
    np.testing.assert_allclose(
        stems[0][:, :, 1:, 1:], stems[1][:, :, 1:, 1:], atol=1e-4
    )  # padding 1, stride 2: the first row and column see it
    assert np.abs(stems[0] - stems[1]).max() < 0.2  # half a level is 0.004, and one channel is 50 times as loud
    np.testing.assert_allclose(answers(whole, photographs), answers(graph, photographs), atol=0.01)


def test_pixels_survive_quantisation_whole(graph, photographs):
    """Every one of the 256 levels comes out of the quantised normalisation as it went in."""
    prepared = quantize.prepare(quantize.whole_means(graph), get("xnnpack").quantizer("int8", frozenset()))
    quantize.calibrate(prepared, photographs // 2 + 40)  # photographs that show neither black nor white
    converted = quantize.convert(prepared)
    seen: dict[str, torch.Tensor] = {}

    class Listener(torch.fx.Interpreter):
        def run_node(self, node):
            value = super().run_node(node)
            if node.op == "call_function" and node.target in graphs.HEAVY and "input" not in seen:
                seen["input"] = self.fetch_args_kwargs_from_env(node)[0][0]
            return value

    levels = torch.arange(256).float().view(1, 1, 16, 16).expand(2, 3, 16, 16)
    levels = nn.functional.pad(levels, (0, 8, 0, 8))
    with torch.no_grad():
        Listener(converted).run(levels)
    torch.testing.assert_close(seen["input"], (levels - 128) / 127.5, atol=1e-5, rtol=0)


def test_a_graph_that_begins_otherwise_is_left_alone():
    class Other(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.classifier = nn.Linear(3, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.classifier(x.mean((2, 3)) - 3.0)

    graph = graphs.capture(Other().eval(), torch.zeros(1, 3, 8, 8))
    assert quantize.whole_means(graph) is graph or torch.equal(
        quantize.whole_means(graph)(torch.ones(2, 3, 8, 8)), graph(torch.ones(2, 3, 8, 8))
    )


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(1, 5), st.integers(2, 12))
def test_gptq_stays_on_the_grid_and_beats_rounding_to_nearest(seed, groups, rows, inputs):
    random = np.random.default_rng(seed)
    weight = torch.from_numpy(random.normal(size=(groups, rows, inputs))).float()
    samples = torch.from_numpy(random.normal(size=(groups, inputs, 400)) + 3 * random.normal(size=(groups, 1, 400))).float()
    covariance = torch.stack([torch.cov(one) for one in samples])
    step = weight.abs().amax(2, keepdim=True) / LARGEST
    found, nearest = gptq(weight, covariance), (weight / step).round() * step

    def lost(rounded: torch.Tensor) -> float:
        error = rounded - weight
        return float(torch.einsum("gri,gij,grj->", error, covariance, error))

    levels = found / step
    assert torch.allclose(levels, levels.round(), atol=1e-3)
    assert torch.allclose(found.abs().amax(2), weight.abs().amax(2)), "the grid itself moved"
    assert lost(found) <= 1.2 * lost(nearest) + 1e-9
    assert (found - weight).abs().max() < 40 * step.max()


def test_gptq_of_independent_inputs_is_rounding_to_nearest():
    weight = torch.randn(1, 4, 6)
    step = weight.abs().amax(2, keepdim=True) / LARGEST
    assert torch.allclose(gptq(weight, torch.eye(6)[None]), (weight / step).round() * step, atol=1e-6)


def test_dead_inputs_do_no_harm():
    weight, covariance = torch.randn(1, 3, 4), torch.zeros(1, 4, 4)
    covariance[0, 0, 0] = 1.0
    assert torch.isfinite(gptq(weight, covariance)).all()
    assert torch.isfinite(gptq(weight, torch.zeros(1, 4, 4))).all()


def test_rounding_by_effect_is_kept_where_it_helps(graph, photographs):
    prepared = quantize.prepare(graph, get("xnnpack").quantizer("int8", frozenset()))
    quantize.calibrate(prepared, photographs)
    chosen, note = quantize.round_weights(graph, copy.deepcopy(prepared), photographs)
    assert "7 layers" in note
    with quantize.Simulation(chosen) as simulation:
        after = simulation.answers(photographs)
    assert np.abs(after - answers(quantize.convert(chosen), photographs)).max() < 1e-6, "simulation and converted graph differ"
