"""What keeps int8's rounding small without a photograph: calibration folded away, clamps joined,
pooled tensors on their own.
"""

import numpy as np
import pytest
import torch
from torch import nn

from mobilekd.backends import get
from mobilekd.backends.base import eager_runner
from mobilekd.formats.calibration import Calibration
from mobilekd.formats.constants import Constants
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.training_tables import StudentTable
from mobilekd.graphs import pte, torch_graph, torch_nodes
from mobilekd.lowering import quantize
from mobilekd.students import Deployable, build
from mobilekd.students.bounds import BOUND, PRETRAINED_BOUND

EXAMPLE = torch.zeros(1, 3, 64, 64)
CALIBRATION = Calibration(
    temperature=1.7, threshold=0.3, bias=(0.5, -0.25, 0.1, 0.0, -1.0), quality=None
)


@pytest.fixture(
    scope="module",
    params=[("lesionnet", ()), ("mobilenetv2", ("depth:0.5", "head:32", "bounded"))],
    ids=lambda p: p[0],
)
def student(request: pytest.FixtureRequest) -> nn.Module:
    model, adapt = request.param
    torch.manual_seed(0)
    student = build(StudentTable(model=model, width=0.35, adapt=adapt), 5)
    nn.init.normal_(student.classifier.weight)
    nn.init.normal_(student.classifier.bias)
    with torch.no_grad():
        for _ in range(4):
            student.train()(torch.rand(8, 3, 64, 64) * 2 - 1)
    return student.eval()


@pytest.fixture(scope="module")
def photographs() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (16, 3, 64, 64), np.uint8)


def operators(graph: torch.fx.GraphModule, *names: str) -> list[torch.fx.Node]:
    return [
        node
        for node in graph.graph.nodes
        if node.op == "call_function" and any(name in str(node.target) for name in names)
    ]


@pytest.mark.parametrize("cam", [False, True])
def test_temperature_and_bias_become_part_of_the_classifier(
    student: nn.Module, photographs: np.ndarray, cam: bool
) -> None:
    deployable = Deployable(student, Preprocess(width=64, height=64), CALIBRATION, cam).eval()
    graph = torch_graph.capture(deployable, EXAMPLE)
    torch_graph.fold_calibration(graph)
    linear = operators(graph, "aten.linear")[-1]
    assert {str(user.target).split(".")[1] for user in linear.users} == {"softmax"}
    x = torch.from_numpy(photographs).float()
    wanted, given = deployable(x), graph(x)
    for a, b in zip(wanted if cam else [wanted], given if cam else [given], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def quantise(
    student: nn.Module, photographs: np.ndarray, observer: str = "histogram"
) -> torch.fx.GraphModule:
    graph = torch_graph.capture(
        Deployable(student, Preprocess(width=64, height=64), CALIBRATION).eval(), EXAMPLE
    )
    torch_graph.fold_calibration(graph)
    prepared = quantize.prepare(graph, get("xnnpack").quantizer("int8", frozenset()), observer)
    quantize.calibrate(prepared, photographs)
    return quantize.convert(prepared)


@pytest.fixture(scope="module")
def quantised(student: nn.Module, photographs: np.ndarray) -> torch.fx.GraphModule:
    """The student after histograms; to be looked at, not changed."""
    return quantise(student, photographs)


def test_a_clamp_shares_the_output_of_the_convolution_or_addition_before_it(
    quantised: torch.fx.GraphModule,
) -> None:
    clamps = operators(quantised, "aten.hardtanh")
    assert clamps
    assert all(clamp.args[0].target in torch_nodes.CONVOLUTIONS for clamp in clamps), (
        "an addition saturates instead"
    )
    steps = [next(iter(node.users)) for node in (*clamps, *operators(quantised, "aten.add."))]
    for step in steps:
        assert "quantize_per_tensor" in str(step.target)
        assert step.args[1] <= 2 * PRETRAINED_BOUND / 255 * 1.01


def test_an_addition_saturates_where_its_clamp_would(
    student: nn.Module, quantised: torch.fx.GraphModule
) -> None:
    bound = BOUND if hasattr(student, "norm_head") else PRETRAINED_BOUND
    for addition in operators(quantised, "aten.add."):
        step = next(iter(addition.users))
        ends = [(level - step.args[2]) * step.args[1] for level in (-128, 127)]
        assert ends == pytest.approx([-bound, bound], abs=step.args[1])


def test_a_pooled_tensor_has_steps_of_its_own(quantised: torch.fx.GraphModule) -> None:
    (pool,) = operators(quantised, "adaptive_avg_pool2d")
    before, (after,) = pool.args[0], pool.users
    assert after.args[1] < before.args[1]


@pytest.mark.parametrize("observer", ["histogram", "minmax"])
def test_nothing_of_it_is_left_outside_the_int8_delegate(
    student: nn.Module,
    quantised: torch.fx.GraphModule,
    photographs: np.ndarray,
    observer: str,
    tmp_path,
) -> None:
    constants: Constants = {"labels": ["a", "b", "c", "d", "e"]}
    graph = quantised if observer == "histogram" else quantise(student, photographs, observer)
    lowered = get("xnnpack").lower(graph, EXAMPLE, "int8", constants, tmp_path)
    file = pte.read(lowered.model_path)
    assert "clamp" not in " ".join(file.delegated()).lower()
    assert set(file.left_in_float()) <= {"XNNSoftmax", "XNNSubtract", "XNNMultiply"}
    x = photographs.astype(np.float32)
    (given,), (wanted,) = pte.run(lowered.model_path, x), lowered.eager_reference(x)
    assert np.abs(given - wanted).max() < 1e-6


def test_what_reads_an_addition_takes_its_levels_as_they_are(
    quantised: torch.fx.GraphModule,
) -> None:
    additions = [node for node in operators(quantised, "aten.add") if len(node.users) == 1]
    assert additions
    for addition in additions:
        (step,) = addition.users
        readers = [reader for dequantise in step.users for reader in dequantise.users]
        assert not any("quantize_per_tensor" in str(reader.target) for reader in readers), (
            "rounded a second time"
        )


def test_biases_lie_on_the_grid_on_which_kernels_add_them(
    photographs: np.ndarray, tmp_path
) -> None:
    """Kernels add biases as int32; run in floating point, most answers would differ were the
    graph's not on that grid.
    """
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for index in range(8):
        layers += [nn.Conv2d(8 if index else 3, 8, 3, 1 + index % 2, padding=1), nn.ReLU()]
    network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)).eval()
    for layer in network:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.normal_(layer.weight, std=2 / layer.weight[0].numel() ** 0.5)
    constants: Constants = {"labels": ["a", "b", "c", "d", "e"]}
    graph = quantise(network, photographs)
    lowered = get("xnnpack").lower(graph, EXAMPLE, "int8", constants, tmp_path)
    x = photographs.astype(np.float32)
    (given,), (wanted,) = pte.run(lowered.model_path, x), lowered.eager_reference(x)
    assert np.abs(given - wanted).max() < 1e-6
    (floating,) = eager_runner(graph)(x)
    assert np.mean(np.abs(given - floating).max(1) < 1e-6) > 0.75
