"""Faults planted in a saved package, below any hash: each must make the check fail, and the unknown
is named.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from coremltools.proto import FeatureTypes_pb2, MIL_pb2, Model_pb2
from fixtures.coreml import made

from mobilekd import backends
from mobilekd.backends.shared.coreml_file import interpreted_layers
from mobilekd.graphs import torch_nodes
from mobilekd.graphs.mil import MilError, Model
from mobilekd.lowering import parity

__all__ = ["made"]

PROGRAM = "Data/com.apple.CoreML/model.mlmodel"
WEIGHTS = "Data/com.apple.CoreML/weights/weight.bin"


class Package:
    """A copy of a package to plant a fault in."""

    def __init__(self, lowered, folder: Path) -> None:
        self.made = lowered
        self.path = folder / "model.mlpackage"
        shutil.copytree(lowered.path, self.path)
        self.spec = Model_pb2.Model.FromString((self.path / PROGRAM).read_bytes())
        function = self.spec.mlProgram.functions["main"]
        self.block = function.block_specializations[function.opset]

    def save(self) -> None:
        (self.path / PROGRAM).write_bytes(self.spec.SerializeToString())

    def op(self, kind: str, number: int = 0):
        return [operation for operation in self.block.operations if operation.type == kind][number]

    def constant(self, operation, argument: str):
        """The ``Value`` bound to an argument: the literal itself, or the constant that the name
        refers to.
        """
        if argument in operation.attributes:
            return operation.attributes[argument]
        bound = operation.inputs[argument].arguments[0]
        if bound.WhichOneof("binding") == "value":
            return bound.value
        return next(
            item
            for item in self.block.operations
            if item.outputs and item.outputs[0].name == bound.name
        ).attributes["val"]

    def set_fp16(self, operation, argument: str, change) -> None:
        """Replace an immediate fp16 constant by ``change`` of it."""
        values = self.constant(operation, argument).immediateValue.tensor
        old = np.frombuffer(values.bytes.values, "<f2")
        values.bytes.values = change(old).astype("<f2").tobytes()

    def blob(self, operation, argument: str) -> tuple[int, int]:
        """Where the data of a constant lie in the weight file: start and size."""
        record = self.constant(operation, argument).blobFileValue.offset
        header = np.frombuffer((self.path / WEIGHTS).read_bytes()[record + 8 : record + 24], "<u8")
        return int(header[1]), int(header[0])

    def patch(self, start: int, change) -> None:
        data = bytearray((self.path / WEIGHTS).read_bytes())
        change(data, start)
        (self.path / WEIGHTS).write_bytes(bytes(data))


def passes(package: Package) -> bool:
    """What ``verify`` asks of an artifact: its facts are the manifest's, its answers are the golden
    ones.
    """
    backend = backends.get("coreml")
    try:
        said = backend.constants(package.path)
        answers = backend.run(package.path, package.made.inputs)
    except MilError:
        return False
    return (
        said == package.made.constants
        and float(np.abs(answers[0] - package.made.golden).max()) <= 1e-3
    )


# --- the faults -----------------------------------------------------------------
def swapped_labels(package):
    names = package.constant(package.op("classify"), "classes").immediateValue.list.values
    first, second = (item.immediateValue.tensor.strings.values for item in (names[0], names[1]))
    first[0], second[0] = second[0], first[0]


def swapped_labels_and_metadata(package):
    swapped_labels(package)
    fields = package.spec.description.metadata.userDefined
    labels = json.loads(fields["mobilekd.labels"])
    fields["mobilekd.labels"] = json.dumps([labels[1], labels[0], *labels[2:]])


def changed_mean(package):
    package.set_fp16(package.op("sub"), "y", lambda old: old[::-1] - 20)


def wrong_stride(package):
    package.constant(package.op("conv"), "strides").immediateValue.tensor.ints.values[:] = [1, 1]


def wrong_padding(package):
    package.constant(package.op("conv"), "pad").immediateValue.tensor.ints.values[:] = [0, 2, 0, 2]


def wrong_groups(package):
    package.constant(package.op("conv", 2), "groups").immediateValue.tensor.ints.values[:] = [1]


def flipped_weight_bytes(package):
    start, size = package.blob(package.op("conv", -1), "weight")

    def flip(data, at):
        data[at + 1 : at + size : 2] = bytes(byte ^ 0x80 for byte in data[at + 1 : at + size : 2])

    package.patch(start, flip)


def flipped_record(package):
    start, _ = package.blob(package.op("conv", -1), "weight")
    package.patch(start - 64, lambda data, at: data.__setitem__(at, data[at] ^ 1))


def changed_clip_bound(package):
    package.set_fp16(package.op("clip"), "beta", lambda old: old * 0 + 1)


def swapped_inputs_of_sub(package):
    inputs = package.op("sub").inputs
    x, y = inputs["x"].arguments[0].name, inputs["y"].arguments[0].name
    inputs["x"].arguments[0].name, inputs["y"].arguments[0].name = y, x


def changed_reshape(package):
    shape = package.constant(package.op("reshape"), "shape").immediateValue.tensor.ints.values
    shape[:] = [2, *shape[1:]]


def changed_dtype(package):
    package.op("conv").outputs[0].type.tensorType.dataType = MIL_pb2.DataType.Value("FLOAT32")


def changed_shape(package):
    package.op("conv").outputs[0].type.tensorType.dimensions[1].constant.size += 1


def removed_op(package):
    package.block.operations.remove(package.op("clip"))


def bypassed_op(package):
    clip = package.op("clip")
    before, after = clip.inputs["x"].arguments[0].name, clip.outputs[0].name
    for operation in package.block.operations:
        for argument in operation.inputs.values():
            for bound in argument.arguments:
                if bound.name == after:
                    bound.name = before


def truncated_weights(package):
    file = package.path / WEIGHTS
    file.write_bytes(file.read_bytes()[:-1500])


def missing_weights(package):
    (package.path / WEIGHTS).unlink()


def changed_temperature_in_the_graph(package):
    package.set_fp16(package.op("mul", -1), "y", lambda old: old * 1.3)


def changed_temperature_in_the_metadata(package):
    package.spec.description.metadata.userDefined["mobilekd.temperature"] = "1.0"


def blue_green_red(package):
    image = package.spec.description.input[0].type.imageType
    image.colorSpace = FeatureTypes_pb2.ImageFeatureType.ColorSpace.Value("BGR")


def other_image_size(package):
    package.spec.description.input[0].type.imageType.width *= 2


def softmax_over_another_axis(package):
    package.constant(package.op("softmax"), "axis").immediateValue.tensor.ints.values[:] = [0]


def changed_quantisation_scale(package):
    start, size = package.blob(package.op("constexpr_affine_dequantize"), "scale")
    package.patch(
        start,
        lambda data, at: data.__setitem__(
            slice(at + 1, at + size, 2), bytes(b ^ 0x04 for b in data[at + 1 : at + size : 2])
        ),
    )


def changed_palette(package):
    start, size = package.blob(package.op("constexpr_lut_to_dense"), "lut")
    package.patch(
        start,
        lambda data, at: data.__setitem__(slice(at, at + size), bytes(data[at : at + size])[::-1]),
    )


def older_opset(package):
    package.spec.specificationVersion += 1


FAULTS = [
    ("fp16", swapped_labels),
    ("fp16", swapped_labels_and_metadata),
    ("fp16", changed_mean),
    ("fp16", wrong_stride),
    ("fp16", wrong_padding),
    ("fp16", wrong_groups),
    ("fp16", flipped_weight_bytes),
    ("fp16", flipped_record),
    ("fp16", changed_clip_bound),
    ("fp16", swapped_inputs_of_sub),
    ("fp16", changed_reshape),
    ("fp16", changed_dtype),
    ("fp16", changed_shape),
    ("fp16", removed_op),
    ("fp16", bypassed_op),
    ("fp16", truncated_weights),
    ("fp16", missing_weights),
    ("fp16", changed_temperature_in_the_graph),
    ("fp16", changed_temperature_in_the_metadata),
    ("fp16", blue_green_red),
    ("fp16", other_image_size),
    ("fp16", softmax_over_another_axis),
    ("fp16", older_opset),
    ("int8", changed_quantisation_scale),
    ("palette", changed_palette),
]


@pytest.mark.parametrize(
    "manifest",
    [
        "1",
        "[]",
        "{}",
        '{"itemInfoEntries": 7, "rootModelIdentifier": "a"}',
        '{"itemInfoEntries": {"a": 7}, "rootModelIdentifier": "a"}',
        '{"itemInfoEntries": {"a": {"path": 7}}, "rootModelIdentifier": "a"}',
        '{"itemInfoEntries": {"a": {"path": ""}}, "rootModelIdentifier": []}',
    ],
)
def test_a_manifest_of_another_form_is_told(made, tmp_path, manifest):
    package = Package(made("v2", "fp32"), tmp_path)
    (package.path / "Manifest.json").write_text(manifest)
    with pytest.raises(MilError, match=r"model\.mlpackage: not a readable Core ML package"):
        Model(package.path)


@pytest.mark.parametrize(
    ("precision", "plant"), FAULTS, ids=[plant.__name__ for _, plant in FAULTS]
)
def test_a_planted_fault_fails_the_check(made, tmp_path, precision, plant):
    package = Package(made("v2", precision), tmp_path)
    assert passes(package), "the check must pass before the fault"
    plant(package)
    package.save()
    assert not passes(package)


def test_an_unknown_op_is_named(made, tmp_path):
    package = Package(made("v2", "fp16"), tmp_path)
    package.op("clip").type = "instance_norm"
    package.save()
    with pytest.raises(MilError, match="instance_norm"):
        backends.get("coreml").run(package.path, package.made.inputs)


def _constant_type_without_name(package):
    package.constant(package.op("conv"), "weight").type.tensorType.dataType = 96


def _colour_space_without_name(package):
    package.spec.description.input[0].type.imageType.colorSpace = 96


def _array_type_without_name(package):
    output = next(
        item.type
        for item in package.spec.description.output
        if item.type.WhichOneof("Type") != "stringType"
    )
    output.multiArrayType.dataType = 96


def _constant_of_two_results(package):
    package.op("const").outputs.append(package.op("clip").outputs[0])


def _constant_too_large_for_its_type(package):
    value = package.constant(package.op("reshape"), "shape")
    value.type.tensorType.dataType = MIL_pb2.DataType.Value("INT8")
    value.immediateValue.tensor.ints.values[:] = [
        300 for _ in value.immediateValue.tensor.ints.values
    ]


def _no_result(package):
    del package.op("softmax").outputs[:]


def _classified_twice(package):
    again = package.block.operations.add()
    again.CopyFrom(package.op("classify"))
    for number, output in enumerate(again.outputs):
        output.name = f"again_{number}"


def _predicted_feature_elsewhere(package):
    package.spec.description.predictedFeatureName = "other"


def _labels_without_names(package):
    classes = package.op("classify").inputs["classes"]
    classes.CopyFrom(package.op("conv").inputs["weight"])


@pytest.mark.parametrize(
    "plant",
    [
        _constant_type_without_name,
        _colour_space_without_name,
        _array_type_without_name,
        _constant_of_two_results,
        _constant_too_large_for_its_type,
        _no_result,
        _classified_twice,
        _predicted_feature_elsewhere,
        _labels_without_names,
    ],
)
def test_what_a_damaged_file_declares_is_refused_in_words(made, tmp_path, plant):
    package = Package(made("v2", "fp16"), tmp_path)
    plant(package)
    package.save()
    with pytest.raises(MilError):
        backends.get("coreml").run(package.path, package.made.inputs)


def test_an_unknown_parameter_is_named(made, tmp_path):
    package = Package(made("v2", "fp16"), tmp_path)
    clip = package.op("clip")
    clip.inputs["gamma"].CopyFrom(clip.inputs["alpha"])
    package.save()
    with pytest.raises(MilError, match="gamma"):
        backends.get("coreml").run(package.path, package.made.inputs)


def test_an_unknown_type_is_named(made, tmp_path):
    package = Package(made("v2", "fp16"), tmp_path)
    weight = package.constant(package.op("conv"), "weight")
    weight.type.tensorType.dataType = MIL_pb2.DataType.Value("BFLOAT16")
    package.save()
    with pytest.raises(MilError, match="BFLOAT16"):
        backends.get("coreml").run(package.path, package.made.inputs)


def test_garbage_is_refused(made, tmp_path):
    package = Package(made("v2", "fp16"), tmp_path)
    (package.path / PROGRAM).write_bytes(b"\xff" * 100)
    with pytest.raises(MilError, match="not a readable Core ML package"):
        backends.get("coreml").run(package.path, package.made.inputs)


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_the_layer_of_a_flipped_weight_is_named(made, tmp_path, precision):
    """What a refused export says: the interpreter's layers beside eager's, the first that parts."""
    package = Package(made("v2", precision), tmp_path)
    lowered, x = package.made.lowered, package.made.inputs[:1].astype(np.float32)
    wanted = torch_nodes.layer_outputs(lowered.graph(), x)
    sound = dict(zip(wanted, lowered.saved_layers(x), strict=True))
    assert parity.first_mismatch(sound, wanted).sqnr_db > 30
    operation = (
        package.op("conv", 2)
        if precision == "fp16"
        else package.op("constexpr_affine_dequantize", 2)
    )
    start, size = package.blob(operation, "weight" if precision == "fp16" else "quantized_data")
    package.patch(
        start,
        lambda data, at: data.__setitem__(
            slice(at, at + size), bytes(byte ^ 0x80 for byte in data[at : at + size])
        ),
    )
    package.save()
    given = dict(zip(wanted, interpreted_layers(package.path, x), strict=True))
    assert parity.first_mismatch(given, wanted).layer == "depthwise.0"
