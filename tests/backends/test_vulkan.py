"""Vulkan's files, read back and run operator by operator: the answers are eager torch's, in int8
every layer is int8's, and what is not so is refused.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mobilekd.backends import get
from mobilekd.backends.base import Lowered
from mobilekd.commands.export import export
from mobilekd.commands.verify import verify
from mobilekd.formats.artifact import open_artifact
from mobilekd.graphs import pte, torch_graph, vulkan_delegate, vulkan_interpreter
from mobilekd.lowering import quantize
from mobilekd.support.errors import CannotRunHere, UserError

SIZE = 16
EXAMPLE = torch.zeros(1, 3, SIZE, SIZE)
VULKAN = get("vulkan")


class Blocks(nn.Module):
    """Each kind of layer that Vulkan has an int8 kernel of: a convolution whose rows need padding,
    depthwise and pointwise ones, an addition, a linear layer with a number of outputs that is no
    multiple of four.
    """

    def __init__(self, kernel: int = 3, stride: int = 2, channels: int = 8) -> None:
        super().__init__()
        torch.manual_seed(kernel + 10 * stride + 100 * channels)
        pad = kernel // 2
        self.stem = nn.Conv2d(3, channels, kernel, stride, pad)
        self.depthwise = nn.Conv2d(channels, channels, kernel, 1, pad, groups=channels)
        self.project = nn.Conv2d(channels, channels, 1)
        self.head = nn.Conv2d(channels, 12, 1, bias=False)
        self.classifier = nn.Linear(12, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.relu6(self.stem((x - 128) / 64))
        x = nn.functional.hardtanh(
            x + self.project(nn.functional.relu6(self.depthwise(x))), -4.0, 4.0
        )
        return self.classifier(nn.functional.relu(self.head(x)).mean((2, 3))).softmax(1)


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, SIZE, SIZE)).astype(np.float32)


def lowered(folder: Path, precision: str, network: nn.Module | None = None) -> Lowered:
    graph = torch_graph.capture((network or Blocks()).eval(), EXAMPLE)
    quantizer = VULKAN.quantizer(precision, frozenset())
    if quantizer is not None:
        prepared = quantize.prepare(graph, quantizer)
        quantize.calibrate(prepared, pictures(32).astype(np.uint8))
        graph = quantize.convert(prepared)
    return VULKAN.lower(graph, EXAMPLE, precision, {"name": "blocks"}, folder)


@pytest.fixture(scope="module")
def fp32(tmp_path_factory) -> Lowered:
    return lowered(tmp_path_factory.mktemp("fp32"), "fp32")


@pytest.fixture(scope="module")
def int8(tmp_path_factory) -> Lowered:
    return lowered(tmp_path_factory.mktemp("int8"), "int8")


@pytest.mark.parametrize(("kernel", "stride", "channels"), [(3, 2, 8), (5, 1, 4)])
def test_int8_is_int8_in_every_layer_and_answers_as_eager_does(kernel, stride, channels, tmp_path):
    made = lowered(tmp_path, "int8", Blocks(kernel, stride, channels))
    assert made.delegation.heavy_delegated == made.delegation.heavy_quantized == 5
    assert sum(made.delegation.portable.values()) <= 1  # a mean without kept dimensions
    x = pictures(20)
    difference = VULKAN.run(made.model_path, x)[0] - made.eager_reference(x)[0]
    # an addition may round a tie to the next of 256 levels: two levels of a probability
    assert np.abs(difference).max() <= 2 / 256


def test_executorch_logs_no_operators_and_leaves_the_level_alone(tmp_path):
    """In a program of its own, where its modules are loaded for the first time."""
    code = (
        "import logging, sys\n"
        "from pathlib import Path\n"
        "logging.basicConfig(level=logging.ERROR)\n"
        f"sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]\n"
        "from test_vulkan import lowered\n"
        f"lowered(Path({str(tmp_path)!r}), 'fp32')\n"
        "assert logging.getLogger().level == logging.ERROR\n"
        "assert logging.root.manager.disable == 0\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "INFO" not in done.stderr


def test_float32_answers_as_eager_does(fp32):
    x = pictures(5)
    assert np.allclose(VULKAN.run(fp32.model_path, x)[0], fp32.eager_reference(x)[0], atol=1e-5)


def test_float16_rounds_what_is_stored_between_operators(fp32, tmp_path):
    half, x = lowered(tmp_path, "fp16"), pictures(5)
    difference = np.abs(VULKAN.run(half.model_path, x)[0] - VULKAN.run(fp32.model_path, x)[0]).max()
    assert 1e-5 < difference <= 1e-2


def test_multiply_adds_and_weights_are_counted_from_the_file(fp32, int8):
    plain, whole = pte.read(fp32.model_path), pte.read(int8.model_path)
    assert [node.macs for node in plain.heavy] == [64 * 8 * 27, 64 * 8 * 9, 64 * 64, 64 * 96, 36]
    sizes = [[len(file.blobs[node.weight_key]) for node in file.heavy] for file in (plain, whole)]
    assert sizes[0] == [4 * count for count in (216, 72, 64, 96, 36)]
    assert sizes[1] == [8 * 28, 72, 64, 96, 36], "rows of 27 are padded to 28"


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_byte_of_the_weights_changes_the_answer(precision, fp32, int8, tmp_path):
    made, x = {"fp32": fp32, "int8": int8}[precision], pictures(5)
    file, data = pte.read(made.model_path), bytearray(made.model_path.read_bytes())
    blob = file.blobs[file.heavy[0].weight_key]
    place = data.find(blob) + (3 if precision == "fp32" else 0)  # an exponent, or a whole number
    data[place] ^= 0x40
    (tmp_path / "flipped.pte").write_bytes(data)
    difference = VULKAN.run(tmp_path / "flipped.pte", x)[0] - made.eager_reference(x)[0]
    assert np.abs(difference).max() > 1e-4


def test_a_sum_of_weights_that_is_wrong_in_the_file_changes_the_answer(int8, tmp_path):
    """A phone takes the inputs' zero point away by these sums."""
    file, data = pte.read(int8.model_path), bytearray(int8.model_path.read_bytes())
    graph = vulkan_delegate.read(file.delegates[0].data)
    layers = [call for call in graph.calls if "conv2d_pw" in call.name]
    zero_points = [graph.values[call.arguments[2]] for call in layers]
    [sums, *_] = [
        graph.values[call.arguments[4]]
        for call, zero_point in zip(layers, zero_points, strict=True)
        if zero_point
    ]
    place = data.find(file.blobs[graph.keys[sums.constant]])
    data[place + 1] ^= 0x40  # 16,384 more or less
    (tmp_path / "sums.pte").write_bytes(data)
    x = pictures(5)
    difference = VULKAN.run(tmp_path / "sums.pte", x)[0] - VULKAN.run(int8.model_path, x)[0]
    assert np.abs(difference).max() > 1e-3


