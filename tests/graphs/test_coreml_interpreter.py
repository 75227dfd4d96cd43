"""The interpreter's ops against coremltools' own definitions, and its reading of packed bits."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mobilekd.backends.shared.coreml_file import quiet

with quiet():
    from coremltools.converters.mil.mil import Builder, types
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    from mobilekd.graphs.mil.ops import OPS
    from mobilekd.graphs.mil.values import MilError, blob, unpack_bits

#: MIL's definitions per op: opset -> class. ``classify`` takes its classes as a literal.
DEFINITIONS = {name: SSAOpRegistry.core_ops[name] for name in OPS}


@pytest.mark.parametrize("name", sorted(OPS))
def test_parameters_are_mils(name):
    parameters = inspect.signature(OPS[name].function).parameters
    ours = {key for key in parameters if not key.startswith("_")}
    for definition in DEFINITIONS[name].values():
        theirs = set(definition.input_spec.input_types)
        assert ours <= theirs, f"{name}: unknown to MIL: {ours - theirs}"
        required = {
            key for key, kind in definition.input_spec.input_types.items() if not kind.optional
        }
        assert required <= ours
        assert {
            key for key in ours if parameters[key].default is inspect.Parameter.empty
        } <= required


def numbers(*shape):
    return np.random.default_rng(5).normal(0, 2, shape).astype(np.float32)


X, POSITIVE = numbers(2, 3, 4), np.abs(numbers(2, 3, 4)) + 0.1
#: (op, tensors, constants): ops whose value coremltools itself can infer from constants.
CASES = [
    ("add", {"x": X, "y": numbers(4)}, {}),
    ("sub", {"x": X, "y": numbers(3, 1)}, {}),
    ("mul", {"x": X, "y": numbers(1)}, {}),
    ("real_div", {"x": X, "y": POSITIVE}, {}),
    ("maximum", {"x": X, "y": -X}, {}),
    ("minimum", {"x": X, "y": -X}, {}),
    ("pow", {"x": POSITIVE, "y": X}, {}),
    ("relu", {"x": X}, {}),
    ("relu6", {"x": X * 4}, {}),
    ("sigmoid", {"x": X}, {}),
    ("tanh", {"x": X}, {}),
    ("exp", {"x": X}, {}),
    ("sqrt", {"x": POSITIVE}, {}),
    ("square", {"x": X}, {}),
    ("abs", {"x": X}, {}),
    ("erf", {"x": X}, {}),
    ("clip", {"x": X}, {"alpha": -0.5, "beta": 1.25}),
    ("sigmoid_hard", {"x": X}, {"alpha": 0.25, "beta": 0.5}),
    ("thresholded_relu", {"x": X}, {"alpha": -0.5}),
    ("leaky_relu", {"x": X}, {"alpha": 0.125}),
    ("gelu", {"x": X}, {"mode": "EXACT"}),
    ("gelu", {"x": X}, {"mode": "TANH_APPROXIMATION"}),
    ("gelu", {"x": X}, {"mode": "SIGMOID_APPROXIMATION"}),
    ("softmax", {"x": X}, {"axis": 1}),
    ("linear", {"x": X, "weight": numbers(5, 4), "bias": numbers(5)}, {}),
    ("matmul", {"x": X, "y": X}, {"transpose_y": True}),
    ("reduce_mean", {"x": X}, {"axes": [0, -1], "keep_dims": True}),
    ("reduce_sum", {"x": X}, {"axes": [1], "keep_dims": False}),
    ("reduce_max", {"x": X}, {"axes": [2], "keep_dims": False}),
    ("reduce_min", {"x": X}, {"axes": [0, 2], "keep_dims": True}),
    ("reshape", {"x": X}, {"shape": [6, -1]}),
    ("reshape", {"x": X}, {"shape": [0, -1, 2]}),
    ("transpose", {"x": X}, {"perm": [2, 0, 1]}),
    ("expand_dims", {"x": X}, {"axes": [0, -1]}),
    ("squeeze", {"x": X[:, :1]}, {"axes": [1]}),
    ("split", {"x": X}, {"axis": 2, "num_splits": 2}),
    ("split", {"x": X}, {"axis": 1, "split_sizes": [1, 2]}),
]


@pytest.mark.parametrize(
    ("name", "tensors", "constants"),
    CASES,
    ids=[f"{number}-{case[0]}" for number, case in enumerate(CASES)],
)
def test_values_are_mils(name, tensors, constants):
    inferred = []

    @Builder.program(input_specs=[Builder.TensorSpec(shape=(1,), dtype=types.fp32)])
    def _program(x):
        found = getattr(Builder, name)(**tensors, **constants)
        inferred.extend(found if isinstance(found, (list, tuple)) else [found])
        return x

    ours = OPS[name].function(
        **{key: torch.from_numpy(value) for key, value in tensors.items()}, **constants
    )
    ours = ours if isinstance(ours, list) else [ours]
    assert len(ours) == len(inferred)
    for one, other in zip(ours, inferred, strict=True):
        assert other.val is not None, "coremltools infers no value here; the case proves nothing"
        np.testing.assert_allclose(one.numpy(), other.val, rtol=2e-5, atol=2e-6)


@settings(max_examples=50, deadline=None)
@given(
    st.integers(5, 40),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(1, 2),
    st.sampled_from(["valid", "same", "same_lower"]),
)
def test_padding_gives_mils_output_size(size, kernel, stride, dilation, pad_type):
    reach = (kernel - 1) * dilation + 1
    if pad_type == "valid" and reach > size:
        return
    result = OPS["conv"].function(
        torch.ones(1, 1, size, size),
        torch.ones(1, 1, kernel, kernel),
        None,
        [stride] * 2,
        pad_type,
        None,
        [dilation] * 2,
    )
    expected = -(-size // stride) if pad_type != "valid" else (size - reach) // stride + 1
    assert tuple(result.shape) == (1, 1, expected, expected)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 6), st.booleans(), st.lists(st.integers(0, 63), max_size=40))
def test_packed_bits_come_back(bits, signed, numbers):
    numbers = [number % (1 << bits) for number in numbers]
    stream = sum(number << (index * bits) for index, number in enumerate(numbers))
    raw = stream.to_bytes((len(numbers) * bits + 7) // 8, "little")
    expected = [
        number - (1 << bits) if signed and number >> (bits - 1) else number for number in numbers
    ]
    assert unpack_bits(raw, len(numbers), bits, signed=signed).tolist() == expected


def test_a_weight_file_without_a_record_is_refused():
    with pytest.raises(MilError, match="ends before"):
        blob(b"\0" * 32, 64, "FLOAT16", (2,))
    with pytest.raises(MilError, match="no record"):
        blob(b"\0" * 256, 64, "FLOAT16", (2,))
    with pytest.raises(MilError, match="FLOAT64"):
        blob(b"\0" * 256, 64, "FLOAT64", (2,))


def test_what_is_not_known_is_refused_by_name():
    x = torch.zeros(1, 2, 4, 4)
    for name, arguments, pattern in [
        ("max_pool", {"kernel_sizes": [2, 2], "ceil_mode": True}, "ceil_mode"),
        ("gelu", {"mode": "OTHER"}, "OTHER"),
        ("cast", {"dtype": "int32"}, "int32"),
        ("split", {"axis": 1, "num_splits": 3}, "equal parts"),
        ("reshape", {"shape": [0, -1]}, "rank"),
    ]:
        with pytest.raises(MilError, match=pattern):
            OPS[name].function(x, **arguments)


def test_it_shares_no_code_with_the_exporter():
    """It imports itself, the error's class, and coremltools' generated protobuf readers; nothing
    that converts or compresses.
    """
    from mobilekd.graphs import mil

    for path in Path(mil.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [getattr(node, "module", None) or ""]
            )
            for name in names if isinstance(node, (ast.Import, ast.ImportFrom)) else []:
                if name.startswith("mobilekd"):
                    assert name.startswith(("mobilekd.graphs.mil", "mobilekd.support.errors")), (
                        f"{path.name}: {name}"
                    )
                assert not name.startswith("coremltools") or name == "coremltools.proto", (
                    f"{path.name}: {name}"
                )
