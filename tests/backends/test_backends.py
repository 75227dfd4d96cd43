"""Whatever is true of one backend is true of all: found by name, one file each, light to load,
honest about what cannot run.
"""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mobilekd import backends
from mobilekd.backends import Backend, get, names
from mobilekd.backends.base import eager_runner, one_thread
from mobilekd.backends.shared import costs
from mobilekd.graphs import pte, torch_graph
from mobilekd.lowering import quantize
from mobilekd.support.errors import CannotRunHere, UserError

PTE = ("portable", "vulkan", "xnnpack")
EXAMPLE = torch.zeros(1, 3, 8, 8)


class Two(nn.Module):
    """One convolution, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.linear = (
            nn.Conv2d(3, 4, 3, 2, bias=False),
            nn.BatchNorm2d(4),
            nn.Linear(4, 3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(nn.functional.relu6(self.norm(self.conv(x / 255))).mean((2, 3))).softmax(
            1
        )


@pytest.fixture(scope="module", params=PTE)
def lowered(request, tmp_path_factory):
    folder: Path = tmp_path_factory.mktemp(request.param)
    constants = {
        "labels": ["a", "b", "c"],
        "name": "two",
        "mean": [0.5],
        "threshold": 0.25,
        "input_height": 8,
    }
    backend = get(request.param)
    return (
        backend,
        backend.lower(
            torch_graph.capture(Two().eval(), EXAMPLE), EXAMPLE, "fp32", constants, folder
        ),
        constants,
    )


@pytest.mark.parametrize("name", names())
def test_every_backend_keeps_the_protocol(name):
    backend = get(name)
    assert isinstance(backend, Backend)
    assert backend.name == name
    assert backend.precisions
    assert backend.quantizer("fp32", frozenset()) is None


@pytest.mark.parametrize("name", names())
def test_loading_a_backend_loads_no_framework(name):
    program = (
        f"import sys; from mobilekd.backends import get; get({name!r}); print({{'torch',"
        " 'executorch', 'coremltools'} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "set()"
    )


def test_an_unknown_backend_names_its_neighbour():
    with pytest.raises(UserError, match="did you mean portable"):
        get("portabel")


def test_a_new_backend_is_one_file():
    """Beside it only what reads its files knows Vulkan's name: not a list, not a branch, not a help
    text but as an example.
    """
    package = Path(backends.__file__).parents[1]
    knowing = {path.name for path in package.rglob("*.py") if "vulkan" in code_of(path).lower()}
    assert knowing == {"vulkan.py", "vulkan_delegate.py", "vulkan_interpreter.py", "pte.py"}


def code_of(path: Path) -> str:
    """A file without comments, docstrings and the examples of help texts."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    strings = [
        node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    code = ast.unparse(tree)
    for text in (*map(str, strings), "such as xnnpack, coreml or vulkan"):
        code = code.replace(text, "").replace(repr(text)[1:-1], "")
    return code


def test_the_page_shows_the_diff_that_added_the_last_one(checkout):
    page = (checkout / "docs" / "backends.md").read_text(encoding="utf-8")
    shown = page.partition("```diff\n")[2].partition("```")[0].splitlines()[5:]
    file = (Path(backends.__file__).parent / "portable.py").read_text(encoding="utf-8").splitlines()
    assert shown == [f"+{line}" for line in file], "docs/backends.md shows another portable.py"
    assert f"@@ -0,0 +1,{len(file)} @@" in page


def test_the_file_equals_its_source(lowered):
    backend, made, _ = lowered
    x = np.random.default_rng(0).integers(0, 256, (3, 3, 8, 8)).astype(np.float32)
    wanted = made.eager_reference(x)[0]
    assert np.allclose(made.lowered(x)[0], wanted, atol=1e-5)
    assert np.allclose(backend.run(made.model_path, x)[0], wanted, atol=1e-5)
    if backend.name == "vulkan":
        with pytest.raises(CannotRunHere, match="VulkanBackend"):
            pte.run(made.model_path, x)


def test_constants_come_back(lowered):
    _, made, constants = lowered
    assert pte.constants(made.model_path) == constants


def test_delegation_is_counted(lowered):
    backend, made, _ = lowered
    delegation = made.delegation
    assert delegation.heavy_total == 2
    assert delegation.heavy_delegated == (0 if backend.name == "portable" else 2)
    assert made.promises_delegation == (backend.name != "portable")
    assert not any("batch_norm" in name for name in {**delegation.portable, **delegation.delegated})


def test_every_byte_is_accounted_for(lowered):
    _, made, _ = lowered
    file = pte.read(made.model_path)
    assert sum(file.byte_table().values()) == made.model_path.stat().st_size == made.memory["file"]
    assert all(size >= 0 for size in file.byte_table().values())
    assert made.memory["weights"] >= 4 * (4 * 27 + 12)


def test_macs_are_counted_from_the_file(lowered):
    backend, made, _ = lowered
    if backend.name != "portable":
        assert [node.macs for node in pte.read(made.model_path).heavy] == [3 * 3 * 4 * 27, 4 * 3]


def test_strided_input_is_straightened(lowered):
    """The runtime reads a channels_last tensor in the wrong order without a word."""
    backend, made, _ = lowered
    x = np.random.default_rng(1).integers(0, 256, (1, 3, 8, 8)).astype(np.float32)
    strided = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.array_equal(
        backend.run(made.model_path, strided)[0], backend.run(made.model_path, x)[0]
    )


