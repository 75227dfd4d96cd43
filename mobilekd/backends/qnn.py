"""Qualcomm's Hexagon, the neural processor of Snapdragon phones, through ExecuTorch's own delegate:
a ``.pte`` for one chip.

Here the saved file answers on the HTP simulator of Qualcomm's host libraries, in ExecuTorch's own
runtime. Simulator and chip are meant to agree; until a phone has answered the golden set, what is
known are the simulator's answers.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilekd.backends.base import Lowered, eager_runner
from mobilekd.backends.shared import costs, executorch_file, htp
from mobilekd.backends.shared.executorch_file import ExecutorchFile
from mobilekd.formats.constants import Constants
from mobilekd.formats.parity_names import StageId
from mobilekd.graphs import pte
from mobilekd.support.errors import CannotRunHere, GateError, UserError
from mobilekd.support.files import write_bytes

if TYPE_CHECKING:
    import torch
    from torch import fx

DELEGATE = "QnnBackend"


class Qnn(ExecutorchFile):
    """int8 weights with activations of 8 or 16 bits, and fp16; all of it in one delegate."""

    name = "qnn"
    precisions: tuple[str, ...] = ("w8a16", "w8a8", "fp16")
    model_file = "model.pte"
    runtime = "ExecuTorch's own runtime, on the HTP simulator"
    on_device = "ExecuTorch (Hexagon)"
    processor = False
    rounds_alike = False
    computes_on = "NPU"
    socs = tuple(htp.CHIPS)
    soc: str | None = socs[0]

    def refuse_missing(self, precision: str) -> None:
        """The libraries are Qualcomm's, and older chips compute in whole numbers only."""
        assert self.soc is not None
        title, architecture = htp.CHIPS[self.soc]
        if precision == "fp16" and architecture < htp.LEAST_FP16:
            raise UserError(
                f"--soc {self.soc} --precision fp16: {title} (Hexagon v{architecture}) computes in"
                " whole numbers only; take --precision w8a16"
            )
        try:
            htp.find()
        except CannotRunHere as reason:
            raise UserError(f"--backend qnn: {reason}") from None

    def quantizer(
        self, precision: str, float_layers: frozenset[str], *, qat: bool = False
    ) -> Any | None:
        """ExecuTorch's quantizer for Hexagon, weights and biases per channel; None for fp16."""
        if not precision.startswith("w8"):
            return None
        htp.load()
        from mobilekd.backends.shared.qnn_quantizer import quantizer

        assert self.soc is not None
        return quantizer(self.soc, precision)

    def weights_in(self, precision: str) -> str | None:
        """fp16: rounded before they come here, so that storing them moves none further."""
        return "float16" if precision == "fp16" else None

    def where(self) -> str:
        """The simulator, with the version of its libraries."""
        return f"HTP simulator of QNN {htp.find().version} ({self.soc}); no phone has answered"

    def lower(
        self,
        model: "fx.GraphModule",
        example: "torch.Tensor",
        precision: str,
        constants: Constants,
        folder: Path,
    ) -> Lowered:
        """Write ``model.pte`` with a graph that Qualcomm's libraries compiled for the chip."""
        libraries = htp.load()
        from executorch.backends.qualcomm.serialization.qc_schema import QcomChipset
        from executorch.backends.qualcomm.utils.utils import (
            generate_htp_compiler_spec,
            generate_qnn_executorch_compiler_spec,
            to_edge_transform_and_lower_to_qnn,
        )

        from mobilekd.backends.shared import qnn_scales, qnn_support
        from mobilekd.graphs import torch_nodes

        assert self.soc is not None
        path = folder / self.model_file
        refused: list[str] = []
        try:
            with (
                htp.quiet(f"--backend qnn --soc {self.soc}"),
                qnn_scales.watched() as scales,
                qnn_support.refused(refused),
            ):
                options = generate_htp_compiler_spec(use_fp16=precision == "fp16")
                chip = getattr(QcomChipset, self.soc)
                spec = generate_qnn_executorch_compiler_spec(
                    soc_model=chip, backend_options=options
                )
                edge = to_edge_transform_and_lower_to_qnn(
                    model, (example,), spec, constant_methods=dict(constants)
                )
                program = edge.to_executorch()
        except RuntimeError as error:
            # a layer that ExecuTorch has no form for outside a delegate, such as a linear one
            if qnn_support.OUTSIDE not in str(error):
                raise
            names = ", ".join(dict.fromkeys(refused)) or "not known which"
            raise GateError(
                f"--backend qnn: outside the delegate: {names}; nothing was written; choose another"
                " student, or export --backend xnnpack"
            ) from None
        if others := qnn_scales.strange(scales, model):
            raise GateError(
                f"--backend qnn: {len(others)} scales given to the compiler are not the rounded"
                f" graph's: {', '.join(others[:3])}; nothing was written; reinstall executorch, or"
                " say so to the maintainers"
            )
        write_bytes(path, program.buffer)
        outside = [
            node
            for node in edge.exported_program().graph.nodes
            if node.op == "call_function" and _operator(node.target) in executorch_file.HEAVY
        ]
        file = pte.read(path)
        total = sum(1 for _ in torch_nodes.heavy_nodes(model))
        return Lowered(
            model_path=path,
            delegation=executorch_file.delegation(file, total),
            eager_reference=eager_runner(model),
            reference=StageId.EAGER_FLOAT16 if precision == "fp16" else StageId.EAGER_QUANTISED,
            memory=file.memory(),
            notes=(*costs.notes(model), *_notes(self.soc, libraries.version)),
            graph=lambda: model,
            outside=tuple(torch_nodes.layer_name(node) for node in outside),
            chip=htp.chip(self.soc, libraries.version),
        )

    def constants(self, model_path: Path) -> Constants:
        """The file's constant methods; the chip is read from its delegates, which the phone's
        runtime goes by.
        """
        said: Constants = pte.constants(model_path)
        if "soc" in said:
            said["soc"] = ", ".join(compiled_for(model_path)) or "none"
        return said

    def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
        """float32 or uint8 ``[N, 3, H, W]`` -> outputs, on the simulator."""
        htp.load()
        try:
            with htp.quiet(str(model_path)):
                return pte.run(model_path, x)
        except RuntimeError as error:
            raise UserError(f"{error}; export again") from None


def _operator(target: Any) -> str:
    schema = getattr(getattr(target, "_op", target), "_schema", None)
    return schema.name.split("::")[-1] if schema is not None else ""


def compiled_for(path: Path) -> tuple[str, ...]:
    """Chips that the file's delegates were compiled for, as they say themselves."""
    from executorch.backends.qualcomm.serialization.qc_schema_serialize import (
        flatbuffer_to_option,
    )
    from executorch.exir._serialize._program import deserialize_pte_binary

    program = deserialize_pte_binary(path.read_bytes()).program
    found = {
        flatbuffer_to_option(bytes(spec.value)).soc_info.soc_model.name
        for plan in program.execution_plan
        for delegate in plan.delegates
        if delegate.id == DELEGATE
        for spec in delegate.compile_specs[:1]
    }
    return tuple(sorted(found))


def _notes(soc: str, version: str) -> tuple[str, ...]:
    title, architecture = htp.CHIPS[soc]
    return (
        f"for {title} ({soc}, Hexagon v{architecture}) alone, compiled by QNN {version}; a phone"
        f" needs libQnnHtp.so, libQnnSystem.so, libQnnHtpV{architecture}Stub.so and"
        f" libQnnHtpV{architecture}Skel.so of that version beside the app",
        "answers are those of Qualcomm's HTP simulator; no phone has answered the golden set",
    )


BACKEND = Qnn()
