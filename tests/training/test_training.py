"""What a training step is made of: the average of the weights, and the number format that it
computes in.
"""

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mobilekd.formats.training_tables import TrainTable
from mobilekd.support.errors import UserError
from mobilekd.training.compiled import compiled_or_eager
from mobilekd.training.precision import autocast_pays, tf32
from mobilekd.training.schedule import check_batch
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


@pytest.mark.parametrize("missing", ["headers", "compiler"])
def test_a_machine_that_cannot_compile_trains_eagerly(
    missing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A compiler that is not there, or one that does not find Python's headers: both are tried,
    told once, and gone on without.
    """
    compiler = tmp_path / "g++"
    if missing == "headers":
        compiler.write_text(
            "#!/bin/sh\necho 'fatal error: Python.h: No such file or directory' >&2\nexit 1\n"
        )
        compiler.chmod(0o755)
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    x = torch.rand(2, 3, 8, 8)
    wanted = copy.deepcopy(model)(x)
    torch._dynamo.reset()
    broken = {"cpp.cxx": (str(compiler),), "force_disable_caches": True}
    with torch._inductor.config.patch(broken):
        forward = compiled_or_eager(model, "demo")
        assert torch.equal(forward(x), wanted)
        forward(x)
    said = capsys.readouterr().err
    assert said.count("demo: eager, because torch.compile failed here (") == 1
    assert "mobilekd doctor" in said
    assert model[1].num_batches_tracked == 2


@pytest.mark.parametrize(
    ("size", "photographs", "ranks", "words"),
    [
        (1, None, 1, r"train.batch_size = 1: .* set train.batch_size=2 or more"),
        (3, None, 4, r"train.batch_size = 3: .* one for each process; set train.batch_size=4"),
        (8, 1, 1, r"split: 1 photograph to train on"),
    ],
)
def test_a_batch_that_cannot_be_normalised_is_refused(
    size: int, photographs: int | None, ranks: int, words: str
) -> None:
    with pytest.raises(UserError, match=words):
        check_batch("train", TrainTable(batch_size=size), photographs, ranks)
    check_batch("train", TrainTable(batch_size=2), 2, 2)
