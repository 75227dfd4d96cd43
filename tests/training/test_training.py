"""What a training step is made of: the average of the weights, and the number format that it
computes in.
"""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mobilekd.training.precision import autocast_pays, tf32
from mobilekd.training.state import Average


@given(st.floats(0.5, 0.999), st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_the_average_follows_its_formula_for_weights_and_buffers(decay: float, steps: int) -> None:
    torch.manual_seed(0)
    # in float64, where thirty steps of both sums round by 1e-14 at most
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)).double()
    average = Average(model, decay)
    expected = {key: value.clone() for key, value in model.state_dict().items()}
    for step in range(steps):
        model(torch.randn(4, 2, 3, 3, dtype=torch.float64))  # moves the running statistics
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(step)
        now = min(decay, (1 + step) / (10 + step))
        for key, value in model.state_dict().items():
            expected[key] = (
                now * expected[key] + (1 - now) * value
                if value.is_floating_point()
                else value.clone()
            )
    for key, value in expected.items():
        assert torch.allclose(average.values[key], value, rtol=1e-10, atol=1e-12), key
    assert average.values["1.num_batches_tracked"] == steps


def test_a_cpu_computes_in_float32() -> None:
    assert autocast_pays(nn.Conv2d(3, 4, 1), torch.zeros(2, 3, 8, 8)) is False
    before = torch.backends.cudnn.allow_tf32
    with tf32(torch.device("cpu")):
        assert torch.backends.cudnn.allow_tf32 == before


@pytest.mark.skipif(not torch.cuda.is_available(), reason="one with CUDA")
class TestCuda:
    def test_choosing_a_format_leaves_the_network_and_the_generator_alone(self) -> None:
        torch.manual_seed(3)
        device = torch.device("cuda")
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).to(device)
        before = {key: value.clone() for key, value in model.state_dict().items()}
        state = torch.cuda.get_rng_state()
        assert autocast_pays(model, torch.rand(4, 3, 16, 16, device=device)) in (True, False)
        assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())
        assert torch.equal(torch.cuda.get_rng_state(), state)

    def test_tf32_is_for_the_step_alone(self) -> None:
        torch.backends.cudnn.allow_tf32 = False
        with tf32(torch.device("cuda")):
            assert torch.backends.cudnn.allow_tf32
        assert not torch.backends.cudnn.allow_tf32
