"""Quantisation on a small network that has all there is to handle: batch norms, ReLU6, hard-swish,
squeeze-and-excitation.
"""

import copy
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import nn

from mobilekd.backends import get
from mobilekd.graphs import torch_graph, torch_nodes
from mobilekd.graphs.float_operators import left_in_float
from mobilekd.lowering import quantize
from mobilekd.lowering.quantize.simulate import answers
from mobilekd.support.errors import UserError
from mobilekd.support.files import sha256_tree

LAYERS = ["stem", "depthwise", "reduce", "expand", "project", "classifier"]


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.depthwise, self.depthwise_norm = (
            nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False),
            nn.BatchNorm2d(8),
        )
        self.reduce, self.expand = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.project, self.project_norm = nn.Conv2d(8, 16, 1), nn.BatchNorm2d(16)
        self.classifier = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu6(self.stem_norm(self.stem(x / 127.5 - 1)))
        x = nn.functional.hardswish(self.depthwise_norm(self.depthwise(x)))
        squeezed = nn.functional.relu(self.reduce(x.mean((2, 3), keepdim=True)))
        x = x * nn.functional.hardsigmoid(self.expand(squeezed))
        x = nn.functional.relu6(self.project_norm(self.project(x)))
        return self.classifier(x.mean((2, 3))).softmax(1)


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(0)
    network = Small()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.3, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    nn.init.normal_(network.classifier.weight, 0, 2)
    return network.eval()


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 3, 16, 16), np.uint8)


@pytest.fixture(scope="module")
def graph(network):
    return torch_graph.capture(network, torch.zeros(1, 3, 16, 16))


@pytest.fixture(scope="module")
def observed(graph, photographs):
    """Calibrated; copy it before you change it."""
    prepared = quantize.prepare(graph, get("xnnpack").quantizer("int8", frozenset()))
    quantize.calibrate(prepared, photographs)
    return prepared


@pytest.fixture
def prepared(observed):
    return copy.deepcopy(observed)


@pytest.fixture(scope="module")
def converted(observed):
    return quantize.convert(copy.deepcopy(observed))


def test_no_pattern_of_a_batch_norm_is_made_for_a_graph_without_one(
    graph, photographs, converted, monkeypatch
):
    """Each would be exported anew for every graph, for seconds."""
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer_utils as shipped

    made = Mock(wraps=shipped._get_aten_graph_module_for_pattern)
    monkeypatch.setattr(shipped, "_get_aten_graph_module_for_pattern", made)
    prepared = quantize.prepare(graph, get("xnnpack").quantizer("int8", frozenset()))
    assert not made.called
    quantize.calibrate(prepared, photographs)
    again = quantize.convert(prepared)
    assert [str(node.target) for node in again.graph.nodes] == [
        str(node.target) for node in converted.graph.nodes
    ]


def alike(given: np.ndarray, other: np.ndarray) -> float:
    """Share of photographs with the same logits; their probabilities are so sure that they hide a
    difference.

    Not all: a bias rounded onto int32's grid can carry a value over the middle between two levels.
    """
    return float(np.mean(np.abs(np.log(given) - np.log(other)).max(1) < 1e-5))


def targets(graph) -> set[str]:
    return {str(node.target) for node in graph.graph.nodes}


def test_capture_computes_the_same_for_any_batch(network, graph, photographs):
    for count in (1, 7):
        x = torch.from_numpy(photographs[:count]).float()
        with torch.no_grad():
            assert torch.allclose(graph(x), network(x), atol=1e-5)


def test_capture_folds_norms_and_spells_hard_sigmoid(graph):
    assert not any("batch_norm" in target or "hardsigmoid" in target for target in targets(graph))
    assert [torch_nodes.layer_name(node) for node in torch_nodes.heavy_nodes(graph)] == LAYERS


def test_capture_leaves_the_module_alone(network):
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch_graph.capture(network, torch.zeros(1, 3, 16, 16))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_training_counters_are_erased():
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.register_buffer("num_batches_tracked", torch.tensor(0))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.num_batches_tracked.add_(1)
            return self.conv(x)

    graph = torch_graph.capture(Counting().eval(), torch.zeros(1, 3, 8, 8))
    assert not any("num_batches_tracked" in target or "add" in target for target in targets(graph))


def test_relu6_shares_the_output_of_its_convolution(converted):
    """No quantise node between a convolution and its ReLU6, so the range is not wasted and the
    clamp can be fused.
    """
    for node in converted.graph.nodes:
        if "hardtanh" in str(node.target) and node.args[0].target in torch_nodes.CONVOLUTIONS:
            return
    pytest.fail("no convolution feeds its ReLU6 directly")


