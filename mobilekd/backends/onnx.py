"""ONNX: a file for ONNX Runtime, on phones and elsewhere. fp32, and int8 with this package's own
ranges and corrections.

The quantised graph is written as it was proved, in the form that ONNX Runtime fuses into int8
kernels (QDQ); its own calibration has no part in it.
"""

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilekd.backends.base import Lowered, eager_runner
from mobilekd.backends.shared.described_file import DescribedFile
from mobilekd.formats.constants import Constants
from mobilekd.formats.parity_names import StageId
from mobilekd.graphs import onnx_file
from mobilekd.graphs.saturation import saturates
from mobilekd.support.errors import UserError
from mobilekd.support.files import write_bytes

if TYPE_CHECKING:
    import torch
    from torch import fx

#: What the extra ``onnx`` brings.
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
INPUT = "image"
#: The oldest that has every operator of ours; a phone's ONNX Runtime may be years old.
OPSET = 18
#: Levels that a quantised tensor of ours has (int8).
LOWEST, HIGHEST = -128, 127
OVERFLOW = (
    "an x86 processor without VNNI adds int8 products in 16 bits, which overflow, unless the"
    " session is told session.x64quantprecision=1; Arm processors are right without it"
)


class Onnx(DescribedFile):
    """A ``.onnx`` file: fp32, and int8 after training, with training or mixed."""

    name = "onnx"
    model_file = "model.onnx"
    runtime = "ONNX Runtime"
    on_device = "ONNX Runtime"
    reader = onnx_file
    package = "onnx"
    extra = "onnx"
    # its int8 kernels for Arm are others than those for x86: a student of 53 layers was 0.015 apart
    rounds_alike = False

    def refuse_missing(self, precision: str) -> None:
        """The exporter and the runtime are an extra's."""
        for package in PACKAGES:
            if importlib.util.find_spec(package) is None:
                raise onnx_file.missing(package)

    def lower(
        self,
        model: "fx.GraphModule",
        example: "torch.Tensor",
        precision: str,
        constants: Constants,
        folder: Path,
    ) -> Lowered:
        """Write ``model.onnx`` for a batch of one."""
        from mobilekd.graphs import int8_arithmetic

        path, quantised = folder / self.model_file, precision != "fp32"
        file, heavy = convert(model, example)
        if quantised:
            join_quantised(file.graph)
        describe(file, model, constants)
        onnx_file.library("onnx").checker.check_model(file)
        write_bytes(path, file.SerializeToString(deterministic=True))
        return Lowered(
            model_path=path,
            delegation=self.delegation(path, heavy),
            eager_reference=(
                eager_runner(lambda x: int8_arithmetic.OnnxRuntimeInterpreter(model).run(x))
                if quantised
                else eager_runner(model)
            ),
            reference=StageId.EAGER_QUANTISED if quantised else StageId.EAGER,
            lowered=lambda x: onnx_file.run(path, x, optimised=False),
            memory=onnx_file.byte_table(path),
            notes=(_made_by(), *((OVERFLOW,) if quantised else ())),
            graph=lambda: model,
            layers=lambda x: onnx_file.layer_outputs(path, x),
            saved_layers=lambda x: onnx_file.layer_outputs(path, x),
        )