@pytest.mark.parametrize("cut", [0, 100, -100])
def test_a_cut_file_is_the_users_to_mend(lowered, cut, tmp_path):
    _, made, _ = lowered
    (tmp_path / "cut.pte").write_bytes(made.model_path.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"cut\.pte"):
        pte.run(tmp_path / "cut.pte", np.zeros((1, 3, 8, 8), np.float32))


def test_any_word_of_a_program_may_be_zero(lowered, tmp_path):
    """Zero makes a field of a flatbuffer absent, where it does not lead astray: what ExecuTorch's
    reader makes of that is read or refused.
    """
    backend, made, _ = lowered
    whole, odd = made.model_path.read_bytes(), tmp_path / "odd.pte"
    refused = []
    # a delegate's graph is read by a process of its own, so of these files fewer words are tried
    for place in range(0, min(len(whole), 4096), 4 if backend.name == "portable" else 64):
        odd.write_bytes(whole[:place] + bytes(4) + whole[place + 4 :])
        try:
            pte.read(odd)
        except UserError as error:
            refused.append(str(error))
    assert refused
    assert all("odd.pte" in one for one in refused)


def test_a_wrong_shape_is_refused(lowered):
    backend, made, _ = lowered
    with pytest.raises(UserError, match="input's shape"):
        backend.run(made.model_path, np.zeros((1, 3, 9, 8), np.float32))


class Swish(Two):
    """A hard-swish, which XNNPACK computes in floating point only, between two int8 layers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(
            nn.functional.hardswish(self.norm(self.conv(x / 255))).mean((2, 3))
        ).softmax(1)


def test_int8_says_what_stays_in_floating_point(tmp_path):
    backend = get("xnnpack")
    prepared = quantize.prepare(
        torch_graph.capture(Swish().eval(), EXAMPLE), backend.quantizer("int8", frozenset())
    )
    quantize.calibrate(prepared, np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8), np.uint8))
    made = backend.lower(quantize.convert(prepared), EXAMPLE, "int8", {}, tmp_path)
    assert made.delegation.heavy_quantized == 2
    assert pte.read(made.model_path).left_in_float()["XNNHardswish"] == 1
    assert "1 Hardswish" in made.notes[-1]


class Excited(Swish):
    """Hard-swish, and a squeeze-and-excitation with a hard sigmoid, on 4 channels of 3 x 3."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce, self.expand = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = nn.functional.hardswish(self.norm(self.conv(x / 255)))
        gate = nn.functional.hardsigmoid(
            self.expand(nn.functional.relu(self.reduce(x.mean((2, 3), keepdim=True))))
        )
        return self.linear((x * gate).mean((2, 3))).softmax(1)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_export_says_what_each_dear_operator_costs(precision, tmp_path):
    backend, graph = get("xnnpack"), torch_graph.capture(Excited().eval(), EXAMPLE)
    if precision == "int8":
        prepared = quantize.prepare(graph, backend.quantizer("int8", frozenset()))
        quantize.calibrate(
            prepared, np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8), np.uint8)
        )
        graph = quantize.convert(prepared)
    swish, sigmoid, excitation = backend.lower(graph, EXAMPLE, precision, {}, tmp_path).notes[:3]
    # 36 activations in, 36 out; the sigmoid's three passes over 4; its block: mean 36 + 4,
    # convolutions and ReLU, product 36 + 4 + 36
    assert swish.startswith("hard-swish: 1, 0 thousand activations")
    assert ("2 conversions" in swish) == (precision == "int8")
    assert sigmoid.startswith("hard-sigmoid: 1, ")
    assert excitation.startswith("squeeze-and-excitation: 1, ")
    assert "14.8% of the parameters" in excitation
    none = (
        get("portable")
        .lower(torch_graph.capture(Two().eval(), EXAMPLE), EXAMPLE, "fp32", {}, tmp_path)
        .notes
    )
    assert none == tuple(
        f"{name}: none in this network"
        for name in ("hard-swish", "hard-sigmoid", "squeeze-and-excitation")
    )


def test_costs_are_counted_by_hand():
    graph = torch_graph.capture(Excited().eval(), torch.zeros(1, 3, 8, 8))
    [swish] = [
        node for node in graph.graph.nodes if node.target is torch.ops.aten.hardswish.default
    ]
    [found] = [chain for node in graph.graph.nodes if (chain := costs.excitation(node))]
    assert costs.total(graph, [swish]).moved == 36 + 36
    cost = costs.total(graph, found)
    assert (cost.parameters, cost.macs) == (4 * 2 + 2 + 2 * 4 + 4, 4 * 2 + 2 * 4)
    # mean, convolution, ReLU, convolution, the sigmoid's three, product
    assert cost.moved == (36 + 4) + (4 + 2) + (2 + 2) + (2 + 4) + 3 * (4 + 4) + (36 + 4 + 36)


def test_one_thread_gives_the_others_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_eager_answers_do_not_depend_on_the_number_of_cores(monkeypatch):
    """Bit for bit, and in the photographs' order, however the batches fall on threads."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)
    ).eval()
    x = np.random.default_rng(0).integers(0, 256, (75, 3, 16, 16), np.uint8)
    found = []
    for cores in (1, 2, 7):
        monkeypatch.setattr("os.cpu_count", lambda cores=cores: cores)
        found.append(eager_runner(model)(x)[0])
    with torch.no_grad():
        assert np.allclose(
            found[0], model(torch.from_numpy(x).float()).numpy(), rtol=1e-4, atol=1e-4
        )
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
