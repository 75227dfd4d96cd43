"""Weights that stay in floating point in a file: on its grid, and closer in what they do than
rounding one by one.
"""

import numpy as np
import pytest
import torch
from fixtures.quantize import smooth_photographs
from torch import nn

from mobilekd.backends import get, names
from mobilekd.graphs import torch_graph, torch_nodes
from mobilekd.lowering import quantize
from mobilekd.lowering.quantize.rounding import LARGEST
from mobilekd.lowering.quantize.simulate import answers


class EdgeDetector(nn.Module):
    """Large weights whose sum is next to nothing, on smooth photographs: what float16 cannot round
    one by one.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.edges, self.head = (
            nn.Conv2d(3, 8, 1),
            nn.Conv2d(8, 8, 3, padding=1, groups=8),
            nn.Linear(8, 4),
        )
        with torch.no_grad():
            self.edges.weight.copy_(torch.randn(8, 1, 3, 3))
            self.edges.weight.sub_(self.edges.weight.mean((2, 3), keepdim=True)).mul_(30)
            self.stem.bias.add_(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.edges(self.stem(x / 255))).mean((2, 3))).softmax(1)


@pytest.fixture(scope="module")
def graph():
    torch.manual_seed(0)
    return torch_graph.capture(EdgeDetector().eval(), torch.zeros(1, 3, 32, 32))


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    return smooth_photographs(3, 32)


def noise(
    graph: torch.fx.GraphModule, rounded: torch.fx.GraphModule, photographs: np.ndarray
) -> float:
    return float(np.mean((answers(rounded, photographs) - answers(graph, photographs)) ** 2))


@pytest.mark.parametrize("stored", ["float16", "int8"])
def test_rounding_together_beats_rounding_one_by_one(graph, photographs, stored):
    plain, _ = quantize.store_weights(graph, stored, None)
    together, note = quantize.store_weights(graph, stored, photographs)
    assert "by their outputs' error (squared error" in note
    unseen = np.ascontiguousarray(photographs[::-1, :, ::-1])
    assert noise(graph, together, unseen) < 0.25 * noise(graph, plain, unseen)


def test_float16_weights_and_biases_survive_float16(graph, photographs):
    rounded, _ = quantize.store_weights(graph, "float16", photographs)
    for node in torch_nodes.heavy_nodes(rounded):
        for value in (
            torch_nodes.weights_of(rounded, node),
            torch_nodes.tensor_of(rounded, node.args[2]),
        ):
            assert torch.equal(value, value.half().float())


def test_int8_weights_lie_on_a_grid_that_their_largest_one_tells(graph, photographs):
    rounded, _ = quantize.store_weights(graph, "int8", photographs)
    for node in torch_nodes.heavy_nodes(rounded):
        rows = torch_nodes.weights_of(rounded, node).flatten(1)
        step = rows.abs().amax(1, keepdim=True) / LARGEST
        assert torch.allclose(rows / step, (rows / step).round(), atol=1e-3)
        assert torch.allclose(step, step.half().float(), rtol=1e-6), "a step is what float16 holds"


def test_a_palette_holds_64_values_and_is_chosen_from_by_effect(photographs):
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = (
                nn.Conv2d(3, 48, 3),
                nn.Conv2d(48, 48, 1),
                nn.Linear(48, 5),
            )

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.second(torch.relu(self.first(x / 255)))).mean((2, 3)))

    torch.manual_seed(0)
    graph = torch_graph.capture(Wide().eval(), torch.zeros(1, 3, 32, 32))
    plain, _ = quantize.store_weights(graph, "palette", None)
    together, _ = quantize.store_weights(graph, "palette", photographs)
    for rounded in (plain, together):
        first, second, head = (
            torch_nodes.weights_of(rounded, node) for node in torch_nodes.heavy_nodes(rounded)
        )
        assert len(second.unique()) == 64
        assert len(first.unique()) > 64, "too few weights for a palette stay float16"
        assert all(torch.equal(value, value.half().float()) for value in (first, second, head))
    unseen = np.ascontiguousarray(photographs[::-1, :, ::-1])
    assert noise(graph, together, unseen) < 0.25 * noise(graph, plain, unseen)


def test_a_row_too_small_for_a_step_and_a_layer_without_bias_are_rounded_all_the_same(photographs):
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 3, 1)
            with torch.no_grad():
                self.first.weight[0] *= 1e-9
                self.second.weight[1] = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x)).mean((2, 3))

    torch.manual_seed(0)
    graph = torch_graph.capture(Odd().eval(), torch.zeros(1, 3, 32, 32))
    for stored in ("float16", "int8", "palette"):
        rounded, _ = quantize.store_weights(graph, stored, photographs)
        assert all(torch.isfinite(value).all() for value in rounded.parameters())
        wanted = answers(graph, photographs)
        assert np.abs(answers(rounded, photographs) - wanted).max() < 0.005 * np.abs(wanted).max()


def test_which_files_hold_rounded_weights_for_arithmetic_in_floating_point():
    formats = {
        (name, precision): get(name).weights_in(precision)
        for name in names()
        for precision in get(name).precisions
    }
    assert {key: value for key, value in formats.items() if value} == {
        ("coreai", "fp16"): "float16",
        ("coreml", "fp16"): "float16",
        ("coreml", "int8"): "int8",
        ("coreml", "palette"): "palette",
        ("coreml-pte", "fp16"): "float16",
        ("coreml-pte", "int8"): "int8",
        ("qnn", "fp16"): "float16",
    }
