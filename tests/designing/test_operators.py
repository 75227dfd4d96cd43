"""The operators that are counted are those of the network: torch counts the same multiply-adds, and
a file has as many layers with weights.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mobilekd.designing.families import CLASSES, COUNTED, members
from mobilekd.designing.operators import at_side, operators
from mobilekd.formats.preprocess import Preprocess
from mobilekd.formats.training_tables import StudentTable
from mobilekd.students import NAMES, build
from mobilekd.training.experiment import count_macs

LAYERS = ("convolution", "depthwise", "pointwise")


def network(model: str, width: float = 0.5, adapt: tuple[str, ...] = ()) -> nn.Module:
    torch.manual_seed(0)
    return build(StudentTable(model=model, width=width, adapt=adapt), CLASSES)


@pytest.mark.parametrize("model", NAMES)
def test_multiply_adds_and_layers_are_the_networks_own(model: str) -> None:
    student = network(model).eval()
    found = operators(student, 64, 64)
    assert sum(one.macs for one in found) == count_macs(student, Preprocess(64, 64))
    weighted = [one for one in student.modules() if isinstance(one, (nn.Conv2d, nn.Linear))]
    assert sum(one.kind in LAYERS for one in found) == len(weighted)
    weights = sum(layer.weight.numel() for layer in weighted)
    assert sum(one.weights for one in found if one.kind in LAYERS) == weights


@pytest.mark.parametrize("model", NAMES)
@pytest.mark.parametrize("side", [32, 160])
def test_operators_at_another_side_are_those_that_are_counted_there(model: str, side: int) -> None:
    student = network(model)
    small, large = (operators(student, one, one) for one in COUNTED)
    assert at_side(small, large, COUNTED, side) == operators(student, side, side)


def test_a_clamp_is_free_behind_a_layer_alone() -> None:
    layer = nn.Conv2d(3, 8, 1)

    class Behind(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.relu(layer(x))
            return torch.relu(y + y).mean((2, 3))

    kinds = [one.kind for one in operators(Behind(), 8, 8)]
    assert kinds == ["input", "pointwise", "elementwise", "elementwise", "reduction", "elementwise"]


@given(st.floats(0.1, 2.0))
def test_depth_keeps_lesionnets_channels_and_at_least_a_block(width: float) -> None:
    whole = network("lesionnet", width)
    for depth, blocks in (("depth:0.5", [1, 2, 2]), ("depth:1.5", [3, 5, 5])):
        other = network("lesionnet", width, (depth,))
        assert [len(stage) for stage in other.blocks] == blocks
        assert other.classifier.weight.shape == whole.classifier.weight.shape


def test_members_differ_and_stand_in_groups_of_one_depth_and_side() -> None:
    found = members(StudentTable(model="lesionnet", adapt=()), (64, 96), (0.5, 1.0))
    assert len({(one.group, one.operators) for one in found}) == len(found)
    assert {one.group for one in found} == {
        (depth, side) for depth in ("depth:0.5", "") for side in (64, 96)
    }
    for group in {one.group for one in found}:
        macs = [one.macs for one in found if one.group == group]
        assert macs == sorted(macs), "wider is dearer"
