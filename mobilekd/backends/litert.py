"""LiteRT (TensorFlow Lite): a ``.tflite`` file with preprocessing and probabilities inside. fp32,
and int8 with this package's own ranges and corrections.

The quantised graph goes to LiteRT's converter as it was proved, so that neither LiteRT's
calibration nor its rounding of weights has a part in the file.
"""

from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekd.backends.base import Lowered, eager_runner
from mobilekd.backends.shared import litert_converter
from mobilekd.backends.shared.described_file import DescribedFile
from mobilekd.formats.constants import Constants
from mobilekd.formats.parity_names import StageId
from mobilekd.graphs import litert_file
from mobilekd.support.files import write_bytes

if TYPE_CHECKING:
    import torch
    from torch import fx

INPUT = "image"


class LiteRT(DescribedFile):
    """A ``.tflite`` file: fp32, and int8 after training, with training or mixed."""

    name = "litert"
    model_file = "model.tflite"
    runtime = "LiteRT"
    on_device = "LiteRT (XNNPACK)"
    reader = litert_file
    package = "ai_edge_litert"
    extra = "litert"

    def refuse_missing(self, precision: str) -> None:
        """The runtime is an extra's; the converter makes itself an environment."""
        if not self.readable():
            raise litert_file.missing()

    def lower(
        self,
        model: "fx.GraphModule",
        example: "torch.Tensor",
        precision: str,
        constants: Constants,
        folder: Path,
    ) -> Lowered:
        """Write ``model.tflite`` for a batch of one."""
        import torch

        from mobilekd.graphs import int8_arithmetic, litert_graph, torch_nodes

        path, quantised = folder / self.model_file, precision != "fp32"
        graph = litert_graph.unfolded(model) if quantised else model
        exported = torch.export.export(graph, (example,), strict=False)
        litert_converter.convert(exported, path, "int8" if quantised else "fp32")
        file = litert_file.read(path)
        name_ends(file, constants)
        litert_file.describe(file, constants)
        write_bytes(path, litert_file.packed(file))
        return Lowered(
            model_path=path,
            delegation=self.delegation(path, len(list(torch_nodes.heavy_nodes(model)))),
            eager_reference=(
                eager_runner(lambda x: int8_arithmetic.Interpreter(model).run(x))
                if quantised
                else eager_runner(model)
            ),
            reference=StageId.EAGER_QUANTISED if quantised else StageId.EAGER,
            memory=litert_file.byte_table(path),
            notes=(made_by(),),
            graph=lambda: model,
        )


def name_ends(file: Any, constants: Constants) -> None:
    """Call input and outputs by their names; other tensors carry numbers, not the names of the
    modules that the converter noted.
    """
    (graph,) = file.subgraphs
    (signature,) = file.signatureDefs
    # the converter calls them output_0, output_1, ... and may list them in another order
    signature.outputs.sort(key=lambda end: int(end.name.decode().rpartition("_")[2]))
    graph.outputs = [end.tensorIndex for end in signature.outputs]
    for number, tensor in enumerate(graph.tensors):
        tensor.name = f"t{number}".encode()
    names = constants.get("outputs") or ["probabilities"]
    assert isinstance(names, list)
    ends = dict(zip((*graph.inputs, *graph.outputs), (INPUT, *names), strict=True))
    for place, name in ends.items():
        graph.tensors[place].name = str(name).encode()
    for end in (*signature.inputs, *signature.outputs):
        end.name = str(ends[end.tensorIndex]).encode()
    file.description = b"mobilekd"


def made_by() -> str:
    """What wrote the file, and what judged it."""
    converter = litert_converter.PACKAGES[0].replace("==", " ")
    return f"made by {converter}, proved with ai-edge-litert {version('ai-edge-litert')}"


BACKEND = LiteRT()
