"""int8 in whole numbers: equal to XNNPACK's file to the last digit, and to plain arithmetic within
half a step.
"""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mobilekd.backends import get
from mobilekd.backends.base import eager_runner
from mobilekd.formats.training_tables import StudentTable
from mobilekd.graphs import int8_arithmetic, pte, torch_graph
from mobilekd.graphs.int8_arithmetic import Addition, Levels, Sums
from mobilekd.lowering import quantize
from mobilekd.students import build

EXAMPLE = torch.zeros(1, 3, 64, 64)

NETWORKS = {
    "additions and pooling": StudentTable(
        model="mobilenetv2", width=0.35, adapt=("depth:0.5", "head:32")
    ),
    "clamped additions": StudentTable(model="lesionnet", width=0.5),
    "squeeze-and-excitation in int8": StudentTable(
        model="mobilenetv3_small", width=0.35, adapt=("relu6", "head:32")
    ),
    "hard-swish in floating point": StudentTable(
        model="mobilenetv3_small", width=0.35, adapt=("no_se", "head:32")
    ),
}


def quantised(table: StudentTable, photographs: np.ndarray) -> torch.fx.GraphModule:
    torch.manual_seed(0)
    student = build(table, 5)
    nn.init.normal_(student.classifier.weight)
    with torch.no_grad():
        for _ in range(4):
            student.train()(torch.rand(8, 3, 64, 64) * 255)
    graph = torch_graph.capture(student.eval(), EXAMPLE)
    prepared = quantize.prepare(graph, get("xnnpack").quantizer("int8", frozenset()))
    quantize.calibrate(prepared, photographs)
    return quantize.convert(prepared)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_computes_these_very_numbers(name: str, tmp_path) -> None:
    photographs = np.random.default_rng(0).integers(0, 256, (16, 3, 64, 64), np.uint8)
    graph = quantised(NETWORKS[name], photographs)
    lowered = get("xnnpack").lower(
        graph, EXAMPLE, "int8", {"labels": ["a", "b", "c", "d", "e"]}, tmp_path
    )
    x = photographs.astype(np.float32)
    (file,), (whole,), (floating,) = (
        pte.run(lowered.model_path, x),
        lowered.eager_reference(x),
        eager_runner(graph)(x),
    )
    scale = np.abs(file).max()
    assert np.abs(file - whole).max() <= 1e-6 * scale
    assert np.abs(floating - whole).max() <= 0.2 * scale, "the same network, but for ties"


def test_a_graph_in_floating_point_runs_as_torch_runs_it() -> None:
    torch.manual_seed(0)
    graph = torch_graph.capture(
        build(StudentTable(model="mobilenetv3_small", width=0.35), 5).eval(), EXAMPLE
    )
    x = torch.rand(2, 3, 64, 64)
    assert torch.equal(int8_arithmetic.Interpreter(graph).run(x), graph(x))


steps = st.floats(2**-10, 2**2)
int8 = st.integers(-128, 127)


def levels(value: int, step: float, zero_point: int) -> Levels:
    return Levels(
        torch.tensor([value], dtype=torch.float64),
        torch.tensor(step, dtype=torch.float32),
        zero_point,
    )


@given(int8, int8, steps, steps, st.integers(-128, 127), st.integers(-128, 127), steps, int8)
@settings(max_examples=200, deadline=None)
def test_an_addition_is_the_sum_within_half_a_step(
    a, b, step_a, step_b, zero_a, zero_b, step, zero
) -> None:
    """Beyond that only what 20 binary digits of the larger ratio leave open."""
    first, second = levels(a, step_a, zero_a), levels(b, step_b, zero_b)
    exact = (
        float(Addition(first, second).floating()) / float(torch.tensor(step, dtype=torch.float32))
        + zero
    )
    found = int8_arithmetic.quantize(
        None, Addition(first, second), step, zero, -(2**40), 2**40, torch.float64
    )
    open_digits = 256 * max(step_a, step_b) / step * 2**-19
    assert abs(float(found) - exact) <= 0.5 + open_digits + 1e-4 * abs(exact)


@given(st.integers(-(2**23), 2**23), steps, steps, int8)
@settings(max_examples=200, deadline=None)
def test_sums_are_rounded_once_half_to_even(total, unit, step, zero) -> None:
    sums = Sums(torch.tensor([total], dtype=torch.float64), torch.tensor(unit, dtype=torch.float32))
    found = int8_arithmetic.quantize(None, sums, step, zero, -128, 127, torch.int8)
    exact = np.float32(total) * (np.float32(unit) / np.float32(step))
    assert int(found) == int(np.clip(np.rint(exact) + zero, -128, 127))


def test_a_clamp_is_applied_to_levels() -> None:
    sums = Sums(
        torch.tensor([-500.0, 10.0, 500.0], dtype=torch.float64),
        torch.tensor(0.1, dtype=torch.float32),
    )
    clamped = int8_arithmetic.clamp(None, sums, 0.0, 6.0)
    assert int8_arithmetic.quantize(None, clamped, 0.1, -100, -128, 127, torch.int8).tolist() == [
        -100,
        -90,
        -40,
    ]
    assert clamped.floating().tolist() == pytest.approx([0.0, 1.0, 6.0])
