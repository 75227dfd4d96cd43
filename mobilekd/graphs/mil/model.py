"""A saved package as a whole: its files, what goes in and comes out, its metadata, and its
answers.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from coremltools.proto import FeatureTypes_pb2, Model_pb2
from google.protobuf.message import DecodeError
from torch import Tensor

from mobilekd.graphs.mil.program import Program
from mobilekd.graphs.mil.values import MilError, enum_name, the_one

#: Specification version -> least iOS.
SPECIFICATIONS = {6: 15, 7: 16, 8: 17, 9: 18}


class Model:
    """An ``.mlpackage`` with one input, an RGB image or a float array of its shape, ``[1, 3, H,
    W]``.

    The first output is the probabilities: a classifier's dictionary or a plain array. ``labels`` is
    None for the latter.
    """

    def __init__(self, package: Path) -> None:
        spec, files = read_package(package)
        if spec.WhichOneof("Type") != "mlProgram":
            raise MilError(
                f"{package}: holds a {spec.WhichOneof('Type')}, the interpreter knows mlProgram"
            )
        if spec.isUpdatable or spec.description.functions:
            raise MilError(
                f"{package}: updatable or multi-function models are not known to the interpreter"
            )
        self.program = Program(spec.mlProgram, files)
        self.least_ios = SPECIFICATIONS.get(spec.specificationVersion, 0)
        if self.least_ios != self.program.least_ios:
            raise MilError(
                f"specification version {spec.specificationVersion} does not go with its opset (iOS"
                f" {self.program.least_ios})"
            )
        self._description = spec.description
        self.metadata: dict[str, str] = dict(spec.description.metadata.userDefined)
        self.author: str = spec.description.metadata.author
        self.license: str = spec.description.metadata.license
        self.short_description: str = spec.description.metadata.shortDescription
        self.input, self.size = self._read_input()
        self.labels = self._read_outputs()
        self.output_names = tuple(item.name for item in spec.description.output)

    def answers(self, x: Tensor, trace: dict[str, Tensor] | None = None) -> tuple[np.ndarray, ...]:
        """float32 ``[1, 3, H, W]`` RGB 0..255 -> probabilities ``[1, C]`` and the other outputs, in
        the description's order.
        """
        outputs = self.program.run({self.input: self._feature(x)}, trace)
        first = outputs.pop(self._probabilities)
        if self.labels is not None:
            outputs.pop(self._description.predictedFeatureName)
            first = torch.tensor([[first[label] for label in self.labels]])
        return tuple(value.numpy().astype(np.float32) for value in (first, *outputs.values()))

    def _read_input(self) -> tuple[str, tuple[int, int]]:
        """Name and (height, width) of the one input; description and program must agree."""
        if len(self._description.input) != 1 or [
            item.name for item in self._description.input
        ] != list(self.program.inputs):
            raise MilError(
                f"inputs {list(self.program.inputs)} of the program are not the one that the"
                " description names"
            )
        feature = self._description.input[0]
        declared = self.program.inputs[feature.name]
        if len(declared.shape) != 4 or None in declared.shape or declared.shape[:2] != (1, 3):
            raise MilError(
                f"input {feature.name}: shape {declared.shape}, expected (1, 3, height, width)"
            )
        height, width = int(declared.shape[2] or 0), int(declared.shape[3] or 0)
        kind = feature.type.WhichOneof("Type")
        if kind == "imageType":
            image = feature.type.imageType
            if image.WhichOneof("SizeFlexibility") is not None or (image.height, image.width) != (
                height,
                width,
            ):
                raise MilError(
                    f"input {feature.name}: an image of {image.width} x {image.height}, the program"
                    f" takes {width} x {height}"
                )
        elif kind == "multiArrayType":
            array = feature.type.multiArrayType
            if tuple(array.shape) != declared.shape or _array_type(array) != declared.dtype:
                raise MilError(
                    f"input {feature.name}: the description's array is not the program's"
                    f" {declared.dtype} {declared.shape}"
                )
        else:
            raise MilError(f"input {feature.name}: {kind} is not known to the interpreter")
        return feature.name, (height, width)

    def _read_outputs(self) -> tuple[str, ...] | None:
        """A classifier's labels in the order of its probabilities; sets the name of the output that
        holds them.
        """
        described = {item.name: item.type for item in self._description.output}
        if set(described) != set(self.program.outputs):
            raise MilError(
                f"outputs {sorted(described)} of the description are not the program's"
                f" {sorted(self.program.outputs)}"
            )
        for name, feature in described.items():
            declared = self.program.types[name]
            kind = feature.WhichOneof("Type")
            expected = {"STRING": "stringType", "dictionaryType": "dictionaryType"}.get(
                declared.dtype, "multiArrayType"
            )
            if kind != expected or (
                kind == "multiArrayType" and _array_type(feature.multiArrayType) != declared.dtype
            ):
                raise MilError(
                    f"output {name}: described as {kind}, the program computes {declared.dtype}"
                )
        classifiers = [step for step in self.program.steps if step.kind == "classify"]
        if not classifiers:
            self._probabilities = self.program.outputs[0]
            return None
        step = the_one(classifiers, "operations that classify")
        predicted = (
            self._description.predictedFeatureName,
            self._description.predictedProbabilitiesName,
        )
        if predicted != tuple(name for name, _ in step.results):
            raise MilError(
                f"the description's predicted features {predicted} are not those that classify"
                " computes"
            )
        if not set(predicted) <= set(described):
            raise MilError(f"the predicted features {predicted} are no outputs of the description")
        self._probabilities = predicted[1]
        (classes,) = step.arguments["classes"]
        labels = self.program.constants.get(classes) if isinstance(classes, str) else classes
        if labels is None or not all(isinstance(label, str) for label in labels.data):
            raise MilError("op classify: its classes are no constant list of names")
        return tuple(labels.data)

    def _feature(self, x: Tensor) -> Tensor:
        """What Core ML hands to the program: an image's bytes in the declared channel order, or the
        array as it is.
        """
        feature = self._description.input[0].type
        if feature.WhichOneof("Type") != "imageType":
            return x
        if not bool(((x == x.round()) & (x >= 0) & (x <= 255)).all()):
            raise MilError("an image input takes whole numbers between 0 and 255")
        color = enum_name(
            FeatureTypes_pb2.ImageFeatureType.ColorSpace, feature.imageType.colorSpace
        )
        if color == "RGB":
            return x
        if color == "BGR":
            return x.flip(1)
        raise MilError(f"colour space {color}: not known to the interpreter")


def read_package(package: Path) -> tuple[Any, dict[str, bytes]]:
    """The decoded protobuf and the weight files by name."""
    try:
        manifest = json.loads((package / "Manifest.json").read_text(encoding="utf-8"))
        root = (
            package / "Data" / manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
        )
        spec = Model_pb2.Model.FromString(root.read_bytes())
        files = {
            path.name: path.read_bytes()
            for path in (root.parent / "weights").glob("*")
            if path.is_file()
        }
    except (OSError, ValueError, KeyError, TypeError, DecodeError) as error:
        raise MilError(f"{package}: not a readable Core ML package ({error!r})") from None
    return spec, files


def _array_type(array: Any) -> str:
    return enum_name(FeatureTypes_pb2.ArrayFeatureType.ArrayDataType, array.dataType)
