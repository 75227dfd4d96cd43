"""The deployed student is the same network, and its map is the evidence of each place."""

import numpy as np
import pytest
import torch
from fixtures.student import shaken, student
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mobilekd.formats.calibration import Calibration
from mobilekd.formats.preprocess import Preprocess
from mobilekd.students import NAMES, Deployable

shares = st.floats(0.2, 0.8)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(
    st.tuples(shares, shares, shares),
    st.tuples(shares, shares, shares),
    st.floats(0.3, 3),
    st.booleans(),
)
@pytest.mark.parametrize("model", ["mobilenetv2", "lesionnet"])
def test_deployed_answers_are_the_calibrated_softmax_of_the_students_logits(
    model: str,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    temperature: float,
    adjusted: bool,
) -> None:
    network = shaken(student(model))
    bias = tuple(np.linspace(-1, 1, 7)) if adjusted else None
    deployed = Deployable(
        network,
        Preprocess(64, 64, mean=mean, std=std),
        Calibration(temperature=temperature, bias=bias),
    ).eval()
    x = torch.rand(1, 3, 64, 64) * 255
    normalised = (x / 255 - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(
        1, 3, 1, 1
    )
    with torch.no_grad():
        expected = torch.softmax(
            network(normalised) / temperature + (torch.tensor(bias) if bias else 0.0), 1
        )
        torch.testing.assert_close(deployed(x), expected.float(), atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("model", NAMES)
def test_the_map_is_the_probabilities_gradient_of_evidence_scaled_to_one(model: str) -> None:
    network = shaken(student(model))
    deployed = Deployable(network, Preprocess(64, 96), Calibration(), cam=True).eval()
    x = torch.rand(1, 3, 96, 64) * 255
    with torch.no_grad():
        probabilities, cam = deployed(x)
        torch.testing.assert_close(
            probabilities, Deployable(network, Preprocess(64, 96), Calibration()).eval()(x)
        )
        features = network.forward_features((x / 255 - 0.5) / 0.5)
        # each place's own logits, by giving the head that place alone
        places = [
            network.forward_head(features[:, :, i : i + 1, j : j + 1])
            for i in range(3)
            for j in range(2)
        ]
        evidence = (torch.cat(places) @ probabilities[0]).view(1, 3, 2)
    assert cam.shape == (1, 3, 2)
    expected = (evidence - evidence.min()) / (evidence.max() - evidence.min())
    torch.testing.assert_close(cam, expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("model", NAMES)
def test_a_cell_of_the_map_looks_around_its_own_upper_left_corner(model: str) -> None:
    # a gate sees the whole picture
    network = student(model, adapt=() if model == "lesionnet" else ("no_se",)).eval()
    for module in network.modules():
        # every pixel of a window counts alike, and no activation clips
        if isinstance(module, nn.Conv2d):
            nn.init.constant_(module.weight, 0.5 / module.weight[0].numel())
    x = torch.ones(1, 3, 256, 256, requires_grad=True)
    features = network.forward_features(x)
    assert features.shape[2:] == (8, 8)
    features[0, :, 4, 4].sum().backward()
    seen = x.grad[0].sum(0)
    middles = torch.arange(256) + 0.5
    for sums in (seen.sum(0), seen.sum(1)):
        assert abs(float(sums @ middles / sums.sum()) - 4 * 32) < 3


def test_a_flat_map_is_zero_and_not_a_division_by_zero() -> None:
    deployed = Deployable(
        shaken(student("lesionnet")), Preprocess(32, 32), Calibration(), cam=True
    ).eval()
    with torch.no_grad():
        _, cam = deployed(torch.zeros(1, 3, 32, 32))  # a single place
    assert torch.equal(cam, torch.zeros(1, 1, 1))
