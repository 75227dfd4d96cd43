"""LiteRT (TensorFlow Lite): a ``.tflite`` file with preprocessing and probabilities inside. fp32,
and int8 with this package's own ranges and corrections.

The quantised graph goes to LiteRT's converter as it was proved, so that neither LiteRT's
calibration nor its rounding of weights has a part in the file.
"""

import importlib.util
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilekd.backends.base import Lowered, eager_runner
from mobilekd.backends.shared import litert_converter
from mobilekd.formats.constants import Constants
from mobilekd.formats.gates import Delegation
from mobilekd.formats.parity_names import StageId
from mobilekd.graphs import litert_file
from mobilekd.support.files import write_bytes

if TYPE_CHECKING:
    import torch
    from torch import fx

INPUT = "image"


class LiteRT:
    """A ``.tflite`` file: fp32, and int8 after training, with training or mixed."""

    name = "litert"
    precisions: tuple[str, ...] = ("fp32", "int8", "int8-qat", "mixed")
    model_file = "model.tflite"
    runtime = "LiteRT"
    processor = False  # the emulated Arm has ExecuTorch's runtime alone
    computes_on = "CPU"
    apple = False
    socs: tuple[str, ...] = ()
    soc: str | None = None

    def refuse_missing(self, precision: str) -> None:
        """The runtime is an extra's; the converter makes itself an environment."""
        if importlib.util.find_spec("ai_edge_litert") is None:
            raise litert_file.missing()

    def quantizer(
        self, precision: str, float_layers: frozenset[str], *, qat: bool = False
    ) -> Any | None:
        """The one of XNNPACK, which computes here too."""
        if precision == "fp32":
            return None
        from mobilekd.backends.shared.xnnpack_quantizer import Quantizer

        return Quantizer(float_layers)

    def weights_in(self, precision: str) -> str | None:
        """None: int8 goes through ``quantizer``."""
        return None

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

        from mobilekd.graphs import int8_arithmetic, litert_graph, torch_graph

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
            delegation=self.delegation(path, len(list(torch_graph.heavy_nodes(model)))),
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

    def where(self) -> str:
        """This host runs the file itself."""
        return f"LiteRT, {platform.machine()} {platform.system()}"

    def constants(self, model_path: Path) -> Constants:
        """The file's metadata."""
        return litert_file.constants(model_path)

    def rewrite(self, model_path: Path, constants: Constants) -> None:
        """Other metadata, and the rest as it was."""
        litert_file.rewrite(model_path, constants)

    def network_hash(self, model_path: Path) -> str:
        """Over the file without its metadata."""
        return litert_file.network_hash(model_path)

    def delegation(self, model_path: Path, heavy_total: int) -> Delegation:
        """As LiteRT divides the file's operators on this host."""
        return litert_file.delegation(model_path, heavy_total)

    def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
        """float32 or uint8 ``[N, 3, H, W]`` -> outputs, by LiteRT on one thread."""
        return litert_file.run(model_path, x)


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
