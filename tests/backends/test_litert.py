"""A ``.tflite`` file answers in LiteRT as eager does, in int8 to the last digit; it is read,
described and refused as files of other runtimes are. Its converter runs under ``make test-long``.
"""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fixtures.coreml import EXAMPLE, LABELS, pictures, small
from fixtures.litert import BACKEND, FILE, lowered, rounded

from mobilekd.backends.base import eager_runner
from mobilekd.commands.export import export
from mobilekd.graphs import int8_arithmetic, litert_file, litert_graph
from mobilekd.support.errors import UserError


@pytest.fixture(scope="module")
def graph() -> torch.fx.GraphModule:
    return rounded()


@pytest.fixture
def copy(tmp_path) -> Path:
    return Path(shutil.copy(FILE, tmp_path / "model.tflite"))


def apart(one, other):
    return max(float(np.abs(a - b).max()) for a, b in zip(one, other, strict=True))


def test_int8_is_ours_to_the_last_digit(graph):
    """What the committed file answers is what our whole numbers give."""
    x = pictures(12)
    given = BACKEND.run(FILE, x)
    assert apart(given, eager_runner(lambda x: int8_arithmetic.Interpreter(graph).run(x))(x)) < 1e-6
    assert np.ptp(given[0], axis=0).max() > 0.02


def test_all_of_it_is_int8_and_in_one_delegate():
    found = BACKEND.delegation(FILE, 6)
    assert (found.heavy_delegated, found.heavy_quantized, found.partitions) == (6, 6, 1)
    assert not found.portable
    assert not {"MINIMUM", "MAXIMUM"} & found.delegated.keys()


def test_the_graph_for_the_converter_computes_the_same(graph):
    changed = litert_graph.unfolded(graph)
    x = torch.from_numpy(pictures(4).astype(np.float32))
    with torch.inference_mode():
        assert torch.equal(changed(x), graph(x))
    kinds = [str(node.target) for node in changed.graph.nodes]
    assert not any("hardtanh" in kind for kind in kinds)
    weights = [
        node.args[0].op
        for node in changed.graph.nodes
        if "dequantize_per_channel" in str(node.target)
    ]
    assert set(weights) == {"call_function"}


def test_a_clamp_that_levels_do_not_replace_stays(graph):
    """Where levels reach beyond the clamp's bound of 6, saturation is another thing."""
    wider = litert_graph.copy.deepcopy(graph)
    for clamp in [one for one in wider.graph.nodes if "hardtanh" in str(one.target)]:
        (quantise,) = clamp.users
        arguments = list(quantise.args)
        arguments[1] = 7 / 255
        quantise.args = tuple(arguments)
    clamps = sum("hardtanh" in str(one.target) for one in wider.graph.nodes)
    left = litert_graph.unfolded(wider)
    assert sum("hardtanh" in str(one.target) for one in left.graph.nodes) == clamps > 0


def test_it_says_of_itself_what_it_is(copy):
    said = BACKEND.constants(copy)
    assert said["labels"] == [label.key for label in LABELS]
    opened = litert_file.interpreter(copy)
    assert [one["name"] for one in opened.get_input_details()] == ["image"]
    assert [one["name"] for one in opened.get_output_details()] == ["probabilities"]
    data = copy.read_bytes()
    assert b"torch.nn" not in data
    assert sum(litert_file.byte_table(copy).values()) == len(data)


def test_metadata_are_rewritten_and_the_network_is_not(copy):
    BACKEND.rewrite(copy, {"threshold": 0.75, "rescale": [1.0, 0.5]})
    assert BACKEND.constants(copy)["threshold"] == 0.75
    assert BACKEND.constants(copy)["labels"] == [label.key for label in LABELS]
    assert BACKEND.network_hash(copy) == BACKEND.network_hash(FILE)
    x = pictures(3)
    assert apart(BACKEND.run(copy, x), BACKEND.run(FILE, x)) == 0
    model = litert_file.read(copy)
    weights = max(model.buffers, key=lambda one: 0 if one.data is None else len(one.data))
    weights.data = weights.data ^ np.uint8(1)
    copy.write_bytes(litert_file.packed(model))
    assert BACKEND.network_hash(copy) != BACKEND.network_hash(FILE)


def test_weights_lie_where_kernels_want_them(copy):
    model = litert_file.read(copy)
    data = copy.read_bytes()
    large = [
        bytes(one.data) for one in model.buffers if one.data is not None and len(one.data) > 64
    ]
    assert large
    assert all(data.index(each) % litert_file.ALIGNMENT == 0 for each in large)