def test_int8_stays_close_to_floating_point(graph, converted, photographs):
    assert (
        np.mean(answers(graph, photographs).argmax(1) == answers(converted, photographs).argmax(1))
        >= 0.9
    )


def test_every_layer_is_int8(converted):
    assert [
        torch_nodes.weights_of(converted, node).dtype for node in torch_nodes.heavy_nodes(converted)
    ] == [torch.int8] * len(LAYERS)


def test_simulation_rounds_as_the_converted_graph_does(prepared, converted, photographs):
    with quantize.Simulation(prepared) as simulation:
        assert alike(simulation.answers(photographs), answers(converted, photographs)) > 0.9
        assert simulation.layers() == LAYERS


def test_layers_asked_for_stay_in_floating_point(graph, photographs):
    prepared = quantize.prepare(graph, get("xnnpack").quantizer("mixed", frozenset({"stem"})))
    quantize.calibrate(prepared, photographs[:8])
    converted = quantize.convert(prepared)
    kinds = {
        torch_nodes.layer_name(node): torch_nodes.weights_of(converted, node).dtype
        for node in torch_nodes.heavy_nodes(converted)
    }
    assert kinds == {name: torch.float32 if name == "stem" else torch.int8 for name in LAYERS}


def test_nothing_is_rounded_where_every_layer_is_in_floating_point(graph, prepared, photographs):
    """No product, pooling or normalisation either, so a search for mixed precision can always reach
    the student's own answers.
    """
    alone = quantize.convert(
        quantize.prepare(graph, get("xnnpack").quantizer("mixed", frozenset(LAYERS)))
    )
    assert not any("quantize" in target for target in targets(alone))
    with quantize.Simulation(prepared) as simulation:
        simulation.all_but(frozenset(LAYERS))
        assert np.array_equal(simulation.answers(photographs), answers(graph, photographs))


@pytest.mark.parametrize(
    "float_layers",
    ["reduce expand", "depthwise reduce expand", "stem project", "depthwise expand project"],
)
def test_simulation_leaves_out_what_the_quantizer_leaves_out(
    graph, prepared, photographs, float_layers
):
    float_layers = frozenset(float_layers.split())
    mixed = quantize.prepare(graph, get("xnnpack").quantizer("mixed", float_layers))
    quantize.calibrate(mixed, photographs)
    found = answers(quantize.convert(mixed), photographs)
    with quantize.Simulation(prepared) as simulation:
        simulation.all_but(float_layers)
        same = alike(simulation.answers(photographs), found)
        simulation.all_but(frozenset())
        other = alike(simulation.answers(photographs), found)
    assert same > 0.9 > other


def test_an_operator_follows_the_layers_around_it(graph):
    def rounded(*float_layers: str) -> set[str]:
        left = left_in_float(graph, frozenset(float_layers))
        return {
            str(node.target)
            for node in graph.graph.nodes
            if node.op == "call_function" and node not in left
        }

    assert "aten.mul.Tensor" in rounded("depthwise", "expand"), "what the product goes to is int8"
    assert not left_in_float(graph, frozenset())
    assert rounded(*LAYERS) == set()


def test_sensitivity_finds_the_layer_that_was_spoilt(graph, photographs):
    """One channel a thousand times larger leaves the others of its tensor no levels."""
    spoilt = copy.deepcopy(graph)
    node = next(
        node for node in torch_nodes.heavy_nodes(spoilt) if torch_nodes.layer_name(node) == "expand"
    )
    weight = torch_nodes.tensor_of(spoilt, node.args[1]).clone()
    weight[:, 0] *= 3000
    torch_nodes.set_tensor(spoilt, node.args[1].target, weight)
    prepared = quantize.prepare(spoilt, get("xnnpack").quantizer("int8", frozenset()), "minmax")
    quantize.calibrate(prepared, photographs)
    reference = answers(spoilt, photographs)
    with quantize.Simulation(prepared) as simulation:
        table = quantize.sensitivities(
            simulation, photographs, reference, lambda given: float(np.mean(given.argmax(1) == 0))
        )
    assert [item.layer for item in table] == LAYERS
    assert all(item.sqnr_db > 0 for item in table if item.layer == "classifier")


