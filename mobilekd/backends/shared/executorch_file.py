"""What every ExecuTorch backend shares: an exported graph and a partitioner in, a ``.pte`` and its
account out.
"""

import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilekd.backends.base import Lowered
from mobilekd.backends.base import eager_runner as runner
from mobilekd.backends.shared import costs
from mobilekd.backends.shared.read_file import ReadFile
from mobilekd.formats.constants import Constants
from mobilekd.formats.gates import Delegation
from mobilekd.formats.parity_names import StageId
from mobilekd.graphs import pte
from mobilekd.support.files import write_bytes

if TYPE_CHECKING:
    import torch
    from torch import fx

#: Operators with weights in an exported graph; dequantised weights enter them like any other.
HEAVY = (
    "conv1d",
    "conv2d",
    "convolution",
    "conv_transpose2d",
    "linear",
    "matmul",
    "mm",
    "addmm",
    "bmm",
)


class ExecutorchFile(ReadFile):
    """What the backends of a ``.pte`` answer alike."""

    reader = pte
    runtime = "ExecuTorch's own runtime"
    interpreted = False
    processor = True
    rounds_alike = True
    computes_on = "CPU"
    apple: StageId | None = None
    socs: tuple[str, ...] = ()
    soc: str | None = None

    def refuse_missing(self, precision: str) -> None:
        """Nothing: ExecuTorch comes with the package."""

    def where(self) -> str:
        """This host runs the file itself."""
        return f"{platform.machine()} {platform.system()}"

    def weights_in(self, precision: str) -> str | None:
        """None: int8 goes through ``quantizer``."""
        return None

    def delegation(self, model_path: Path, heavy_total: int) -> Delegation:
        """Counted by the file's own program and delegates."""
        return delegation(pte.read(model_path), heavy_total)


def lower(
    model: "fx.GraphModule",
    example: "torch.Tensor",
    constants: Constants,
    path: Path,
    partitioners: Sequence[Any],
    *,
    quantized: bool,
    notes: Sequence[str] = (),
    promises_delegation: bool = True,
) -> Lowered:
    """Export, partition and write ``path``; ``model`` is a captured graph, and ``quantized`` says
    that PT2E has converted it.
    """
    import torch
    from executorch.exir import to_edge_transform_and_lower

    from mobilekd.graphs import int8_arithmetic, lowered_graph

    exported = torch.export.export(model, (example,), strict=False)
    edge = to_edge_transform_and_lower(
        exported, partitioner=list(partitioners), constant_methods=dict(constants)
    )
    program = edge.to_executorch()
    write_bytes(path, program.buffer)
    file, lowered = pte.read(path), lowered_graph.LoweredGraph(edge.exported_program())
    total = sum(count for name, count in operators(exported.graph).items() if name in HEAVY)
    return Lowered(
        model_path=path,
        delegation=delegation(file, total),
        # an interpreter keeps its place in the graph, so each batch has one of its own
        eager_reference=(
            runner(lambda x: int8_arithmetic.Interpreter(model).run(x))
            if quantized
            else runner(model)
        ),
        reference=StageId.EAGER_QUANTISED if quantized else StageId.EAGER,
        lowered=lowered,
        memory=file.memory(),
        notes=(*notes, *costs.notes(model), *(cost_of_float(file) if quantized else ())),
        graph=lambda: model,
        layers=lowered.layers,
        promises_delegation=promises_delegation,
    )


def operators(graph: "torch.fx.Graph") -> dict[str, int]:
    """ATen operators of a graph by their plain name (``conv2d``)."""
    targets = (node.target for node in graph.nodes if node.op == "call_function")
    return dict(
        Counter(
            getattr(target, "_schema", target).name.split("::")[-1]
            for target in targets
            if hasattr(target, "_schema")
        )
    )


def delegation(file: pte.PteFile, heavy_total: int) -> Delegation:
    """Counted in the saved file. A delegate whose graph cannot be read (Core ML) is counted
    by what is left outside it.
    """
    outside = sum(
        count
        for name, count in file.operators.items()
        if name.split("::")[-1].split(".")[0] in HEAVY
    )
    readable = all(delegate.nodes for delegate in file.delegates)
    return Delegation(
        delegated=file.delegated() or {delegate.id: 1 for delegate in file.delegates},
        portable=file.operators,
        heavy_total=heavy_total,
        heavy_delegated=len(file.heavy) if readable else heavy_total - outside,
        heavy_quantized=sum(node.quantized for node in file.heavy),
        partitions=len(file.delegates),
    )


def cost_of_float(file: pte.PteFile) -> tuple[str, ...]:
    """What an int8 network computes in floating point all the same, the softmax included, and its
    conversions.
    """
    left = ", ".join(
        f"{count} {kind.removeprefix('XNN')}" for kind, count in file.left_in_float().items()
    )
    conversions = sum(node.conversion for delegate in file.delegates for node in delegate.nodes)
    outside = ", ".join(f"{count} {name}" for name, count in file.operators.items())
    return (
        (
            f"in floating point inside the delegate: {left or 'nothing'}; {conversions} conversions"
            " between int8 and floating point, each a pass over its tensor; outside the delegate:"
            f" {outside or 'nothing'}"
        ),
    )