@pytest.mark.parametrize("damage", ["half", "other", "empty", "offset"])
def test_what_is_no_file_of_ours_is_told(copy, damage):
    whole = copy.read_bytes()
    copy.write_bytes(
        {
            "half": whole[: len(whole) // 2],
            "other": b"PK\3\4" + bytes(200),
            "empty": b"",
            "offset": b"\xff\xff\xff\x7f" + whole[4:],
        }[damage]
    )
    with pytest.raises(UserError, match=r"model\.tflite: .*export again"):
        BACKEND.constants(copy)
    with pytest.raises(UserError, match=r"model\.tflite: .*export again"):
        BACKEND.run(copy, pictures(1))


def test_another_input_is_told(copy):
    with pytest.raises(UserError, match="input's shape"):
        BACKEND.run(copy, pictures(1)[:, :, 1:])
    with pytest.raises(UserError, match="no such model file"):
        BACKEND.constants(copy.with_name("none.tflite"))


def test_the_missing_extra_is_told_before_anything_is_lowered(monkeypatch, tmp_path):
    monkeypatch.setattr(
        "mobilekd.backends.shared.described_file.importlib.util.find_spec", lambda name: None
    )
    with pytest.raises(
        UserError, match=r"ai-edge-litert is not installed; pip install 'mobilekd\["
    ):
        export("no-such-run", backend="litert", output=tmp_path / "out")
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(UserError, match="ai-edge-litert is not installed"):
        litert_file.interpreter(FILE)
    assert not list(tmp_path.iterdir())


def test_a_converter_that_refuses_is_told_in_a_line(monkeypatch, tmp_path, graph):
    """The real script, in this environment, which has no converter."""
    from mobilekd.backends.shared import litert_converter

    monkeypatch.setattr(litert_converter, "environment", lambda: Path(sys.executable))
    program = torch.export.export(small("v2"), (EXAMPLE,), strict=False)
    with pytest.raises(UserError, match=r"the converter refuses this student.*litert_torch"):
        litert_converter.convert(program, tmp_path / "model.tflite", "fp32")
    assert not list(tmp_path.iterdir())


def another_code(model):
    model.subgraphs[0].operators[0].opcodeIndex = len(model.operatorCodes)


def another_tensor(model):
    model.subgraphs[0].operators[0].inputs = [len(model.subgraphs[0].tensors)]


def tensor_from_behind(model):
    heavy = next(litert_file.heavy_operators(model))
    heavy.inputs = [heavy.inputs[0], -len(model.subgraphs[0].tensors) - 1]


def weights_left_out(model):
    heavy = next(litert_file.heavy_operators(model))
    heavy.inputs = [heavy.inputs[0], -1]


def another_buffer(model):
    model.subgraphs[0].tensors[0].buffer = len(model.buffers)


def without_weights(model):
    heavy = next(litert_file.heavy_operators(model))
    heavy.inputs = heavy.inputs[:1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (another_code, "points at a part"),
        (another_tensor, "points at a part"),
        (another_buffer, "points at a part"),
        (tensor_from_behind, "points at a part"),
        (weights_left_out, "an operator CONV_2D without weights"),
        (without_weights, "an operator CONV_2D without weights"),
    ],
)
def test_a_graph_that_lacks_parts_is_told_wherever_it_is_read(copy, change, said):
    model = litert_file.read(copy)
    change(model)
    copy.write_bytes(litert_file.packed(model))
    for read in (BACKEND.constants, BACKEND.network_hash, litert_file.byte_table):
        with pytest.raises(UserError, match=rf"model\.tflite: not a readable .* \(.*{said}"):
            read(copy)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_converter_writes_the_committed_file(tmp_path):
    """Weights bit by bit. Ranges of activations come from sums in float32, whose order is the
    processor's own: ``n`` terms are summed with an error below ``n * 2**-24`` of their magnitudes.
    Here nine operators follow each other, and none sums more than 256 terms.
    """
    made, kept = (litert_file.read(path) for path in (lowered("int8", tmp_path).model_path, FILE))
    assert litert_file.kinds(made) == litert_file.kinds(kept)
    bound = 9 * 256 * 2**-24
    for one, other in zip(made.subgraphs[0].tensors, kept.subgraphs[0].tensors, strict=True):
        assert (one.name, one.type, list(one.shape)) == (other.name, other.type, list(other.shape))
        for field in ("scale", "zeroPoint"):
            pair = [getattr(each.quantization, field, None) for each in (one, other)]
            assert np.allclose(*[[] if each is None else each for each in pair], rtol=bound, atol=0)
        data, wanted = (
            np.asarray([] if each.data is None else each.data, np.uint8)
            for each in (made.buffers[one.buffer], kept.buffers[other.buffer])
        )
        if one.type == litert_file.library("schema_py_generated").TensorType.INT32:  # a bias
            values, expected = data.view(np.int32), wanted.view(np.int32)
            assert np.allclose(values, expected, rtol=2 * bound, atol=1)
        else:
            assert np.array_equal(data, wanted)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("precision", ["fp32", "mixed"])
def test_the_converted_file_answers_as_eager(precision, tmp_path):
    made = lowered(precision, tmp_path)
    x = pictures(6)
    given = BACKEND.run(made.model_path, x)
    assert apart(given, made.eager_reference(x)) < 1e-5
    names = ["probabilities", "cam"] if precision == "fp32" else ["probabilities"]
    opened = litert_file.interpreter(made.model_path)
    assert [one["name"] for one in opened.get_output_details()] == names
    if precision == "mixed":
        assert made.delegation.heavy_quantized == made.delegation.heavy_total - 1 == 5