def convert(model: "fx.GraphModule", example: "torch.Tensor") -> tuple[Any, int]:
    """torch's own exporter: a ``ModelProto``, and how many layers with weights went in."""
    import torch

    from mobilekd.graphs import torch_nodes

    exported = torch.export.export(model, (example,), strict=False)
    heavy = len(list(torch_nodes.heavy_nodes(model)))
    try:
        with _quiet():
            program = torch.onnx.export(
                exported,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[INPUT],
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).partition("\n")[0]
        raise UserError(
            f"--backend onnx: torch cannot convert this student ({reason}); choose another student"
        ) from None
    assert program is not None
    return program.model_proto, heavy


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of its own versions."""
    names = ("torch.onnx", "onnxscript", "onnx_ir")
    before = {name: logging.getLogger(name).level for name in names}
    try:
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in before.items():
            logging.getLogger(name).setLevel(level)


def join_quantised(graph: Any) -> None:
    """Bring a quantised graph into the form that ONNX Runtime fuses, its levels unchanged.

    A clamp in front of a quantiser goes where saturation does the same. Activations become uint8,
    the same levels counted from 0: that is what x86 kernels take, and a graph of int8 is rewritten
    on the way only in part. Each operator has a step and a zero point of its own, because ONNX
    Runtime changes them in place.
    """
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    _drop_saturated_clamps(graph, tensors)
    numpy = onnx_file.library("onnx").numpy_helper
    for number, node in enumerate(graph.node):
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        weights = node.op_type == "DequantizeLinear" and node.input[0] in tensors
        for place, kind in ((1, "step"), (2, "zero")):
            value = numpy.to_array(tensors[node.input[place]])
            if kind == "zero" and not weights:
                value = (value.astype(np.int16) - LOWEST).astype(np.uint8)
            name = f"{kind}_{number}"
            graph.initializer.append(numpy.from_array(value, name))
            node.input[place] = name
    # types that the exporter has noted are another's now
    del graph.value_info[:]
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _drop_saturated_clamps(graph: Any, tensors: dict[str, Any]) -> None:
    """Take out ``Clip`` and ``Relu`` in front of a quantiser whose lowest and highest level are
    those of the clamp.
    """
    numpy = onnx_file.library("onnx").numpy_helper
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)

    def bound(node: Any, place: int, otherwise: float) -> float:
        named = len(node.input) > place and node.input[place] in tensors
        return float(numpy.to_array(tensors[node.input[place]])) if named else otherwise

    for node in [one for one in graph.node if one.op_type in ("Clip", "Relu")]:
        users = readers.get(node.output[0], [])
        if len(users) != 1 or users[0].op_type != "QuantizeLinear":
            continue
        step = float(numpy.to_array(tensors[users[0].input[1]]))
        zero = int(numpy.to_array(tensors[users[0].input[2]]))
        low = bound(node, 1, 0.0 if node.op_type == "Relu" else -np.inf)
        high = bound(node, 2, np.inf)
        if saturates(low, high, step, zero, LOWEST, HIGHEST):
            users[0].input[0] = node.input[0]
            graph.node.remove(node)


def describe(file: Any, model: "fx.GraphModule", constants: Constants) -> None:
    """Name inputs, outputs and layers, put the constants into the metadata, and drop what the
    exporter wrote about the machine (stack traces with its paths).
    """
    from mobilekd.graphs import torch_nodes

    graph = file.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del file.metadata_props[:], graph.metadata_props[:]
    graph.doc_string, graph.name = "", str(constants.get("name", "network"))
    names = constants.get("outputs") or ["probabilities"]
    assert isinstance(names, list)
    renamed = {output.name: str(name) for output, name in zip(graph.output, names, strict=True)}
    for output in graph.output:
        output.name = renamed[output.name]
    for node in graph.node:
        for names_of in (node.input, node.output):
            for place, name in enumerate(names_of):
                names_of[place] = renamed.get(name, name)
    layers = [torch_nodes.layer_name(node) for node in torch_nodes.heavy_nodes(model)]
    heavy = list(onnx_file.heavy_nodes(graph))
    if len(layers) == len(heavy):
        for node, layer in zip(heavy, layers, strict=True):
            node.name = layer
    file.producer_name, file.producer_version = "mobilekd", ""
    file.doc_string = str(constants.get("card", ""))
    onnx_file.describe(file, constants)


def _made_by() -> str:
    versions = [f"{name} {onnx_file.library(name).__version__}" for name in PACKAGES]
    return f"made and proved with {', '.join(versions)}"


BACKEND = Onnx()