def test_choice_is_minimal(prepared, graph, photographs):
    """A gate that only one layer in floating point can pass is met with exactly that layer."""
    reference = answers(graph, photographs)
    with quantize.Simulation(prepared) as simulation:
        table = quantize.sensitivities(simulation, photographs, reference, lambda given: 0.0)
        worst = min(table, key=lambda item: item.sqnr_db).layer
        simulation.all_but(frozenset({worst}))
        limit = float(np.abs(simulation.answers(photographs) - reference).max())
        simulation.all_but(frozenset())
        nothing = float(np.abs(simulation.answers(photographs) - reference).max())

        def accept(given: np.ndarray) -> bool:
            return float(np.abs(given - reference).max()) <= limit

        chosen = quantize.choose(simulation, table, photographs, accept)
        assert quantize.choose(simulation, table, photographs, lambda given: True) == frozenset()
        simulation.all_but(chosen)
        assert accept(simulation.answers(photographs))
    assert chosen == (frozenset() if nothing <= limit else frozenset({worst}))


def test_training_keeps_what_is_closest(graph, prepared, photographs):
    with quantize.Simulation(prepared) as simulation:
        before = simulation.answers(photographs)
    note = quantize.train(
        graph, prepared, photographs, photographs, teacher=None, epochs=2, lr=1e-4, batch_size=16
    )
    with quantize.Simulation(prepared) as simulation:
        after = simulation.answers(photographs)
    wanted = answers(graph, photographs)

    def divergence(given: np.ndarray) -> float:
        return float(
            np.mean(np.sum(wanted * np.log(np.maximum(wanted, 1e-8) / np.maximum(given, 1e-8)), 1))
        )

    assert divergence(after) <= divergence(before)
    assert "epoch" in note
    assert all(not value.requires_grad for value in prepared.parameters())


def test_training_listens_to_its_teacher(graph, prepared, photographs):
    rows_seen: list[int] = []

    def teacher(batch: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
        rows_seen.extend(rows.tolist())
        return torch.full((len(batch), 5), 0.2)

    quantize.train(
        graph,
        prepared,
        photographs,
        photographs[:8],
        teacher=teacher,
        epochs=1,
        lr=1e-5,
        batch_size=16,
    )
    assert sorted(rows_seen) == list(range(len(photographs)))


def test_a_correction_is_kept_only_where_it_helps(graph, prepared, photographs):
    with quantize.Simulation(prepared) as simulation:
        before = np.mean(
            (simulation.answers(photographs[36:]) - answers(graph, photographs[36:])) ** 2
        )
    chosen, note = quantize.correct(graph, prepared, photographs)
    with quantize.Simulation(chosen) as simulation:
        after = np.mean(
            (simulation.answers(photographs[36:]) - answers(graph, photographs[36:])) ** 2
        )
    assert after <= before * (1 + 1e-6)
    assert ("after rounding: nothing" in note) == (chosen is prepared)


def test_bias_correction_mends_a_shifted_bias(graph, observed, photographs):
    """A bias that rounding could have moved by a constant comes back."""
    shifted = copy.deepcopy(observed)
    node = next(
        node
        for node in torch_nodes.heavy_nodes(shifted)
        if torch_nodes.layer_name(node) == "classifier"
    )
    bias = node.args[2]
    torch_nodes.set_tensor(
        shifted, bias.target, torch_nodes.tensor_of(shifted, bias) + torch.tensor([3.0, 0, 0, 0, 0])
    )
    chosen, note = quantize.correct(graph, shifted, photographs)
    assert "biases of every layer (squared" in note
    found = torch_nodes.tensor_of(
        chosen,
        next(n for n in chosen.graph.nodes if n.op == "get_attr" and n.target == bias.target),
    )
    assert abs(float(found[0] - torch_nodes.tensor_of(observed, bias)[0])) < 0.5


def test_frozen_parameters_give_the_same_graph_without_photographs(
    graph, converted, photographs, tmp_path
):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        quantize.write_frozen(tmp_path / folder, {"int8": quantize.freeze(converted, notes=("n",))})
    assert sha256_tree(tmp_path / "a") == sha256_tree(tmp_path / "b")
    frozen = quantize.read_frozen(tmp_path / "a")["int8"]
    fresh = quantize.prepare(graph, get("xnnpack").quantizer("int8", frozen.float_layers), "minmax")
    quantize.calibrate(fresh, np.zeros((1, 3, 16, 16), np.uint8))
    thawed = quantize.thaw(quantize.convert(fresh), frozen)
    assert np.array_equal(answers(thawed, photographs), answers(converted, photographs))


def test_parameters_of_another_graph_are_refused(converted):
    frozen = quantize.freeze(converted)
    wrong = quantize.Frozen(
        frozen.float_layers,
        dict(list(frozen.ranges.items())[1:]),
        frozen.tensors,
        (),
        frozen.versions,
    )
    with pytest.raises(UserError, match="frozen for another graph"):
        quantize.thaw(copy.deepcopy(converted), wrong)


def test_no_record_is_no_parameters(tmp_path):
    assert quantize.read_frozen(tmp_path) == {}
