"""Core ML through ExecuTorch's delegate: a ``.pte`` that holds a whole Core ML package.

Off macOS the package inside the file is unpacked and run by the strict interpreter in
``mobilekd/graphs/mil``.
"""

import json
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilekd.backends.base import Lowered, eager_runner
from mobilekd.backends.shared import executorch_file
from mobilekd.backends.shared.coreml_file import (
    INT8,
    INT8_NOTE,
    MOST_WEIGHT_ERROR,
    REFERENCE,
    AppleFile,
    account,
    answer_from,
    decoded_weights,
    interpreted_layers,
    quiet,
    refuse_compressed_cam,
    where,
    with_decoded_weights,
)
from mobilekd.backends.shared.read_file import ReadFile
from mobilekd.formats.constants import Constants
from mobilekd.formats.gates import Delegation
from mobilekd.graphs import pte
from mobilekd.support.errors import UserError

if TYPE_CHECKING:
    import torch
    from torch import fx

DELEGATE = "CoreMLBackend"
#: ExecuTorch's runtime for Core ML asks for it, whatever the precision.
LEAST_IOS = 16


class CoreMLPte(AppleFile, ReadFile):
    """A ``.pte`` whose one delegate is a Core ML package: fp16, fp32, or int8 weights."""

    name = "coreml-pte"
    reader = pte
    precisions = ("fp16", "fp32", "int8")
    model_file = "model.pte"
    on_device = "ExecuTorch (Core ML)"

    def lower(
        self,
        model: "fx.GraphModule",
        example: "torch.Tensor",
        precision: str,
        constants: Constants,
        folder: Path,
    ) -> Lowered:
        """Write ``model.pte`` and count what its package holds; int8 compresses weights
        symmetrically with a scale per output channel, arithmetic is fp16.
        """
        refuse_compressed_cam(self.name, precision, constants)
        with quiet():
            path = folder / self.model_file
            lowered = executorch_file.lower(
                model, example, constants, path, [partitioner(precision)], quantized=False
            )
        reference = model
        assert lowered.delegation is not None
        counted = self.delegation(path, lowered.delegation.heavy_total)
        if precision in MOST_WEIGHT_ERROR:
            with unpacked(path) as package, quiet():
                reference = with_decoded_weights(model, decoded_weights(package), precision)
        return replace(
            lowered,
            delegation=counted,
            eager_reference=eager_runner(reference),
            reference=REFERENCE[precision],
            lowered=None,  # off Apple's systems these would run the graph from before compression
            layers=None,
            graph=lambda: reference,
            saved_layers=lambda x: self._layers(path, x),
            least_ios=LEAST_IOS,
            notes=_notes(precision),
        )

    def _layers(self, path: Path, x: np.ndarray) -> list[np.ndarray]:
        with unpacked(path) as package:
            return interpreted_layers(package, x)

    def run(self, model_path: Path, x: np.ndarray) -> list[np.ndarray]:
        """The saved file: by ExecuTorch on macOS, by the interpreter elsewhere (:meth:`where` says
        which).
        """
        if platform.system() == "Darwin":
            return pte.run(model_path, x)
        with unpacked(model_path) as package, quiet():
            from mobilekd.graphs.mil import Model

            model = Model(package)
        return answer_from(model, x)

    def where(self) -> str:
        """What :meth:`run` runs on, for the parity table."""
        return where("ExecuTorch's Core ML delegate")

    def delegation(self, model_path: Path, heavy_total: int) -> Delegation:
        """Counted in the package inside the delegate."""
        with unpacked(model_path) as package, quiet():
            from mobilekd.graphs.mil import Model

            return account(Model(package).program, heavy_total)


def partitioner(precision: str) -> Any:
    """The delegate's partitioner, told the precision."""
    import coremltools as ct
    from executorch.backends.apple.coreml.compiler import CoreMLBackend
    from executorch.backends.apple.coreml.partition import CoreMLPartitioner

    specs = CoreMLBackend.generate_compile_specs(
        minimum_deployment_target=ct.target.iOS16,
        compute_precision=ct.precision.FLOAT32 if precision == "fp32" else ct.precision.FLOAT16,
        op_linear_quantizer_config=INT8 if precision == "int8" else None,
    )
    return CoreMLPartitioner(compile_specs=specs)


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """The Core ML package inside ``path``, unpacked for a while. ``forward`` must be that package
    and nothing else.
    """
    blob = delegate_blob(path)
    with tempfile.TemporaryDirectory() as work, quiet():
        from executorch.backends.apple.coreml import executorchcoreml

        if not executorchcoreml.unflatten_directory_contents(blob, work):
            raise UserError(
                f"{path}: the Core ML delegate's data cannot be unpacked; export again or copy it"
                " whole"
            )
        packages = list(Path(work).glob("*/model.mlpackage"))
        if len(packages) != 1:
            raise UserError(
                f"{path}: the Core ML delegate holds {len(packages)} packages, expected one; export"
                " again"
            )
        _refuse_other_order(path, packages[0])
        yield packages[0]


def delegate_blob(path: Path) -> bytes:
    """Bytes of the one delegate that takes ``forward``'s inputs and gives its outputs, in their
    order.
    """
    from executorch.exir._serialize._program import deserialize_pte_binary

    pte.read(path)  # a damaged file ends here, with its remedy
    program = deserialize_pte_binary(path.read_bytes()).program
    forward = next(plan for plan in program.execution_plan if plan.name == "forward")
    calls = [
        instruction.instr_args for chain in forward.chains for instruction in chain.instructions
    ]
    if (
        [delegate.id for delegate in forward.delegates] != [DELEGATE]
        or len(calls) != 1
        or forward.operators
    ):
        raise UserError(f"{path}: forward is not one Core ML delegate alone; export again")
    if list(calls[0].args) != [*forward.inputs, *forward.outputs]:
        raise UserError(
            f"{path}: the delegate's arguments are not forward's inputs and outputs in order;"
            " export again"
        )
    return bytes(program.backend_delegate_data[forward.delegates[0].processed.index].data)


def _refuse_other_order(path: Path, package: Path) -> None:
    """The delegate's list of names, by which it binds tensors, must be the package's own."""
    from mobilekd.graphs.mil import Model

    model = Model(package)
    said = json.loads((package.parent / "metadata.json").read_text(encoding="utf-8"))
    if (said.get("inputNames"), said.get("outputNames")) != (
        [model.input],
        list(model.output_names),
    ):
        raise UserError(
            f"{path}: the delegate names other inputs or outputs than its package; export again"
        )


def _notes(precision: str) -> tuple[str, ...]:
    stored = {
        "fp16": "weights and arithmetic in fp16",
        "fp32": "weights and arithmetic in fp32: the Neural Engine is not used",
        "int8": INT8_NOTE,
    }[precision]
    return (
        f"least iOS {LEAST_IOS}: {stored}",
        "Apple's kernels are unverified until the file has run on a device with Core ML",
    )


BACKEND = CoreMLPte()