def test_an_operator_that_the_interpreter_does_not_know_is_named(fp32, monkeypatch):
    monkeypatch.delitem(vulkan_interpreter.OWN, "et_vk.conv_with_clamp.default")
    with pytest.raises(CannotRunHere, match="conv_with_clamp"):
        VULKAN.run(fp32.model_path, pictures(1))


def test_an_answer_of_another_shape_than_the_file_says_is_refused(fp32, monkeypatch):
    monkeypatch.setitem(
        vulkan_interpreter.OWN, "et_vk.conv_with_clamp.default", lambda x, *_: x[:, :, 1:]
    )
    with pytest.raises(CannotRunHere, match="where the file says"):
        VULKAN.run(fp32.model_path, pictures(1))


@pytest.mark.parametrize("where", [0.0, 0.3, 0.6, 0.9])
def test_a_damaged_delegate_is_the_users_to_mend(where, int8, tmp_path):
    delegate, *_ = pte.read(int8.model_path).delegates
    data = bytearray(int8.model_path.read_bytes())
    begin = data.find(delegate.data) + int(where * len(delegate.data))
    data[begin : begin + 64] = bytes(64)
    (tmp_path / "damaged.pte").write_bytes(data)
    with pytest.raises(
        UserError, match=r"damaged\.pte: .*(export again or copy it whole|let a phone answer)"
    ):
        VULKAN.run(tmp_path / "damaged.pte", pictures(1))


def test_a_clamp_that_int8_does_not_make_idle_stays(tmp_path):
    """Its layer is then computed in floating point, and the count says so."""

    class Cut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.conv, self.linear = nn.Conv2d(3, 4, 3), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = nn.functional.hardtanh(self.conv(x / 255), -0.25, 0.25)
            return self.linear(x.mean((2, 3))).softmax(1)

    graph = torch_graph.capture(Cut().eval(), EXAMPLE)
    prepared = quantize.prepare(graph, VULKAN.quantizer("int8", frozenset()))
    quantize.calibrate(prepared, pictures(32).astype(np.uint8))
    converted = quantize.convert(prepared)
    for node in converted.graph.nodes:
        if node.target is torch.ops.aten.hardtanh.default:
            node.args = (node.args[0], -0.1, 0.1)  # narrower than the levels behind it
    converted.recompile()
    kept = torch_graph.without_idle_clamps(converted)
    assert any(node.target is torch.ops.aten.hardtanh.default for node in kept.graph.nodes)
    x = torch.from_numpy(pictures(2))
    assert torch.equal(kept(x), converted(x))


def test_a_shipped_student_in_int8_is_accepted_and_waits_for_a_phone(tmp_path):
    made = export(
        "reference:ham10000-lesionnet", backend="vulkan", precision="int8", output=tmp_path / "made"
    ).manifest
    rows = {str(row.stage): row for row in made.parity}
    assert rows["saved file"].verified
    assert rows["saved file"].where.startswith("interpreter of the saved file")
    assert not rows["saved file on a phone"].verified
    assert "an interpreter answered" in rows["saved file on a phone"].reason
    # its kernels round otherwise than the interpreter, so it gets int8's tolerance
    assert open_artifact(tmp_path / "made").golden().index.max_error == 0.05
    assert made.delegation.heavy_quantized == made.delegation.heavy_total == 27
    assert verify(tmp_path / "made").passed
